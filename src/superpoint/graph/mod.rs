//! Region merging on the voxel graph by the full lambda schedule of the Mumford-Shah functional (Koepfler, Lopez and
//! Morel 1994; Robinson, Redding and Crisp 2002).
//!
//! The pair of regions whose union adds least spread per length of the border it removes is merged, again and again.
//! Means of whole regions are compared, weighted by their sizes, so one weak voxel pair cannot join two surfaces, as
//! it can where single edges decide (Felzenszwalb and Huttenlocher 2004). It is the greedy descent of the energy that
//! cut pursuit minimises.

mod regions;
mod rounds;
mod statistics;

use super::attach::{Strays, adopt_strays};
use super::options::check_weight;
use super::voxel_cloud::VoxelCloud;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use regions::Regions;
use rounds::Rounds;
use statistics::Statistics;

/// How many times the number of regions asked for are left when small ones are absorbed.
const MARGIN: usize = 3;

/// The default reach of strays in voxels.
const STRAY_REACH: f64 = 3.0;

/// When merging ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// When every union would add more spread than this per unit of border: small for many superpoints.
    Scale(f32),
    /// At this many superpoints, or as many as the cloud has components if those are more.
    Count(usize),
}

/// Parameters of region merging.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    /// When merging ends.
    pub target: Target,
    /// Weight of the normals' spread: one minus the square of the cosine.
    pub normal: f32,
    /// Weight of the colours' spread, 255 levels being one.
    pub color: f32,
    /// Weight of steps between surfaces: the square of how many voxels one mean lies off the plane through the other.
    pub step: f32,
    /// Weight of the spread in space in voxels; keeps superpoints compact.
    pub spatial: f32,
    /// Weight of the spread of further features, such as a network's as directions; 0 leaves them out.
    pub features: f32,
    /// Superpoints of fewer voxels join a neighbour, where they have one and more than the target number are left.
    pub least_voxels: u32,
    /// What is smaller and touches nothing joins the nearest superpoint within this many metres; 3 voxels when
    /// `None`, never at 0. These are the only superpoints that are not connected.
    pub stray_reach: Option<f64>,
}

impl Default for Graph {
    fn default() -> Self {
        Self {
            target: Target::Scale(0.1),
            normal: 1.0,
            color: 1.5,
            step: 0.15,
            spatial: 3e-4,
            features: 0.0,
            least_voxels: 3,
            stray_reach: None,
        }
    }
}

impl Graph {
    pub(super) fn validate(&self) -> Result<()> {
        match self.target {
            Target::Scale(scale) => check_weight("the target scale", f64::from(scale))?,
            Target::Count(0) => return Err(Error::argument("the target count is 0; give at least 1 superpoint")),
            Target::Count(_) => {}
        }
        check_weight("the weight normal", f64::from(self.normal))?;
        check_weight("the weight color", f64::from(self.color))?;
        check_weight("the weight step", f64::from(self.step))?;
        check_weight("the weight spatial", f64::from(self.spatial))?;
        check_weight("the weight features", f64::from(self.features))?;
        self.stray_reach.map_or(Ok(()), |reach| check_weight("stray_reach", reach))
    }
}

/// Features of the voxels beyond what the cloud holds, `[v, width]`.
#[derive(Debug, Clone, Copy)]
pub struct VoxelFeatures<'a> {
    /// Row-major.
    pub values: &'a [f32],
    /// Channels per voxel.
    pub width: usize,
}

/// The owner of every voxel.
pub(super) fn graph(
    cloud: &VoxelCloud,
    options: &Graph,
    features: Option<VoxelFeatures<'_>>,
    cancel: Cancel<'_>,
) -> Result<Vec<u32>> {
    let (scale, count) = match options.target {
        Target::Scale(scale) => (scale, 1),
        Target::Count(count) => (f32::INFINITY, count),
    };
    // Small regions go while more are left than asked for, so that the number comes out right.
    let many = count.saturating_mul(MARGIN);
    let statistics = Statistics::of_voxels(&cloud.features, options, features)?;
    let mut rounds = Rounds::new(cloud, statistics)?;
    rounds.run(scale, many, cancel)?;
    let mut regions = Regions::new(rounds, cancel)?;
    regions.merge(scale, many, cancel)?;
    regions.absorb_small(options.least_voxels, count, cancel)?;
    regions.merge(scale, count, cancel)?;
    let strays = Strays {
        reach: options.stray_reach.map_or(STRAY_REACH, |metres| metres / cloud.voxel_size),
        largest: f64::from(options.least_voxels.saturating_sub(1)),
    };
    let mut owners = regions.owners(options.least_voxels)?;
    adopt_strays(cloud, &mut owners, cloud.len() as u32, &strays, cancel)?;
    Ok(owners)
}
