//! The result: which superpoint each point belongs to, and what is known of the superpoints.

use super::attach::NOBODY;
use super::feature::PARTS;
use super::voxel_cloud::VoxelCloud;
use crate::arena::Arena;
use crate::cancel::Cancel;
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result, collected, filled, reserve, with_capacity};
use crate::sparse::{Keys, NO_VOXEL, Neighbours, sort_by_key};
use rayon::prelude::*;
use std::ops::Range;

/// The superpoint of a point that has none.
pub const NO_SUPERPOINT: i32 = -1;

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// A partition of a cloud. Superpoints are numbered from 0 without holes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Superpoints {
    /// `[n]` the superpoint of each point, or [`NO_SUPERPOINT`].
    pub of_point: Vec<i32>,
    /// `[s]` points of each superpoint.
    pub sizes: Vec<u32>,
    /// `[s]` mean positions in metres in the right-handed frame with z up; empty for ids without a cloud.
    pub centroids: Vec<[f64; 3]>,
    /// Pairs (i < j) of superpoints with touching voxels, ascending; empty for external superpoints.
    pub adjacency: Vec<[u32; 2]>,
    /// `[v]` the superpoint of each voxel, or [`NO_SUPERPOINT`]; empty for external superpoints.
    pub of_voxel: Vec<i32>,
}

impl Superpoints {
    /// The number of superpoints.
    pub fn count(&self) -> usize {
        self.sizes.len()
    }

    /// Superpoints from ids of any value, one per point; -1 means none. Numbered in the order of the ids.
    pub fn from_external(ids: &[i64], cancel: Cancel<'_>) -> Result<Self> {
        if i32::try_from(ids.len()).is_err() {
            let message = format!("{} ids; at most {} fit, split the cloud", ids.len(), i32::MAX);
            return Err(Error::new(ErrorKind::OutOfRange, message));
        }
        // With the sign turned over, ids order as unsigned numbers do.
        let key_of = |&id: &i64| (id != -1).then_some(id as u64 ^ 1 << 63);
        let keys_of = |points: Range<usize>| ids[points].iter().map(key_of);
        let sorted = sort_by_key(ids.len(), |points| Keys::of(keys_of(points)), keys_of, &Arena::default(), cancel)?;
        let mut of_point = filled(ids.len(), NO_SUPERPOINT, "the superpoint of each point")?;
        let mut sizes: Vec<u32> = Vec::new();
        let mut last = None;
        for first in (0..sorted.len()).step_by(BLOCK) {
            cancel.check()?;
            for (key, point) in sorted.at(first..sorted.len().min(first + BLOCK)) {
                if last.replace(key) != Some(key) {
                    reserve(&mut sizes, 1, "the superpoints")?;
                    sizes.push(0);
                }
                let dense = sizes.len() - 1;
                of_point[point as usize] = dense as i32;
                sizes[dense] += 1;
            }
        }
        sizes.shrink_to_fit();
        Ok(Self { of_point, sizes, ..Self::default() })
    }

    /// Those that `cloud` brings, with their centroids. A point whose position is not finite has none.
    pub(super) fn given(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<Self> {
        let Some(ids) = &cloud.superpoints else { return Err(Error::internal("the cloud has no superpoints")) };
        let position = |point: usize| {
            let at = cloud.frame.to_metres(cloud.positions.row(point));
            at.iter().all(|v| v.is_finite()).then_some(at)
        };
        let id = |point: usize| position(point).map_or(-1, |_| ids.integer(point));
        let mut whole = filled(cloud.len(), -1_i64, "the ids")?;
        for (block, whole) in whole.chunks_mut(BLOCK).enumerate() {
            cancel.check()?;
            (block * BLOCK..).zip(whole).for_each(|(point, place)| *place = id(point));
        }
        let mut this = Self::from_external(&whole, cancel)?;
        this.centroids = filled(this.count(), [0.0; 3], "the centroids")?;
        for (point, &superpoint) in this.of_point.iter().enumerate() {
            if point.is_multiple_of(BLOCK) {
                cancel.check()?;
            }
            if let (Ok(superpoint), Some(at)) = (usize::try_from(superpoint), position(point)) {
                let sum = &mut this.centroids[superpoint];
                (0..3).for_each(|axis| sum[axis] += at[axis] / f64::from(this.sizes[superpoint]));
            }
        }
        Ok(this)
    }

    /// From the owner of every voxel; numbered by their first voxels.
    pub(super) fn from_owners(cloud: &VoxelCloud, mut owners: Vec<u32>, cancel: Cancel<'_>) -> Result<Self> {
        let count = number_by_first(&mut owners)?;
        let mut this = Self::with_points(count, &owners, &cloud.voxel_of_point, &cloud.point_counts, cancel)?;
        let mut sums = filled(count, [0_i64; 3], "the centroids")?;
        for (voxel, &owner) in owners.iter().enumerate() {
            for axis in 0..3 {
                let position = i64::from(cloud.features[voxel].position[axis]);
                sums[owner as usize][axis] += position * i64::from(cloud.point_counts[voxel]);
            }
        }
        let centroids = sums.iter().zip(&this.sizes).map(|(sum, &size)| {
            std::array::from_fn(|axis| {
                let mean = sum[axis] as f64 / (f64::from(size) * f64::from(PARTS));
                (mean + cloud.origin[axis] as f64) * cloud.voxel_size
            })
        });
        this.centroids = collected(centroids, "the centroids")?;
        this.adjacency = adjacency(&owners, &cloud.neighbours, cancel)?;
        Ok(this)
    }

    /// Everything but centroids and adjacency from the dense owners of the voxels.
    pub(super) fn with_points(
        count: usize,
        owners: &[u32],
        voxel_of_point: &[u32],
        point_counts: &[u32],
        cancel: Cancel<'_>,
    ) -> Result<Self> {
        let signed = |owner: u32| if owner == NOBODY { NO_SUPERPOINT } else { owner as i32 };
        let mut of_point = filled(voxel_of_point.len(), NO_SUPERPOINT, "the superpoint of each point")?;
        let mut sizes = filled(count, 0_u32, "the superpoints")?;
        for (owner, count) in owners.iter().zip(point_counts).filter(|(owner, _)| **owner != NOBODY) {
            sizes[*owner as usize] += count;
        }
        let tasks = of_point.par_chunks_mut(BLOCK).zip(voxel_of_point.par_chunks(BLOCK));
        tasks.try_for_each(|(place, voxels)| {
            cancel.check()?;
            for (place, &voxel) in place.iter_mut().zip(voxels).filter(|(_, voxel)| **voxel != NO_VOXEL) {
                *place = signed(owners[voxel as usize]);
            }
            Ok::<(), Error>(())
        })?;
        let of_voxel = collected(owners.iter().map(|&owner| signed(owner)), "the superpoint of each voxel")?;
        Ok(Self { of_point, sizes, of_voxel, ..Self::default() })
    }
}

/// Numbers owners from 0 in the order of their first voxels and returns how many there are.
fn number_by_first(owners: &mut [u32]) -> Result<usize> {
    let most = owners.iter().max().map_or(0, |&owner| owner as usize + 1);
    let mut dense = filled(most, NOBODY, "the superpoints")?;
    let mut count = 0;
    for owner in owners {
        let number = &mut dense[*owner as usize];
        if *number == NOBODY {
            *number = count;
            count += 1;
        }
        *owner = *number;
    }
    Ok(count as usize)
}

/// The pairs (i < j) of owners that own neighbouring voxels, ascending.
pub(super) fn adjacency(owners: &[u32], neighbours: &Neighbours, cancel: Cancel<'_>) -> Result<Vec<[u32; 2]>> {
    /// Voxels of one thread's task.
    const TASK: usize = 1 << 11;
    let of_task = |task: usize| {
        cancel.check()?;
        let mut pairs: Vec<[u32; 2]> = Vec::new();
        for voxel in task * TASK..owners.len().min((task + 1) * TASK) {
            let own = owners[voxel];
            // Of the same pairs in a row one is enough: a border is met many times.
            for &next in neighbours.of(voxel) {
                let other = owners[next as usize];
                if own < other && other != NOBODY && pairs.last() != Some(&[own, other]) {
                    reserve(&mut pairs, 1, "the pairs of superpoints")?;
                    pairs.push([own, other]);
                }
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        Ok::<_, Error>(pairs)
    };
    let tasks = (0..owners.len().div_ceil(TASK)).into_par_iter().map(of_task);
    let parts = tasks.collect::<Result<Vec<_>>>()?;
    let mut pairs = with_capacity(parts.iter().map(Vec::len).sum(), "the pairs of superpoints")?;
    parts.iter().for_each(|part| pairs.extend_from_slice(part));
    pairs.sort_unstable();
    pairs.dedup();
    pairs.shrink_to_fit();
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_ids_become_dense_in_their_order() {
        let ids = [700, -1, -5, 700, 3_000_000_000, -5, 700];
        let superpoints = Superpoints::from_external(&ids, Cancel::default()).unwrap();
        assert_eq!(superpoints.of_point, [1, -1, 0, 1, 2, 0, 1]);
        assert_eq!(superpoints.sizes, [2, 3, 1]);
        assert_eq!(Superpoints::from_external(&[], Cancel::default()).unwrap().count(), 0);
        assert_eq!(Superpoints::from_external(&[-1, -1], Cancel::default()).unwrap().of_point, [-1, -1]);
    }
}
