//! VCCS as version 1.13 of the point cloud library computes it (`SupervoxelClustering` without the single-camera
//! transform), to the letter and in its float32, for comparisons with stored results.
//!
//! Voxels without a superpoint, superpoints in several parts and numbers without a superpoint are all its own.

mod growth;
mod voxels;

pub use growth::{Center, Supervoxels};
pub use voxels::PclVoxels;

use super::attach::NOBODY;
use super::buckets::Buckets;
use super::feature::Weights;
use super::options::{MOST_ROUNDS, check_rounds, check_single};
use super::superpoints::{Superpoints, adjacency};
use crate::cancel::Cancel;
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result, collected, filled};
use growth::Growth;
use rayon::prelude::*;

/// Parameters of the point cloud library's VCCS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VccsPcl {
    /// Edge of a seed cell in metres; 8 voxels when `None`.
    pub seed_size: Option<f64>,
    /// Weights of the distance.
    pub weights: Weights,
    /// Rounds of growing; one less than 1.8 seed edges in voxels, as published, when `None`.
    pub rounds: Option<u32>,
    /// How often normals are refined within superpoints and growing begins again.
    pub refinements: u32,
}

impl VccsPcl {
    pub(super) fn validate(&self) -> Result<()> {
        if let Some(seed) = self.seed_size {
            check_single("seed_size", seed, "0.4")?;
        }
        self.weights.validate()?;
        check_rounds(self.rounds, self.refinements)
    }
}

/// The supervoxels of `cloud`, every stage included.
pub fn supervoxels(cloud: &PclVoxels, options: &VccsPcl, cancel: Cancel<'_>) -> Result<Supervoxels> {
    options.validate()?;
    check_single("voxel_size", cloud.voxel_size, "0.05")?;
    let voxel = cloud.voxel_size as f32;
    let seed = options.seed_size.map_or(super::vccs::SEED_IN_VOXELS as f32 * voxel, |metres| metres as f32);
    check_single("seed_size", f64::from(seed), "0.4")?;
    let seeds = seeds(cloud, seed, voxel, cancel)?;
    let depth = (1.8_f32 * seed / voxel) as u32;
    let rounds = options.rounds.unwrap_or(depth.saturating_sub(1).min(MOST_ROUNDS));
    let mut growth = Growth::new(cloud, &options.weights, seed, &seeds)?;
    growth.run(rounds, cancel)?;
    for _ in 0..options.refinements {
        growth.refine_normals(cancel)?;
        growth.reseed(cancel)?;
        growth.run(rounds, cancel)?;
    }
    growth.finish(seeds)
}

/// Voxels between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// The seed grid: a cube that is doubled towards each centroid outside it, in the order of the voxels.
struct SeedGrid {
    low: [f64; 3],
    edge: f64,
}

impl SeedGrid {
    /// `edge` is positive and finite.
    fn new(positions: &[[f32; 3]], edge: f64, cancel: Cancel<'_>) -> Result<Self> {
        let Some(first) = positions.first() else { return Ok(Self { low: [0.0; 3], edge }) };
        let mut low = first.map(|v| f64::from(v) - edge);
        let mut high = first.map(|v| f64::from(v) + edge);
        let mut side = 2.0 * edge;
        for (index, position) in positions.iter().enumerate() {
            if index.is_multiple_of(BLOCK) {
                cancel.check()?;
            }
            let at = position.map(f64::from);
            if at.iter().any(|v| !v.is_finite()) {
                let message = "the voxels' means overflow float32, in which the point cloud library computes; move \
                               the cloud closer to the origin, or use vccs";
                return Err(Error::new(ErrorKind::OutOfRange, message));
            }
            while (0..3).any(|axis| at[axis] < low[axis] || at[axis] >= high[axis]) {
                for axis in 0..3 {
                    if at[axis] < high[axis] {
                        low[axis] -= side;
                    }
                }
                side *= 2.0;
                high = low.map(|v| v + side - f64::from(f32::EPSILON));
            }
        }
        Ok(Self { low, edge })
    }

    fn cell_of(&self, at: [f32; 3]) -> [u32; 3] {
        std::array::from_fn(|axis| ((f64::from(at[axis]) - self.low[axis]) / self.edge) as u32)
    }

    fn centre_of(&self, cell: [u32; 3]) -> [f32; 3] {
        std::array::from_fn(|axis| ((f64::from(cell[axis]) + 0.5) * self.edge + self.low[axis]) as f32)
    }
}

/// Per occupied cell of the seed grid the voxel nearest to its centre, where enough others are near.
fn seeds(cloud: &PclVoxels, seed: f32, voxel: f32, cancel: Cancel<'_>) -> Result<Vec<u32>> {
    let grid = SeedGrid::new(&cloud.positions, f64::from(seed), cancel)?;
    let cells: Vec<[u32; 3]> =
        collected(cloud.positions.iter().map(|&at| voxels::swapped(grid.cell_of(at))), "the seed cells")?;
    cells.iter().try_for_each(|cell| voxels::check_extent("seed cells", cell))?;
    let buckets = Buckets::new(&cells, cancel)?;
    let radius = 0.5 * seed;
    let fewest = 0.05_f32 * radius * radius * std::f32::consts::PI / (voxel * voxel);
    let seed_of = |cell: usize| -> Option<u32> {
        let inside = buckets.inside(cell)[0] as usize;
        let centre = grid.centre_of(voxels::swapped(cells[inside]));
        let key = |voxel: usize| square_distance(centre, cloud.positions[voxel]);
        let nearest = |a: &usize, b: &usize| key(*a).total_cmp(&key(*b)).then(a.cmp(b));
        let candidate = buckets.around(cell).min_by(nearest)?;
        let at = cloud.positions[candidate];
        let within = |&voxel: &usize| square_distance(at, cloud.positions[voxel]) < radius * radius;
        let near = buckets.around(buckets.cell_of(candidate)).filter(within).count();
        (near as f32 > fewest).then_some(candidate as u32)
    };
    let mut seeds = filled(buckets.len(), NOBODY, "the seeds")?;
    seeds.par_iter_mut().enumerate().try_for_each(|(cell, seed)| {
        cancel.check()?;
        *seed = seed_of(cell).unwrap_or(NOBODY);
        Ok::<(), Error>(())
    })?;
    seeds.retain(|&seed| seed != NOBODY);
    Ok(seeds)
}

fn square_distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    let d = [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
    d[0] * d[0] + d[1] * d[1] + d[2] * d[2]
}

/// The supervoxels of `cloud` as superpoints, numbered without holes in the order of their labels.
pub(super) fn superpoints(
    cloud: &Cloud<'_>,
    voxel_size: f64,
    options: &VccsPcl,
    cancel: Cancel<'_>,
) -> Result<Superpoints> {
    let voxels = PclVoxels::new(cloud, voxel_size, cancel)?;
    let mut owners = supervoxels(&voxels, options, cancel)?.labels;
    let mut used: Vec<u32> = collected(owners.iter().copied(), "the labels")?;
    used.sort_unstable();
    used.dedup();
    used.retain(|&label| label != 0);
    for owner in &mut owners {
        *owner = used.binary_search(owner).map_or(NOBODY, |dense| dense as u32);
    }
    let mut this = Superpoints::with_points(used.len(), &owners, &voxels.voxel_of_point, &voxels.point_counts, cancel)?;
    let mut sums = filled(used.len(), [0.0; 3], "the centroids")?;
    for (voxel, &owner) in owners.iter().enumerate().filter(|(_, owner)| **owner != NOBODY) {
        for axis in 0..3 {
            sums[owner as usize][axis] +=
                f64::from(voxels.positions[voxel][axis]) * f64::from(voxels.point_counts[voxel]);
        }
    }
    let centroids = sums.iter().zip(&this.sizes).map(|(sum, &size)| sum.map(|v: f64| v / f64::from(size)));
    this.centroids = collected(centroids, "the centroids")?;
    this.adjacency = adjacency(&owners, &voxels.neighbours, cancel)?;
    Ok(this)
}
