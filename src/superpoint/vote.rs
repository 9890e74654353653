//! Votes: the points of a superpoint agree on one label, by count or by summed scores; and means of features.
//!
//! Votes are summed as integers, so neither the order of the points nor the number of threads decides a tie.

use super::rows::Rows;
use super::superpoints::{NO_SUPERPOINT, Superpoints};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, collected, filled, reserve};
use rayon::prelude::*;

/// The label of a point that has none; points with a negative label do not vote.
pub const NO_LABEL: i32 = -1;

/// The largest weight of a point.
pub const MAX_WEIGHT: f32 = 65_536.0;

/// The label of superpoints that no label fits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fallback {
    /// The label.
    pub label: i32,
    /// It is given where the best mean score lies below this.
    pub threshold: f32,
}

/// Weights and scores are counted in parts of this size.
const ONE: f64 = (1_u64 << 32) as f64;

/// Superpoints of one thread's task.
const SUPERPOINTS: usize = 64;

/// Points of one thread's task, and between two looks at the cancel token.
const POINTS: usize = 1 << 14;

/// Rows of many values between two looks at the cancel token.
const ROWS: usize = 1 << 11;

/// The points of every superpoint, ascending.
struct Members {
    starts: Vec<u32>,
    points: Vec<u32>,
}

impl Members {
    fn new(superpoints: &Superpoints, cancel: Cancel<'_>) -> Result<Self> {
        let count = superpoints.count();
        let mut starts = filled(count + 1, 0_u32, "the members of the superpoints")?;
        for points in superpoints.of_point.chunks(POINTS) {
            cancel.check()?;
            for &superpoint in points.iter().filter(|&&s| s != NO_SUPERPOINT) {
                if superpoint < 0 || superpoint as usize >= count {
                    return Err(Error::argument(format!(
                        "a point has superpoint {superpoint} of {count}; number them from 0, {NO_SUPERPOINT} for none"
                    )));
                }
                starts[superpoint as usize + 1] += 1;
            }
        }
        for superpoint in 0..count {
            starts[superpoint + 1] += starts[superpoint];
        }
        let mut next: Vec<u32> = collected(starts.iter().copied(), "the members of the superpoints")?;
        let mut points = filled(starts[count] as usize, 0_u32, "the members of the superpoints")?;
        for (block, superpoints) in superpoints.of_point.chunks(POINTS).enumerate() {
            cancel.check()?;
            for (point, &superpoint) in (block * POINTS..).zip(superpoints).filter(|(_, s)| **s != NO_SUPERPOINT) {
                let place = &mut next[superpoint as usize];
                points[*place as usize] = point as u32;
                *place += 1;
            }
        }
        Ok(Self { starts, points })
    }

    fn of(&self, superpoint: usize) -> &[u32] {
        &self.points[self.starts[superpoint] as usize..self.starts[superpoint + 1] as usize]
    }
}

/// The label of every point after its superpoint's points have voted: the most frequent one, or the one of most
/// `weights`, the smaller of equals. Points without a superpoint, and superpoints without votes, keep what they have.
pub fn majority(
    superpoints: &Superpoints,
    labels: &[i32],
    weights: Option<&[f32]>,
    cancel: Cancel<'_>,
) -> Result<Vec<i32>> {
    check_len("labels", labels.len(), superpoints)?;
    check_weights(weights, superpoints)?;
    let members = Members::new(superpoints, cancel)?;
    let vote = |&point: &u32| {
        let weight = weights.map_or(1, |weights| (f64::from(weights[point as usize]) * ONE) as i64);
        (labels[point as usize], i128::from(weight))
    };
    let new_tally = || Ok(Vec::new());
    let elected = for_superpoints(superpoints, cancel, new_tally, |tally, superpoint| {
        tally.clear();
        let mut counted = 0;
        for points in members.of(superpoint).chunks(POINTS) {
            cancel.check()?;
            reserve(tally, points.len(), "the votes")?;
            tally.extend(points.iter().filter(|&&point| labels[point as usize] >= 0).map(vote));
            // Counted when it has doubled, so that many labels cost no more than few.
            if tally.len() > POINTS.max(2 * counted) {
                count(tally);
                counted = tally.len();
            }
        }
        count(tally);
        Ok(winner(tally.iter().copied()))
    })?;
    after_vote(superpoints, &elected, labels, cancel)
}

/// The label of every point from `scores`, a column per label: the one with the largest sum over the superpoint, each
/// row times its weight if there are `weights`, the smaller of equals. Where that sum, as a mean over the
/// weights, is below the threshold of `fallback`, its label. Rows that are not finite do not vote. Points without a
/// superpoint, and superpoints without votes, keep `labels`.
pub fn summed_scores(
    superpoints: &Superpoints,
    labels: &[i32],
    scores: &Rows<'_>,
    weights: Option<&[f32]>,
    fallback: Option<Fallback>,
    cancel: Cancel<'_>,
) -> Result<Vec<i32>> {
    check_len("labels", labels.len(), superpoints)?;
    scores.check_points(superpoints.of_point.len())?;
    check_weights(weights, superpoints)?;
    let members = Members::new(superpoints, cancel)?;
    let new_sums = || filled(scores.width(), 0_i128, "the summed scores");
    let (threshold, other) = match fallback {
        Some(Fallback { threshold, label }) => (f64::from(threshold), label),
        None => (f64::NEG_INFINITY, NO_LABEL),
    };
    let elected = for_superpoints(superpoints, cancel, new_sums, |sums, superpoint| {
        sums.fill(0);
        let (mut voted, mut total) = (false, 0.0);
        for points in members.of(superpoint).chunks(ROWS) {
            cancel.check()?;
            for (point, row) in points.iter().filter_map(|&p| Some((p as usize, scores.get(p as usize)?))) {
                voted = true;
                let weight = weights.map_or(1.0, |weights| f64::from(weights[point])) * ONE;
                total += weight;
                // Beyond 2^31 the conversion saturates.
                sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += i128::from((f64::from(v) * weight) as i64));
            }
        }
        let elected = if voted { winner((0..).zip(sums.iter().copied())) } else { NO_LABEL };
        let mean = sums.get(elected as usize).map_or(f64::NAN, |sum| *sum as f64 / total);
        Ok(if mean < threshold { other } else { elected })
    })?;
    after_vote(superpoints, &elected, labels, cancel)
}

/// The mean of `features` over the points of each superpoint that have finite ones, `[s, width]`: summed in float64 in
/// the order of the points. Zero where none has.
pub fn mean_features(superpoints: &Superpoints, features: &Rows<'_>, cancel: Cancel<'_>) -> Result<Vec<f32>> {
    features.check_points(superpoints.of_point.len())?;
    let (members, width) = (Members::new(superpoints, cancel)?, features.width());
    let mut means = filled(superpoints.count() * width, 0.0_f32, "the mean features")?;
    means.par_chunks_mut(width).enumerate().try_for_each(|(superpoint, mean)| {
        let mut sums = filled(width, 0.0_f64, "the mean features")?;
        let mut count = 0.0;
        for points in members.of(superpoint).chunks(ROWS) {
            cancel.check()?;
            for row in points.iter().filter_map(|&point| features.get(point as usize)) {
                count += 1.0;
                sums.iter_mut().zip(row).for_each(|(sum, &v)| *sum += f64::from(v));
            }
        }
        if count > 0.0 {
            mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean = (sum / count) as f32);
        }
        Ok::<(), Error>(())
    })?;
    Ok(means)
}

/// The label of the largest sum, the first of equals.
fn winner<T: PartialOrd>(sums: impl Iterator<Item = (i32, T)>) -> i32 {
    let best = sums.reduce(|best, next| if next.1 > best.1 { next } else { best });
    best.map_or(NO_LABEL, |(label, _)| label)
}

/// Makes one vote of all for the same label; ascending by label.
fn count(tally: &mut Vec<(i32, i128)>) {
    tally.sort_unstable_by_key(|vote| vote.0);
    tally.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

/// `elect(scratch, superpoint)` for every superpoint.
fn for_superpoints<S>(
    superpoints: &Superpoints,
    cancel: Cancel<'_>,
    new_scratch: impl Fn() -> Result<S> + Sync,
    elect: impl Fn(&mut S, usize) -> Result<i32> + Sync,
) -> Result<Vec<i32>> {
    let mut elected = filled(superpoints.count(), NO_LABEL, "the elected labels")?;
    elected.par_chunks_mut(SUPERPOINTS).enumerate().try_for_each(|(block, elected)| {
        let mut scratch = new_scratch()?;
        for (superpoint, label) in (block * SUPERPOINTS..).zip(elected) {
            cancel.check()?;
            *label = elect(&mut scratch, superpoint)?;
        }
        Ok::<(), Error>(())
    })?;
    Ok(elected)
}

/// What was elected, or a point's own where nothing was.
fn after_vote(superpoints: &Superpoints, elected: &[i32], own: &[i32], cancel: Cancel<'_>) -> Result<Vec<i32>> {
    let mut labels = filled(superpoints.of_point.len(), NO_LABEL, "the labels")?;
    labels.par_chunks_mut(POINTS).enumerate().try_for_each(|(block, labels)| {
        cancel.check()?;
        for (point, label) in (block * POINTS..).zip(labels) {
            let of = superpoints.of_point[point];
            let elected = if of == NO_SUPERPOINT { NO_LABEL } else { elected[of as usize] };
            *label = if elected == NO_LABEL { own[point] } else { elected };
        }
        Ok::<(), Error>(())
    })?;
    Ok(labels)
}

fn check_len(name: &str, len: usize, superpoints: &Superpoints) -> Result<()> {
    let points = superpoints.of_point.len();
    if len != points {
        let message = format!("{name} has {len} values for {points} points; give one per point");
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    Ok(())
}

fn check_weights(weights: Option<&[f32]>, superpoints: &Superpoints) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    check_len("weights", weights.len(), superpoints)?;
    match weights.iter().position(|weight| !(0.0..=MAX_WEIGHT).contains(weight)) {
        None => Ok(()),
        Some(point) => Err(Error::argument(format!(
            "the weight of point {point} is {}; it must lie in 0..={MAX_WEIGHT}, 0 for a point that does not vote",
            weights[point]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn superpoints(ids: &[i64]) -> Superpoints {
        Superpoints::from_external(ids, Cancel::default()).unwrap()
    }

    #[test]
    fn the_most_frequent_label_wins_and_the_smaller_of_equals() {
        let sp = superpoints(&[0, 0, 0, 1, 1, -1, 2, 2]);
        let voted = majority(&sp, &[5, 3, 3, 9, 4, 7, -1, -1], None, Cancel::default()).unwrap();
        assert_eq!(voted, [3, 3, 3, 4, 4, 7, -1, -1]);
        assert_eq!(
            majority(&sp, &[-1, -1, 8, -1, 2, -1, 0, -1], None, Cancel::default()).unwrap(),
            [8, 8, 8, 2, 2, -1, 0, 0]
        );
    }

    #[test]
    fn weights_decide_and_are_checked() {
        let sp = superpoints(&[4, 4, 4]);
        let vote = |weights: [f32; 3]| majority(&sp, &[1, 1, 2], Some(&weights), Cancel::default());
        assert_eq!(vote([0.5, 0.25, 1.0]).unwrap(), [2; 3]);
        assert_eq!(vote([0.5, 0.5, 1.0]).unwrap(), [1; 3], "the smaller of equals");
        for wrong in [-1.0, f32::NAN, f32::INFINITY, 65_537.0] {
            assert!(vote([0.5, wrong, 1.0]).unwrap_err().to_string().contains("point 1"));
        }
    }

    #[test]
    fn summed_scores_decide_where_counts_would_not() {
        let sp = superpoints(&[0, 0, 0, -1, 1, -1]);
        let scores = [0.6, 0.4, 0.6, 0.4, 0.0, 1.0, 0.2, 0.1, f32::NAN, 1.0, 0.5, f32::INFINITY];
        let (rows, own) = (Rows::of_points(&scores, 2).unwrap(), [0, 0, 1, 0, -1, -1]);
        let vote = |rows, weights| summed_scores(&sp, &own, rows, weights, None, Cancel::default()).unwrap();
        assert_eq!(vote(&rows, None), [1, 1, 1, 0, -1, -1]);
        assert_eq!(vote(&rows, Some(&[1.0, 1.0, 0.1, 1.0, 1.0, 1.0]))[..3], [0; 3]);
        let shared = Rows::of_voxels(&scores, 2, &[0, 0, 2, 3, 4, -1]).unwrap();
        assert_eq!(vote(&shared, None), vote(&rows, None));
    }

    #[test]
    fn superpoints_that_no_label_fits_fall_back() {
        let sp = superpoints(&[0, 0, 0, 1, 1, 2, -1]);
        let scores = [0.5, 0.1, 0.5, 0.3, 0.5, 0.2, 0.2, 0.4, 0.2, 0.0, f32::NAN, 0.0, 0.0, 0.0];
        let (rows, own) = (Rows::of_points(&scores, 2).unwrap(), [7, 7, 7, 7, 7, 7, 7]);
        let vote = |threshold, weights: Option<&[f32]>| {
            let fallback = Some(Fallback { label: 9, threshold });
            summed_scores(&sp, &own, &rows, weights, fallback, Cancel::default()).unwrap()
        };
        // The means are 0.5 of label 0 and 0.2 of both.
        assert_eq!(vote(0.1, None), [0, 0, 0, 0, 0, 7, 7]);
        assert_eq!(vote(0.3, None), [0, 0, 0, 9, 9, 7, 7], "not the sum of 0.4");
        assert_eq!(vote(0.6, None), [9, 9, 9, 9, 9, 7, 7], "not the sum of 1.5");
        let weights = [2.0, 2.0, 2.0, 2.0, 0.5, 0.0, 0.0];
        assert_eq!(vote(0.6, Some(&weights))[..3], [9; 3], "not the weighted sum");
        assert_eq!(vote(0.3, Some(&weights))[3..5], [1; 2], "0.8 and 0.5 of 2.5");
        assert_eq!(vote(0.35, Some(&weights))[3..5], [9; 2]);
        assert_eq!(vote(0.35, Some(&[0.0; 7])), [0, 0, 0, 0, 0, 7, 7], "nobody has a weight");
    }

    #[test]
    fn features_are_averaged_per_superpoint() {
        let sp = superpoints(&[9, 2, 9, -1]);
        let features = [1.0, 2.0, 5.0, 6.0, 3.0, 8.0, 70.0, 80.0];
        let means = |rows| mean_features(&sp, &rows, Cancel::default()).unwrap();
        assert_eq!(means(Rows::of_points(&features, 2).unwrap()), [5.0, 6.0, 2.0, 5.0]);
        assert_eq!(means(Rows::of_voxels(&features, 2, &[3, -1, 0, 1]).unwrap()), [0.0, 0.0, 35.5, 41.0]);
    }

    #[test]
    fn sizes_must_agree() {
        let sp = superpoints(&[0, 0]);
        assert_eq!(majority(&sp, &[1], None, Cancel::default()).unwrap_err().kind(), ErrorKind::Mismatch);
        let rows = Rows::of_points(&[1.0; 6], 2).unwrap();
        let error = summed_scores(&sp, &[1, 1], &rows, None, None, Cancel::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Mismatch);
        assert!(mean_features(&sp, &rows, Cancel::default()).is_err());
        let wrong = Superpoints { of_point: vec![0, 7], sizes: vec![1], ..Superpoints::default() };
        assert!(majority(&wrong, &[1, 1], None, Cancel::default()).is_err());
    }

    #[test]
    fn superpoints_of_many_points_are_counted_in_parts() {
        let labels: Vec<i32> =
            (0..5 * POINTS as i32 + 3).map(|p| if p % 9 == 4 { 7 } else { p * 31 % 60_000 }).collect();
        let sp = superpoints(&vec![5; labels.len()]);
        assert!(majority(&sp, &labels, None, Cancel::default()).unwrap().iter().all(|&label| label == 7));
        let weights: Vec<f32> = labels.iter().map(|&label| if label == 7 { 0.5 } else { 0.0 }).collect();
        let own: Vec<i32> = labels.iter().map(|&label| if label == 7 { 7 } else { label % 2 }).collect();
        assert!(majority(&sp, &own, Some(&weights), Cancel::default()).unwrap().iter().all(|&label| label == 7));
    }

    #[test]
    fn a_vote_can_be_cancelled() {
        let flag = AtomicBool::new(true);
        let sp = superpoints(&[0, 0]);
        let error = majority(&sp, &[1, 1], None, Cancel::when(&flag)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    }
}
