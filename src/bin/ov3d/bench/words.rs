//! What words take: prompts through a text encoder, and new words for a finished run.

use super::measure::{EngineChoice, cpu_thread_counts, workloads};
use super::workload::{self, Source};
use super::{Args, machine};
use openvocab3d::backend::{Control, Precision};
use openvocab3d::cancel::Cancel;
use openvocab3d::pipeline::SegmentOptions;
use openvocab3d::session::Session;
use openvocab3d::text::{EncoderOptions, Preset, Templates, TextEncoder, TowerShape, WeightWidth};
use openvocab3d::{Error, Result};
use std::path::Path;
use std::time::Instant;

/// 20 and 200 prompts: those of the published label sets.
const SETS: [&str; 2] = ["scannet20", "scannet200"];

/// Milliseconds, shortest first.
struct Times(Vec<f64>);

impl Times {
    /// Of the runs that count.
    fn of(args: &Args, mut run: impl FnMut() -> Result<f64>) -> Result<Self> {
        (0..args.warmup).try_for_each(|_| run().map(drop))?;
        let mut times = (0..args.runs).map(|_| run()).collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(Self(times))
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(times) = self;
        let (median, last) = (times[times.len() / 2], times[times.len() - 1]);
        write!(f, "{median:.1} ms (median of {}; {:.1} to {last:.1})", times.len(), times[0])
    }
}

/// Milliseconds since `start`.
fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

/// Measures the text encoder at `path`, or of a published shape.
pub(super) fn encoder(path: &Path, args: &Args) -> Result<()> {
    for threads in cpu_thread_counts(args) {
        let options = |width| EncoderOptions { threads: Some(threads), width, ..EncoderOptions::default() };
        let shape = TowerShape::PUBLISHED.into_iter().find(|(name, _)| path.to_str() == Some(name));
        let before = machine::resident_bytes();
        let encoder = match (shape, args.precision.unwrap_or_default()) {
            (Some((_, shape)), Precision::F32) => TextEncoder::untrained(shape, 1, &options(WeightWidth::F32))?,
            (Some((_, shape)), Precision::Bf16) => TextEncoder::untrained(shape, 1, &options(WeightWidth::Bf16))?,
            (None, Precision::F32) => TextEncoder::load(path, &options(WeightWidth::Stored))?,
            (None, Precision::Bf16) => TextEncoder::load(path, &options(WeightWidth::Bf16))?,
        };
        say!("{}, {} wide, {}", path.display(), encoder.dim(), super::table::threads_text(threads));
        say!("  weights {}{}", mebibytes(encoder.weight_bytes()), grown(before, machine::resident_bytes()));
        let before = machine::resident_bytes();
        machine::forget_peak();
        for set in SETS {
            let preset = Preset::find(set)?;
            let prompts: Vec<String> =
                preset.labels.iter().flat_map(|label| Templates::default().texts(&label.prompts[0])).collect();
            let times = Times::of(args, || {
                let start = Instant::now();
                encoder.encode(&prompts, Cancel::default())?;
                Ok(since(start))
            })?;
            let memory = grown(before, machine::peak_bytes());
            say!("  {} prompts of {set}: {times}{memory}", prompts.len());
        }
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// By how much memory grew, where the system tells it.
fn grown(before: Option<u64>, after: Option<u64>) -> String {
    let more = before.zip(after).map(|(before, after)| after.saturating_sub(before));
    more.map_or(String::new(), |bytes| format!("; the process grew by {}", mebibytes(bytes)))
}

/// Measures new words for a finished run.
pub(super) fn query(args: &Args) -> Result<()> {
    let engine = EngineChoice::new(args)?;
    let source = Source::of(args)?;
    let loaded = args.model.as_ref().map(|_| source.model(0.02)).transpose()?;
    let workloads = workloads(args, loaded.map(|model| model.voxel_size()))?;
    let workload = workloads.first().ok_or_else(|| Error::internal("no cloud to query"))?;
    let model = source.model(workload.voxel_size)?;
    workload::check_colors(&model, workload)?;
    for threads in engine.thread_counts(args) {
        let mut session = Session::on(model.clone(), engine.open(threads)?.backend);
        session.set_vocabulary(workload::vocabulary(&model, 1, 0)?)?;
        let options = SegmentOptions { keep_trunk: true, ..workload.options() };
        let mut run = session.segment(&workload.clouds(), &options, Control::default())?;
        let (Some(points), Some(kept)) = (run.clouds.pop(), run.kept.pop()) else {
            return Err(Error::internal("no result for the cloud"));
        };
        let mut seed = 0;
        let times = Times::of(args, || {
            seed += 1;
            let words = workload::vocabulary(&model, args.labels, seed)?;
            let start = Instant::now();
            session.query(&kept, &points.voxel_of_point, words, &SegmentOptions::default(), Control::default())?;
            Ok(since(start))
        })?;
        let (name, points, voxels) = (&workload.name, points.labels.len(), points.coordinates.len());
        let threads = super::table::threads_text(threads);
        say!("{name}: {} new words for {points} points, {voxels} voxels, {threads}: {times}", args.labels);
    }
    Ok(())
}
