//! How far apart the points of a cloud are: the median distance to the nearest other point.

use crate::arena::Arena;
use crate::cancel::Cancel;
use crate::cloud::{Cloud, MAX_EXTENT, NO_CELL};
use crate::error::{Error, Result, collected, filled, with_capacity};
use crate::sparse::{Voxel, Voxels, decode, encode};
use rayon::prelude::*;

/// The default voxel edge in point spacings: below 1.5 the voxels of a surface no longer touch.
const VOXEL_IN_SPACINGS: f64 = 2.0;

/// The voxel edge of a cloud that has no two places, in metres.
const FALLBACK: f64 = 0.05;

/// About as many points are looked at: the median of so many is within a few hundredths of the whole cloud's.
const SAMPLE: u64 = 4096;

/// Points per occupied cell in which the nearest is looked for.
const POINTS_PER_CELL: usize = 4;

/// The default edge of a voxel in metres: twice [`point_spacing`], or 5 cm where no two points differ.
pub fn default_voxel_size(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<f64> {
    Ok(point_spacing(cloud, cancel)?.map_or(FALLBACK, |spacing| spacing * VOXEL_IN_SPACINGS))
}

/// The median distance in metres from a point to the nearest point elsewhere, over a sample that depends on the
/// positions alone; `None` where no two points differ. The cloud must have passed [`Cloud::validate`].
pub fn point_spacing(cloud: &Cloud<'_>, cancel: Cancel<'_>) -> Result<Option<f64>> {
    let positions: Vec<[f64; 3]> =
        collected((0..cloud.len()).map(|i| cloud.frame.to_metres(cloud.positions.row(i))), "the positions")?;
    let finite = |p: &[f64; 3]| p.iter().all(|v| v.is_finite());
    let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
    for position in positions.iter().filter(|p| finite(p)) {
        for axis in 0..3 {
            low[axis] = low[axis].min(position[axis]);
            high[axis] = high[axis].max(position[axis]);
        }
    }
    let extent = (0..3).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
    if !(extent.is_finite() && extent > 0.0) {
        return Ok(None);
    }
    // The finest cells that keys hold; every coarser lattice is a prefix of the same sorted keys.
    let edge = extent / (MAX_EXTENT - 1) as f64;
    let cell = |p: &[f64; 3]| match finite(p) {
        true => std::array::from_fn(|axis| (((p[axis] - low[axis]) / edge) as u32).min(MAX_EXTENT as u32 - 1)),
        false => NO_CELL,
    };
    let cells = collected(positions.iter().map(cell), "the cells of the points")?;
    let search = Search { voxels: Voxels::from_cells(&[&cells], &Arena::default(), cancel)?, positions, edge };
    let level = search.level();
    let sample = search.sample()?;
    let mut distances = filled(sample.len(), f64::INFINITY, "the distances")?;
    distances.par_iter_mut().zip(&sample).try_for_each(|(distance, &point)| {
        cancel.check()?;
        *distance = search.nearest(point as usize, level).unwrap_or(f64::INFINITY);
        Ok::<(), Error>(())
    })?;
    distances.retain(|distance| distance.is_finite());
    distances.sort_unstable_by(f64::total_cmp);
    Ok(distances.get(distances.len() / 2).copied())
}

struct Search {
    voxels: Voxels,
    positions: Vec<[f64; 3]>,
    /// Edge of a finest cell in metres.
    edge: f64,
}

impl Search {
    /// The coarsening at which occupied cells hold [`POINTS_PER_CELL`] points on average.
    fn level(&self) -> usize {
        let occupied = |level: usize| self.voxels.keys.chunk_by(|a, b| a >> (3 * level) == b >> (3 * level)).count();
        let full = |&level: &usize| occupied(level) * POINTS_PER_CELL <= self.voxels.points.len();
        (0..18).find(full).unwrap_or(18)
    }

    /// Points whose positions' bits hash low enough.
    fn sample(&self) -> Result<Vec<u32>> {
        let count = self.voxels.points.len() as u64;
        let limit = if count <= SAMPLE { u64::MAX } else { u64::MAX / count * SAMPLE };
        let mut sample: Vec<u32> = with_capacity(count as usize, "the sample of points")?;
        sample.extend(self.voxels.points.iter().filter(|&&p| hash(self.positions[p as usize]) <= limit));
        Ok(sample)
    }

    /// The distance to the nearest point elsewhere: among the cells around at `level`, or coarser ones until what is
    /// found lies within a cell's edge.
    fn nearest(&self, point: usize, level: usize) -> Option<f64> {
        let at = self.positions[point];
        let voxel = decode(self.voxels.keys[self.voxels.voxel_of_point[point] as usize], 0);
        for level in level..=18 {
            let mut best = f64::INFINITY;
            let centre = voxel.cell.map(|v| v >> level);
            for offset in crate::sparse::kernel_offsets(3) {
                let cell: [u32; 3] = std::array::from_fn(|axis| centre[axis].wrapping_add_signed(offset[axis]));
                if cell.iter().any(|&v| i64::from(v) >= MAX_EXTENT >> level) {
                    continue;
                }
                for &other in self.points_in(cell, level) {
                    let other = self.positions[other as usize];
                    let square: f64 = (0..3).map(|axis| (at[axis] - other[axis]).powi(2)).sum();
                    if square > 0.0 {
                        best = best.min(square);
                    }
                }
            }
            if best.sqrt() <= self.edge * (1_u32 << level) as f64 || (level == 18 && best.is_finite()) {
                return Some(best.sqrt());
            }
        }
        None
    }

    fn points_in(&self, cell: [u32; 3], level: usize) -> &[u32] {
        let first = encode(Voxel { batch: 0, cell: cell.map(|v| v << level) });
        let begin = self.voxels.keys.partition_point(|&key| key < first);
        let end = begin + self.voxels.keys[begin..].partition_point(|&key| key - first < 1 << (3 * level));
        &self.voxels.points[self.voxels.starts[begin] as usize..self.voxels.starts[end] as usize]
    }
}

/// SplitMix64's mixing over the three coordinates.
fn hash(position: [f64; 3]) -> u64 {
    position.iter().fold(0, |state, v| crate::random::SplitMix64::new(state ^ v.to_bits()).bits())
}
