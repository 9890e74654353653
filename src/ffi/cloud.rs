//! Clouds in the caller's memory.

use super::descriptor::{self, Descriptor, choose};
use super::slice;
use crate::cloud::{Axes, Cloud, Dtype, Frame, StridedView};
use crate::error::{Error, ErrorKind, Result};
use std::ffi::c_void;

/// 32-bit floats.
pub const OV3D_DTYPE_F32: i32 = 1;
/// 64-bit floats.
pub const OV3D_DTYPE_F64: i32 = 2;
/// Unsigned bytes.
pub const OV3D_DTYPE_U8: i32 = 3;
/// 32-bit integers with a sign.
pub const OV3D_DTYPE_I32: i32 = 4;
/// 64-bit integers with a sign.
pub const OV3D_DTYPE_I64: i32 = 5;

/// Memory of the host.
pub const OV3D_MEMORY_HOST: i32 = 0;

/// Right-handed, z up: ROS, ScanNet, KITTI, nuScenes, Gazebo, Isaac Sim. Left as it is.
pub const OV3D_AXES_RIGHT_HANDED_Z_UP: i32 = 0;
/// x forward, y right, z up: Unreal, CARLA. Becomes (x, -y, z).
pub const OV3D_AXES_LEFT_HANDED_Z_UP: i32 = 1;
/// x right, y up, z backward: Godot, OpenGL. Becomes (x, -z, y).
pub const OV3D_AXES_RIGHT_HANDED_Y_UP: i32 = 2;
/// x right, y up, z forward: Unity. Becomes (x, z, y).
pub const OV3D_AXES_LEFT_HANDED_Y_UP: i32 = 3;
/// x right, y down, z forward: a camera's own frame. Becomes (x, z, -y).
pub const OV3D_AXES_CAMERA: i32 = 4;

/// Rows of `components` values each, `stride_bytes` apart, at any alignment. The layout is frozen. All zero means absent.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_strided_view {
    /// The first value of the first row.
    pub data: *const c_void,
    /// Bytes from one row to the next; at least the bytes of one row.
    pub stride_bytes: u64,
    /// `OV3D_DTYPE_*`.
    pub dtype: i32,
    /// Values per row.
    pub components: u32,
    /// Must be zero.
    pub reserved: [u64; 2],
}

impl Default for ov3d_strided_view {
    fn default() -> Self {
        Self { data: std::ptr::null(), stride_bytes: 0, dtype: 0, components: 0, reserved: [0; 2] }
    }
}

/// A cloud in the caller's memory and the caller's frame. The rows of its views must stay valid and unchanged until the
/// result is ready; the struct itself and the pose are copied when the call is made.
/// Positions become metres by `unit_in_metres`, then right-handed with z up by `axes`, then `pose` is applied. Points whose
/// position is not finite get the label `OV3D_LABEL_NONE`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_cloud {
    /// Set by `ov3d_cloud_init`.
    pub struct_size: u32,
    /// `OV3D_MEMORY_HOST` (default).
    pub memory: i32,
    /// Number of points; 0 is fine and gives an empty result.
    pub count: u64,
    /// `[count, 3]` positions, F32 or F64.
    pub positions: ov3d_strided_view,
    /// `[count, 3]` colours, U8 (0-255) or F32 (0-1); read by models whose input is colour, and by superpoints.
    pub colors: ov3d_strided_view,
    /// Metres per unit of the positions: 1 (default), 0.001 for millimetres, 0.01 for Unreal units.
    pub unit_in_metres: f64,
    /// NULL (default), or 12 numbers: a row-major 3x4 transform with its translation in metres.
    pub pose: *const f64,
    /// `OV3D_AXES_*`; `OV3D_AXES_RIGHT_HANDED_Z_UP` by default.
    pub axes: i32,
    /// Must be 0.
    pub flags: u32,
    /// `[count, 3]` normals in the axes of the positions, F32 or F64, of any length and sign; zero or not finite where there
    /// is none. Superpoints read them instead of estimating their own.
    pub normals: ov3d_strided_view,
    /// `[count]` the superpoint of each point, I32 or I64, of any value, -1 for none. They take the place of computed ones.
    pub superpoints: ov3d_strided_view,
}

impl Default for ov3d_cloud {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            memory: OV3D_MEMORY_HOST,
            count: 0,
            positions: ov3d_strided_view::default(),
            colors: ov3d_strided_view::default(),
            unit_in_metres: 1.0,
            pose: std::ptr::null(),
            axes: OV3D_AXES_RIGHT_HANDED_Z_UP,
            flags: 0,
            normals: ov3d_strided_view::default(),
            superpoints: ov3d_strided_view::default(),
        }
    }
}

// SAFETY: repr(C), the size first; integers, floats and pointers.
unsafe impl Descriptor for ov3d_cloud {
    const NAME: &'static str = "ov3d_cloud";
}

/// Fills at most `size` bytes of `cloud` with defaults and sets `struct_size`; pass `sizeof(ov3d_cloud)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_cloud_init(cloud: *mut ov3d_cloud, size: usize) {
    guard!(ov3d_cloud_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(cloud, size) }
    });
}

/// The cloud at `pointer`.
///
/// # Safety
/// `pointer` is NULL or points to an `ov3d_cloud` whose views and pose are readable for `'a`.
pub(super) unsafe fn read<'a>(pointer: *const ov3d_cloud) -> Result<Cloud<'a>> {
    if pointer.is_null() {
        return Err(Error::argument("cloud is NULL; give an ov3d_cloud"));
    }
    // SAFETY: the caller gives as many readable bytes as struct_size says.
    let cloud = unsafe { descriptor::read(pointer) }?;
    if cloud.memory != OV3D_MEMORY_HOST {
        let message =
            format!("cloud.memory is {}; this session runs on the CPU and reads host memory (0)", cloud.memory);
        return Err(Error::argument(message));
    }
    if cloud.flags != 0 {
        return Err(Error::argument(format!("cloud.flags is {:#x}; no flag is known, give 0", cloud.flags)));
    }
    let count = usize::try_from(cloud.count).map_err(|_| too_many(cloud.count))?;
    if i32::try_from(count).is_err() {
        return Err(too_many(cloud.count));
    }
    // SAFETY: the caller vouches for the views.
    let part = |part: &ov3d_strided_view, name: &str| unsafe { view(part, count, name) };
    let (positions, colors) = (part(&cloud.positions, "positions")?, part(&cloud.colors, "colors")?);
    let (normals, superpoints) = (part(&cloud.normals, "normals")?, part(&cloud.superpoints, "superpoints")?);
    let positions = match positions {
        Some(positions) => positions,
        None if count == 0 => StridedView::packed_f32(&[]),
        None => {
            return Err(Error::argument(format!(
                "cloud.positions.data is NULL for {count} points; give the positions"
            )));
        }
    };
    let pose = match cloud.pose.is_null() {
        true => None,
        // SAFETY: the caller vouches for 12 numbers unless NULL.
        false => Some(unsafe { slice(cloud.pose, 12, "cloud.pose") }?),
    };
    let frame = Frame {
        unit_in_metres: cloud.unit_in_metres,
        axes: choose(
            "cloud.axes",
            cloud.axes,
            &[
                (OV3D_AXES_RIGHT_HANDED_Z_UP, Axes::RightHandedZUp),
                (OV3D_AXES_LEFT_HANDED_Z_UP, Axes::LeftHandedZUp),
                (OV3D_AXES_RIGHT_HANDED_Y_UP, Axes::RightHandedYUp),
                (OV3D_AXES_LEFT_HANDED_Y_UP, Axes::LeftHandedYUp),
                (OV3D_AXES_CAMERA, Axes::Camera),
            ],
        )?,
        pose: pose.map(|p| [0, 1, 2].map(|row| [p[4 * row], p[4 * row + 1], p[4 * row + 2], p[4 * row + 3]])),
    };
    let cloud = Cloud { positions, colors, normals, superpoints, frame };
    cloud.validate().map_err(|e| e.within("cloud"))?;
    Ok(cloud)
}

fn too_many(count: u64) -> Error {
    let message = format!("cloud.count is {count}; at most {} points fit one call, split the cloud", i32::MAX);
    Error::new(ErrorKind::OutOfRange, message)
}

/// The view, or none if it is absent.
///
/// # Safety
/// Unless `data` is NULL, the rows are readable for `'a`.
unsafe fn view<'a>(view: &ov3d_strided_view, count: usize, name: &str) -> Result<Option<StridedView<'a>>> {
    let within = |e: Error| e.within(format_args!("cloud.{name}"));
    if view.reserved != [0; 2] {
        return Err(within(Error::argument("reserved must be zero")));
    }
    if view.data.is_null() {
        return Ok(None);
    }
    let dtypes = [
        (OV3D_DTYPE_F32, Dtype::F32),
        (OV3D_DTYPE_F64, Dtype::F64),
        (OV3D_DTYPE_U8, Dtype::U8),
        (OV3D_DTYPE_I32, Dtype::I32),
        (OV3D_DTYPE_I64, Dtype::I64),
    ];
    let dtype = choose("dtype", view.dtype, &dtypes).map_err(within)?;
    let (components, row) = (view.components as usize, view.components as usize * dtype.size());
    let stride =
        usize::try_from(view.stride_bytes).ok().filter(|&stride| stride >= row && stride <= isize::MAX as usize);
    let stride = stride.ok_or_else(|| {
        let message =
            format!("stride_bytes is {}, but a row has {row} bytes; give the distance between rows", view.stride_bytes);
        within(Error::argument(message))
    })?;
    let bytes = match count {
        0 => Some(0),
        _ => (count - 1).checked_mul(stride).and_then(|n| n.checked_add(row)).filter(|&n| n <= isize::MAX as usize),
    };
    let bytes = bytes.ok_or_else(|| {
        within(Error::argument(format!("{count} rows of stride_bytes {stride} overflow the address space")))
    })?;
    // SAFETY: the caller vouches for the rows; their bytes fit the address space.
    let bytes = unsafe { slice(view.data.cast::<u8>(), bytes, name) }.map_err(within)?;
    StridedView::new(bytes, count, stride, dtype, components).map(Some).map_err(within)
}
