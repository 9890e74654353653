//! Voxels that no superpoint reached find one: through neighbours, over a small gap, or as one of their own.

use super::feature::{Feature, Metric, PARTS};
use super::nearest::Tree;
use super::voxel_cloud::VoxelCloud;
use crate::cancel::Cancel;
use crate::cloud::floor;
use crate::error::{Error, Result, filled, reserve, reserve_heap};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The owner of a voxel that belongs to no superpoint.
pub(super) const NOBODY: u32 = u32::MAX;

/// Voxels between two looks at the cancel token.
const BLOCK: usize = 1 << 12;

/// Searches that are worth a thread's while.
const TASK: usize = 1 << 6;

/// Connected sets of voxels of one owner, in the order of their first voxels.
pub(super) struct Components {
    /// Per voxel its component.
    pub(super) of_voxel: Vec<u32>,
    /// Per component its first voxel and its number of voxels.
    pub(super) list: Vec<(u32, u32)>,
}

impl Components {
    /// Those of the owners that `counts` names.
    pub(super) fn new(
        cloud: &VoxelCloud,
        owners: &[u32],
        counts: impl Fn(u32) -> bool,
        cancel: Cancel<'_>,
    ) -> Result<Self> {
        let mut of_voxel = filled(owners.len(), NOBODY, "the components")?;
        let mut list: Vec<(u32, u32)> = Vec::new();
        let mut pending: Vec<u32> = Vec::new();
        for first in 0..owners.len() {
            if first % BLOCK == 0 {
                cancel.check()?;
            }
            if of_voxel[first] != NOBODY || !counts(owners[first]) {
                continue;
            }
            let id = list.len() as u32;
            of_voxel[first] = id;
            pending.push(first as u32);
            let mut size = 0_u32;
            while let Some(voxel) = pending.pop() {
                size += 1;
                if size.is_multiple_of(BLOCK as u32) {
                    cancel.check()?;
                }
                let around = cloud.neighbours.of(voxel as usize);
                reserve(&mut pending, around.len(), "the components")?;
                for &next in around {
                    // Both at once: which of them fails, nobody could foretell.
                    if (of_voxel[next as usize] == NOBODY) & (owners[next as usize] == owners[first]) {
                        of_voxel[next as usize] = id;
                        pending.push(next);
                    }
                }
            }
            reserve(&mut list, 1, "the components")?;
            list.push((first as u32, size));
        }
        Ok(Self { of_voxel, list })
    }
}

/// Leaves every owner only its largest connected part, the first of equals.
pub(super) fn detach_fragments(cloud: &VoxelCloud, owners: &mut [u32], cancel: Cancel<'_>) -> Result<()> {
    let components = Components::new(cloud, owners, |owner| owner != NOBODY, cancel)?;
    let most = owners.iter().filter(|owner| **owner != NOBODY).max().map_or(0, |&owner| owner as usize + 1);
    let mut largest = filled(most, (0_u32, NOBODY), "the fragments")?;
    for (id, &(first, size)) in components.list.iter().enumerate() {
        if let Some(best) = largest.get_mut(owners[first as usize] as usize)
            && size > best.0
        {
            *best = (size, id as u32);
        }
    }
    for (owner, component) in owners.iter_mut().zip(&components.of_voxel) {
        if *owner != NOBODY && largest[*owner as usize].1 != *component {
            *owner = NOBODY;
        }
    }
    Ok(())
}

/// Which components without a superpoint join one they do not touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strays {
    /// The farthest they may lie from it, in voxels; 0 for not at all.
    pub(super) reach: f64,
    /// The most voxels of such a component.
    pub(super) largest: f64,
}

/// Gives every voxel that is linked to a superpoint an owner: by increasing distance to the owners around it.
pub(super) fn attach_linked(
    cloud: &VoxelCloud,
    owners: &mut [u32],
    centres: &[Feature],
    metric: Metric,
    cancel: Cancel<'_>,
) -> Result<()> {
    let mut open = BinaryHeap::new();
    // Distances are not negative, so their bits order as they do.
    let offer = |open: &mut BinaryHeap<_>, owner: u32, voxel: u32| {
        let distance = metric.distance(&centres[owner as usize], &cloud.features[voxel as usize]);
        open.push(Reverse((distance.to_bits(), owner, voxel)));
    };
    for voxel in 0..owners.len() {
        if voxel.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        if owners[voxel] != NOBODY {
            continue;
        }
        reserve_heap(&mut open, cloud.neighbours.of(voxel).len(), "the voxels to attach")?;
        for &next in cloud.neighbours.of(voxel) {
            if owners[next as usize] != NOBODY {
                offer(&mut open, owners[next as usize], voxel as u32);
            }
        }
    }
    let mut steps = 0_usize;
    while let Some(Reverse((_, owner, voxel))) = open.pop() {
        steps += 1;
        if steps.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        if owners[voxel as usize] == NOBODY {
            owners[voxel as usize] = owner;
            reserve_heap(&mut open, cloud.neighbours.of(voxel as usize).len(), "the voxels to attach")?;
            for &next in cloud.neighbours.of(voxel as usize) {
                if owners[next as usize] == NOBODY {
                    offer(&mut open, owner, next);
                }
            }
        }
    }
    Ok(())
}

/// Gives the components of ownerless voxels owners: strays the nearest one in reach, the others one of their own each,
/// numbered from `next_owner`.
pub(super) fn adopt_strays(
    cloud: &VoxelCloud,
    owners: &mut [u32],
    mut next_owner: u32,
    strays: &Strays,
    cancel: Cancel<'_>,
) -> Result<()> {
    if owners.iter().all(|&owner| owner != NOBODY) {
        return Ok(());
    }
    let components = Components::new(cloud, owners, |owner| owner == NOBODY, cancel)?;
    let mut adopters = nearest_owners(cloud, owners, &components, strays, cancel)?;
    for adopter in adopters.iter_mut().filter(|adopter| **adopter == NOBODY) {
        *adopter = next_owner;
        next_owner += 1;
    }
    for (owner, component) in owners.iter_mut().zip(&components.of_voxel) {
        if *owner == NOBODY {
            *owner = adopters[*component as usize];
        }
    }
    Ok(())
}

/// Per component the owner nearest to any of its voxels, if it is a stray with one in reach.
fn nearest_owners(
    cloud: &VoxelCloud,
    owners: &[u32],
    components: &Components,
    strays: &Strays,
    cancel: Cancel<'_>,
) -> Result<Vec<u32>> {
    let mut adopters = filled(components.list.len(), NOBODY, "the strays")?;
    let reach = (strays.reach * f64::from(PARTS)).floor();
    let is_stray = |component: usize| {
        components.list.get(component).is_some_and(|&(_, size)| reach > 0.0 && f64::from(size) <= strays.largest)
    };
    let place = |voxel: usize| cloud.features[voxel].position.map(f64::from);
    let mut voxels = Vec::new();
    for (voxel, &component) in components.of_voxel.iter().enumerate() {
        if voxel.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        if is_stray(component as usize) {
            reserve(&mut voxels, 1, "the strays")?;
            voxels.push((place(voxel), component as usize));
        }
    }
    if voxels.is_empty() {
        return Ok(adopters);
    }
    let mut around = Around::new(reach, voxels.len(), owners.len())?;
    for voxels in voxels.chunks(BLOCK) {
        cancel.check()?;
        voxels.iter().for_each(|&(at, _)| around.mark(at));
    }
    let mut places = Vec::new();
    for (voxel, &owner) in owners.iter().enumerate() {
        if voxel.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        if owner != NOBODY && around.holds(place(voxel)) {
            reserve(&mut places, 1, "the voxels around the strays")?;
            places.push((place(voxel), owner));
        }
    }
    let tree = Tree::new(places, voxels.len(), cancel)?;
    let mut nearest = filled(voxels.len(), (reach * reach, NOBODY), "the strays")?;
    nearest.par_iter_mut().zip(&voxels).with_min_len(TASK).try_for_each(|(nearest, &(at, _))| {
        cancel.check()?;
        *nearest = tree.nearest(at, *nearest);
        Ok::<(), Error>(())
    })?;
    let mut best = filled(components.list.len(), (f64::INFINITY, NOBODY), "the strays")?;
    for (nearest, (_, component)) in nearest.into_iter().zip(voxels) {
        if nearest < best[component] {
            best[component] = nearest;
        }
    }
    adopters.iter_mut().zip(best).for_each(|(adopter, (_, owner))| *adopter = owner);
    Ok(adopters)
}

/// A set of places with all that lies in reach of them, and some of what does not: by the hashes of cells.
struct Around {
    reach: f64,
    bits: Vec<u64>,
}

impl Around {
    /// The set of none, for `places` places among `all`.
    fn new(reach: f64, places: usize, all: usize) -> Result<Self> {
        /// Bits per cell that is marked: so few others have a hash that is marked as well.
        const SPARSE: usize = 4;
        /// What the hash of a word's place holds.
        const MOST: usize = 1 << 24;
        let words = (8 * SPARSE * places).min(16 * all).div_ceil(64).next_power_of_two().min(MOST);
        // A little more, so that rounding hides nothing.
        Ok(Self { reach: 1.001 * reach, bits: filled(words, 0, "the cells around the strays")? })
    }

    /// The cell of a place: what is in reach of a place lies in two of them along each axis at most.
    fn cell(&self, at: [f64; 3]) -> [i64; 3] {
        let cells_per_part = 0.499 / self.reach;
        at.map(|v| floor(v * cells_per_part))
    }

    fn bit(&self, cell: [i64; 3]) -> (usize, u64) {
        const FACTORS: [i64; 3] = [0x1E37_79B9_7F4A_7C15, 0x632B_E59B_D9B4_E019, 0x2545_F491_4F6C_DD1D];
        let mixed = cell.iter().zip(FACTORS).fold(0_i64, |mixed, (v, factor)| mixed ^ v.wrapping_mul(factor)) as u64;
        ((mixed >> 40) as usize & (self.bits.len() - 1), 1 << (mixed >> 32 & 63))
    }

    fn mark(&mut self, at: [f64; 3]) {
        let ends = [-self.reach, self.reach].map(|reach| self.cell(at.map(|v| v + reach)));
        for corner in 0..8 {
            let (word, bit) = self.bit(std::array::from_fn(|axis| ends[corner >> axis & 1][axis]));
            self.bits[word] |= bit;
        }
    }

    fn holds(&self, at: [f64; 3]) -> bool {
        let (word, bit) = self.bit(self.cell(at));
        self.bits[word] & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn what_is_in_reach_is_held_and_most_of_the_rest_is_not() {
        let mut random = SplitMix64::new(6);
        for reach in [1.0, 700.0, 12_345.0, 4e6] {
            let place = |random: &mut SplitMix64| [0; 3].map(|_| random.range(0.0, 1e9_f64.min(4e3 * reach)).floor());
            let places: Vec<[f64; 3]> = (0..500).map(|_| place(&mut random)).collect();
            let mut around = Around::new(reach, places.len(), 100_000).unwrap();
            places.iter().for_each(|&at| around.mark(at));
            for at in &places {
                for axis in 0..3 {
                    for apart in [-reach, -random.range(0.0, reach), 0.0, reach] {
                        let mut near = *at;
                        near[axis] += apart;
                        assert!(around.holds(near), "{apart} from {at:?}");
                    }
                }
            }
            let held = (0..5000).filter(|_| around.holds(place(&mut random))).count();
            assert!(held < 1500, "{held} of 5000 places at random");
        }
    }
}
