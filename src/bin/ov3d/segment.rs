//! `ov3d segment`: labels every point of a cloud.

use super::engine::EngineArgs;
use super::formats::{self, CloudFile, LabelledCloud};
use super::picture::{self, LegendEntry};
use super::progress::Progress;
use super::report::{self, Summary, count_labels};
use super::superpoints::{MethodArg, SizeArgs, read_ids};
use super::words::WordArgs;
use clap::ValueEnum;
use openvocab3d::backend::Control;
use openvocab3d::cloud::{Axes, Cloud, Frame, GridOrigin, StridedView};
use openvocab3d::model::{Model, Vocabulary};
use openvocab3d::pipeline::{Augmentation, Ballot, SegmentOptions, Segmentation, Vote};
use openvocab3d::plan::Similarity;
use openvocab3d::session::Session;
use openvocab3d::superpoint::SuperpointOptions;
use openvocab3d::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Label every point of a cloud
///
/// Reads clouds of many formats, writes a coloured PLY with `label` and `score` properties, a picture, npy arrays and a JSON
/// summary, whichever are asked for.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d segment room.ply --model scannet.safetensors --vocab scannet20.safetensors -o labelled.ply --picture room.png
  ov3d segment room.ply --model lseg.safetensors --text sofa --text lamp --text wall -o out.ply    # 512 wide: no encoder
  ov3d segment scan.las --model scannet.safetensors --encoder clip-vit-l14-336 --text sofa --text lamp -o out.ply
  ov3d segment room.ply -m scannet.safetensors --vocab scannet20.safetensors --vote scores --superpoints graph --count 500 -o out.ply
  ov3d segment scan.npy --model scannet.safetensors --vocab words.safetensors --unit 0.001 --axes camera -o out.ply")]
pub(crate) struct Args {
    /// The cloud: PLY, PCD, LAS, LAZ, E57, npy of [n, 3] positions, or .bin of KITTI and nuScenes
    cloud: PathBuf,
    /// The model file (see `ov3d convert`)
    #[arg(short, long)]
    model: PathBuf,
    #[command(flatten)]
    words: WordArgs,
    /// Labelled, coloured PLY to write
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Picture (PNG) to write
    #[arg(long)]
    picture: Option<PathBuf>,
    /// JSON summary to write
    #[arg(long)]
    json: Option<PathBuf>,
    /// npy array of int32 labels to write
    #[arg(long)]
    labels: Option<PathBuf>,
    #[command(flatten)]
    vote: VoteArgs,
    #[command(flatten)]
    scores: ScoreArgs,
    #[command(flatten)]
    run: RunArgs,
}

/// How the points of a superpoint agree.
#[derive(clap::Args)]
pub(crate) struct VoteArgs {
    /// The points of a superpoint take the label that most of them have, the one of the largest summed score, or keep
    /// their own
    #[arg(long, value_enum, default_value_t = VoteArg::Labels)]
    vote: VoteArg,
    /// A point's vote counts by how far its best score lies above its second
    #[arg(long)]
    by_margin: bool,
    /// How superpoints are found
    #[arg(long, value_enum, default_value_t = MethodArg::Vccs)]
    superpoints: MethodArg,
    /// Superpoints from elsewhere: npy, PLY with a label, .label or .txt with one whole number per point, -1 for none
    #[arg(long, value_name = "FILE", conflicts_with = "superpoints")]
    superpoint_ids: Option<PathBuf>,
    /// Edge of the superpoints' voxels in metres [default: twice the median distance between nearest points]
    #[arg(long, value_name = "METRES")]
    superpoint_voxel_size: Option<f64>,
    #[command(flatten)]
    sizes: SizeArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum VoteArg {
    Labels,
    Scores,
    None,
}

impl VoteArgs {
    /// `options` with the vote, for a cloud of `points` points.
    pub(crate) fn request(&self, options: SegmentOptions, points: usize) -> Result<Request> {
        let superpoints = self.superpoint_ids.as_ref().map(|path| read_ids(path, points)).transpose()?;
        Ok(Request { options: self.apply(options)?, superpoints })
    }

    fn apply(&self, options: SegmentOptions) -> Result<SegmentOptions> {
        let ballot = match self.vote {
            VoteArg::Labels => Ballot::Labels,
            VoteArg::Scores => Ballot::Scores,
            VoteArg::None => return Ok(options),
        };
        let method = self.superpoints.with(&self.sizes)?;
        let superpoints = Some(SuperpointOptions { voxel_size: self.superpoint_voxel_size, method });
        Ok(SegmentOptions { superpoints, vote: Some(Vote { ballot, by_margin: self.by_margin }), ..options })
    }
}

/// How positions are meant.
#[derive(clap::Args)]
pub(crate) struct FrameArgs {
    /// Metres per unit of the positions, such as 0.001 for millimetres
    #[arg(long, default_value_t = 1.0)]
    unit: f64,
    /// Axis convention of the positions
    #[arg(long, value_enum, default_value_t = AxesArg::ZUp)]
    axes: AxesArg,
}

/// How to run the network; shared by commands that do.
#[derive(clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    frame: FrameArgs,
    /// Edge of a voxel in metres [default: the model's]
    #[arg(long)]
    voxel_size: Option<f64>,
    /// Lattice of the voxels: from the cloud's minimum (published) or fixed in the world
    #[arg(long, value_enum, default_value_t = OriginArg::Minimum)]
    grid_origin: OriginArg,
    #[command(flatten)]
    pub(crate) engine: EngineArgs,
}

/// What becomes of scores; shared by commands that give labels.
#[derive(clap::Args)]
pub(crate) struct ScoreArgs {
    /// How features and text are compared
    #[arg(long, value_enum, default_value_t = SimilarityArg::Dot)]
    similarity: SimilarityArg,
    /// Turn scores into softmax(score / temperature), such as 0.01 with cosine
    #[arg(long)]
    temperature: Option<f32>,
    /// Passes under random rotation and scale whose scores are averaged (published evaluation: 5); 0 for one plain pass
    #[arg(long, default_value_t = 0)]
    repeats: u32,
    /// Seed of the repeats
    #[arg(long, default_value_t = 1463)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum AxesArg {
    /// Right-handed, z up (ROS, ScanNet, KITTI, nuScenes, Isaac)
    ZUp,
    /// Left-handed, z up (Unreal, CARLA)
    Unreal,
    /// Right-handed, y up (Godot, OpenGL)
    YUp,
    /// Left-handed, y up (Unity)
    Unity,
    /// x right, y down, z forward
    Camera,
}

#[derive(Clone, Copy, ValueEnum)]
enum OriginArg {
    Minimum,
    World,
}

#[derive(Clone, Copy, ValueEnum)]
enum SimilarityArg {
    Dot,
    Cosine,
}

impl FrameArgs {
    pub(crate) fn frame(&self) -> Frame {
        let axes = match self.axes {
            AxesArg::ZUp => Axes::RightHandedZUp,
            AxesArg::Unreal => Axes::LeftHandedZUp,
            AxesArg::YUp => Axes::RightHandedYUp,
            AxesArg::Unity => Axes::LeftHandedYUp,
            AxesArg::Camera => Axes::Camera,
        };
        Frame { unit_in_metres: self.unit, axes, pose: None }
    }
}

impl RunArgs {
    pub(crate) fn frame(&self) -> Frame {
        self.frame.frame()
    }

    pub(crate) fn options(&self) -> SegmentOptions {
        SegmentOptions {
            voxel_size: self.voxel_size,
            grid_origin: match self.grid_origin {
                OriginArg::Minimum => GridOrigin::Minimum,
                OriginArg::World => GridOrigin::World,
            },
            ..SegmentOptions::default()
        }
    }
}

impl ScoreArgs {
    pub(crate) fn apply(&self, options: SegmentOptions) -> SegmentOptions {
        SegmentOptions {
            similarity: match self.similarity {
                SimilarityArg::Dot => Similarity::Dot,
                SimilarityArg::Cosine => Similarity::Cosine,
            },
            temperature: self.temperature,
            augmentation: (self.repeats > 0).then(|| Augmentation {
                repeats: self.repeats,
                seed: self.seed,
                ..Augmentation::default()
            }),
            ..options
        }
    }
}

/// A labelled cloud with all that is written or shown of it.
pub(crate) struct Labelled {
    cloud: CloudFile,
    /// Positions in metres, z up, for pictures.
    metres: Vec<[f64; 3]>,
    result: Segmentation,
    names: Vec<String>,
    /// A colour per label.
    palette: Vec<[u8; 3]>,
    pub(crate) summary: Summary,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let inputs = [&args.cloud, &args.model].into_iter().chain(args.words.files()).chain(&args.vote.superpoint_ids);
    let outputs = [&args.output, &args.picture, &args.json, &args.labels].into_iter().flatten();
    formats::check_outputs(inputs, outputs)?;
    let cloud = formats::read_cloud(&args.cloud)?;
    let model = Arc::new(Model::load(&args.model)?);
    let vocabulary = Arc::new(args.words.vocabulary(Some(model.text_space()), args.run.engine.threads())?);
    let name = args.cloud.display().to_string();
    let request = args.vote.request(args.scores.apply(args.run.options()), cloud.positions.len())?;
    let labelled = label(cloud, &name, &model, &args.model.display().to_string(), vocabulary, &args.run, &request)?;
    report::print(&labelled.summary);
    if let Some(path) = &args.output {
        labelled.write_ply(path)?;
    }
    if let Some(path) = &args.picture {
        labelled.write_picture(path, &name)?;
    }
    if let Some(path) = &args.json {
        labelled.write_json(path)?;
    }
    if let Some(path) = &args.labels {
        formats::write_npy_labels(path, &labelled.result.labels)?;
        say!("wrote {}", path.display());
    }
    Ok(())
}

/// What is asked of a run.
pub(crate) struct Request {
    pub(crate) options: SegmentOptions,
    /// Ids from elsewhere.
    pub(crate) superpoints: Option<Vec<i64>>,
}

/// Runs the network on `cloud`.
pub(crate) fn label(
    cloud: CloudFile,
    name: &str,
    model: &Arc<Model>,
    model_name: &str,
    vocabulary: Arc<Vocabulary>,
    args: &RunArgs,
    request: &Request,
) -> Result<Labelled> {
    let names: Vec<String> = vocabulary.labels().iter().map(|label| label.name.clone()).collect();
    let palette = match vocabulary.colors() {
        [] => picture::label_colors(names.len()),
        colors => colors.to_vec(),
    };
    let mut session = Session::on(model.clone(), args.engine.open()?);
    session.set_vocabulary(vocabulary)?;
    let frame = args.frame();
    let superpoints = request.superpoints.as_deref().map(StridedView::packed_i64);
    let view = Cloud { superpoints, ..cloud.view(frame) };
    let progress = Progress::new("segmenting");
    let report = |fraction| progress.report(fraction);
    let start = Instant::now();
    let control = Control { progress: Some(&report), ..Control::default() };
    let mut results = session.segment(&[view], &request.options, control)?;
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    drop(progress);
    let result = results.clouds.pop().ok_or_else(|| Error::internal("no result for the cloud"))?;
    let summary = Summary {
        cloud: name.to_owned(),
        model: model_name.to_owned(),
        device: session.describe_device(),
        points: result.labels.len(),
        unlabelled: result.labels.iter().filter(|&&label| label < 0).count(),
        voxels: result.coordinates.len(),
        superpoints: result.superpoints.as_ref().map(|found| found.count()),
        milliseconds,
        working_bytes: session.memory().last_bytes,
        labels: count_labels(&result.labels, &names),
        stages: results.stages.iter().map(Into::into).collect(),
    };
    let metres = cloud.positions.iter().map(|&p| frame.to_metres(p)).collect();
    Ok(Labelled { cloud, metres, result, names, palette, summary })
}

/// The colour of points without a label.
const NO_LABEL: [u8; 3] = [160, 160, 160];

impl Labelled {
    fn point_colors(&self) -> Vec<[u8; 3]> {
        let color = |&label: &i32| usize::try_from(label).map_or(NO_LABEL, |label| self.palette[label]);
        self.result.labels.iter().map(color).collect()
    }

    pub(crate) fn write_ply(&self, path: &std::path::Path) -> Result<()> {
        let labelled = LabelledCloud {
            positions: &self.cloud.positions,
            colors: &self.point_colors(),
            labels: &self.result.labels,
            scores: &self.result.scores,
            names: &self.names,
            superpoints: self.result.superpoints.as_ref().map(|found| &found.of_point[..]),
        };
        formats::write_labelled_ply(path, &labelled)?;
        say!("wrote {}", path.display());
        Ok(())
    }

    pub(crate) fn write_picture(&self, path: &std::path::Path, title: &str) -> Result<()> {
        let entry = |count: &report::LabelCount| LegendEntry {
            name: count.name.clone(),
            color: self.palette[count.label],
            count: count.points,
        };
        let legend: Vec<LegendEntry> = self.summary.labels.iter().filter(|l| l.points > 0).map(entry).collect();
        picture::save(path, &picture::draw_cloud(&self.metres, &self.point_colors(), &legend, title))?;
        say!("wrote {}", path.display());
        Ok(())
    }

    pub(crate) fn write_json(&self, path: &std::path::Path) -> Result<()> {
        write_json(path, &self.summary)
    }
}

/// Writes a summary.
pub(crate) fn write_json(path: &std::path::Path, summary: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(summary).map_err(|e| Error::internal(e.to_string()))?;
    std::fs::write(path, text + "\n").map_err(|e| Error::io(path, "write the summary", &e))?;
    say!("wrote {}", path.display());
    Ok(())
}
