//! From input to labels: quantise, levels, kernel maps, the network's steps, head with lift to points.

use super::convolution::Operands;
use super::head;
use super::level::CpuLevel;
use super::memory;
use super::prepared::{PreparedNetwork, PreparedStep};
use super::tensor::{Scratch, Tensor};
use crate::backend::{Control, FeatureSpace, Input, Job, Outcome, Query, Representative, Scores, Stage, Trunk};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, quantise};
use crate::error::{Error, ErrorKind, Result, collected};
use crate::plan::{Geometry, Plan, TensorId};
use crate::sparse::{KernelMap, Levels, Voxels, from_coordinates};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Most output rows per chunk: a chunk's outputs and the inputs they meet fit a core's L2 cache.
const CHUNK_ROWS: usize = 512;
/// Fewest: below this the tail of a row tile costs more than idle threads.
const MIN_CHUNK_ROWS: usize = 64;

/// Measures stages and reports progress.
struct Clock<'a> {
    control: Control<'a>,
    stages: Vec<Stage>,
    planned: usize,
    start: Instant,
}

impl Clock<'_> {
    fn lap(&mut self, name: &str, flop: u64) -> Result<()> {
        let now = Instant::now();
        self.stages.push(Stage { name: name.to_owned(), time: now - self.start, flop });
        self.start = now;
        self.control.report(self.stages.len() as f32 / self.planned as f32)
    }
}

/// Runs `job` on the current thread pool.
pub(super) fn execute(level: CpuLevel, job: &Job<'_>, scratch: &mut Scratch) -> Result<Outcome> {
    let plan = job.plan;
    let planned = plan.steps.len() + 3 + usize::from(job.scores.is_some()) + usize::from(job.features.is_some());
    let network = plan.prepared.get_or_prepare(&format!("cpu {level} f32"), || PreparedNetwork::new(level, plan))?;
    let mut clock = Clock { control: job.control, stages: Vec::new(), planned, start: Instant::now() };
    job.control.report(0.0)?;

    let (voxels, origins) = voxelise(&job.input, job.control.cancel)?;
    clock.lap("quantise", 0)?;
    let levels =
        Levels::new(collected(voxels.keys.iter().copied(), "the voxel keys")?, plan.levels, job.control.cancel)?;
    clock.lap("levels", 0)?;
    let maps = kernel_maps(plan, &levels, job.control.cancel)?;
    clock.lap("kernel maps", 0)?;
    let working_bytes = memory::working_bytes(job, &voxels, &levels, &maps);
    memory::check_budget(job, working_bytes)?;
    let trunk = run_network(level, job, &network, &voxels, &levels, &maps, scratch, &mut clock)?;
    drop((levels, maps));

    let mut outcome = Outcome { voxels, origins, working_bytes, ..Outcome::default() };
    if let Some(request) = &job.scores {
        let voxel_of_point = &outcome.voxels.voxel_of_point;
        outcome.scores = Some(head::score(&trunk, 0..trunk.rows, voxel_of_point, request, job.control)?);
        clock.lap("head", head::score_flop(request, trunk.rows))?;
    }
    match job.features {
        Some(FeatureSpace::Trunk) => outcome.features = Some(head::trunk_features(&trunk)?),
        Some(FeatureSpace::Text) => {
            let linear =
                plan.prepared.get_or_prepare(&format!("cpu {level} f32 text"), || head::text_head(level, plan))?;
            outcome.features = Some(head::text_features(&trunk, &linear, job.control)?);
            clock.lap("features", linear.flop(trunk.rows))?;
        }
        None => {}
    }
    match job.keep_trunk {
        true => outcome.trunk = Some(Trunk(Arc::new(trunk))),
        false => scratch.give(trunk),
    }
    outcome.stages = clock.stages;
    job.control.report(1.0)?;
    Ok(outcome)
}

fn voxelise(input: &Input<'_>, cancel: Cancel<'_>) -> Result<(Voxels, Vec<[i64; 3]>)> {
    match input {
        Input::Coordinates { rows, .. } => Ok((from_coordinates(rows, cancel)?, Vec::new())),
        Input::Clouds { clouds, voxel_size, grid_origin, rotation_scale, .. } => {
            let quantised = clouds
                .iter()
                .map(|cloud| quantise(cloud, *voxel_size, *grid_origin, rotation_scale.as_ref(), cancel))
                .collect::<Result<Vec<_>>>()?;
            let cells: Vec<&[[u32; 3]]> = quantised.iter().map(|q| &q.cells[..]).collect();
            Ok((Voxels::from_cells(&cells, cancel)?, quantised.iter().map(|q| q.origin).collect()))
        }
    }
}

fn kernel_maps(plan: &Plan, levels: &Levels, cancel: Cancel<'_>) -> Result<HashMap<Geometry, KernelMap>> {
    let mut maps = HashMap::new();
    for geometry in plan.steps.iter().flat_map(|step| step.geometries()) {
        if maps.contains_key(&geometry) {
            continue;
        }
        let (Geometry::Submanifold { level: to, .. } | Geometry::Strided { to } | Geometry::Transposed { to }) =
            geometry;
        let chunk_rows = chunk_rows(levels.level(to).len());
        let map = match geometry {
            Geometry::Submanifold { level, size } => KernelMap::submanifold(levels, level, size, chunk_rows, cancel),
            Geometry::Strided { to } => KernelMap::strided(levels, to - 1, chunk_rows, cancel),
            Geometry::Transposed { to } => KernelMap::transposed(levels, to, chunk_rows, cancel),
        };
        maps.insert(geometry, map?);
    }
    Ok(maps)
}

/// Chunks small enough that every thread gets several, within the limits above. No result depends on it.
fn chunk_rows(rows: usize) -> usize {
    let share = rows.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(8).clamp(MIN_CHUNK_ROWS, CHUNK_ROWS)
}

fn run_network(
    level: CpuLevel,
    job: &Job<'_>,
    network: &PreparedNetwork,
    voxels: &Voxels,
    levels: &Levels,
    maps: &HashMap<Geometry, KernelMap>,
    scratch: &mut Scratch,
    clock: &mut Clock<'_>,
) -> Result<Tensor> {
    let plan = job.plan;
    let mut tensors: Vec<Tensor> = plan.tensors.iter().map(|_| Tensor::default()).collect();
    if let Some(TensorId(input)) = plan.input {
        tensors[input] = input_features(&job.input, voxels, plan.tensors[input].channels, scratch)?;
    }
    for ((step, prepared), released) in plan.steps.iter().zip(&network.steps).zip(&network.released) {
        let spec = plan.tensor(step.writes());
        let mut output = Tensor::unfilled(levels.level(spec.level).len(), spec.channels, scratch)?;
        let flop = match prepared {
            PreparedStep::Stem(stem) => stem.run(levels, job.control, &mut output)?,
            PreparedStep::Convolution(convolution) => {
                let operands = Operands { level, tensors: &tensors, maps, control: job.control };
                convolution.run(&operands, &mut output)?
            }
        };
        tensors[step.writes().0] = output;
        for &TensorId(tensor) in released {
            scratch.give(std::mem::take(&mut tensors[tensor]));
        }
        clock.lap(step.name(), flop)?;
    }
    Ok(std::mem::take(&mut tensors[plan.trunk.0]))
}

/// `[v, channels]` features of the representative point of each voxel.
fn input_features(input: &Input<'_>, voxels: &Voxels, channels: usize, scratch: &mut Scratch) -> Result<Tensor> {
    let mut tensor = Tensor::unfilled(voxels.len(), channels, scratch)?;
    tensor.as_mut_slice().fill(0.0);
    let stride = tensor.stride;
    let rows = tensor.as_mut_slice().chunks_exact_mut(stride).enumerate();
    match input {
        Input::Coordinates { features: Some(features), .. } => {
            for (voxel, row) in rows {
                let first = voxels.points_of(voxel)[0] as usize;
                row[..channels].copy_from_slice(&features[first * channels..][..channels]);
            }
        }
        Input::Coordinates { features: None, .. } => {
            let cure = "give `[rows, channels]` features with the coordinates";
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("the network reads {channels} input features; {cure}"),
            ));
        }
        Input::Clouds { clouds, representative, .. } => {
            let points = PointIndex::new(clouds);
            for (voxel, row) in rows {
                let point = points.representative(voxels.points_of(voxel), *representative);
                let (cloud, index) = points.locate(point);
                row[..channels].copy_from_slice(&cloud.color_feature(index)[..channels]);
            }
        }
    }
    Ok(tensor)
}

/// Finds the cloud and row of a point number that runs through all clouds of a call.
struct PointIndex<'a> {
    clouds: &'a [Cloud<'a>],
    starts: Vec<usize>,
}

impl<'a> PointIndex<'a> {
    fn new(clouds: &'a [Cloud<'a>]) -> Self {
        let starts = clouds.iter().scan(0, |total, cloud| {
            let start = *total;
            *total += cloud.len();
            Some(start)
        });
        Self { clouds, starts: starts.collect() }
    }

    fn locate(&self, point: u32) -> (&'a Cloud<'a>, usize) {
        let cloud = self.starts.partition_point(|&start| start <= point as usize) - 1;
        (&self.clouds[cloud], point as usize - self.starts[cloud])
    }

    fn representative(&self, points: &[u32], rule: Representative) -> u32 {
        match rule {
            Representative::First => points[0],
            Representative::Canonical => {
                points.iter().copied().min_by(|&a, &b| self.compare(a, b)).unwrap_or(points[0])
            }
        }
    }

    /// By position, then colour.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let key = |point: u32| {
            let (cloud, index) = self.locate(point);
            (cloud.positions.row(index), cloud.color_feature(index).map(f64::from))
        };
        let ((pa, ca), (pb, cb)) = (key(a), key(b));
        let terms = pa.iter().chain(&ca).zip(pb.iter().chain(&cb));
        terms.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}

/// Scores the kept trunk of an earlier run on the current thread pool.
pub(super) fn query(query: &Query<'_>) -> Result<Scores> {
    let Some(trunk) = query.trunk.0.downcast_ref::<Tensor>() else {
        return Err(Error::new(ErrorKind::InvalidState, "the result was computed by another backend"));
    };
    if query.voxels.end > trunk.rows {
        return Err(Error::internal("the kept trunk has fewer voxels than the result"));
    }
    let voxel_of_point: &[u32] = bytemuck::cast_slice(query.voxel_of_point);
    query.control.report(0.0)?;
    let scores = head::score(trunk, query.voxels.clone(), voxel_of_point, &query.request, query.control)?;
    query.control.report(1.0)?;
    Ok(scores)
}
