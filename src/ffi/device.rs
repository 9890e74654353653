//! Devices: 0 is the CPU, those of CUDA follow.

use super::descriptor::{self, Descriptor};
use super::status::ov3d_status;
use super::text;
use crate::backend::{Device, DeviceKind, devices};
use crate::error::{Error, Result};
use std::ffi::c_char;

/// The host's processor.
pub const OV3D_DEVICE_CPU: i32 = 0;
/// An NVIDIA GPU.
pub const OV3D_DEVICE_CUDA: i32 = 1;

/// What a device is and whether it can be used.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_device_info {
    /// Set by `ov3d_device_info_init`.
    pub struct_size: u32,
    /// `OV3D_DEVICE_CPU` or `OV3D_DEVICE_CUDA`.
    pub kind: i32,
    /// 1 if sessions can be created on it, 0 with the reason in `reason`.
    pub usable: i32,
    /// CUDA's number of the device; -1 for the CPU, and for the entry that tells why there is no CUDA device.
    pub cuda_ordinal: i32,
    /// Bytes of its memory; 0 if unknown.
    pub memory: u64,
    /// Its UUID as the driver gives it; zeros for the CPU.
    pub uuid: [u8; 16],
    /// Its name, NUL-terminated.
    pub name: [c_char; 128],
    /// Why it cannot be used, NUL-terminated; empty if it can.
    pub reason: [c_char; 256],
    /// Major compute capability of a CUDA device, else 0. Since interface 2.
    pub capability_major: i32,
    /// Minor compute capability of a CUDA device, else 0. Since interface 2.
    pub capability_minor: i32,
}

impl Default for ov3d_device_info {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            kind: OV3D_DEVICE_CPU,
            usable: 0,
            cuda_ordinal: -1,
            memory: 0,
            uuid: [0; 16],
            name: [0; 128],
            reason: [0; 256],
            capability_major: 0,
            capability_minor: 0,
        }
    }
}

// SAFETY: repr(C), the size first, integers only.
unsafe impl Descriptor for ov3d_device_info {
    const NAME: &'static str = "ov3d_device_info";
}

fn find(argument: &str, device: u32) -> Result<&'static Device> {
    let count = devices().len();
    devices()
        .get(device as usize)
        .ok_or_else(|| Error::argument(format!("{argument} is {device}, but there are {count} devices; 0 is the CPU")))
}

fn describe(device: &Device) -> ov3d_device_info {
    let (major, minor) = device.capability.unwrap_or_default();
    ov3d_device_info {
        kind: match device.kind {
            DeviceKind::Cpu => OV3D_DEVICE_CPU,
            DeviceKind::Cuda => OV3D_DEVICE_CUDA,
        },
        usable: i32::from(device.obstacle.is_none()),
        cuda_ordinal: device.cuda_ordinal.map_or(-1, |ordinal| ordinal as i32),
        memory: device.memory,
        uuid: device.uuid,
        name: text::fill(&device.name),
        reason: text::fill(device.obstacle.as_deref().unwrap_or("")),
        capability_major: major as i32,
        capability_minor: minor as i32,
        ..ov3d_device_info::default()
    }
}

/// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_device_info)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_info_init(info: *mut ov3d_device_info, size: usize) {
    guard!(ov3d_device_info_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(info, size) }
    });
}

/// Writes the number of devices to `count`: the CPU, then the CUDA devices in the driver's order. Where none of these can be
/// reached one entry stands for them and tells why (no driver, a driver that is too old, a library without device code).
/// The first call looks for the driver; the list then stays as it is. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_count(count: *mut u32) -> ov3d_status {
    guard!(ov3d_device_count, {
        super::check_out(count, "count")?;
        // SAFETY: the caller gives NULL or a writable u32.
        unsafe { super::out(count, "count", devices().len() as u32) }
    })
}

/// Describes device `device`, counted from 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_info_get(device: u32, info: *mut ov3d_device_info) -> ov3d_status {
    guard!(ov3d_device_info_get, {
        let value = describe(find("device", device)?);
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(info, &value, "info") }
    })
}
