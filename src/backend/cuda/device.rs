//! What CUDA says of its devices, and whether the kernels in this library run on them.

use super::driver::{Driver, failure};
use super::images::{Capability, Images};
use crate::backend::{Device, DeviceKind};
use crate::error::{Error, ErrorKind, Result};
use cudarc::driver::{DriverError, result, sys};

/// How this library's device code was compiled, or why it has none.
pub fn device_code() -> &'static str {
    env!("OV3D_DEVICE_CODE")
}

/// Every CUDA device in the driver's order; an error is the reason why there is none. A library without device code does
/// not look for a driver.
pub fn devices() -> Result<Vec<Device>> {
    let images = Images::embedded()?;
    if images.is_empty() {
        return Err(Error::new(ErrorKind::Unsupported, device_code()));
    }
    let driver = Driver::get()?;
    let count = result::device::get_count().map_err(|error| failure(error, "counting its devices"))?;
    if count == 0 {
        return Err(Error::new(ErrorKind::Unsupported, "the NVIDIA driver finds no device"));
    }
    Ok((0..count as u32).map(|ordinal| describe(ordinal, driver, &images)).collect())
}

fn describe(ordinal: u32, driver: &Driver, images: &Images<'_>) -> Device {
    let mut device = Device {
        kind: DeviceKind::Cuda,
        name: format!("CUDA device {ordinal}"),
        uuid: [0; 16],
        cuda_ordinal: Some(ordinal),
        memory: 0,
        capability: None,
        obstacle: None,
    };
    let obstacle = match ask(ordinal, &mut device) {
        Ok((capability, mode)) => obstacle(capability, mode, driver, images),
        Err(error) => Some(failure(error, "asking for the device's properties").to_string()),
    };
    device.obstacle = obstacle;
    device
}

/// Fills in what the driver knows; returns the capability and the compute mode.
fn ask(ordinal: u32, device: &mut Device) -> std::result::Result<(Capability, i32), DriverError> {
    use sys::CUdevice_attribute as Attribute;
    let handle = handle(ordinal)?;
    device.name = result::device::get_name(handle)?;
    device.uuid = result::device::get_uuid(handle)?.bytes.map(|byte| byte as u8);
    // SAFETY: the driver just gave the handle for this ordinal; devices are never taken away again.
    device.memory = unsafe { result::device::total_mem(handle) }? as u64;
    // SAFETY: the same handle as above, just given by the driver.
    let attribute = |which| unsafe { result::device::get_attribute(handle, which) };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? as u32;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? as u32;
    device.capability = Some((major, minor));
    Ok(((major, minor), attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_MODE)?))
}

/// The driver's handle of device `ordinal`.
pub(super) fn handle(ordinal: u32) -> std::result::Result<sys::CUdevice, DriverError> {
    result::device::get(ordinal as i32)
}

fn obstacle((major, minor): Capability, mode: i32, driver: &Driver, images: &Images<'_>) -> Option<String> {
    if mode == sys::CUcomputemode_enum::CU_COMPUTEMODE_PROHIBITED as i32 {
        return Some("its compute mode is 'prohibited' (nvidia-smi -c 0 allows computing)".to_owned());
    }
    if images.run_on((major, minor), driver.version()) {
        return None;
    }
    let (oldest_major, oldest_minor) = images.oldest()?;
    Some(format!(
        "this library has no image for compute capability {major}.{minor} under a driver for CUDA {}.{}; it needs {oldest_major}.\
         {oldest_minor} or newer ({})",
        driver.version() / 1000,
        driver.version() % 1000 / 10,
        device_code()
    ))
}
