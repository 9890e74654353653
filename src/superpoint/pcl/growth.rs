//! Growing in the point cloud library's order: superpoint by superpoint, member by member, neighbour by neighbour.

use super::super::attach::NOBODY;
use super::super::feature::Weights;
use super::square_distance;
use super::voxels::{PclVoxels, unit};
use crate::cancel::Cancel;
use crate::error::{Result, collected, filled, reserve, with_capacity};

/// Mean position, colour and normal of a supervoxel; zero before its first round.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Center {
    /// Metres.
    pub position: [f32; 3],
    /// 0-255.
    pub color: [f32; 3],
    /// The direction of the summed normals.
    pub normal: [f32; 3],
}

/// What the library's `extract` yields.
#[derive(Debug, Clone)]
pub struct Supervoxels {
    /// `[v]` labels from 1, with holes; 0 where a voxel has none.
    pub labels: Vec<u32>,
    /// The seed voxel of label k + 1.
    pub seeds: Vec<u32>,
    /// The supervoxels it reports, ascending: label, centre, number of voxels.
    pub reported: Vec<(u32, Center, u32)>,
}

struct Supervoxel {
    label: u32,
    center: Center,
    /// In the order of the voxels. What another has taken since leaves at the next turn.
    members: Vec<u32>,
    /// A seed that another shares and owns stays a member here all the same, until this one takes it.
    ghost: Option<u32>,
}

pub(super) struct Growth<'a> {
    cloud: &'a PclVoxels,
    weights: Weights,
    seed_size: f32,
    /// Per voxel the label of its owner, or [`NOBODY`], and the distance at which it was taken.
    owners: Vec<u32>,
    distances: Vec<f32>,
    normals: Vec<[f32; 3]>,
    living: Vec<Supervoxel>,
}

impl<'a> Growth<'a> {
    pub(super) fn new(cloud: &'a PclVoxels, weights: &Weights, seed_size: f32, seeds: &[u32]) -> Result<Self> {
        let new = |index: usize| Supervoxel {
            label: index as u32 + 1,
            center: Center::default(),
            members: Vec::new(),
            ghost: None,
        };
        let mut this = Self {
            cloud,
            weights: *weights,
            seed_size,
            owners: filled(cloud.len(), NOBODY, "the owners of the voxels")?,
            distances: filled(cloud.len(), f32::MAX, "the distances of the voxels")?,
            normals: collected(cloud.normals.iter().copied(), "the normals of the voxels")?,
            living: collected((0..seeds.len()).map(new), "the supervoxels")?,
        };
        this.plant(seeds);
        Ok(this)
    }

    /// Supervoxel k takes the k-th seed; of those that share one the last owns it.
    fn plant(&mut self, seeds: &[u32]) {
        self.owners.fill(NOBODY);
        self.distances.fill(f32::MAX);
        for (supervoxel, &seed) in self.living.iter_mut().zip(seeds) {
            supervoxel.members = vec![seed];
            self.owners[seed as usize] = supervoxel.label;
        }
        for supervoxel in &mut self.living {
            let seed = supervoxel.members[0];
            supervoxel.ghost = (self.owners[seed as usize] != supervoxel.label).then_some(seed);
        }
    }

    pub(super) fn run(&mut self, rounds: u32, cancel: Cancel<'_>) -> Result<()> {
        for _ in 0..rounds {
            for index in 0..self.living.len() {
                cancel.check()?;
                self.drop_lost_members(index);
                self.expand(index)?;
            }
            for index in 0..self.living.len() {
                self.drop_lost_members(index);
            }
            self.living.retain(|supervoxel| !supervoxel.members.is_empty());
            for index in 0..self.living.len() {
                self.living[index].center = self.center_of(&self.living[index].members);
            }
        }
        Ok(())
    }

    fn drop_lost_members(&mut self, index: usize) {
        let Supervoxel { label, ghost, members, .. } = &mut self.living[index];
        members.retain(|&voxel| self.owners[voxel as usize] == *label || *ghost == Some(voxel));
    }

    /// One ring around the members of supervoxel `index`, wherever it is nearer than the owner was.
    fn expand(&mut self, index: usize) -> Result<()> {
        let Supervoxel { label, center, ref members, .. } = self.living[index];
        let mut taken = Vec::new();
        for &member in members {
            for &voxel in self.cloud.neighbours.of(member as usize) {
                if self.owners[voxel as usize] == label {
                    continue;
                }
                let distance = self.distance(&center, voxel as usize);
                if distance < self.distances[voxel as usize] {
                    self.distances[voxel as usize] = distance;
                    self.owners[voxel as usize] = label;
                    reserve(&mut taken, 1, "the members of a supervoxel")?;
                    taken.push(voxel);
                }
            }
        }
        let supervoxel = &mut self.living[index];
        if supervoxel.ghost.is_some_and(|voxel| self.owners[voxel as usize] == label) {
            supervoxel.ghost = None;
        }
        reserve(&mut supervoxel.members, taken.len(), "the members of a supervoxel")?;
        supervoxel.members.extend(taken);
        supervoxel.members.sort_unstable();
        supervoxel.members.dedup();
        Ok(())
    }

    /// Not a number where a normal is.
    fn distance(&self, center: &Center, voxel: usize) -> f32 {
        let dot = |a: [f32; 3], b: [f32; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
        let spatial = square_distance(center.position, self.cloud.positions[voxel]).sqrt() / self.seed_size;
        let color = square_distance(center.color, self.cloud.colors[voxel]).sqrt() / 255.0;
        let normal = 1.0 - dot(center.normal, self.normals[voxel]).abs();
        normal * self.weights.normal + color * self.weights.color + spatial * self.weights.spatial
    }

    fn center_of(&self, members: &[u32]) -> Center {
        let mut sum = Center::default();
        for &member in members {
            let member = member as usize;
            for axis in 0..3 {
                sum.position[axis] += self.cloud.positions[member][axis];
                sum.color[axis] += self.cloud.colors[member][axis];
                sum.normal[axis] += self.normals[member][axis];
            }
        }
        let count = members.len() as f32;
        Center {
            position: sum.position.map(|v| v / count),
            color: sum.color.map(|v| v / count),
            normal: unit(sum.normal),
        }
    }

    /// Normals anew from neighbours of the same owner.
    pub(super) fn refine_normals(&mut self, cancel: Cancel<'_>) -> Result<()> {
        let joined = |a: usize, b: usize| self.owners[a] == self.owners[b];
        let refined = self.cloud.estimated_normals(joined, cancel)?;
        for (voxel, normal) in refined.into_iter().enumerate() {
            if self.owners[voxel] != NOBODY {
                self.normals[voxel] = normal;
            }
        }
        Ok(())
    }

    /// Every supervoxel begins again from the voxel nearest to its centre, with that centre.
    pub(super) fn reseed(&mut self, cancel: Cancel<'_>) -> Result<()> {
        let mut seeds = with_capacity(self.living.len(), "the seeds")?;
        for supervoxel in &self.living {
            cancel.check()?;
            let center = supervoxel.center.position;
            let key = |voxel: &u32| square_distance(center, self.cloud.positions[*voxel as usize]);
            let all = 0..self.cloud.len() as u32;
            seeds.extend(all.min_by(|a, b| key(a).total_cmp(&key(b))));
        }
        self.plant(&seeds);
        Ok(())
    }

    pub(super) fn finish(self, seeds: Vec<u32>) -> Result<Supervoxels> {
        let label = |&owner: &u32| if owner == NOBODY { 0 } else { owner };
        let report = |s: &Supervoxel| (s.label, s.center, s.members.len() as u32);
        let labels = collected(self.owners.iter().map(label), "the labels of the voxels")?;
        Ok(Supervoxels { labels, seeds, reported: collected(self.living.iter().map(report), "the supervoxels")? })
    }
}
