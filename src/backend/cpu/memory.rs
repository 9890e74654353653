//! The working memory of a run, by formula: what a budget is checked against, first for the points alone, then, when
//! voxels and neighbours are known, for the whole run before any layer is computed.

use super::arithmetic::row_words;
use super::coordinates::{CoordinateMaps, chunk_rows};
use super::head;
use super::layout::Layout;
use super::linear::block_len;
use super::prepared::PreparedNetwork;
use super::tensor::Workers;
use crate::backend::job::voxel_bytes;
use crate::backend::{FeatureSpace, Job, Precision};
use crate::plan::{Step, TensorId};
use crate::sparse::{Levels, Voxels};

/// Bytes that turning `points` points into voxels needs: cells, two buffers of keyed points for the sort, the voxel of
/// each point. Known before anything is allocated.
pub(super) fn voxelise_bytes(points: usize) -> u64 {
    points as u64 * (12 + 32 + 4)
}

/// Bytes that `job` needs at most at one time, beyond the model and the caller's own buffers. Results count twice: as the
/// run gives them and as each cloud's own.
pub(super) fn working_bytes(
    job: &Job<'_>,
    voxels: &Voxels,
    coordinates: &CoordinateMaps,
    network: &PreparedNetwork,
    layout: &Layout,
    workers: &Workers,
) -> u64 {
    let levels = &coordinates.levels;
    let points = voxels.voxel_of_point.len() as u64;
    let count = voxels.len() as u64;
    let base = voxel_bytes(count, points) + levels.bytes();
    let maps: u64 = coordinates.kernel_maps.iter().map(|(_, map)| map.bytes()).sum();
    let sums = 4 * (workers.threads() * worker_len(job, &coordinates.levels, network)) as u64;
    let run = base + sums + layout.bytes() + maps.max(job.output_bytes(count, points));
    run.max(voxelise_bytes(voxels.voxel_of_point.len()))
}

/// Floats that every thread needs for itself: the sums of a chunk whose rows are rounded, and blocks of scores.
pub(super) fn worker_len(job: &Job<'_>, levels: &Levels, network: &PreparedNetwork) -> usize {
    let plan = job.plan;
    let rounded = plan.steps.iter().map(Step::writes).filter(|tensor| network.precisions[tensor.0] == Precision::Bf16);
    let chunk = |tensor: TensorId| {
        let spec = plan.tensor(tensor);
        // A block of the stem has up to 64 rows.
        chunk_rows(levels.level(spec.level).len()).max(64) * row_words(spec.channels, Precision::F32)
    };
    let scores = job.scores.as_ref().map_or(0, head::score_len);
    let features = if job.features == Some(FeatureSpace::Text) { block_len(plan.head.text_dim()) } else { 0 };
    rounded.map(chunk).max().unwrap_or(0).max(scores).max(features)
}
