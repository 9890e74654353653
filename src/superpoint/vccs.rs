//! Voxel cloud connectivity segmentation (Papon et al., CVPR 2013): superpoints grow from evenly spread seeds.
//!
//! The metric and its parameters are the paper's as the point cloud library has them. The rest is made anew, so that
//! every voxel ends in one superpoint and the order of nothing matters: in a round every voxel looks at the
//! superpoints around it as the last round left them and takes the best (distance, id), its own included, all
//! distances being to the present centres. Centres are sums of integers that voxels enter and leave.

use super::attach::{NOBODY, Strays, adopt_strays, attach_linked, detach_fragments};
use super::buckets::Buckets;
use super::feature::{Feature, Metric, PARTS, Sum, Weights};
use super::options::{MOST_ROUNDS, check_positive, check_rounds, check_weight};
use super::voxel_cloud::VoxelCloud;
use crate::cancel::Cancel;
use crate::cloud::MAX_EXTENT;
use crate::error::{Error, ErrorKind, Result, collected, filled, with_capacity};
use rayon::prelude::*;

/// Voxels of one thread's task, and between two looks at the cancel token.
const BLOCK: usize = 1 << 9;

/// The default seed edge in voxels.
pub(super) const SEED_IN_VOXELS: f64 = 8.0;

/// Parameters of VCCS.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Vccs {
    /// Edge of a seed cell in metres, about the diameter of a superpoint; 8 voxels when `None`.
    pub seed_size: Option<f64>,
    /// Weights of the distance.
    pub weights: Weights,
    /// Most rounds of growing; 1.8 seed edges in voxels, as published, when `None`. Growing ends by itself when a
    /// round changes nothing.
    pub rounds: Option<u32>,
    /// How often to begin again from the voxels nearest to the centres of what has grown.
    pub refinements: u32,
    /// Small components that touch no superpoint join the nearest one within this many metres; half a seed edge when
    /// `None`, never at 0. These are the only superpoints that are not connected.
    pub stray_reach: Option<f64>,
}

impl Vccs {
    pub(super) fn validate(&self) -> Result<()> {
        if let Some(seed) = self.seed_size {
            check_positive("seed_size", seed, "m", "0.4")?;
        }
        self.weights.validate()?;
        if let Some(reach) = self.stray_reach {
            check_weight("stray_reach", reach)?;
        }
        check_rounds(self.rounds, self.refinements)
    }
}

/// The owner of every voxel.
pub(super) fn vccs(cloud: &VoxelCloud, options: &Vccs, cancel: Cancel<'_>) -> Result<Vec<u32>> {
    let seed = options.seed_size.map_or(SEED_IN_VOXELS, |metres| metres / cloud.voxel_size);
    if seed <= 1.0 {
        return collected(0..cloud.len() as u32, "the owners of the voxels");
    }
    let buckets = buckets(cloud, seed, cancel)?;
    let metric = Metric::new(&options.weights, seed);
    let seeds = seeds(cloud, &buckets, seed, cancel)?;
    let mut growth = Growth::new(cloud, metric, &seeds)?;
    let rounds = options.rounds.unwrap_or((1.8 * seed).min(f64::from(MOST_ROUNDS)) as u32);
    growth.run(rounds, cancel)?;
    for _ in 0..options.refinements {
        growth.reseed(cancel)?;
        growth.run(rounds, cancel)?;
    }
    let Growth { mut owners, centres, .. } = growth;
    detach_fragments(cloud, &mut owners, cancel)?;
    attach_linked(cloud, &mut owners, &centres, metric, cancel)?;
    let strays = Strays {
        reach: options.stray_reach.map_or(0.5 * seed, |metres| metres / cloud.voxel_size),
        largest: fewest_around(seed).max(1.0),
    };
    adopt_strays(cloud, &mut owners, centres.len() as u32, &strays, cancel)?;
    Ok(owners)
}

/// The voxels by seed cell, on the lattice through the frame's origin.
fn buckets(cloud: &VoxelCloud, seed: f64, cancel: Cancel<'_>) -> Result<Buckets> {
    let cell_of = |feature: &Feature| -> [i64; 3] {
        std::array::from_fn(|axis| {
            let place = cloud.origin[axis] as f64 + f64::from(feature.position[axis]) / f64::from(PARTS);
            (place / seed).floor() as i64
        })
    };
    let low = cloud
        .features
        .iter()
        .map(cell_of)
        .fold([i64::MAX; 3], |low, cell| std::array::from_fn(|axis| low[axis].min(cell[axis])));
    let mut cells = with_capacity(cloud.len(), "the seed cells")?;
    for (index, feature) in cloud.features.iter().enumerate() {
        if index.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        let cell = cell_of(feature);
        let cell: [i64; 3] = std::array::from_fn(|axis| cell[axis] - low[axis]);
        if let Some(most) = cell.iter().find(|&&v| v >= MAX_EXTENT) {
            let message = format!("the cloud spans {} seed cells on an axis; at most {MAX_EXTENT} fit", most + 1);
            return Err(Error::new(ErrorKind::OutOfRange, format!("{message}: use larger ones or split the cloud")));
        }
        cells.push(cell.map(|v| v as u32));
    }
    Buckets::new(&cells, cancel)
}

/// The published least number of voxels within half a seed edge of a seed: a twentieth of a flat disc.
fn fewest_around(seed: f64) -> f64 {
    0.05 * std::f64::consts::PI * (0.5 * seed).powi(2)
}

/// Square of the distance in voxels.
fn square_distance(a: [f64; 3], b: [i32; 3]) -> f64 {
    (0..3).map(|axis| (a[axis] - f64::from(b[axis])).powi(2)).sum::<f64>() / f64::from(PARTS).powi(2)
}

/// Per seed cell the voxel nearest to its centre, if enough others are near; each voxel at most once, ascending.
fn seeds(cloud: &VoxelCloud, buckets: &Buckets, seed: f64, cancel: Cancel<'_>) -> Result<Vec<u32>> {
    let position = |voxel: usize| cloud.features[voxel].position;
    let seed_of = |cell: usize| -> Option<u32> {
        let first = position(buckets.inside(cell)[0] as usize);
        let centre: [f64; 3] = std::array::from_fn(|axis| {
            let origin = cloud.origin[axis] as f64;
            let place = origin + f64::from(first[axis]) / f64::from(PARTS);
            (((place / seed).floor() + 0.5) * seed - origin) * f64::from(PARTS)
        });
        let nearest = |a: &usize, b: &usize| {
            let key = |voxel: usize| square_distance(centre, position(voxel));
            key(*a).total_cmp(&key(*b)).then(a.cmp(b))
        };
        let candidate = buckets.around(cell).min_by(nearest)?;
        let at = position(candidate).map(f64::from);
        let within = |&voxel: &usize| square_distance(at, position(voxel)) <= (0.5 * seed).powi(2);
        let near = buckets.around(buckets.cell_of(candidate)).filter(within).count();
        (near as f64 > fewest_around(seed)).then_some(candidate as u32)
    };
    let mut seeds = filled(buckets.len(), NOBODY, "the seeds")?;
    seeds.par_iter_mut().enumerate().try_for_each(|(cell, seed)| {
        cancel.check()?;
        *seed = seed_of(cell).unwrap_or(NOBODY);
        Ok::<(), Error>(())
    })?;
    seeds.retain(|&seed| seed != NOBODY);
    seeds.sort_unstable();
    seeds.dedup();
    Ok(seeds)
}

/// Superpoints as they grow.
struct Growth<'a> {
    cloud: &'a VoxelCloud,
    metric: Metric,
    /// Per voxel its superpoint or [`NOBODY`].
    owners: Vec<u32>,
    /// Per voxel whether another superpoint may own one of its neighbours. The others need no look: inside a
    /// superpoint, and where none has come yet, nothing happens.
    at_border: Vec<bool>,
    /// Per superpoint the sum and the mean of its voxels; the mean stays where the last voxel leaves.
    sums: Vec<Sum>,
    centres: Vec<Feature>,
    /// Per superpoint whether its sum has changed since its mean was taken.
    changed: Vec<bool>,
}

impl<'a> Growth<'a> {
    fn new(cloud: &'a VoxelCloud, metric: Metric, seeds: &[u32]) -> Result<Self> {
        let mut this = Self {
            cloud,
            metric,
            owners: filled(cloud.len(), NOBODY, "the owners of the voxels")?,
            at_border: filled(cloud.len(), false, "the borders of the superpoints")?,
            sums: Vec::new(),
            centres: collected(seeds.iter().map(|&s| cloud.features[s as usize]), "the centres")?,
            changed: Vec::new(),
        };
        this.plant(seeds)?;
        Ok(this)
    }

    /// Superpoint k owns the k-th seed and nothing else.
    fn plant(&mut self, seeds: &[u32]) -> Result<()> {
        self.owners.fill(NOBODY);
        self.at_border.fill(false);
        let features = &self.cloud.features;
        let sums = seeds.iter().map(|&seed| {
            let mut sum = Sum::beside(features[seed as usize].normal);
            sum.add(&features[seed as usize]);
            sum
        });
        self.sums = collected(sums, "the sums")?;
        self.changed = filled(seeds.len(), false, "the superpoints")?;
        for (owner, &seed) in seeds.iter().enumerate() {
            self.give(seed, owner as u32);
        }
        Ok(())
    }

    /// Makes `owner` the owner of `voxel` and returns who was.
    fn give(&mut self, voxel: u32, owner: u32) -> u32 {
        for &next in self.cloud.neighbours.of(voxel as usize) {
            self.at_border[next as usize] = true;
        }
        std::mem::replace(&mut self.owners[voxel as usize], owner)
    }

    fn run(&mut self, rounds: u32, cancel: Cancel<'_>) -> Result<()> {
        for _ in 0..rounds {
            let mut at_border = std::mem::take(&mut self.at_border);
            let changes: Vec<Vec<(u32, u32)>> = at_border
                .par_chunks_mut(BLOCK)
                .enumerate()
                .map(|(block, at_border)| {
                    cancel.check()?;
                    let mut changes = Vec::new();
                    let voxels = (block * BLOCK..).zip(at_border).filter(|(_, at_border)| **at_border);
                    for (voxel, at_border) in voxels {
                        match self.best_owner(voxel) {
                            None => *at_border = false,
                            Some(best) if best != self.owners[voxel] => changes.push((voxel as u32, best)),
                            Some(_) => {}
                        }
                    }
                    Ok(changes)
                })
                .collect::<Result<_>>()?;
            self.at_border = at_border;
            if changes.iter().all(Vec::is_empty) {
                break;
            }
            self.apply(changes.iter().flatten());
        }
        Ok(())
    }

    /// The best superpoint for voxel `voxel`, its own included; `None` if no other owns a neighbour.
    fn best_owner(&self, voxel: usize) -> Option<u32> {
        let own = self.owners[voxel];
        let around = self.cloud.neighbours.of(voxel);
        let foreign = |&&n: &&u32| self.owners[n as usize] != own && self.owners[n as usize] != NOBODY;
        let first = around.iter().position(|n| foreign(&n))?;
        let feature = &self.cloud.features[voxel];
        let rank = |owner: u32| (self.metric.distance(&self.centres[owner as usize], feature), owner);
        let mut best = if own == NOBODY { (f32::INFINITY, NOBODY) } else { rank(own) };
        // Few superpoints meet in one place; those met before need no second look.
        let mut met = [NOBODY; 4];
        let mut count = 0;
        for owner in around[first..].iter().filter(foreign).map(|&n| self.owners[n as usize]) {
            if !met.contains(&owner) {
                met[count % met.len()] = owner;
                count += 1;
                let candidate = rank(owner);
                if candidate < best {
                    best = candidate;
                }
            }
        }
        Some(best.1)
    }

    fn apply<'c>(&mut self, changes: impl Iterator<Item = &'c (u32, u32)>) {
        for &(voxel, owner) in changes {
            let feature = &self.cloud.features[voxel as usize];
            let former = self.give(voxel, owner);
            if former != NOBODY {
                self.sums[former as usize].remove(feature);
                self.changed[former as usize] = true;
            }
            self.sums[owner as usize].add(feature);
            self.changed[owner as usize] = true;
        }
        let changed = self.changed.iter_mut().zip(&self.sums).zip(&mut self.centres);
        for ((changed, sum), centre) in changed.filter(|((changed, _), _)| **changed) {
            *changed = false;
            if let Some(mean) = sum.mean() {
                *centre = mean;
            }
        }
    }

    /// Begins again from the members nearest to the centres, which stay; superpoints without members go.
    fn reseed(&mut self, cancel: Cancel<'_>) -> Result<()> {
        cancel.check()?;
        let mut nearest = filled(self.centres.len(), (f64::INFINITY, 0_u32), "the seeds")?;
        for (voxel, &owner) in self.owners.iter().enumerate().filter(|(_, owner)| **owner != NOBODY) {
            let at = self.centres[owner as usize].position.map(f64::from);
            let distance = square_distance(at, self.cloud.features[voxel].position);
            let best = &mut nearest[owner as usize];
            if distance < best.0 {
                *best = (distance, voxel as u32);
            }
        }
        let mut living = nearest.iter().map(|(distance, _)| distance.is_finite());
        self.centres.retain(|_| living.next().unwrap_or(false));
        nearest.retain(|(distance, _)| distance.is_finite());
        self.plant(&collected(nearest.iter().map(|&(_, voxel)| voxel), "the seeds")?)
    }
}
