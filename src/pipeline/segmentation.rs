//! Results per cloud, cut from the outcome of a run.

use super::SegmentOptions;
use crate::arena::{Arena, Buffer, nothing};
use crate::backend::{Outcome, Scores, Stage, Trunk};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::Other;
use crate::plan::{Plan, Ranking, Scoring, Similarity};
use crate::sparse::{NO_VOXEL, decode};
use crate::superpoint::Superpoints;
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The labels of one cloud.
#[derive(Debug, Clone, PartialEq)]
pub struct Segmentation {
    /// `[n]` the best label of each point, or -1 for a point whose position is not finite.
    pub labels: Buffer<i32>,
    /// `[n]` its score; 0 where the label is -1.
    pub scores: Buffer<f32>,
    /// `[n, k]` the k best labels, best first, when more than one was asked for.
    pub top_labels: Buffer<i32>,
    /// `[n, k]` their scores.
    pub top_scores: Buffer<f32>,
    /// `[n]` the voxel of each point, or -1. Empty after augmented passes.
    pub voxel_of_point: Buffer<i32>,
    /// `[v]` voxel coordinates at the run's voxel size. Empty after augmented passes.
    pub coordinates: Buffer<[i32; 3]>,
    /// `[v, labels]` scores, if asked for.
    pub logits: Buffer<f32>,
    /// `[v, d]` features, if asked for.
    pub features: Buffer<f32>,
    /// The superpoints, if they or a vote were asked for.
    pub superpoints: Option<Arc<Superpoints>>,
    /// `[s, d]` the mean features of each superpoint's points, if both were asked for.
    pub superpoint_features: Buffer<f32>,
}

impl Default for Segmentation {
    fn default() -> Self {
        Self {
            labels: nothing(),
            scores: nothing(),
            top_labels: nothing(),
            top_scores: nothing(),
            voxel_of_point: nothing(),
            coordinates: nothing(),
            logits: nothing(),
            features: nothing(),
            superpoints: None,
            superpoint_features: nothing(),
        }
    }
}

/// The trunk of a finished run and the rows of it that belong to one cloud.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(crate) trunk: Trunk,
    pub(crate) voxels: Range<usize>,
    /// The model that computed it: a query must fold its vocabulary into the same head.
    pub(crate) plan: Weak<Plan>,
    /// Those of the run, if it found some.
    pub(crate) superpoints: Option<Arc<Superpoints>>,
}

/// The labels of all clouds of a call.
#[derive(Debug, Clone)]
pub struct Segmentations {
    /// One per cloud, in order.
    pub clouds: Buffer<Segmentation>,
    /// One per cloud, if the trunk was to be kept.
    pub kept: Buffer<Kept>,
    /// What each stage took; repeated passes one after the other.
    pub stages: Buffer<Stage>,
}

impl Segmentation {
    /// Gives points whose best score is below the threshold the label for points that no other fits. Scores, and the best
    /// labels where several were asked for, stay.
    pub(crate) fn fall_back(&mut self, other: Option<Other>) {
        let Some(Other { label, threshold }) = other else { return };
        let weak =
            self.labels.iter_mut().zip(&self.scores).filter(|(label, score)| **label >= 0 && **score < threshold);
        weak.for_each(|(point, _)| *point = label as i32);
    }
}

impl Segmentations {
    /// The same for every cloud.
    pub(crate) fn falling_back(mut self, other: Option<Other>) -> Self {
        self.clouds.iter_mut().for_each(|cloud| cloud.fall_back(other));
        self
    }
}

/// Cuts `outcome` into the clouds of `lengths` points.
pub(crate) fn split(
    outcome: Outcome,
    lengths: impl ExactSizeIterator<Item = usize>,
    options: &SegmentOptions,
    plan: &Arc<Plan>,
    arena: &Arena,
) -> Result<Segmentations> {
    let scores = outcome.scores.as_ref().ok_or_else(|| Error::internal("the run gave no scores"))?;
    let voxels = &outcome.voxels;
    let batch_of = |key: u64| decode(key, 0).batch as usize;
    let mut first_point = 0;
    let mut all = Segmentations {
        clouds: arena.with_capacity(lengths.len(), "the results")?,
        kept: arena.with_capacity(lengths.len(), "the results")?,
        stages: outcome.stages,
    };
    for (batch, length) in lengths.enumerate() {
        let points = first_point..first_point + length;
        let first = voxels.keys.partition_point(|&key| batch_of(key) < batch);
        let last = voxels.keys.partition_point(|&key| batch_of(key) <= batch);
        let mut cloud = from_scores(scores, points.clone(), options.kept_labels(), arena)?;
        let local = |voxel: u32| if voxel == NO_VOXEL { -1 } else { (voxel as usize - first) as i32 };
        cloud.voxel_of_point = arena
            .collected(voxels.voxel_of_point[points.clone()].iter().map(|&v| local(v)), "the voxels of the points")?;
        let origin = outcome.origins.get(batch).copied().unwrap_or_default();
        let coordinate = |&key: &u64| {
            let cell = decode(key, 0).cell;
            [0, 1, 2].map(|axis| (i64::from(cell[axis]) + origin[axis]) as i32)
        };
        cloud.coordinates = arena.collected(voxels.keys[first..last].iter().map(coordinate), "the coordinates")?;
        let rows = |values: &[f32]| {
            let width = values.len() / voxels.len().max(1);
            arena.collected(values[first * width..last * width].iter().copied(), "the values of the voxels")
        };
        cloud.logits = rows(&scores.logits)?;
        cloud.features = rows(outcome.features.as_deref().unwrap_or(&[]))?;
        let kept = |trunk: &Trunk| {
            let (trunk, plan) = (trunk.clone(), Arc::downgrade(plan));
            Kept { trunk, voxels: first..last, plan, superpoints: None }
        };
        all.kept.extend(outcome.trunk.as_ref().map(kept));
        all.clouds.push(cloud);
        first_point = points.end;
    }
    Ok(all)
}

/// The labels and scores of points `points` among those of a run.
pub(crate) fn from_scores(scores: &Scores, points: Range<usize>, top_k: usize, arena: &Arena) -> Result<Segmentation> {
    let (labels, values) = (&scores.labels[points.start * top_k..], &scores.scores[points.start * top_k..]);
    let (labels, values) = (&labels[..points.len() * top_k], &values[..points.len() * top_k]);
    let several = if top_k > 1 { labels.len() } else { 0 };
    let (label, score) = ("the labels of the points", "the scores of the points");
    Ok(Segmentation {
        labels: arena.collected(labels.iter().copied().step_by(top_k), label)?,
        scores: arena.collected(values.iter().copied().step_by(top_k), score)?,
        top_labels: arena.collected(labels[..several].iter().copied(), label)?,
        top_scores: arena.collected(values[..several].iter().copied(), score)?,
        ..Segmentation::default()
    })
}

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 10;

/// Takes the means over several passes of every point's prompt scores, and ranks them: means, not the published sums, so
/// that scores, thresholds and temperatures have the units of one pass. The order of the labels is that of the sums.
pub(crate) fn mean_over_repeats(
    scoring: &Scoring,
    options: &SegmentOptions,
    lengths: &[usize],
    arena: &Arena,
    cancel: Cancel<'_>,
    mut pass: impl FnMut(usize) -> Result<Outcome>,
) -> Result<Segmentations> {
    let repeats = options.augmentation.as_ref().map_or(1, |a| a.repeats as usize);
    let (points, prompts) = (lengths.iter().sum::<usize>(), scoring.label_of_prompt.len());
    let mut means = arena.filled(points * prompts, 0.0_f32, "the mean scores")?;
    let mut finite = arena.filled(points, false, "the points")?;
    let mut stages = Buffer::new_in(arena.clone());
    for repeat in 0..repeats {
        cancel.check()?;
        let outcome = pass(repeat)?;
        let scores = outcome.scores.as_ref().ok_or_else(|| Error::internal("the pass gave no scores"))?;
        for (point, (mean, &voxel)) in means.chunks_exact_mut(prompts).zip(&outcome.voxels.voxel_of_point).enumerate() {
            if point % BLOCK == 0 {
                cancel.check()?;
            }
            if voxel != NO_VOXEL {
                let row = &scores.prompt_scores[voxel as usize * prompts..][..prompts];
                mean.iter_mut().zip(row).for_each(|(mean, score)| *mean += score);
                finite[point] = true;
            }
        }
        stages.extend(outcome.stages);
    }
    means.chunks_mut(BLOCK * prompts).try_for_each(|means| {
        means.iter_mut().for_each(|mean| *mean /= repeats as f32);
        cancel.check()
    })?;
    // These already are cosines where those were asked for.
    let averaged = Scoring { similarity: Similarity::Dot, ..scoring.clone() };
    let point_scores = rank_points(&averaged, &means, &finite, options.kept_labels(), arena, cancel)?;
    let (mut first, mut clouds) = (0, arena.with_capacity(lengths.len(), "the results")?);
    for &length in lengths {
        clouds.push(from_scores(&point_scores, first..first + length, options.kept_labels(), arena)?);
        first += length;
    }
    Ok(Segmentations { clouds, kept: nothing(), stages })
}

fn rank_points(
    scoring: &Scoring,
    means: &[f32],
    finite: &[bool],
    top_k: usize,
    arena: &Arena,
    cancel: Cancel<'_>,
) -> Result<Scores> {
    let mut scores = Scores {
        labels: arena.filled(finite.len() * top_k, -1, "the labels of the points")?,
        scores: arena.filled(finite.len() * top_k, 0.0, "the scores of the points")?,
        logits: nothing(),
        prompt_scores: nothing(),
    };
    let mut row = arena.filled(scoring.labels, 0.0_f32, "a row of scores")?;
    let mut top = arena.filled(top_k, Ranking { label: -1, score: 0.0 }, "a row of labels")?;
    for (point, means) in means.chunks_exact(scoring.label_of_prompt.len()).enumerate().filter(|(p, _)| finite[*p]) {
        if point % BLOCK == 0 {
            cancel.check()?;
        }
        scoring.label_scores(means, 1.0, &mut row);
        scoring.normalise(&mut row);
        Scoring::rank(&row, &mut top);
        for (place, ranking) in top.iter().enumerate() {
            scores.labels[point * top_k + place] = ranking.label;
            scores.scores[point * top_k + place] = ranking.score;
        }
    }
    Ok(scores)
}
