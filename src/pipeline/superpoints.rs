//! Superpoints of a segmented cloud, and the votes within them.

use super::{Kept, SegmentOptions, Segmentation, Segmentations};
use crate::arena::{Arena, nothing};
use crate::backend::{Control, FeatureSpace, Stage, Work};
use crate::cancel::Cancel;
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result, collected};
use crate::model::Other;
use crate::superpoint::vote::Fallback;
use crate::superpoint::{Rows, SuperpointOptions, superpoints, vote};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

/// What the points of a superpoint vote with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ballot {
    /// Their labels: the most frequent one wins.
    #[default]
    Labels,
    /// Their scores of all labels: the largest sum wins, or the vocabulary's label for other points where the mean is below
    /// its threshold. Needs the voxels of one pass.
    Scores,
}

/// A vote of the points of each superpoint on one label for all of them. Ties go to the smaller label; points without
/// a superpoint keep theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vote {
    /// What is counted.
    pub ballot: Ballot,
    /// Whether a point counts by how far its best score lies above its second, instead of as one.
    pub by_margin: bool,
}

static STAGES: LazyLock<[Arc<str>; 2]> = LazyLock::new(|| ["superpoints", "vote"].map(Arc::from));

impl SegmentOptions {
    /// How superpoints are found, if anything needs them.
    fn superpoint_options(&self) -> Option<SuperpointOptions> {
        self.superpoints.clone().or_else(|| self.vote.map(|_| SuperpointOptions::default()))
    }

    /// Checks what is about superpoints.
    pub(super) fn validate_superpoints(&self) -> Result<()> {
        let Some(options) = self.superpoint_options() else { return Ok(()) };
        options.validate()?;
        if self.augmentation.is_none() {
            return Ok(());
        }
        let cure = "leave augmentation off, or do without them";
        if self.vote.is_some_and(|vote| vote.ballot == Ballot::Scores) {
            let message = format!("a vote by scores needs those of one pass; {cure}");
            return Err(Error::argument(message));
        }
        if options.method.reads_features() {
            let message = format!("superpoints that read the network's features need those of one pass; {cure}");
            return Err(Error::argument(message));
        }
        Ok(())
    }

    /// These options with what a run must give besides for superpoints and votes, which [`narrow`] takes away again.
    pub(crate) fn widened(&self, labels: usize) -> Self {
        let mut wide = self.clone();
        if let Some(vote) = self.vote {
            wide.logits |= vote.ballot == Ballot::Scores;
            wide.top_k = if vote.by_margin { self.top_k.max(labels.min(2)) } else { self.top_k };
        }
        if self.superpoints.as_ref().is_some_and(|options| options.method.reads_features()) {
            wide.features = self.features.or(Some(FeatureSpace::Trunk));
        }
        wide
    }
}

/// Takes away what was not asked for.
fn narrow(cloud: &mut Segmentation, options: &SegmentOptions) {
    if options.kept_labels() == 1 {
        (cloud.top_labels, cloud.top_scores) = (nothing(), nothing());
    }
    if !options.logits {
        cloud.logits = nothing();
    }
    if options.features.is_none() {
        cloud.features = nothing();
    }
}

/// Finds the superpoints of all clouds and holds the votes; progress, all done but for them, is reported before each, so
/// that its callback can stop them. Call it on the session's own threads.
pub(crate) fn refine(
    results: &mut Segmentations,
    clouds: &[Cloud<'_>],
    (options, other): (&SegmentOptions, Option<Other>),
    arena: &Arena,
    control: Control<'_>,
) -> Result<()> {
    let cancel = control.cancel;
    let Some(superpoint_options) = options.superpoint_options() else { return Ok(()) };
    let (mut finding, mut voting) = (Duration::ZERO, Duration::ZERO);
    for (index, (cloud, result)) in clouds.iter().zip(results.clouds.iter_mut()).enumerate() {
        control.report(1.0)?;
        let start = Instant::now();
        let voxels = result.coordinates.len();
        let features = rows(&result.features, voxels, &result.voxel_of_point)?;
        let found = superpoints(cloud, &superpoint_options, features.as_ref(), cancel)
            .map_err(|e| e.within(format_args!("superpoints of cloud {index}")))?;
        if let Some(features) = features.filter(|_| options.features.is_some()) {
            let means = vote::mean_features(&found, &features, cancel)?;
            result.superpoint_features = arena.collected(means.into_iter(), "the features of the superpoints")?;
        }
        let found = Arc::new(found);
        result.superpoints = Some(found.clone());
        if let Some(kept) = results.kept.get_mut(index) {
            kept.superpoints = Some(found);
        }
        finding += start.elapsed();
        control.report(1.0)?;
        let start = Instant::now();
        hold_vote(result, voxels, options, other, cancel)?;
        narrow(result, options);
        voting += start.elapsed();
    }
    let [superpoints, vote] = &*STAGES;
    let stage = |name: &Arc<str>, time| Stage { name: name.clone(), time, work: Work::default() };
    results.stages.push(stage(superpoints, finding));
    if options.vote.is_some() {
        results.stages.push(stage(vote, voting));
    }
    Ok(())
}

/// The rows of `voxels` voxels for their points, if there are any.
fn rows<'a>(values: &'a [f32], voxels: usize, voxel_of_point: &'a [i32]) -> Result<Option<Rows<'a>>> {
    match values.len() / voxels.max(1) {
        0 => Ok(None),
        width => Rows::of_voxels(values, width, voxel_of_point).map(Some),
    }
}

/// Gives the points of each superpoint of `result` the label they vote for.
fn hold_vote(
    result: &mut Segmentation,
    voxels: usize,
    options: &SegmentOptions,
    other: Option<Other>,
    cancel: Cancel<'_>,
) -> Result<()> {
    let (Some(vote), Some(superpoints)) = (options.vote, result.superpoints.clone()) else { return Ok(()) };
    let weights = match vote.by_margin {
        true => Some(margins(result)?),
        false => None,
    };
    let (labels, weights) = (&result.labels[..], weights.as_deref());
    let scores = match vote.ballot {
        Ballot::Labels => None,
        Ballot::Scores => rows(&result.logits, voxels, &result.voxel_of_point)?,
    };
    let voted = match &scores {
        None => vote::majority(&superpoints, labels, weights, cancel)?,
        Some(scores) => {
            let fallback = other.map(|Other { label, threshold }| Fallback { label: label as i32, threshold });
            vote::summed_scores(&superpoints, labels, scores, weights, fallback, cancel)?
        }
    };
    result.labels.copy_from_slice(&voted);
    Ok(())
}

/// How far each point's best score lies above its second; one where there is only one label.
fn margins(result: &Segmentation) -> Result<Vec<f32>> {
    let points = result.labels.len();
    let width = result.top_scores.len() / points.max(1);
    let margin = |point: usize| match result.top_scores.get(point * width..(point + 1) * width) {
        Some([best, second, ..]) => {
            let margin = best - second;
            // What is not a number has no weight.
            if margin > 0.0 { margin.min(vote::MAX_WEIGHT) } else { 0.0 }
        }
        _ => 1.0,
    };
    collected((0..points).map(margin), "the margins of the points")
}

/// Gives a query's answer the superpoints of the run that `kept` is of, and holds the vote.
pub(crate) fn refine_answer(
    answer: &mut Segmentation,
    kept: &Kept,
    (options, other): (&SegmentOptions, Option<Other>),
    cancel: Cancel<'_>,
) -> Result<()> {
    answer.superpoints = kept.superpoints.clone();
    if options.vote.is_some() && answer.superpoints.is_none() {
        let message = "a vote needs superpoints, and the result was made without; segment again with superpoints";
        return Err(Error::new(ErrorKind::InvalidState, message));
    }
    hold_vote(answer, kept.voxels.len(), options, other, cancel)?;
    narrow(answer, options);
    Ok(())
}
