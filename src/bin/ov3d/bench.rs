//! `ov3d bench`: where the time of a network goes, against what the machine can do.

mod ceilings;
mod compare;
mod machine;
mod measure;
mod parity;
mod pictures;
mod record;
mod table;
mod words;
mod workload;

use crate::formats;
use ceilings::Effort;
use clap::ValueEnum;
use openvocab3d::backend::Precision;
use openvocab3d::backend::cpu::CpuLevel;
use openvocab3d::{Error, Result};
use record::Record;
use std::path::PathBuf;

/// Measure where the time of a network goes, against what the machine can do
///
/// Runs from points to labels again and again and prints, for every part of the network, the median time, the rate of
/// useful multiply-adds, and its share of two ceilings measured right before and after with the same threads:
/// multiply-adds that never leave the registers (FMA), and a large dense matrix product (GEMM). Memory traffic that no
/// way of computing could avoid is compared with the rate of a plain copy. The bound, by which small clouds are judged,
/// is the time of the useful multiply-adds at the GEMM rate plus that of the weights' bytes at the copy rate; `/bound` is
/// how many times as long the median took. Without CLOUD a scene is generated; without --model the network has random
/// weights, which take the same time.
///
/// On a CUDA device (--device cuda:0) the results are first compared with the CPU's, and a difference beyond what FP16
/// explains is an error; the ceilings are the device's tensor cores and its memory, the bound of a stage is the larger of
/// its multiply-adds at the one rate and its bytes at the other, and every kernel has a line. Bytes that stay in the
/// device's L2 move faster than its memory: where they decide, a bound is no floor, and a kernel may be below it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d bench                                               # MinkUNet18A on a generated room of 100,000 voxels
  ov3d bench --scene lidar --voxels 60k --threads 1,2 --layers
  ov3d bench --device cuda:0 --layers --json h200.json     # parity with the CPU, every stage and every kernel
  ov3d bench scan.ply --model scannet.safetensors --json new.json --picture new.png
  ov3d bench --json before.json                            # ... change something ...
  ov3d bench --compare before.json                         # measures anew and compares
  ov3d bench --compare before.json after.json              # compares two files, measures nothing
  ov3d bench --scaling --sizes 1k,2k,5k,10k                # small crops, against their bound
  ov3d bench --scaling --sizes 10k,100k,1M --picture scaling.png
  ov3d bench --encoder vit-l-14 --threads 2                # prompts through a text encoder
  ov3d bench --query --threads 2                           # new words for a finished run")]
pub(crate) struct Args {
    /// Cloud to run on instead of a generated one: PLY or npy of points in metres; an npy of whole numbers is taken as
    /// voxel coordinates, [n, 3], or [n, 4] with the batch first
    cloud: Option<PathBuf>,
    /// Scene to generate
    #[arg(long, value_enum, default_value_t = SceneArg::Room, conflicts_with = "cloud")]
    scene: SceneArg,
    /// Voxels of the generated scene, such as 100000, 100k or 2M
    #[arg(long, default_value = "100k", value_parser = parse_count, conflicts_with_all = ["cloud", "scaling"])]
    voxels: usize,
    /// Edge of a voxel in metres [default: the model's; without one 0.02, for lidar 0.05]
    #[arg(long)]
    voxel_size: Option<f64>,
    /// Seed of the generated scene
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Model file (see `ov3d convert`)
    #[arg(short, long, conflicts_with = "arch")]
    model: Option<PathBuf>,
    /// Network with random weights and a text space 512 wide
    #[arg(long, default_value = "MinkUNet18A")]
    arch: String,
    /// Labels, with random embeddings
    #[arg(long, default_value_t = 20)]
    labels: usize,
    /// Where to compute: cpu, cuda:0, cuda:1, ... or an index that `ov3d devices` lists
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Leave out the comparison of a device's results with the CPU's
    #[arg(long)]
    no_parity: bool,
    /// Numbers of threads, one measurement each [default: 1 and all]
    #[arg(long, value_delimiter = ',')]
    threads: Vec<usize>,
    /// Vector instructions, such as avx2; `portable` is everywhere [default: the best this CPU has]
    #[arg(long)]
    level: Option<CpuLevel>,
    /// What features and weights are multiplied in on the CPU: f32 or bf16; both ceilings stay those of FP32
    /// [default: f32; CUDA devices compute in f16]
    #[arg(long)]
    precision: Option<Precision>,
    /// Runs that do not count before those that do
    #[arg(long, default_value_t = 1)]
    warmup: usize,
    /// Runs of which the median counts
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How thoroughly the ceilings are measured
    #[arg(long, value_enum, default_value_t = Effort::Full)]
    ceilings: Effort,
    /// Show every layer instead of the parts of the network
    #[arg(long)]
    layers: bool,
    /// JSON file to write, for --compare and for other programs
    #[arg(long)]
    json: Option<PathBuf>,
    /// Compare with what --json wrote earlier: one file with this run, two files with one another
    #[arg(long, num_args = 1..=2, value_names = ["OLD.json", "NEW.json"])]
    compare: Vec<PathBuf>,
    /// Picture (PNG) to write: where the time goes, or with --scaling time against voxels
    #[arg(long)]
    picture: Option<PathBuf>,
    /// Measure generated scenes of several sizes
    #[arg(long, conflicts_with = "cloud")]
    scaling: bool,
    /// Sizes for --scaling in voxels
    #[arg(long, value_delimiter = ',', value_parser = parse_count, requires = "scaling",
          default_value = "1k,3k,10k,30k,100k,300k,1M,2M")]
    sizes: Vec<usize>,
    /// Measure a text encoder instead: its file or folder, or vit-b-32 or vit-l-14 with random weights
    #[arg(long, value_name = "PATH", conflicts_with_all = ["cloud", "scaling", "compare", "json", "picture", "query"])]
    encoder: Option<PathBuf>,
    /// Measure how long new words for a finished run take instead: as many as --labels
    #[arg(long, conflicts_with_all = ["scaling", "compare", "json", "picture"])]
    query: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SceneArg {
    /// Furnished rooms, as a depth camera scans them
    Room,
    /// A closed smooth surface
    Sphere,
    /// A street, as a spinning lidar of 64 beams sees it
    Lidar,
}

/// `100000`, `100k` or `0.1M`.
fn parse_count(text: &str) -> std::result::Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1e3),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1e6),
        _ => (text, 1.0),
    };
    let count = digits.parse::<f64>().ok().map(|v| v * unit);
    count
        .filter(|v| (1.0..1e12).contains(v))
        .map(|v| v.round() as usize)
        .ok_or_else(|| format!("'{text}' is no number of voxels; give one such as 100000, 100k or 2M"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    check(args)?;
    if let Some(encoder) = &args.encoder {
        return words::encoder(encoder, args);
    }
    if args.query {
        return words::query(args);
    }
    let earlier: Vec<Record> = args.compare.iter().map(|path| Record::load(path)).collect::<Result<_>>()?;
    let record = match &earlier[..] {
        [_, new] => new.clone(),
        _ => measure::measure(args)?,
    };
    // Files first: a reader of what is printed may go away.
    if let Some(path) = &args.json {
        record.save(path)?;
    }
    if let Some(path) = &args.picture {
        pictures::save(path, &record)?;
    }
    if earlier.len() < 2 {
        table::print(&record, args.layers, args.scaling);
    }
    for path in args.json.iter().chain(&args.picture) {
        say!("wrote {}", path.display());
    }
    match (&earlier[..], &args.compare[..]) {
        ([old, _], [a, b]) => compare::print(old, &record, [&name(a), &name(b)], args.layers)?,
        ([old], [a]) => compare::print(old, &record, [&name(a), "this run"], args.layers)?,
        _ => (),
    }
    if earlier.len() < 2 { parity::require(&record) } else { Ok(()) }
}

fn name(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// Errors that need no measurement to be found.
fn check(args: &Args) -> Result<()> {
    if args.runs == 0 {
        return Err(Error::argument("runs is 0; give at least 1, better 5, as the median of the runs counts"));
    }
    if args.labels == 0 {
        return Err(Error::argument("labels is 0; give at least 1, as the runs end with labels"));
    }
    if args.threads.contains(&0) {
        return Err(Error::argument("threads names 0; give numbers from 1 up, such as --threads 1,4"));
    }
    if args.compare.len() == 2 && (args.cloud.is_some() || args.json.is_some() || args.scaling) {
        let message = "compare names two files, so nothing is measured; leave out the second to measure, or the cloud, \
                       --scaling and --json";
        return Err(Error::argument(message));
    }
    formats::check_outputs(&args.cloud, args.json.iter().chain(&args.picture))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_units() {
        assert_eq!(["1000", "3k", "0.5M", "2m"].map(|t| parse_count(t).unwrap()), [1000, 3000, 500_000, 2_000_000]);
        for bad in ["", "k", "-3", "1e40", "nan", "0", "2G"] {
            assert!(parse_count(bad).is_err(), "{bad}");
        }
    }
}
