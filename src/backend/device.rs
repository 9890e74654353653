//! The machine's devices: the CPU first, then those of CUDA, each with the reason if it cannot be used.

use super::cpu::{CpuBackend, CpuLevel, CpuOptions};
use super::cuda::{self, CudaBackend};
use super::{Backend, Precision};
use crate::error::{Error, ErrorKind, Result};
use std::sync::{Arc, OnceLock};

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// The host's processor.
    Cpu,
    /// A GPU through the NVIDIA driver.
    Cuda,
}

/// One device, or the place of those that cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// What it is.
    pub kind: DeviceKind,
    /// Its name, for people.
    pub name: String,
    /// Its UUID; zeros for the CPU and where CUDA finds no device.
    pub uuid: [u8; 16],
    /// CUDA's number of the device.
    pub cuda_ordinal: Option<u32>,
    /// Bytes of its memory; 0 if unknown.
    pub memory: u64,
    /// Major and minor compute capability of a CUDA device.
    pub capability: Option<(u32, u32)>,
    /// Why no session can be created on it.
    pub obstacle: Option<String>,
}

impl Device {
    fn cpu() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let level = CpuLevel::detect(Precision::F32).and_then(|level| level.require().map(|()| level));
        let name = level.as_ref().map_or_else(|_| "CPU".to_owned(), |level| format!("CPU, {threads} threads, {level}"));
        Self {
            kind: DeviceKind::Cpu,
            name,
            uuid: [0; 16],
            cuda_ordinal: None,
            memory: 0,
            capability: None,
            obstacle: level.err().map(|error| error.to_string()),
        }
    }

    /// Stands for all CUDA devices where none can be reached.
    fn unreachable(reason: String) -> Self {
        Self {
            kind: DeviceKind::Cuda,
            name: "CUDA".to_owned(),
            uuid: [0; 16],
            cuda_ordinal: None,
            memory: 0,
            capability: None,
            obstacle: Some(reason),
        }
    }
}

/// Every device, index 0 being the CPU. Where no CUDA device can be reached one entry without an ordinal tells why. Found
/// once; the same for the life of the process.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let cuda = cuda::devices().unwrap_or_else(|error| vec![Device::unreachable(error.to_string())]);
        std::iter::once(Device::cpu()).chain(cuda).collect()
    })
}

/// A backend on device number `index` of [`devices`], named `argument` in messages. On the CPU it has its own `threads` (all
/// the machine's when `None`) and computes in `precision` (f32 when `None`); CUDA devices compute in f16.
pub fn open(
    argument: &str,
    index: u32,
    threads: Option<usize>,
    precision: Option<Precision>,
) -> Result<Arc<dyn Backend>> {
    let count = devices().len();
    let device = devices().get(index as usize).ok_or_else(|| {
        Error::argument(format!("{argument} is {index}, but there are {count} devices; 0 is the CPU"))
    })?;
    if let Some(reason) = &device.obstacle {
        let message = format!("{argument} is {index}, which cannot be used: {reason}; device 0 is the CPU");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    match (device.cuda_ordinal, precision) {
        (None, precision) => {
            let precision = precision.unwrap_or_default();
            Ok(Arc::new(CpuBackend::new(CpuOptions { threads, precision, ..CpuOptions::default() })?))
        }
        (Some(ordinal), None) => Ok(Arc::new(CudaBackend::new(ordinal)?)),
        (Some(_), Some(precision)) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("the precision is {precision}, but '{}' computes in f16; leave it at its default", device.name),
        )),
    }
}
