//! Superpoints: small sets of points that belong together, and votes among them.
//!
//! Three methods share one result. [`Method::Vccs`] and [`Method::Graph`] give every point with a finite position a
//! superpoint, whatever the order of the points and the number of threads, bit for bit; [`Method::VccsPcl`] repeats
//! the point cloud library.

mod attach;
mod buckets;
mod feature;
mod graph;
mod nearest;
mod normals;
mod options;
pub mod pcl;
mod rows;
mod spacing;
mod superpoints;
mod vccs;
pub mod vote;
mod voxel_cloud;

pub use feature::{Feature, PARTS, Weights};
pub use graph::{Graph, Target, VoxelFeatures};
pub use options::{Method, SuperpointOptions};
pub use pcl::VccsPcl;
pub use rows::Rows;
pub use spacing::{default_voxel_size, point_spacing};
pub use superpoints::{NO_SUPERPOINT, Superpoints};
pub use vccs::Vccs;
pub use voxel_cloud::VoxelCloud;

use crate::cancel::Cancel;
use crate::cloud::Cloud;
use crate::error::{Error, Result};

/// The superpoints of `cloud`: its own, if it brings some. `features` are further ones of the points, which only
/// [`Method::Graph`] reads.
pub fn superpoints(
    cloud: &Cloud<'_>,
    options: &SuperpointOptions,
    features: Option<&Rows<'_>>,
    cancel: Cancel<'_>,
) -> Result<Superpoints> {
    options.validate()?;
    cloud.validate()?;
    if cloud.superpoints.is_some() {
        return Superpoints::given(cloud, cancel);
    }
    let voxel_size = match options.voxel_size {
        Some(size) => size,
        None => spacing::default_voxel_size(cloud, cancel)?,
    };
    if let Method::VccsPcl(vccs) = &options.method {
        return pcl::superpoints(cloud, voxel_size, vccs, cancel);
    }
    let voxels = VoxelCloud::new(cloud, voxel_size, cancel)?;
    let Some(features) = features.filter(|_| options.method.reads_features()) else {
        return superpoints_of_voxels(&voxels, &options.method, None, cancel);
    };
    let values = voxels.directions(features, cancel)?;
    let features = VoxelFeatures { values: &values, width: features.width() };
    superpoints_of_voxels(&voxels, &options.method, Some(features), cancel)
}

/// The superpoints of a cloud that is voxelised already, with further `features` of its voxels, which only
/// [`Method::Graph`] reads.
pub fn superpoints_of_voxels(
    voxels: &VoxelCloud,
    method: &Method,
    features: Option<VoxelFeatures<'_>>,
    cancel: Cancel<'_>,
) -> Result<Superpoints> {
    let owners = match method {
        Method::Vccs(vccs) => {
            vccs.validate()?;
            vccs::vccs(voxels, vccs, cancel)?
        }
        Method::Graph(graph) => {
            graph.validate()?;
            graph::graph(voxels, graph, features, cancel)?
        }
        Method::VccsPcl(_) => {
            return Err(Error::argument(
                "vccs-pcl has a lattice of its own; give it the cloud, or voxels to vccs or graph",
            ));
        }
    };
    Superpoints::from_owners(voxels, owners, cancel)
}
