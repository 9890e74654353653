//! From input to labels: quantise, levels, kernel maps, the network's steps, head with lift to points.

use super::arithmetic::{Arithmetic, row_words};
use super::convolution::Operands;
use super::coordinates::{self, CoordinateMaps};
use super::head;
use super::input::input_features;
use super::layout::Layout;
use super::memory;
use super::prepared::{PreparedNetwork, PreparedStep};
use super::tensor::{Scratch, Tensor, Workers};
use crate::arena::{Arena, Buffer};
use crate::backend::{Control, FeatureSpace, Job, Outcome, Query, STAGES, Scores, Stage, Trunk, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::TensorId;
use std::sync::Arc;
use std::time::Instant;

/// Measures stages and reports progress.
struct Clock<'a> {
    control: Control<'a>,
    stages: Buffer<Stage>,
    planned: usize,
    start: Instant,
}

impl Clock<'_> {
    fn lap(&mut self, name: &Arc<str>, work: Work) -> Result<()> {
        let now = Instant::now();
        self.stages.push(Stage { name: name.clone(), time: now - self.start, work });
        self.start = now;
        self.control.report(self.stages.len() as f32 / self.planned as f32)
    }
}

/// How and with which memory a run computes.
pub(super) struct Means<'a> {
    pub(super) arithmetic: Arithmetic,
    pub(super) workers: &'a Workers,
    pub(super) scratch: &'a mut Scratch,
    pub(super) arena: &'a Arena,
}

/// Runs `job` on the current thread pool.
pub(super) fn execute(mut means: Means<'_>, job: &Job<'_>) -> Result<Outcome> {
    let (arithmetic, arena) = (means.arithmetic, means.arena);
    let plan = job.plan;
    let planned = plan.steps.len() + 3 + usize::from(job.scores.is_some()) + usize::from(job.features.is_some());
    let cancel = job.control.cancel;
    let network = plan
        .prepared
        .get_or_prepare(("cpu", arithmetic.number()), cancel, || PreparedNetwork::new(arithmetic, plan, cancel))?;
    let stages = arena.with_capacity(planned, "the stages")?;
    let mut clock = Clock { control: job.control, stages, planned, start: Instant::now() };
    let [quantise, levels_stage, maps_stage, ..] = &*STAGES;
    job.control.report(0.0)?;

    job.check_budget(memory::voxelise_bytes(job.input.points()))?;
    let (voxels, origins) = coordinates::voxelise(&job.input, arena, cancel)?;
    clock.lap(quantise, Work::default())?;
    let levels = coordinates::levels(plan, &voxels, cancel)?;
    clock.lap(levels_stage, Work::default())?;
    let kernel_maps = coordinates::kernel_maps(&network, &levels, cancel)?;
    clock.lap(maps_stage, Work::default())?;
    let maps = CoordinateMaps { levels, kernel_maps };
    let rows_of = |tensor: TensorId| maps.levels.level(plan.tensor(tensor).level).len();
    let words_of = |tensor: TensorId| row_words(plan.tensor(tensor).channels, network.precisions[tensor.0]);
    let layout = Layout::new(&network, arena, |tensor| rows_of(tensor) * words_of(tensor))?;
    let working_bytes = memory::working_bytes(job, &voxels, &maps, &network, &layout, means.workers);
    job.check_budget(working_bytes)?;
    // What follows is in the formula.
    arena.set_budget(None);
    means.workers.reserve(memory::worker_len(job, &maps.levels, &network))?;
    let elsewhere = arena.held_bytes() + means.workers.bytes();
    means.scratch.reserve(layout.lens(), job.memory_budget.map(|budget| budget.saturating_sub(elsewhere)))?;
    let input = match plan.input {
        Some(input) => {
            let (channels, precision) = (plan.tensor(input).channels, network.precisions[input.0]);
            input_features(job, &voxels, means.scratch.take(layout.slot(input), voxels.len(), channels, precision)?)?
        }
        None => Tensor::default(),
    };
    let trunk = run_network(&mut means, job, &network, &layout, input, &maps, &mut clock)?;
    drop(maps);

    let mut outcome = Outcome {
        voxels,
        origins,
        scores: None,
        trunk: None,
        features: None,
        stages: Buffer::new_in(arena.clone()),
        working_bytes,
    };
    let outputs = fill_outputs(&means, job, &trunk, &mut outcome, &mut clock);
    match job.keep_trunk && outputs.is_ok() {
        true => outcome.trunk = Some(Trunk(Arc::new(trunk))),
        false => means.scratch.give(trunk),
    }
    outputs?;
    outcome.stages = clock.stages;
    job.control.report(1.0)?;
    Ok(outcome)
}

/// Scores and features of the trunk, as far as they are asked for.
fn fill_outputs(
    means: &Means<'_>,
    job: &Job<'_>,
    trunk: &Tensor,
    outcome: &mut Outcome,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let (arithmetic, arena, plan, cancel) = (means.arithmetic, means.arena, job.plan, job.control.cancel);
    let [.., head_stage, features_stage] = &*STAGES;
    if let Some(request) = &job.scores {
        let voxel_of_point = &outcome.voxels.voxel_of_point;
        let scores = head::score(trunk, 0..trunk.rows, voxel_of_point, request, means.workers, arena, job.control)?;
        outcome.scores = Some(scores);
        clock.lap(head_stage, head::score_work(request, trunk))?;
    }
    match job.features {
        Some(FeatureSpace::Trunk) => outcome.features = Some(head::trunk_features(trunk, arena, job.control)?),
        Some(FeatureSpace::Text) => {
            let full = arithmetic.full();
            let key = ("cpu text", full.number());
            let linear = plan.prepared.get_or_prepare(key, cancel, || head::text_head(full, plan))?;
            outcome.features = Some(head::text_features(trunk, &linear, means.workers, arena, job.control)?);
            clock.lap(features_stage, linear.work(trunk))?;
        }
        None => {}
    }
    Ok(())
}

/// Runs the plan's steps; returns the trunk.
fn run_network(
    means: &mut Means<'_>,
    job: &Job<'_>,
    network: &PreparedNetwork,
    layout: &Layout,
    input: Tensor,
    maps: &CoordinateMaps,
    clock: &mut Clock<'_>,
) -> Result<Tensor> {
    let plan = job.plan;
    let mut tensors = means.arena.collected(plan.tensors.iter().map(|_| Tensor::default()), "the layers")?;
    if let Some(TensorId(place)) = plan.input {
        tensors[place] = input;
    }
    let result = run_steps(means, job, network, layout, &mut tensors, maps, clock);
    let trunk = std::mem::take(&mut tensors[plan.trunk.0]);
    // Also after an error: to hand large buffers back to the system takes longer than a cancelled call may.
    tensors.into_iter().for_each(|tensor| means.scratch.give(tensor));
    match result {
        Ok(()) => Ok(trunk),
        Err(error) => {
            means.scratch.give(trunk);
            Err(error)
        }
    }
}

fn run_steps(
    means: &mut Means<'_>,
    job: &Job<'_>,
    network: &PreparedNetwork,
    layout: &Layout,
    tensors: &mut [Tensor],
    maps: &CoordinateMaps,
    clock: &mut Clock<'_>,
) -> Result<()> {
    let plan = job.plan;
    for ((step, prepared), released) in plan.steps.iter().zip(&network.steps).zip(&network.released) {
        let (written, spec) = (step.writes(), plan.tensor(step.writes()));
        let (rows, precision) = (maps.levels.level(spec.level).len(), network.precisions[written.0]);
        let mut output = means.scratch.take(layout.slot(written), rows, spec.channels, precision)?;
        let operands =
            Operands { arithmetic: means.arithmetic, workers: means.workers, tensors, maps, control: job.control };
        let work = match prepared {
            PreparedStep::Stem(stem) => stem.run(&operands, &maps.levels, &mut output),
            PreparedStep::Convolution(convolution) => convolution.run(&operands, &mut output),
        };
        tensors[written.0] = output;
        for &TensorId(tensor) in released {
            means.scratch.give(std::mem::take(&mut tensors[tensor]));
        }
        clock.lap(step.name(), work?)?;
    }
    Ok(())
}

/// Scores the kept trunk of an earlier run on the current thread pool.
pub(super) fn query(query: &Query<'_>, workers: &Workers, arena: &Arena) -> Result<Scores> {
    let Some(trunk) = query.trunk.0.downcast_ref::<Tensor>() else {
        return Err(Error::new(ErrorKind::InvalidState, "the result was computed by another backend"));
    };
    if query.voxels.end > trunk.rows {
        return Err(Error::internal("the kept trunk has fewer voxels than the result"));
    }
    let voxel_of_point: &[u32] = bytemuck::cast_slice(query.voxel_of_point);
    query.control.report(0.0)?;
    workers.reserve(head::score_len(&query.request))?;
    let scores =
        head::score(trunk, query.voxels.clone(), voxel_of_point, &query.request, workers, arena, query.control)?;
    query.control.report(1.0)?;
    Ok(scores)
}
