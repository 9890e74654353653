//! The machine's devices: the CPU first, then those of CUDA, each with the reason if it cannot be used.

use super::cpu::CpuLevel;
use super::cuda;
use std::sync::OnceLock;

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
        let level = CpuLevel::detect().and_then(|level| level.require().map(|()| level));
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

    /// Why a session cannot be created on a CUDA device that the kernels run on.
    fn of_cuda(mut device: Self) -> Self {
        let unfinished = || "this version runs networks on the CPU alone".to_owned();
        device.obstacle = device.obstacle.or_else(|| Some(unfinished()));
        device
    }
}

/// Every device, index 0 being the CPU. Where no CUDA device can be reached one entry without an ordinal tells why. Found
/// once; the same for the life of the process.
pub fn devices() -> &'static [Device] {
    static DEVICES: OnceLock<Vec<Device>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let cuda = cuda::devices().unwrap_or_else(|error| vec![Device::unreachable(error.to_string())]);
        std::iter::once(Device::cpu()).chain(cuda.into_iter().map(Device::of_cuda)).collect()
    })
}
