//! Devices: 0 is the CPU.

use super::descriptor::{self, Descriptor};
use super::status::ov3d_status;
use super::text;
use crate::backend::Precision;
use crate::backend::cpu::CpuLevel;
use crate::error::{Error, Result};
use std::ffi::c_char;

/// The host's processor.
pub const OV3D_DEVICE_CPU: i32 = 0;

/// What a device is and whether it can be used.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_device_info {
    /// Set by `ov3d_device_info_init`.
    pub struct_size: u32,
    /// `OV3D_DEVICE_CPU`.
    pub kind: i32,
    /// 1 if sessions can be created on it, 0 with the reason in `reason`.
    pub usable: i32,
    /// CUDA's number of the device, or -1.
    pub cuda_ordinal: i32,
    /// Bytes of its memory; 0 if unknown.
    pub memory: u64,
    /// Its UUID; zeros for the CPU.
    pub uuid: [u8; 16],
    /// Its name, NUL-terminated.
    pub name: [c_char; 128],
    /// Why it cannot be used, NUL-terminated; empty if it can.
    pub reason: [c_char; 256],
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
        }
    }
}

// SAFETY: repr(C), the size first, integers only.
unsafe impl Descriptor for ov3d_device_info {
    const NAME: &'static str = "ov3d_device_info";
}

/// Number of devices this library knows; checks a session's device index.
pub(super) fn count() -> u32 {
    1
}

/// An error unless `device` is one.
pub(super) fn check(argument: &str, device: u32) -> Result<()> {
    if device < count() {
        return Ok(());
    }
    let count = count();
    Err(Error::argument(format!("{argument} is {device}, but there are {count} devices; 0 is the CPU")))
}

/// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_device_info)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_info_init(info: *mut ov3d_device_info, size: usize) {
    guard!(ov3d_device_info_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(info, size) }
    });
}

/// Writes the number of devices to `count`: at least 1, the CPU. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_count(count: *mut u32) -> ov3d_status {
    guard!(ov3d_device_count, {
        // SAFETY: the caller gives NULL or a writable u32.
        unsafe { super::out(count, "count", self::count()) }
    })
}

/// Describes device `device`, counted from 0. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_device_info_get(device: u32, info: *mut ov3d_device_info) -> ov3d_status {
    guard!(ov3d_device_info_get, {
        check("device", device)?;
        let level = CpuLevel::detect(Precision::F32)?;
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let name = format!("CPU, {} threads, {level}", threads);
        let value = ov3d_device_info { usable: 1, name: text::fill(&name), ..ov3d_device_info::default() };
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(info, &value, "info") }
    })
}
