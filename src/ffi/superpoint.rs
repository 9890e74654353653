//! Superpoints: how they are found, and finding them without a model.

use super::cloud::{self, ov3d_cloud};
use super::descriptor::{self, Descriptor, choose};
use super::floating_point::FloatingPointMode;
use super::result::{Ready, ResultObject, ov3d_result};
use super::status::ov3d_status;
use super::{check_out, handle, out};
use crate::arena::nothing;
use crate::backend::Backend;
use crate::backend::cpu::{CpuBackend, CpuOptions};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::pipeline::Segmentation;
use crate::superpoint::{Graph, Method, SuperpointOptions, Target, Vccs, VccsPcl, Weights, superpoints};
use std::sync::Arc;

/// Even, compact superpoints that grow from seeds (VCCS, Papon et al., CVPR 2013), each connected and none left out.
pub const OV3D_SUPERPOINTS_VCCS: i32 = 0;
/// The same as version 1.13 of the point cloud library computes it, for comparisons: points may have none.
pub const OV3D_SUPERPOINTS_VCCS_PCL: i32 = 1;
/// Regions merged along the weakest borders: the best borders for a given number of superpoints.
pub const OV3D_SUPERPOINTS_GRAPH: i32 = 2;

/// How superpoints are found: small sets of points that belong together, from positions, colours and normals alone.
/// Weights are relative; -1 means the method's own, 0 switches a term off.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_superpoint_desc {
    /// Set by `ov3d_superpoint_desc_init`.
    pub struct_size: u32,
    /// `OV3D_SUPERPOINTS_*`; `OV3D_SUPERPOINTS_VCCS` by default.
    pub method: i32,
    /// Edge of their voxels in metres; 0 (default) for twice the median distance between nearest points.
    pub voxel_size: f64,
    /// Edge of a seed cell in metres, about the diameter of a superpoint; 0 (default) for 8 voxels. Not for graph.
    pub seed_size: f64,
    /// Small sets of points that touch no superpoint join the nearest within this many metres; -1 (default) for half a
    /// seed edge, or 3 voxels for graph; 0 for never. Not for the point cloud library's.
    pub stray_reach: f64,
    /// Weight of distance in space; -1 (default).
    pub spatial_weight: f32,
    /// Weight of distance in colour; -1 (default).
    pub color_weight: f32,
    /// Weight of the angle between normals; -1 (default).
    pub normal_weight: f32,
    /// Weight of steps between surfaces, for graph; -1 (default).
    pub step_weight: f32,
    /// Weight of the network's own features, for graph within a segmentation; 0 (default) leaves them out.
    pub feature_weight: f32,
    /// When graph ends: small for many superpoints; -1 (default) for 0.1. Not read with a `count`.
    pub scale: f32,
    /// The number of superpoints that graph is to find; 0 (default) to go by `scale`.
    pub count: u32,
    /// Superpoints of fewer voxels join a neighbour, for graph; 3 by default.
    pub least_voxels: u32,
    /// Most rounds of growing; 0 (default) for the published number. Not for graph.
    pub rounds: u32,
    /// How often to begin again from what has grown; 0 by default. Not for graph.
    pub refinements: u32,
    /// Threads of `ov3d_superpoints`; 0 (default) for all of the machine's. A segmentation uses its session's.
    pub threads: u32,
    /// Must be 0.
    pub flags: u32,
}

impl Default for ov3d_superpoint_desc {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            method: OV3D_SUPERPOINTS_VCCS,
            voxel_size: 0.0,
            seed_size: 0.0,
            stray_reach: -1.0,
            spatial_weight: -1.0,
            color_weight: -1.0,
            normal_weight: -1.0,
            step_weight: -1.0,
            feature_weight: 0.0,
            scale: -1.0,
            count: 0,
            least_voxels: Graph::default().least_voxels,
            rounds: 0,
            refinements: 0,
            threads: 0,
            flags: 0,
        }
    }
}

// SAFETY: repr(C), the size first; integers and floats.
unsafe impl Descriptor for ov3d_superpoint_desc {
    const NAME: &'static str = "ov3d_superpoint_desc";
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_superpoint_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_superpoint_desc_init(desc: *mut ov3d_superpoint_desc, size: usize) {
    guard!(ov3d_superpoint_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// Finds the superpoints of `cloud` without model or session; `desc` NULL means defaults, and ids that the cloud brings are
/// taken as they are. On success `*result` is a ready result that the caller owns, with the number of points and what
/// `ov3d_result_view` has about superpoints; everything else in it is absent. Statuses: `OV3D_ERROR_INVALID_ARGUMENT`,
/// `OV3D_ERROR_MISMATCH`, `OV3D_ERROR_OUT_OF_RANGE` (extent), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread, several at once.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_superpoints(
    cloud: *const ov3d_cloud,
    desc: *const ov3d_superpoint_desc,
    result: *mut ov3d_result,
) -> ov3d_status {
    guard!(ov3d_superpoints, {
        check_out(result, "result")?;
        // SAFETY: the caller gives a cloud whose views are readable through the call.
        let cloud = unsafe { cloud::read(cloud) }?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        let options = options(&desc)?;
        if desc.feature_weight > 0.0 {
            let message = "desc.feature_weight is positive, but there is no network here; give 0, or segment";
            return Err(Error::argument(message));
        }
        let threads = (desc.threads > 0).then_some(desc.threads as usize);
        let backend = CpuBackend::new(CpuOptions { threads, ..CpuOptions::default() })?;
        let mut found = None;
        backend.install(&mut || {
            let _mode = FloatingPointMode::standard();
            found = Some(superpoints(&cloud, &options, None, Cancel::default()));
        });
        let found = found.unwrap_or_else(|| Err(Error::internal("the threads did not run")))?;
        let segmentation = Segmentation { superpoints: Some(Arc::new(found)), ..Segmentation::default() };
        let object = ResultObject::running(Arc::default());
        let handle = handle::insert(object.clone())?;
        object.finish(Ready::new(segmentation, None, 0, Arc::new(nothing())));
        // SAFETY: checked not to be NULL; the caller gives a writable handle.
        unsafe { out(result, "result", handle) }
    })
}

/// The options at `desc`; none for NULL.
///
/// # Safety
/// `desc` is NULL or a descriptor that is readable.
pub(super) unsafe fn read(desc: *const ov3d_superpoint_desc) -> Result<Option<SuperpointOptions>> {
    if desc.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller gives as many readable bytes as struct_size says.
    let desc = unsafe { descriptor::read(desc) }?;
    options(&desc).map(Some)
}

fn options(desc: &ov3d_superpoint_desc) -> Result<SuperpointOptions> {
    if desc.flags != 0 {
        return Err(Error::argument(format!("desc.flags is {:#x}; no flag is known, give 0", desc.flags)));
    }
    if desc.threads > 1024 {
        return Err(Error::argument(format!("desc.threads is {}; give at most 1024, or 0 for all", desc.threads)));
    }
    // -1 exactly: any other wrong value is refused by its own check.
    let given = |value: f32, own: f32| if value == -1.0 { own } else { value };
    let spatial = |own| given(desc.spatial_weight, own);
    let color = |own| given(desc.color_weight, own);
    let normal = |own| given(desc.normal_weight, own);
    let own = Weights::default();
    let weights = Weights { spatial: spatial(own.spatial), color: color(own.color), normal: normal(own.normal) };
    let seed_size = (desc.seed_size != 0.0).then_some(desc.seed_size);
    let rounds = (desc.rounds > 0).then_some(desc.rounds);
    let stray_reach = (desc.stray_reach != -1.0).then_some(desc.stray_reach);
    let own = Graph::default();
    let own_scale = if let Target::Scale(scale) = own.target { scale } else { 0.0 };
    let methods = [OV3D_SUPERPOINTS_VCCS, OV3D_SUPERPOINTS_VCCS_PCL, OV3D_SUPERPOINTS_GRAPH].map(|m| (m, m));
    let method = match choose("desc.method", desc.method, &methods)? {
        OV3D_SUPERPOINTS_VCCS => {
            Method::Vccs(Vccs { seed_size, weights, rounds, refinements: desc.refinements, stray_reach })
        }
        OV3D_SUPERPOINTS_VCCS_PCL => {
            Method::VccsPcl(VccsPcl { seed_size, weights, rounds, refinements: desc.refinements })
        }
        _ => Method::Graph(Graph {
            target: match desc.count {
                0 => Target::Scale(given(desc.scale, own_scale)),
                count => Target::Count(count as usize),
            },
            normal: normal(own.normal),
            color: color(own.color),
            step: given(desc.step_weight, own.step),
            spatial: spatial(own.spatial),
            features: given(desc.feature_weight, own.features),
            least_voxels: desc.least_voxels,
            stray_reach,
        }),
    };
    let options = SuperpointOptions { voxel_size: (desc.voxel_size != 0.0).then_some(desc.voxel_size), method };
    options.validate().map_err(|e| e.within("desc"))?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minus_one_is_the_method_s_own_weight() {
        let own = Graph::default();
        let desc = ov3d_superpoint_desc {
            method: OV3D_SUPERPOINTS_GRAPH,
            feature_weight: -1.0,
            ..ov3d_superpoint_desc::default()
        };
        assert_eq!(options(&desc).unwrap().method, Method::Graph(own));
        assert!(options(&ov3d_superpoint_desc { feature_weight: -2.0, ..desc }).is_err());
    }
}
