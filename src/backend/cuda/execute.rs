//! From input to labels on the device: points, levels, kernel maps, the network's steps, head with lift to points.

use super::buffer::{Buffer, Region, RegionPlan, Slot, Span};
use super::clock::Clock;
use super::context::Stream;
use super::convolution::Operands;
use super::coordinates::{Counts, LevelArrays, LevelSlots, Points, point_bytes};
use super::head::{DeviceLinear, FeatureSlots, HeadRun, ScoreSlots, TrunkView, head_of, trunk_features};
use super::kernels::{Kernels, Queue};
use super::maps::{MapSlots, Maps};
use super::memory::{DeviceMemory, host_bytes};
use super::prepared::{DeviceNetwork, DeviceStep};
use super::profile::Profile;
use super::stem::{enqueue_voxel_features, point_features};
use super::weights::stride_of;
use crate::arena::Arena;
use crate::backend::{FeatureSpace, Job, Outcome, Query, STAGES, Scores, Trunk, Work};
use crate::error::{Error, ErrorKind, Result, filled};
use crate::plan::{Plan, TensorId};
use half::f16;
use std::sync::Arc;

/// A run's trunk that outlives it.
#[derive(Debug)]
struct KeptTrunk {
    ordinal: u32,
    features: Buffer<f16>,
    rows: usize,
    channels: usize,
}

/// The device that a run is on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) ordinal: u32,
    pub(super) kernels: &'a Kernels,
    pub(super) stream: &'a Stream,
    /// Where results on the host go.
    pub(super) arena: &'a Arena,
    /// Notes every launch, if there is one.
    pub(super) profile: Option<&'a Profile>,
}

impl<'a> Target<'a> {
    fn queue(self) -> Queue<'a> {
        Queue { kernels: self.kernels, stream: self.stream, profile: self.profile }
    }
}

/// Where everything sized by the voxels lies.
struct VoxelSlots {
    levels: LevelSlots,
    maps: MapSlots,
    /// By tensor; the trunk's is empty when it is kept.
    tensors: Vec<Slot<f16>>,
    partial: Slot<f32>,
    /// Features of the points and of the voxels, for networks that read them.
    features: [Slot<f32>; 2],
    scores: Option<ScoreSlots>,
    text: Option<FeatureSlots>,
}

/// Runs `job`.
pub(super) fn execute(target: Target<'_>, job: &Job<'_>, memory: &mut DeviceMemory) -> Result<Outcome> {
    let (plan, queue, cancel) = (job.plan, target.queue(), job.control.cancel);
    let DeviceMemory { regions, events } = memory;
    let planned = plan.steps.len() + 3 + usize::from(job.scores.is_some()) + usize::from(job.features.is_some());
    let (ordinal, arena) = (u64::from(target.ordinal), target.arena);
    let network =
        plan.prepared.get_or_prepare(("cuda", ordinal), cancel, || DeviceNetwork::new(target.stream, plan, cancel))?;
    let text = match job.features {
        Some(FeatureSpace::Text) => Some(
            plan.prepared
                .get_or_prepare(("cuda text", ordinal), cancel, || DeviceLinear::of_text(target.stream, plan))?,
        ),
        _ => None,
    };
    let [quantise, levels_stage, maps_stage, head_stage, features_stage] = &*STAGES;
    let mut clock = Clock::start(queue, job.control, events, planned)?;

    let budget = job.memory_budget;
    job.check_budget(point_bytes(job.input.points())? as u64)?;
    let points =
        Points::sorted(queue, |plan, host| regions.hold_points(plan, host, budget), &job.input, plan.levels, arena)?;
    clock.note_voxels(points.voxels());
    clock.lap(quantise)?;
    let (slots, needed) = voxel_slots(target, job, &network, text.as_deref(), &points)?;
    let trunk_len = if job.keep_trunk { points.voxels() * stride_of(plan.tensor(plan.trunk).channels) } else { 0 };
    let elsewhere = host_bytes(job, &points, planned) + (trunk_len * size_of::<f16>()) as u64;
    let working_bytes = points.device_bytes + (needed.bytes() as u64 + elsewhere).max(points.host_bytes);
    job.check_budget(working_bytes)?;
    regions.hold_voxels(&needed, elsewhere, budget)?;
    // What follows on the host is in the formula; blocks of earlier runs go back where they stand in its way.
    let on_device = regions.bytes() + (trunk_len * size_of::<f16>()) as u64;
    arena.set_budget(budget.map(|budget| budget.saturating_sub(on_device)));
    let region = regions.voxels();
    let levels = LevelArrays::written(queue, &points, &slots.levels, region)?;
    clock.lap(levels_stage)?;
    let maps = Maps::written(queue, &levels, &slots.maps, region)?;
    clock.lap(maps_stage)?;

    let kept = match job.keep_trunk {
        true => {
            let channels = plan.tensor(plan.trunk).channels;
            let features = Buffer::new(target.stream.context(), trunk_len, "the trunk")?;
            Some(KeptTrunk { ordinal: target.ordinal, features, rows: points.voxels(), channels })
        }
        false => None,
    };
    let mut run =
        Run { queue, job, network: &network, slots: &slots, region, points: &points, levels: &levels, maps: &maps };
    let trunk = run.network(kept.as_ref(), &mut clock)?;
    let (mut all_scores, mut features) = (None, None);
    if let (Some(request), Some(scores)) = (&job.scores, &slots.scores) {
        let head = head_of(request, target.ordinal)?;
        let run = HeadRun { queue, region, slots: scores, head, request, trunk, cancel, arena };
        all_scores = Some(run.score(points.voxel_of_point)?);
        clock.lap(head_stage)?;
    }
    match (job.features, &text, &slots.text) {
        (Some(FeatureSpace::Trunk), ..) => features = Some(trunk_features(queue, &trunk, arena)?),
        (Some(FeatureSpace::Text), Some(linear), Some(slots)) => {
            features = Some(slots.compute(queue, region, linear, &trunk, (arena, cancel))?);
            clock.lap(features_stage)?;
        }
        _ => {}
    }
    let voxels = points.download(queue, &levels, arena)?;
    let stages = {
        let pairs = maps.pairs(queue)?;
        clock.stages(arena, |stage| match stage.checked_sub(3).map(|step| (step, network.steps.get(step))) {
            Some((_, Some(DeviceStep::Stem(stem)))) => stem.work(points.voxels() as u64, pairs.of_stem()),
            Some((_, Some(DeviceStep::Convolution(convolution)))) => {
                convolution.work(&points.counts, pairs.of(convolution.geometry()))
            }
            Some((step, None)) => after_network(target, job, text.as_deref(), step == network.steps.len(), trunk.rows),
            None => Work::default(),
        })?
    };
    job.control.report(1.0)?;
    let trunk = kept.map(|kept| Trunk(Arc::new(kept)));
    Ok(Outcome { voxels, origins: points.origins, scores: all_scores, trunk, features, stages, working_bytes })
}

/// The work of the stages after the network: the head if there is one, then the features.
fn after_network(target: Target<'_>, job: &Job<'_>, text: Option<&DeviceLinear>, first: bool, rows: usize) -> Work {
    match (&job.scores, text) {
        (Some(request), _) if first => {
            head_of(request, target.ordinal).map_or_else(|_| Work::default(), |h| h.work(rows))
        }
        (_, Some(linear)) => linear.work(rows),
        _ => Work::default(),
    }
}

fn voxel_slots(
    target: Target<'_>,
    job: &Job<'_>,
    network: &DeviceNetwork,
    text: Option<&DeviceLinear>,
    points: &Points,
) -> Result<(VoxelSlots, RegionPlan)> {
    let (plan, counts) = (job.plan, &points.counts);
    let mut region = RegionPlan::default();
    let partial = network.steps.iter().map(|step| match step {
        DeviceStep::Stem(_) => 0,
        DeviceStep::Convolution(convolution) => convolution.partial_len(counts),
    });
    let input = plan.input.map_or(0, |input| plan.tensor(input).channels);
    let scores = match &job.scores {
        Some(request) => {
            let head = head_of(request, target.ordinal)?;
            Some(ScoreSlots::plan(head, request, points.voxels(), points.count, &mut region)?)
        }
        None => None,
    };
    let slots = VoxelSlots {
        levels: LevelSlots::plan(counts, &mut region)?,
        maps: MapSlots::plan(network.geometries(), counts, &mut region)?,
        tensors: tensor_slots(plan, counts, job.keep_trunk, &mut region)?,
        partial: region.reserve(partial.max().unwrap_or(0))?,
        features: [region.reserve(points.count * input)?, region.reserve(points.voxels() * input)?],
        scores,
        text: text.map(|linear| FeatureSlots::plan(linear, points.voxels(), &mut region)).transpose()?,
    };
    Ok((slots, region))
}

/// A place for every tensor that a step writes; tensors that nobody reads any more make room for those to come.
fn tensor_slots(plan: &Plan, counts: &Counts, keep_trunk: bool, region: &mut RegionPlan) -> Result<Vec<Slot<f16>>> {
    let mut slots = filled(plan.tensors.len(), Slot::default(), "the tensors")?;
    let mut spare: Vec<Slot<f16>> = Vec::new();
    for (step, released) in plan.steps.iter().zip(plan.released_after()) {
        let TensorId(written) = step.writes();
        if !(keep_trunk && step.writes() == plan.trunk) {
            let spec = plan.tensors[written];
            let len = counts[spec.level] as usize * stride_of(spec.channels);
            let fitting = spare.iter().enumerate().filter(|(_, slot)| slot.len() >= len);
            slots[written] = match fitting.min_by_key(|(_, slot)| slot.len()).map(|(index, _)| index) {
                Some(index) => spare.swap_remove(index),
                None => region.reserve(len)?,
            };
        }
        // The input features are no tensor of halves.
        spare.extend(released.iter().filter(|&&tensor| Some(tensor) != plan.input).map(|tensor| slots[tensor.0]));
    }
    Ok(slots)
}

/// What the steps of a run share.
struct Run<'a> {
    queue: Queue<'a>,
    job: &'a Job<'a>,
    network: &'a DeviceNetwork,
    slots: &'a VoxelSlots,
    region: &'a Region,
    points: &'a Points,
    levels: &'a LevelArrays,
    maps: &'a Maps,
}

impl Run<'_> {
    /// Puts the network's steps into the queue; returns the trunk.
    fn network(&mut self, kept: Option<&KeptTrunk>, clock: &mut Clock<'_>) -> Result<TrunkView> {
        let (plan, counts) = (self.job.plan, self.points.counts);
        let input = self.input()?;
        let mut tensors = self.slots.tensors.iter().map(|&slot| self.region.span(slot)).collect::<Result<Vec<_>>>()?;
        if let Some(kept) = kept {
            tensors[plan.trunk.0] = *kept.features;
        }
        let operands = Operands {
            tensors: &tensors,
            maps: self.maps,
            counts,
            device_counts: self.points.device_counts,
            partial: self.region.span(self.slots.partial)?,
        };
        for (step, device) in plan.steps.iter().zip(&self.network.steps) {
            let output = tensors[step.writes().0];
            match device {
                DeviceStep::Stem(stem) => {
                    stem.enqueue(self.queue, self.levels, input, self.maps.stem_pairs()?, output)?;
                }
                DeviceStep::Convolution(convolution) => convolution.enqueue(self.queue, &operands, output)?,
            }
            clock.lap(step.name())?;
        }
        let (rows, channels) = (self.points.voxels(), plan.tensor(plan.trunk).channels);
        let features = tensors[plan.trunk.0].part(0, rows * stride_of(channels))?;
        Ok(TrunkView { features, rows, channels })
    }

    /// The features of the voxels, if the network reads any.
    fn input(&self) -> Result<Span<f32>> {
        let Some(input) = self.job.plan.input else { return Ok(Span::default()) };
        let [of_points, of_voxels] = self.slots.features;
        let (of_points, of_voxels) = (self.region.span(of_points)?, self.region.span(of_voxels)?);
        let channels = self.job.plan.tensor(input).channels;
        of_points.upload(&point_features(self.job, channels)?, self.queue.stream)?;
        enqueue_voxel_features(self.queue, self.job, self.points, self.levels, of_points, of_voxels)?;
        Ok(of_voxels)
    }
}

/// Scores the kept trunk of an earlier run.
pub(super) fn query(target: Target<'_>, query: &Query<'_>, memory: &mut DeviceMemory) -> Result<Scores> {
    let Some(kept) = query.trunk.0.downcast_ref::<KeptTrunk>().filter(|kept| kept.ordinal == target.ordinal) else {
        return Err(Error::new(ErrorKind::InvalidState, "the result was computed by another backend"));
    };
    if query.voxels.end > kept.rows {
        return Err(Error::internal("the kept trunk has fewer voxels than the result"));
    }
    query.control.report(0.0)?;
    let (queue, request) = (target.queue(), &query.request);
    let head = head_of(request, target.ordinal)?;
    let whole = TrunkView { features: *kept.features, rows: kept.rows, channels: kept.channels };
    let trunk = whole.part(query.voxels.start, query.voxels.len())?;
    let mut region = RegionPlan::default();
    let points = query.voxel_of_point.len();
    let slots = ScoreSlots::plan(head, request, trunk.rows, points, &mut region)?;
    let voxels = region.reserve::<u32>(points)?;
    let (arena, budget) = (target.arena, query.memory_budget);
    let host = request.result_bytes(trunk.rows as u64, points as u64);
    memory.regions.hold_scores(&region, host, budget)?;
    arena.set_budget(budget.map(|budget| budget.saturating_sub(memory.regions.bytes())));
    let region = memory.regions.voxels();
    let voxels = region.span(voxels)?;
    voxels.upload(bytemuck::cast_slice(query.voxel_of_point), queue.stream)?;
    let cancel = query.control.cancel;
    let run = HeadRun { queue, region, slots: &slots, head, request, trunk, cancel, arena };
    let scores = run.score(voxels)?;
    query.control.report(1.0)?;
    Ok(scores)
}
