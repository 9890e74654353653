//! `ov3d superpoints`: small sets of points that belong together, from points alone.

use super::formats::{self, CloudFile, SuperpointCloud};
use super::picture;
use super::segment::{FrameArgs, write_json};
use clap::ValueEnum;
use openvocab3d::backend::Backend;
use openvocab3d::backend::cpu::{CpuBackend, CpuOptions};
use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, StridedView};
use openvocab3d::superpoint::{
    Graph, Method, SuperpointOptions, Superpoints, Target, Vccs, VccsPcl, default_voxel_size, superpoints,
};
use openvocab3d::{Error, Result};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Find superpoints: small sets of points that belong together
///
/// Needs neither a mesh nor a network: positions, and colours where there are some. Writes a PLY with the property
/// `superpoint`, pictures, an npy array and a JSON summary, whichever are asked for.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d superpoints room.ply -o superpoints.ply --picture superpoints.png
  ov3d superpoints room.ply --method graph --count 500 --borders borders.png
  ov3d superpoints scan.las --voxel-size 0.3 --seed-size 4 --ids ids.npy --json summary.json
  ov3d superpoints room.ply --given ids.npy --borders borders.png   # look at ids from elsewhere")]
pub(crate) struct Args {
    /// The cloud: PLY, PCD, LAS, LAZ, E57, npy of [n, 3] positions, or .bin of KITTI and nuScenes
    cloud: PathBuf,
    /// PLY with the property `superpoint` and a colour for each superpoint to write
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Picture (PNG) to write: a colour for each superpoint
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Picture (PNG) to write: the cloud's own colours and the borders between superpoints
    #[arg(long)]
    borders: Option<PathBuf>,
    /// npy array of int32 ids to write, -1 for points without
    #[arg(long)]
    ids: Option<PathBuf>,
    /// JSON summary to write
    #[arg(long)]
    json: Option<PathBuf>,
    /// How they are found
    #[arg(long, value_enum, default_value_t = MethodArg::Vccs)]
    method: MethodArg,
    /// Ids to take instead: npy, PLY with a label, .label or .txt with one whole number per point, -1 for none
    #[arg(long, value_name = "FILE", conflicts_with = "method")]
    given: Option<PathBuf>,
    #[command(flatten)]
    sizes: SizeArgs,
    /// Edge of a voxel in metres [default: twice the median distance between nearest points]
    #[arg(long)]
    voxel_size: Option<f64>,
    /// How often vccs begins again from what has grown
    #[arg(long, default_value_t = 0)]
    refinements: u32,
    #[command(flatten)]
    frame: FrameArgs,
    /// Threads [default: all]
    #[arg(long)]
    threads: Option<usize>,
}

/// How many superpoints there are.
#[derive(clap::Args, Clone, Default)]
pub(crate) struct SizeArgs {
    /// Edge of a seed cell of vccs in metres, about the diameter of a superpoint [default: 8 voxels]
    #[arg(long, value_name = "METRES")]
    pub(crate) seed_size: Option<f64>,
    /// The number of superpoints of graph
    #[arg(long, value_name = "NUMBER", conflicts_with = "scale")]
    pub(crate) count: Option<usize>,
    /// When graph ends without --count: smaller for more superpoints [default: 0.1]
    #[arg(long)]
    pub(crate) scale: Option<f32>,
}

/// A method by its name.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodArg {
    /// Even, compact superpoints that grow from seeds
    Vccs,
    /// Regions merged along the weakest borders: the best borders
    Graph,
    /// As version 1.13 of the point cloud library computes them
    VccsPcl,
}

impl MethodArg {
    /// The method with sizes that are about it.
    pub(crate) fn with(self, sizes: &SizeArgs) -> Result<Method> {
        let seed_size = sizes.seed_size;
        let unused = match self {
            Self::Graph => seed_size.map(|_| ("--seed-size", "vccs; give --count or --scale")),
            Self::Vccs | Self::VccsPcl => {
                let count = sizes.count.map(|_| "--count").or(sizes.scale.map(|_| "--scale"));
                count.map(|name| (name, "graph; give --seed-size"))
            }
        };
        if let Some((name, instead)) = unused {
            return Err(Error::argument(format!("{name} is for superpoints by {instead}")));
        }
        Ok(match self {
            Self::Vccs => Method::Vccs(Vccs { seed_size, ..Vccs::default() }),
            Self::VccsPcl => Method::VccsPcl(VccsPcl { seed_size, ..VccsPcl::default() }),
            Self::Graph => {
                let mut graph = Graph::default();
                graph.target = match (sizes.count, sizes.scale) {
                    (Some(count), _) => Target::Count(count),
                    (None, Some(scale)) => Target::Scale(scale),
                    (None, None) => graph.target,
                };
                Method::Graph(graph)
            }
        })
    }
}

/// What was found.
#[derive(Serialize)]
struct Summary {
    cloud: String,
    points: usize,
    superpoints: usize,
    /// Points without a superpoint.
    without: usize,
    /// Metres; none for ids from elsewhere.
    voxel_size: Option<f64>,
    /// Pairs of superpoints that touch.
    pairs: usize,
    smallest: u32,
    median: u32,
    largest: u32,
    milliseconds: f64,
}

/// Ids from a file, as the library takes them.
pub(crate) fn read_ids(path: &Path, points: usize) -> Result<Vec<i64>> {
    let ids = formats::read_ids(path)?;
    if ids.len() != points {
        let message = format!("'{}' has {} ids for {points} points; give one for each", path.display(), ids.len());
        return Err(Error::argument(message));
    }
    Ok(ids)
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let outputs = [&args.output, &args.picture, &args.borders, &args.ids, &args.json].into_iter().flatten();
    formats::check_outputs(std::iter::once(&args.cloud).chain(&args.given), outputs)?;
    let file = formats::read_cloud(&args.cloud)?;
    let ids = args.given.as_ref().map(|path| read_ids(path, file.positions.len())).transpose()?;
    let frame = args.frame.frame();
    let cloud = Cloud { superpoints: ids.as_deref().map(StridedView::packed_i64), ..file.view(frame) };
    let mut method = args.method.with(&args.sizes)?;
    match &mut method {
        Method::Vccs(vccs) => vccs.refinements = args.refinements,
        Method::VccsPcl(vccs) => vccs.refinements = args.refinements,
        Method::Graph(_) if args.refinements > 0 => {
            return Err(Error::argument("--refinements is for superpoints by vccs; graph has none"));
        }
        Method::Graph(_) => {}
    }
    let backend = CpuBackend::new(CpuOptions { threads: args.threads, ..CpuOptions::default() })?;
    let mut outcome = None;
    let start = Instant::now();
    // Ids from elsewhere need no voxels, but their borders are drawn as wide as some would be.
    let measured = ids.is_none() || args.borders.is_some();
    backend.install(&mut || outcome = Some(find(&cloud, args.voxel_size, measured, &method)));
    let (voxel_size, found) = outcome.unwrap_or_else(|| Err(Error::internal("the threads did not run")))?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    let summary = summary(args, &found, voxel_size.filter(|_| ids.is_none()), milliseconds);
    print(&summary);
    let metres: Vec<[f64; 3]> = file.positions.iter().map(|&p| frame.to_metres(p)).collect();
    let title = format!("{} superpoints of {}", found.count(), args.cloud.display());
    let colors = picture::superpoint_colors(&found.of_point);
    if let Some(path) = &args.output {
        let cloud = SuperpointCloud { positions: &file.positions, colors: &colors, superpoints: &found.of_point };
        formats::write_superpoint_ply(path, &cloud)?;
        say!("wrote {}", path.display());
    }
    if let Some(path) = &args.picture {
        save(path, &metres, &colors, &title)?;
    }
    if let Some(path) = &args.borders {
        let own = own_colors(&file);
        let edge = 0.5 * voxel_size.unwrap_or(0.05);
        save(path, &metres, &picture::with_borders(&metres, &own, &found.of_point, edge), &title)?;
    }
    if let Some(path) = &args.ids {
        formats::write_npy_labels(path, &found.of_point)?;
        say!("wrote {}", path.display());
    }
    if let Some(path) = &args.json {
        write_json(path, &summary)?;
    }
    Ok(())
}

/// The voxel size, the default one if it is to be `measured`, and the superpoints.
fn find(
    cloud: &Cloud<'_>,
    voxel_size: Option<f64>,
    measured: bool,
    method: &Method,
) -> Result<(Option<f64>, Superpoints)> {
    let voxel_size = match voxel_size {
        None if measured => Some(default_voxel_size(cloud, Cancel::default())?),
        given => given,
    };
    let options = SuperpointOptions { voxel_size, method: method.clone() };
    Ok((voxel_size, superpoints(cloud, &options, None, Cancel::default())?))
}

fn summary(args: &Args, found: &Superpoints, voxel_size: Option<f64>, milliseconds: f64) -> Summary {
    let mut sizes = found.sizes.clone();
    sizes.sort_unstable();
    Summary {
        cloud: args.cloud.display().to_string(),
        points: found.of_point.len(),
        superpoints: found.count(),
        without: found.of_point.iter().filter(|&&superpoint| superpoint < 0).count(),
        voxel_size,
        pairs: found.adjacency.len(),
        smallest: sizes.first().copied().unwrap_or(0),
        median: sizes.get(sizes.len() / 2).copied().unwrap_or(0),
        largest: sizes.last().copied().unwrap_or(0),
        milliseconds,
    }
}

fn print(summary: &Summary) {
    let Summary { smallest, median, largest, .. } = summary;
    say!("{}: {} points, {} superpoints", summary.cloud, summary.points, summary.superpoints);
    say!("  {smallest} to {largest} points each, the median {median}; {} pairs touch", summary.pairs);
    if summary.without > 0 {
        say!("  {} points have none", summary.without);
    }
    let voxel = summary.voxel_size.map(|size| format!("voxels of {size:.4} m, ")).unwrap_or_default();
    say!("  {voxel}{:.1} ms", summary.milliseconds);
}

fn own_colors(file: &CloudFile) -> Vec<[u8; 3]> {
    file.colors.clone().unwrap_or_else(|| vec![[200, 204, 210]; file.positions.len()])
}

fn save(path: &Path, metres: &[[f64; 3]], colors: &[[u8; 3]], title: &str) -> Result<()> {
    picture::save(path, &picture::draw_cloud(metres, colors, &[], title))?;
    say!("wrote {}", path.display());
    Ok(())
}
