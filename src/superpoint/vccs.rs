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
use crate::cloud::{MAX_EXTENT, floor};
use crate::error::{Error, ErrorKind, Result, collected, filled, reserve};
use rayon::prelude::*;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

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
    drop(buckets);
    let mut growth = Growth::new(cloud, metric, &seeds)?;
    let rounds = options.rounds.unwrap_or((1.8 * seed).min(f64::from(MOST_ROUNDS)) as u32);
    growth.run(rounds, cancel)?;
    for _ in 0..options.refinements {
        growth.reseed(cancel)?;
        growth.run(rounds, cancel)?;
    }
    let (mut owners, centres) = growth.finish();
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
    let cell_of = |position: [i32; 3]| -> [i64; 3] {
        std::array::from_fn(|axis| {
            let place = cloud.origin[axis] as f64 + f64::from(position[axis]) / f64::from(PARTS);
            floor(place / seed)
        })
    };
    let corner = |pick: fn(i32, i32) -> i32| {
        let positions = cloud.features.iter().map(|feature| feature.position);
        positions.reduce(|a, b| std::array::from_fn(|axis| pick(a[axis], b[axis]))).map(cell_of)
    };
    let (Some(low), Some(high)) = (corner(i32::min), corner(i32::max)) else { return Buckets::new(&[], cancel) };
    if let Some(most) = (0..3).map(|axis| high[axis] - low[axis]).find(|&most| most >= MAX_EXTENT) {
        let message = format!("the cloud spans {} seed cells on an axis; at most {MAX_EXTENT} fit", most + 1);
        return Err(Error::new(ErrorKind::OutOfRange, format!("{message}: use larger ones or split the cloud")));
    }
    let mut cells = filled(cloud.len(), [0; 3], "the seed cells")?;
    cells.par_chunks_mut(BLOCK).zip(cloud.features.par_chunks(BLOCK)).try_for_each(|(cells, features)| {
        cancel.check()?;
        for (place, feature) in cells.iter_mut().zip(features) {
            let cell = cell_of(feature.position);
            *place = std::array::from_fn(|axis| (cell[axis] - low[axis]) as u32);
        }
        Ok::<(), Error>(())
    })?;
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
    let enough = (fewest_around(seed) as usize).saturating_add(1);
    let seed_of = |cell: usize| -> Option<u32> {
        let first = position(buckets.inside(cell)[0] as usize);
        let centre: [f64; 3] = std::array::from_fn(|axis| {
            let origin = cloud.origin[axis] as f64;
            let place = origin + f64::from(first[axis]) / f64::from(PARTS);
            (((place / seed).floor() + 0.5) * seed - origin) * f64::from(PARTS)
        });
        let ranks = buckets.around(cell).map(|voxel| (square_distance(centre, position(voxel)), voxel));
        let (_, candidate) = ranks.reduce(|best, rank| if rank < best { rank } else { best })?;
        let at = position(candidate).map(f64::from);
        let within = |&voxel: &usize| square_distance(at, position(voxel)) <= (0.5 * seed).powi(2);
        let near = buckets.around(buckets.cell_of(candidate)).filter(within).take(enough).count();
        (near == enough).then_some(candidate as u32)
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

/// Notes that `voxel` has another owner.
fn mark_around(states: &[AtomicU8], cloud: &VoxelCloud, voxel: u32) {
    for &next in cloud.neighbours.of(voxel as usize) {
        states[next as usize].store(STALE, Relaxed);
    }
}

/// Superpoints as they grow.
struct Growth<'a> {
    cloud: &'a VoxelCloud,
    metric: Metric,
    /// Per voxel its superpoint or [`NOBODY`].
    owners: Vec<u32>,
    /// Per voxel what is known of its surroundings, and the other superpoints there if they are [`KNOWN`].
    states: Vec<AtomicU8>,
    around: Vec<[u32; AROUND]>,
    /// Per superpoint the sum and the mean of its voxels; the mean stays where the last voxel leaves.
    sums: Vec<Sum>,
    centres: Vec<Feature>,
    /// Per superpoint whether the last round has changed its voxels.
    moved: Vec<bool>,
}

/// No superpoint but its own touches a voxel.
const ALONE: u8 = 0;
/// One of its neighbours, itself among them, may have another owner since they were looked at, or more superpoints meet
/// there than are remembered.
const STALE: u8 = 1;
/// As they were.
const KNOWN: u8 = 2;

/// The most superpoints beside its own that a voxel remembers: more seldom meet, and then it looks again.
const AROUND: usize = 4;

/// A voxel that goes from one owner to another.
#[derive(Debug, Clone, Copy)]
struct Change {
    voxel: u32,
    from: u32,
    to: u32,
}

impl<'a> Growth<'a> {
    fn new(cloud: &'a VoxelCloud, metric: Metric, seeds: &[u32]) -> Result<Self> {
        let mut this = Self {
            cloud,
            metric,
            owners: filled(cloud.len(), NOBODY, "the owners of the voxels")?,
            around: filled(cloud.len(), [NOBODY; AROUND], "the borders of the superpoints")?,
            states: collected((0..cloud.len()).map(|_| AtomicU8::new(ALONE)), "the borders of the superpoints")?,
            sums: Vec::new(),
            centres: collected(seeds.iter().map(|&s| cloud.features[s as usize]), "the centres")?,
            moved: Vec::new(),
        };
        this.plant(seeds)?;
        Ok(this)
    }

    /// Superpoint k owns the k-th seed and nothing else.
    fn plant(&mut self, seeds: &[u32]) -> Result<()> {
        self.owners.fill(NOBODY);
        self.states.iter_mut().for_each(|state| *state.get_mut() = ALONE);
        let features = &self.cloud.features;
        let sums = seeds.iter().map(|&seed| {
            let mut sum = Sum::beside(features[seed as usize].normal);
            sum.add(&features[seed as usize]);
            sum
        });
        self.sums = collected(sums, "the sums")?;
        self.moved = filled(seeds.len(), false, "the superpoints")?;
        for (owner, &seed) in seeds.iter().enumerate() {
            self.owners[seed as usize] = owner as u32;
            mark_around(&self.states, self.cloud, seed);
        }
        Ok(())
    }

    fn run(&mut self, rounds: u32, cancel: Cancel<'_>) -> Result<()> {
        let mut changes = filled(self.owners.len().div_ceil(BLOCK), Vec::new(), "the changes of a round")?;
        for _ in 0..rounds {
            let (mut around, mut states) = (std::mem::take(&mut self.around), std::mem::take(&mut self.states));
            let blocks = around.par_chunks_mut(BLOCK).zip(states.par_chunks_mut(BLOCK)).zip(&mut changes);
            blocks.enumerate().try_for_each(|(block, ((around, states), changes))| {
                cancel.check()?;
                changes.clear();
                for (at, state) in states.iter_mut().map(AtomicU8::get_mut).enumerate().filter(|s| *s.1 != ALONE) {
                    let voxel = block * BLOCK + at;
                    if let Some(to) = self.better_owner(voxel, &mut around[at], state) {
                        reserve(changes, 1, "the changes of a round")?;
                        changes.push(Change { voxel: voxel as u32, from: self.owners[voxel], to });
                    }
                }
                Ok::<(), Error>(())
            })?;
            (self.around, self.states) = (around, states);
            if changes.iter().all(Vec::is_empty) {
                break;
            }
            self.apply(&changes);
        }
        Ok(())
    }

    /// The best superpoint for voxel `voxel`, if that is not its own. Where no owner around it and none of their
    /// centres has changed since it was last asked for, it still is.
    fn better_owner(&self, voxel: usize, around: &mut [u32; AROUND], state: &mut u8) -> Option<u32> {
        let own = self.owners[voxel];
        let moved = |owner: u32| self.moved.get(owner as usize).is_some_and(|&moved| moved);
        if *state == KNOWN && !moved(own) && !around.iter().any(|&owner| moved(owner)) {
            return None;
        }
        let feature = &self.cloud.features[voxel];
        let mut best = (f32::INFINITY, NOBODY);
        let mut compare = |owner: u32| {
            let candidate = (self.metric.distance(&self.centres[owner as usize], feature), owner);
            if candidate < best {
                best = candidate;
            }
        };
        if *state == KNOWN {
            around.iter().take_while(|owner| **owner != NOBODY).for_each(|&owner| compare(owner));
        } else {
            *around = [NOBODY; AROUND];
            // Those met before need no second look, and looking them all up at once leaves one branch per neighbour,
            // seldom taken. Where more than seven meet, some are looked at again, its own among them, for nothing.
            let mut met = [own; 8];
            met[0] = NOBODY;
            let mut count = 0;
            for owner in self.cloud.neighbours.of(voxel).iter().map(|&next| self.owners[next as usize]) {
                if met.iter().fold(false, |any, &other| any | (other == owner)) {
                    continue;
                }
                met[1 + count % 7] = owner;
                if let Some(place) = around.get_mut(count) {
                    *place = owner;
                }
                count += 1;
                compare(owner);
            }
            *state = match count {
                0 => ALONE,
                1..=AROUND => KNOWN,
                _ => STALE,
            };
            if count == 0 {
                return None;
            }
        }
        if own != NOBODY {
            compare(own);
        }
        (best.1 != own).then_some(best.1)
    }

    fn apply(&mut self, changes: &[Vec<Change>]) {
        /// So many changes are worth a second thread's while.
        const MANY: usize = 512;
        let few = changes.iter().map(Vec::len).sum::<usize>() < MANY;
        let (cloud, states) = (self.cloud, &self.states[..]);
        let blocks = self.owners.par_chunks_mut(BLOCK).zip(changes).enumerate();
        blocks.with_min_len(if few { changes.len() } else { 1 }).for_each(|(block, (owners, changes))| {
            for change in changes {
                owners[change.voxel as usize - block * BLOCK] = change.to;
                mark_around(states, cloud, change.voxel);
            }
        });
        // Every part of the superpoints takes from all changes what concerns it.
        let parts = if few { 1 } else { rayon::current_num_threads() };
        let part = self.sums.len().div_ceil(parts).max(1);
        let superpoints = self.sums.par_chunks_mut(part).zip(self.centres.par_chunks_mut(part));
        superpoints.zip(self.moved.par_chunks_mut(part)).enumerate().for_each(|(index, ((sums, centres), moved))| {
            moved.fill(false);
            let place = |owner: u32| (owner as usize).wrapping_sub(index * part);
            for change in changes.iter().flatten() {
                let feature = &cloud.features[change.voxel as usize];
                let (from, to) = (place(change.from), place(change.to));
                if let Some(sum) = sums.get_mut(from) {
                    sum.remove(feature);
                    moved[from] = true;
                }
                if let Some(sum) = sums.get_mut(to) {
                    sum.add(feature);
                    moved[to] = true;
                }
            }
            for ((sum, centre), _) in sums.iter().zip(centres).zip(moved).filter(|(_, moved)| **moved) {
                if let Some(mean) = sum.mean() {
                    *centre = mean;
                }
            }
        });
    }

    /// The owner of every voxel, and the centres.
    fn finish(self) -> (Vec<u32>, Vec<Feature>) {
        (self.owners, self.centres)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::{Cloud, StridedView};
    use crate::random::SplitMix64;

    /// A round by its definition: every voxel looks at all superpoints around it, and the means of those that voxels have
    /// entered or left are taken anew.
    fn plain_round(growth: &Growth<'_>, seeds: &[u32], owners: &mut [u32], centres: &mut [Feature]) {
        let features = &growth.cloud.features;
        let best = |voxel: usize| {
            let around = growth.cloud.neighbours.of(voxel).iter().map(|&next| owners[next as usize]);
            let distance = |owner: u32| growth.metric.distance(&centres[owner as usize], &features[voxel]);
            let ranks = around.filter(|&owner| owner != NOBODY).map(|owner| (distance(owner), owner));
            ranks.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(NOBODY, |(_, owner)| owner)
        };
        let new: Vec<u32> = (0..owners.len()).map(best).collect();
        let moves: Vec<[u32; 2]> = owners.iter().zip(&new).filter(|(a, b)| a != b).map(|(&a, &b)| [a, b]).collect();
        owners.copy_from_slice(&new);
        let superpoints = centres.iter_mut().zip(seeds).enumerate();
        for (owner, (centre, &seed)) in
            superpoints.filter(|(owner, _)| moves.iter().flatten().any(|of| *of == *owner as u32))
        {
            let mut sum = Sum::beside(features[seed as usize].normal);
            let members = owners.iter().zip(features).filter(|(of, _)| **of == owner as u32);
            members.for_each(|(_, member)| sum.add(member));
            *centre = sum.mean().unwrap_or(*centre);
        }
    }

    #[test]
    fn what_is_remembered_changes_no_round() {
        let mut random = SplitMix64::new(4);
        let mut crowded = 0;
        for (count, extent, seed) in [(1, 1.0, 3.0), (900, 9.0, 1.3), (3000, 14.0, 2.5), (4000, 30.0, 5.0)] {
            let points: Vec<[f32; 3]> =
                (0..count).map(|_| [extent, extent, 0.3 * extent].map(|edge| random.range(0.0, edge) as f32)).collect();
            let colors: Vec<[u8; 3]> = points.iter().map(|p| [(p[0] * 7.0) as u8, (p[1] * 8.0) as u8, 0]).collect();
            let cloud = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..Cloud::from_xyz(&points) };
            let cloud = VoxelCloud::new(&cloud, 1.0, Cancel::default()).unwrap();
            let seeds: Vec<u32> = (0..cloud.len() as u32).step_by((seed * seed) as usize).collect();
            let mut growth = Growth::new(&cloud, Metric::new(&Weights::default(), seed), &seeds).unwrap();
            let (mut owners, mut centres) = (growth.owners.clone(), growth.centres.clone());
            for round in 0..12 {
                growth.run(1, Cancel::default()).unwrap();
                plain_round(&growth, &seeds, &mut owners, &mut centres);
                assert!(growth.owners == owners && growth.centres == centres, "round {round} of {count} points");
            }
            let around = |voxel: &usize| {
                let mut met: Vec<u32> = cloud.neighbours.of(*voxel).iter().map(|&n| owners[n as usize]).collect();
                met.sort_unstable();
                met.dedup();
                met.len() > AROUND + 1
            };
            crowded += (0..cloud.len()).filter(around).count();
        }
        assert!(crowded > 100, "{crowded} voxels see more superpoints than they remember");
    }
}
