//! Merging one by one: always the cheapest union of all, until none is cheap enough or enough regions are gone.

use super::super::attach::NOBODY;
use super::rounds::{ALONE, Rounds, Union, cost, union};
use super::statistics::Statistics;
use crate::cancel::Cancel;
use crate::error::{Error, Result, collected, filled, reserve, reserve_heap, with_capacity};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Unions looked at between two looks at the cancel token.
const STEPS: usize = 1 << 13;

/// As many offers per living region are kept before those that no longer hold are thrown out.
const STALE: usize = 4;

/// A list of so many times the other's length takes it in where it stands.
const LONGER: usize = 8;

/// Regions of one thread's task.
const BLOCK: usize = 1 << 10;

/// Connected sets of voxels, named by one of the regions that they were made of.
pub(super) struct Regions {
    statistics: Statistics,
    /// Into which region each one went; itself while it lives.
    parents: Vec<u32>,
    /// Per region its cheapest union, and how often that has changed.
    best: Vec<(Union, u32)>,
    /// Per region its neighbours, ascending, and the number of voxel pairs on the border.
    borders: Vec<Vec<(u32, u32)>>,
    living: usize,
    region_of_voxel: Vec<u32>,
}

impl Regions {
    /// What the rounds have left.
    pub(super) fn new(rounds: Rounds<'_>, cancel: Cancel<'_>) -> Result<Self> {
        let count = rounds.statistics.len();
        let mut borders = with_capacity(count, "the borders of the regions")?;
        for region in 0..count {
            if region.is_multiple_of(BLOCK) {
                cancel.check()?;
            }
            let around = rounds.around(region);
            let mut border = with_capacity(around.size_hint().1.unwrap_or(0), "the borders of the regions")?;
            border.extend(around);
            border.sort_unstable();
            borders.push(border);
        }
        Ok(Self {
            parents: collected(0..count as u32, "the regions")?,
            best: filled(count, (ALONE, 0), "the unions of the regions")?,
            borders,
            living: count,
            statistics: rounds.statistics,
            region_of_voxel: rounds.region_of_voxel,
        })
    }

    fn cheapest(&self, region: u32) -> Union {
        let around = self.borders[region as usize].iter();
        around.map(|&(other, border)| union(&self.statistics, region, other, border)).min().unwrap_or(ALONE)
    }

    /// Merges the cheapest pair until it costs more than `scale` or `count` regions are left.
    pub(super) fn merge(&mut self, scale: f32, count: usize, cancel: Cancel<'_>) -> Result<()> {
        let mut best = filled(self.parents.len(), ALONE, "the unions of the regions")?;
        best.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, best)| {
            cancel.check()?;
            for (region, best) in (block * BLOCK..).zip(best).filter(|(region, _)| self.lives(*region as u32)) {
                *best = self.cheapest(region as u32);
            }
            Ok::<(), Error>(())
        })?;
        let mut open = with_capacity(self.living, "the unions of the regions")?;
        for (region, union) in best.into_iter().enumerate() {
            self.best[region].0 = union;
            if union != ALONE {
                open.push(Reverse((union.0, region as u32, self.best[region].1)));
            }
        }
        let mut open = BinaryHeap::from(open);
        let mut steps = 0_usize;
        while self.living > count {
            let Some(Reverse((_, region, version))) = open.pop() else { break };
            let (union, current) = self.best[region as usize];
            if version != current || !self.lives(region) {
                continue;
            }
            if cost(union) > scale {
                break;
            }
            let kept = self.unite(region, union.1)?;
            steps += 1 + self.borders[kept as usize].len();
            if steps > STEPS {
                cancel.check()?;
                steps = 0;
            }
            // What has been offered anew since stays in the heap until it comes up; around large regions that is much.
            if open.len() > STEPS.max(STALE * self.living) {
                open.retain(|&Reverse((_, region, version))| {
                    self.lives(region) && self.best[region as usize].1 == version
                });
            }
            reserve_heap(&mut open, self.borders[kept as usize].len() + 1, "the unions of the regions")?;
            self.update_around(kept, |key, region, version| open.push(Reverse((key, region, version))));
        }
        Ok(())
    }

    /// Finds the cheapest unions of `kept` and of the regions around it anew, after `kept` has grown.
    fn update_around(&mut self, kept: u32, mut push: impl FnMut(u64, u32, u32)) {
        let mut own = ALONE;
        for at in 0..self.borders[kept as usize].len() {
            let (other, border) = self.borders[kept as usize][at];
            let offered = union(&self.statistics, kept, other, border);
            own = own.min(offered);
            let offered = (offered.0, kept);
            let former = self.best[other as usize].0;
            let lost = former.1 == kept || !self.lives(former.1);
            let union = match lost {
                true if offered.0 > former.0 => self.cheapest(other),
                true => offered,
                false => former.min(offered),
            };
            if union != former {
                self.set_best(other, union, &mut push);
            }
        }
        self.set_best(kept, own, &mut push);
    }

    fn set_best(&mut self, region: u32, union: Union, push: &mut impl FnMut(u64, u32, u32)) {
        let best = &mut self.best[region as usize];
        *best = (union, best.1 + 1);
        if union != ALONE {
            push(union.0, region, best.1);
        }
    }

    fn lives(&self, region: u32) -> bool {
        self.parents[region as usize] == region
    }

    /// Regions of fewer than `least` voxels join their cheapest neighbour, the smallest first, while more than `count`
    /// are left.
    pub(super) fn absorb_small(&mut self, least: u32, count: usize, cancel: Cancel<'_>) -> Result<()> {
        let regions = 0..self.parents.len() as u32;
        let mut done = 0;
        loop {
            cancel.check()?;
            let sizes = regions.clone().filter(|&region| self.lives(region)).map(|region| self.statistics.size(region));
            let Some(size) = sizes.filter(|&size| done < size && size < least).min() else { break };
            for region in regions.clone() {
                if (region as usize).is_multiple_of(BLOCK) {
                    cancel.check()?;
                }
                let mut region = region;
                while self.living > count && self.lives(region) && self.statistics.size(region) == size {
                    let (_, other) = self.cheapest(region);
                    if other == NOBODY {
                        break;
                    }
                    region = self.unite(region, other)?;
                }
            }
            done = size;
        }
        Ok(())
    }

    /// Merges `a` and `b` under the name of the one with more neighbours, which is returned.
    fn unite(&mut self, a: u32, b: u32) -> Result<u32> {
        let rank = |r: u32| (self.borders[r as usize].len(), Reverse(r));
        let (kept, gone) = if rank(a) >= rank(b) { (a, b) } else { (b, a) };
        self.statistics.absorb(kept, gone);
        self.parents[gone as usize] = kept;
        self.living -= 1;
        let gone_borders = std::mem::take(&mut self.borders[gone as usize]);
        for &(other, _) in gone_borders.iter().filter(|(other, _)| *other != kept) {
            rename(&mut self.borders[other as usize], gone, kept);
        }
        let mut kept_borders = std::mem::take(&mut self.borders[kept as usize]);
        if kept_borders.len() > LONGER * gone_borders.len() {
            take_in(&mut kept_borders, &gone_borders, [kept, gone])?;
        } else {
            kept_borders = joined(&kept_borders, &gone_borders, [kept, gone])?;
        }
        self.borders[kept as usize] = kept_borders;
        Ok(kept)
    }

    /// The region of every voxel; nobody for regions of fewer than `least` voxels that touch no other.
    pub(super) fn owners(self, least: u32) -> Result<Vec<u32>> {
        let root = |region: u32| {
            let mut region = region;
            while self.parents[region as usize] != region {
                region = self.parents[region as usize];
            }
            let stray = self.statistics.size(region) < least && self.borders[region as usize].is_empty();
            if stray { NOBODY } else { region }
        };
        let roots: Vec<u32> = collected((0..self.parents.len() as u32).map(root), "the regions")?;
        let mut owners = self.region_of_voxel;
        owners.par_iter_mut().with_min_len(BLOCK).for_each(|owner| *owner = roots[*owner as usize]);
        Ok(owners)
    }
}

/// In the list of a third region `gone` becomes `kept`, their borders added.
fn rename(list: &mut Vec<(u32, u32)>, gone: u32, kept: u32) {
    let Ok(at) = list.binary_search_by_key(&gone, |&(r, _)| r) else { return };
    let (_, border) = list.remove(at);
    match list.binary_search_by_key(&kept, |&(r, _)| r) {
        Ok(at) => list[at].1 += border,
        Err(at) => list.insert(at, (kept, border)),
    }
}

/// [`joined`] for a long list `a` and a short one `b`, in place of `a`.
fn take_in(a: &mut Vec<(u32, u32)>, b: &[(u32, u32)], themselves: [u32; 2]) -> Result<()> {
    reserve(a, b.len(), "the borders of the regions")?;
    for &(region, border) in b.iter().filter(|(region, _)| !themselves.contains(region)) {
        match a.binary_search_by_key(&region, |&(r, _)| r) {
            Ok(at) => a[at].1 += border,
            Err(at) => a.insert(at, (region, border)),
        }
    }
    for region in themselves {
        if let Ok(at) = a.binary_search_by_key(&region, |&(r, _)| r) {
            a.remove(at);
        }
    }
    Ok(())
}

/// Both lists as one, their borders added, without the two regions themselves.
fn joined(a: &[(u32, u32)], b: &[(u32, u32)], themselves: [u32; 2]) -> Result<Vec<(u32, u32)>> {
    let mut all = with_capacity(a.len() + b.len(), "the borders of the regions")?;
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(&&(ra, _)), Some(&&(rb, _))) => ra.min(rb),
            (Some(&&(region, _)), None) | (None, Some(&&(region, _))) => region,
            (None, None) => return Ok(all),
        };
        let border = |list: &mut std::iter::Peekable<std::slice::Iter<'_, (u32, u32)>>| {
            list.next_if(|item| item.0 == next).map_or(0, |item| item.1)
        };
        let border = border(&mut a) + border(&mut b);
        if !themselves.contains(&next) {
            all.push((next, border));
        }
    }
}
