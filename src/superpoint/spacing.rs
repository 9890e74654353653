//! How far apart the points of a cloud are: the median distance to the nearest other point.

use super::nearest::{Place, Tree};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, MAX_EXTENT};
use crate::error::{Error, Result, filled, reserve, with_capacity};
use rayon::prelude::*;

/// The default voxel edge in point spacings: below 1.5 the voxels of a surface no longer touch.
const VOXEL_IN_SPACINGS: f64 = 2.0;

/// The voxel edge of a cloud that has no two places, in metres.
const FALLBACK: f64 = 0.05;

/// As many places are looked at: the median of so many is within a few hundredths of the whole cloud's.
const SAMPLE: usize = 4096;

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// The most voxels along the longest edge of the cloud at the default voxel size: what fits the keys wherever the
/// lattice begins, so that a few far outliers do not put the default out of range.
const MOST_VOXELS: f64 = (MAX_EXTENT - 32) as f64;

/// The default edge of a voxel in metres: twice [`point_spacing`], but large enough for [`MAX_EXTENT`] voxels to span
/// the cloud; 5 cm where no two points differ.
pub fn default_voxel_size(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<f64> {
    let size = |(spacing, extent): (f64, f64)| (spacing * VOXEL_IN_SPACINGS).max(extent / MOST_VOXELS);
    Ok(spacing_and_extent(cloud, cancel)?.map_or(FALLBACK, size))
}

/// The median distance in metres from a place to the nearest other, over a sample of the places of points that depends
/// on the positions alone; `None` where no two points differ. The cloud must have passed [`Cloud::validate`].
pub fn point_spacing(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<Option<f64>> {
    Ok(spacing_and_extent(cloud, cancel)?.map(|(spacing, _)| spacing))
}

/// That, and the longest edge of the box around the cloud.
fn spacing_and_extent(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<Option<(f64, f64)>> {
    let mut places: Vec<Place> = with_capacity(cloud.len(), "the positions")?;
    for point in 0..cloud.len() {
        if point.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        // Adding nothing makes a negative zero the other one.
        let at = cloud.frame.to_metres(cloud.positions.row(point)).map(|v| v + 0.0);
        if at.iter().all(|v| v.is_finite()) {
            places.push((at, 0));
        }
    }
    let sample = sample(&places, cancel)?;
    let tree = Tree::new(places, sample.len(), cancel)?;
    let extent = tree.extent();
    if !(extent.is_finite() && extent > 0.0) {
        return Ok(None);
    }
    let mut distances = filled(sample.len(), f64::INFINITY, "the distances")?;
    distances.par_iter_mut().zip(&sample).try_for_each(|(distance, &place)| {
        cancel.check()?;
        *distance = tree.nearest(place.map(f64::from_bits), (f64::INFINITY, 0)).0.sqrt();
        Ok::<(), Error>(())
    })?;
    distances.retain(|distance| distance.is_finite());
    distances.sort_unstable_by(f64::total_cmp);
    Ok(distances.get(distances.len() / 2).map(|&spacing| (spacing, extent)))
}

/// The bits of the [`SAMPLE`] places, or fewer where there are no more, whose hashes are lowest. A place counts once,
/// however many points share it.
fn sample(places: &[Place], cancel: Cancel<'_>) -> Result<Vec<[u64; 3]>> {
    // Twice as many as needed, if no two points share a place; more until there are enough, if some do.
    let part = u64::MAX / (places.len() as u64).max(1);
    let mut limit = if places.len() <= 2 * SAMPLE { u64::MAX } else { part * 2 * SAMPLE as u64 };
    loop {
        let mut lowest: Vec<(u64, [u64; 3])> = Vec::new();
        for places in places.chunks(BLOCK) {
            cancel.check()?;
            let bits = places.iter().map(|(at, _)| at.map(f64::to_bits));
            reserve(&mut lowest, places.len(), "the sample of places")?;
            lowest.extend(bits.map(|bits| (hash(bits), bits)).filter(|(hash, _)| *hash <= limit));
        }
        lowest.sort_unstable();
        lowest.dedup();
        if lowest.len() >= SAMPLE || limit == u64::MAX {
            lowest.truncate(SAMPLE);
            let mut sample = with_capacity(lowest.len(), "the sample of places")?;
            sample.extend(lowest.iter().map(|&(_, bits)| bits));
            return Ok(sample);
        }
        limit = limit.saturating_mul(16);
    }
}

/// SplitMix64's mixing over the three coordinates.
fn hash(position: [u64; 3]) -> u64 {
    position.iter().fold(0, |state, bits| crate::random::SplitMix64::new(state ^ bits).bits())
}
