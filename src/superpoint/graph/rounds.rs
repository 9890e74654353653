//! Merging in rounds: all pairs of regions that are each other's cheapest union, at once.
//!
//! Where a union makes no third region cheaper than the two were, which holds but for the changing lengths of the
//! borders, such pairs are those that merging one by one would find (reciprocal nearest neighbours, Murtagh 1983).

use super::super::voxel_cloud::VoxelCloud;
use super::statistics::Statistics;
use crate::cancel::Cancel;
use crate::error::{Error, Result, collected, filled, reserve, with_capacity};
use crate::sparse::Neighbours;
use rayon::prelude::*;

/// Regions of one thread's task, and between two looks at the cancel token.
const BLOCK: usize = 1 << 10;

/// A round that unites fewer than one region in this many is the last: from there on one by one is quicker.
const FEWEST: usize = 24;

/// A possible union: its cost, and with whom. Ordered by cost; of equals a hash of the pair decides, the same from both
/// sides, so that many of a plane's equal voxels find each other in one round.
pub(super) type Union = (u64, u32);

/// What a region has that nothing touches.
pub(super) const ALONE: Union = (u64::MAX, u32::MAX);

/// The union of `a` with `b`, whose border counts `border` pairs of voxels.
pub(super) fn union(statistics: &Statistics, a: u32, b: u32, border: u32) -> Union {
    let cost = statistics.added_spread(a, b) / border as f32;
    let names = [statistics.name(a), statistics.name(b)].map(u64::from);
    let pair = names[0].min(names[1]) << 32 | names[0].max(names[1]);
    let hash = (pair ^ pair >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32;
    // Costs are not negative, so their bits order as they do.
    (u64::from(cost.to_bits()) << 32 | hash, b)
}

/// The cost of a union.
pub(super) fn cost(union: Union) -> f32 {
    f32::from_bits((union.0 >> 32) as u32)
}

/// The neighbours of the regions of one block, and the number of voxel pairs on each border.
#[derive(Debug, Clone, Default)]
struct Block {
    starts: Vec<u32>,
    list: Vec<(u32, u32)>,
}

/// Regions and who touches whom, before any is merged one by one.
pub(super) struct Rounds<'a> {
    pub(super) statistics: Statistics,
    /// Whose neighbours those of the regions are as long as there are no blocks: every region a voxel.
    voxels: &'a Neighbours,
    blocks: Vec<Block>,
    /// Per region its cheapest union, as far as it is known to be.
    best: Vec<Union>,
    /// Whether each region was made in the last round.
    fresh: Vec<bool>,
    /// `[v]` the region of each voxel.
    pub(super) region_of_voxel: Vec<u32>,
}

impl<'a> Rounds<'a> {
    /// Every voxel as a region of its own.
    pub(super) fn new(cloud: &'a VoxelCloud, statistics: Statistics) -> Result<Self> {
        Ok(Self {
            voxels: &cloud.neighbours,
            blocks: Vec::new(),
            best: filled(cloud.len(), ALONE, "the unions of the regions")?,
            fresh: filled(cloud.len(), true, "the regions")?,
            region_of_voxel: collected(0..cloud.len() as u32, "the regions of the voxels")?,
            statistics,
        })
    }

    /// The neighbours of `region`, and the number of voxel pairs on each border.
    pub(super) fn around(&self, region: usize) -> impl Iterator<Item = (u32, u32)> {
        let (voxels, regions) = match self.blocks.get(region / BLOCK) {
            None => (self.voxels.of(region), &[][..]),
            Some(block) => {
                let at = region % BLOCK;
                (&[][..], &block.list[block.starts[at] as usize..block.starts[at + 1] as usize])
            }
        };
        let voxels = voxels.iter().filter(move |&&next| next as usize != region).map(|&next| (next, 1));
        voxels.chain(regions.iter().copied())
    }

    /// Merges while unions at `scale` or less are many and more than `least` regions are left.
    pub(super) fn run(&mut self, scale: f32, least: usize, cancel: Cancel<'_>) -> Result<()> {
        loop {
            let members = self.members(scale, cancel)?;
            let united = self.statistics.len() - members.len();
            if members.len() < least || united == 0 {
                return Ok(());
            }
            let few = united < self.statistics.len() / FEWEST;
            self.apply(&members, cancel)?;
            if few {
                return Ok(());
            }
        }
    }

    /// The regions of the next round, in the order of their first members: one of now, twice, or two.
    fn members(&mut self, scale: f32, cancel: Cancel<'_>) -> Result<Vec<[u32; 2]>> {
        let mut best = std::mem::take(&mut self.best);
        best.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, best)| {
            cancel.check()?;
            for (region, best) in (block * BLOCK..).zip(best) {
                let union = |(other, border): (u32, u32)| union(&self.statistics, region as u32, other, border);
                let around = self.around(region);
                let cheapest = match *best {
                    ALONE => around.map(union).min(),
                    _ => around.filter(|(other, _)| self.fresh[*other as usize]).map(union).min(),
                };
                *best = cheapest.map_or(*best, |union| union.min(*best));
            }
            Ok::<(), Error>(())
        })?;
        self.best = best;
        let best = &self.best;
        let mut members: Vec<[u32; 2]> = with_capacity(best.len(), "the unions of the regions")?;
        for (region, &union) in best.iter().enumerate() {
            let region = region as u32;
            let mutual = union != ALONE && best[union.1 as usize].1 == region && cost(union) <= scale;
            match mutual {
                true if region < union.1 => members.push([region, union.1]),
                true => {}
                false => members.push([region, region]),
            }
        }
        Ok(members)
    }

    fn apply(&mut self, members: &[[u32; 2]], cancel: Cancel<'_>) -> Result<()> {
        let mut new = filled(self.statistics.len(), 0_u32, "the regions")?;
        for (number, member) in members.iter().enumerate() {
            member.iter().for_each(|&old| new[old as usize] = number as u32);
        }
        let neighbours = |region: usize, list: &mut Vec<(u32, u32)>| -> Result<()> {
            let first = list.len();
            let [a, b] = members[region];
            let second = (a != b).then(|| self.around(b as usize));
            let old = self.around(a as usize).chain(second.into_iter().flatten());
            reserve(list, old.size_hint().1.unwrap_or(0), "the borders of the regions")?;
            list.extend(old.map(|(other, border)| (new[other as usize], border)));
            let own = &mut list[first..];
            // As one number each, which compares quicker.
            own.sort_unstable_by_key(|&(other, border)| u64::from(other) << 32 | u64::from(border));
            let mut kept = first;
            for at in first..list.len() {
                let (other, border) = list[at];
                if other as usize == region {
                    continue;
                }
                if kept > first && list[kept - 1].0 == other {
                    list[kept - 1].1 += border;
                } else {
                    list[kept] = (other, border);
                    kept += 1;
                }
            }
            list.truncate(kept);
            Ok(())
        };
        self.blocks = blocks(members.len(), neighbours, cancel)?;
        self.fresh = collected(members.iter().map(|[a, b]| a != b), "the regions")?;
        // What a region knew holds as long as neither it nor the other has changed.
        let best = members.iter().zip(&self.fresh).map(|(member, &fresh)| {
            let (key, other) = self.best[member[0] as usize];
            let lost = fresh || other == ALONE.1 || self.fresh[new[other as usize] as usize];
            if lost { ALONE } else { (key, new[other as usize]) }
        });
        self.best = collected(best, "the unions of the regions")?;
        self.statistics.unite(members, cancel)?;
        self.region_of_voxel.par_iter_mut().with_min_len(BLOCK).for_each(|region| *region = new[*region as usize]);
        Ok(())
    }
}

/// The neighbours of `count` regions as `append` appends them.
fn blocks(
    count: usize,
    append: impl Fn(usize, &mut Vec<(u32, u32)>) -> Result<()> + Sync,
    cancel: Cancel<'_>,
) -> Result<Vec<Block>> {
    /// More than nearly every region has when it is made; the lists grow where there are more.
    const USUAL: usize = 12;
    let of_block = |block: usize| {
        cancel.check()?;
        let regions = block * BLOCK..count.min((block + 1) * BLOCK);
        let mut starts = with_capacity(regions.len() + 1, "the borders of the regions")?;
        let mut list = with_capacity(regions.len() * USUAL, "the borders of the regions")?;
        starts.push(0);
        for region in regions {
            append(region, &mut list)?;
            starts.push(list.len() as u32);
        }
        Ok(Block { starts, list })
    };
    (0..count.div_ceil(BLOCK)).into_par_iter().map(of_block).collect()
}
