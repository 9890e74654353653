//! Results per cloud, cut from the outcome of a run.

use super::{ResultBlocks, SegmentOptions};
use crate::backend::{Outcome, Scores, Stage, Trunk};
use crate::cancel::Cancel;
use crate::error::{Error, Result, filled};
use crate::plan::{Plan, Ranking, Scoring, Similarity};
use crate::sparse::{NO_VOXEL, decode};
use std::ops::Range;
use std::sync::{Arc, Weak};

/// The labels of one cloud.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Segmentation {
    /// `[n]` the best label of each point, or -1 for a point whose position is not finite.
    pub labels: Vec<i32>,
    /// `[n]` its score; 0 where the label is -1.
    pub scores: Vec<f32>,
    /// `[n, k]` the k best labels, best first, when more than one was asked for.
    pub top_labels: Vec<i32>,
    /// `[n, k]` their scores.
    pub top_scores: Vec<f32>,
    /// `[n]` the voxel of each point, or -1. Empty after augmented passes.
    pub voxel_of_point: Vec<i32>,
    /// `[v]` voxel coordinates at the run's voxel size. Empty after augmented passes.
    pub coordinates: Vec<[i32; 3]>,
    /// `[v, labels]` scores, if asked for.
    pub logits: Vec<f32>,
    /// `[v, d]` features, if asked for.
    pub features: Vec<f32>,
}

/// The trunk of a finished run and the rows of it that belong to one cloud.
#[derive(Debug, Clone)]
pub struct Kept {
    pub(crate) trunk: Trunk,
    pub(crate) voxels: Range<usize>,
    /// The model that computed it: a query must fold its vocabulary into the same head.
    pub(crate) plan: Weak<Plan>,
}

/// The labels of all clouds of a call.
#[derive(Debug, Clone, Default)]
pub struct Segmentations {
    /// One per cloud, in order.
    pub clouds: Vec<Segmentation>,
    /// One per cloud, if the trunk was to be kept.
    pub kept: Vec<Kept>,
    /// What each stage took; repeated passes one after the other.
    pub stages: Vec<Stage>,
}

/// Cuts `outcome` into the clouds of `lengths` points.
pub(crate) fn split(
    outcome: &Outcome,
    lengths: &[usize],
    options: &SegmentOptions,
    plan: &Arc<Plan>,
    blocks: &ResultBlocks,
) -> Result<Segmentations> {
    let scores = outcome.scores.as_ref().ok_or_else(|| Error::internal("the run gave no scores"))?;
    let voxels = &outcome.voxels;
    let batch_of = |key: u64| decode(key, 0).batch as usize;
    let mut first_point = 0;
    let mut all = Segmentations { stages: outcome.stages.clone(), ..Segmentations::default() };
    for (batch, &length) in lengths.iter().enumerate() {
        let points = first_point..first_point + length;
        let first = voxels.keys.partition_point(|&key| batch_of(key) < batch);
        let last = voxels.keys.partition_point(|&key| batch_of(key) <= batch);
        let mut cloud = from_scores(scores, points.clone(), options.kept_labels(), blocks)?;
        let local = |voxel: u32| if voxel == NO_VOXEL { -1 } else { (voxel as usize - first) as i32 };
        cloud.voxel_of_point = blocks
            .integers(voxels.voxel_of_point[points.clone()].iter().map(|&v| local(v)), "the voxels of the points")?;
        let origin = outcome.origins.get(batch).copied().unwrap_or_default();
        let coordinate = |&key: &u64| {
            let cell = decode(key, 0).cell;
            [0, 1, 2].map(|axis| (i64::from(cell[axis]) + origin[axis]) as i32)
        };
        cloud.coordinates = blocks.coordinates(voxels.keys[first..last].iter().map(coordinate), "the coordinates")?;
        let rows = |values: &[f32]| {
            let width = values.len() / voxels.len().max(1);
            blocks.floats(values[first * width..last * width].iter().copied(), "the values of the voxels")
        };
        cloud.logits = rows(&scores.logits)?;
        cloud.features = rows(outcome.features.as_deref().unwrap_or(&[]))?;
        let kept = |trunk: &Trunk| Kept { trunk: trunk.clone(), voxels: first..last, plan: Arc::downgrade(plan) };
        all.kept.extend(outcome.trunk.as_ref().map(kept));
        all.clouds.push(cloud);
        first_point = points.end;
    }
    Ok(all)
}

/// The labels and scores of points `points` among those of a run.
pub(crate) fn from_scores(
    scores: &Scores,
    points: Range<usize>,
    top_k: usize,
    blocks: &ResultBlocks,
) -> Result<Segmentation> {
    let (labels, values) = (&scores.labels[points.start * top_k..], &scores.scores[points.start * top_k..]);
    let (labels, values) = (&labels[..points.len() * top_k], &values[..points.len() * top_k]);
    let several = if top_k > 1 { labels.len() } else { 0 };
    let (label, score) = ("the labels of the points", "the scores of the points");
    Ok(Segmentation {
        labels: blocks.integers(labels.iter().copied().step_by(top_k), label)?,
        scores: blocks.floats(values.iter().copied().step_by(top_k), score)?,
        top_labels: blocks.integers(labels[..several].iter().copied(), label)?,
        top_scores: blocks.floats(values[..several].iter().copied(), score)?,
        ..Segmentation::default()
    })
}

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 10;

/// Sums the prompt scores of several passes per point and ranks the sums.
pub(crate) fn sum_over_repeats(
    scoring: &Scoring,
    options: &SegmentOptions,
    lengths: &[usize],
    blocks: &ResultBlocks,
    cancel: Cancel<'_>,
    mut pass: impl FnMut(usize) -> Result<Outcome>,
) -> Result<Segmentations> {
    let repeats = options.augmentation.as_ref().map_or(1, |a| a.repeats as usize);
    let (points, prompts) = (lengths.iter().sum::<usize>(), scoring.label_of_prompt.len());
    let mut sums = filled(points * prompts, 0.0_f32, "the summed scores")?;
    let mut finite = filled(points, false, "the points")?;
    let mut stages = Vec::new();
    for repeat in 0..repeats {
        cancel.check()?;
        let outcome = pass(repeat)?;
        let scores = outcome.scores.as_ref().ok_or_else(|| Error::internal("the pass gave no scores"))?;
        for (point, (sum, &voxel)) in sums.chunks_exact_mut(prompts).zip(&outcome.voxels.voxel_of_point).enumerate() {
            if point % BLOCK == 0 {
                cancel.check()?;
            }
            if voxel != NO_VOXEL {
                let row = &scores.prompt_scores[voxel as usize * prompts..][..prompts];
                sum.iter_mut().zip(row).for_each(|(sum, score)| *sum += score);
                finite[point] = true;
            }
        }
        stages.extend(outcome.stages);
    }
    // The sums already are cosines where those were asked for.
    let summed = Scoring { similarity: Similarity::Dot, ..scoring.clone() };
    let point_scores = rank_points(&summed, &sums, &finite, options.kept_labels(), cancel)?;
    let mut first = 0;
    let cut = |&length: &usize| {
        first += length;
        from_scores(&point_scores, first - length..first, options.kept_labels(), blocks)
    };
    let clouds = lengths.iter().map(cut).collect::<Result<_>>()?;
    Ok(Segmentations { clouds, stages, ..Segmentations::default() })
}

fn rank_points(scoring: &Scoring, sums: &[f32], finite: &[bool], top_k: usize, cancel: Cancel<'_>) -> Result<Scores> {
    let mut scores = Scores {
        labels: filled(finite.len() * top_k, -1, "the labels of the points")?,
        scores: filled(finite.len() * top_k, 0.0, "the scores of the points")?,
        ..Scores::default()
    };
    let mut row = filled(scoring.labels, 0.0_f32, "a row of scores")?;
    let mut top = filled(top_k, Ranking { label: -1, score: 0.0 }, "a row of labels")?;
    for (point, sums) in sums.chunks_exact(scoring.label_of_prompt.len()).enumerate().filter(|(p, _)| finite[*p]) {
        if point % BLOCK == 0 {
            cancel.check()?;
        }
        scoring.label_scores(sums, 1.0, &mut row);
        scoring.normalise(&mut row);
        Scoring::rank(&row, &mut top);
        for (place, ranking) in top.iter().enumerate() {
            scores.labels[point * top_k + place] = ranking.label;
            scores.scores[point * top_k + place] = ranking.score;
        }
    }
    Ok(scores)
}
