//! Voxels that no superpoint reached find one: through neighbours, over a small gap, or as one of their own.

use super::feature::{Feature, Metric, PARTS};
use super::nearest::Tree;
use super::voxel_cloud::VoxelCloud;
use crate::cancel::Cancel;
use crate::error::{Result, filled, reserve, reserve_heap, with_capacity};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The owner of a voxel that belongs to no superpoint.
pub(super) const NOBODY: u32 = u32::MAX;

/// Voxels between two looks at the cancel token.
const BLOCK: usize = 1 << 12;

/// Connected sets of voxels of one owner, in the order of their first voxels.
pub(super) struct Components {
    /// Per voxel its component.
    pub(super) of_voxel: Vec<u32>,
    /// Per component its first voxel and its number of voxels.
    pub(super) list: Vec<(u32, u32)>,
}

impl Components {
    pub(super) fn new(cloud: &VoxelCloud, owners: &[u32], cancel: Cancel<'_>) -> Result<Self> {
        let mut of_voxel = filled(owners.len(), NOBODY, "the components")?;
        let mut list: Vec<(u32, u32)> = Vec::new();
        let mut pending: Vec<u32> = with_capacity(owners.len(), "the components")?;
        for first in 0..owners.len() {
            if first % BLOCK == 0 {
                cancel.check()?;
            }
            if of_voxel[first] != NOBODY {
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
                for &next in cloud.neighbours.of(voxel as usize) {
                    if of_voxel[next as usize] == NOBODY && owners[next as usize] == owners[first] {
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
    let components = Components::new(cloud, owners, cancel)?;
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
    let components = Components::new(cloud, owners, cancel)?;
    let mut adopters = nearest_owners(cloud, owners, &components, strays, cancel)?;
    for (id, &(first, _)) in components.list.iter().enumerate() {
        if owners[first as usize] == NOBODY && adopters[id] == NOBODY {
            adopters[id] = next_owner;
            next_owner += 1;
        }
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
    let is_stray = |component: u32| {
        let (first, size) = components.list[component as usize];
        owners[first as usize] == NOBODY && f64::from(size) <= strays.largest
    };
    let queries = components.of_voxel.iter().filter(|&&component| is_stray(component)).count();
    let mut adopters = filled(components.list.len(), NOBODY, "the strays")?;
    let reach = (strays.reach * f64::from(PARTS)).floor();
    if queries == 0 || reach <= 0.0 {
        return Ok(adopters);
    }
    let place = |voxel: usize| cloud.features[voxel].position.map(f64::from);
    let mut places = with_capacity(owners.len(), "the voxels around the strays")?;
    places.extend((0..owners.len()).filter(|&v| owners[v] != NOBODY).map(|voxel| (place(voxel), owners[voxel])));
    let tree = Tree::new(places, queries, cancel)?;
    let mut nearest = filled(components.list.len(), (reach * reach, NOBODY), "the strays")?;
    for (voxel, &component) in components.of_voxel.iter().enumerate() {
        if voxel.is_multiple_of(BLOCK) {
            cancel.check()?;
        }
        if is_stray(component) {
            let best = &mut nearest[component as usize];
            *best = tree.nearest(place(voxel), *best);
        }
    }
    adopters.iter_mut().zip(nearest).for_each(|(adopter, (_, owner))| *adopter = owner);
    Ok(adopters)
}
