//! Where and how the tool runs networks.

use openvocab3d::backend::{Backend, Precision, devices, open};
use openvocab3d::{Error, Result};
use std::sync::Arc;

/// How to compute; shared by commands that run a network.
#[derive(clap::Args)]
pub(crate) struct EngineArgs {
    /// Where to compute: cpu, cuda:0, cuda:1, ... or an index that `ov3d devices` lists
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Threads of the CPU [default: all]
    #[arg(long)]
    threads: Option<usize>,
    /// What features and weights are multiplied in on the CPU: f32 or bf16, which is faster on CPUs with AVX-512 BF16 or
    /// AMX [default: f32; CUDA devices compute in f16]
    #[arg(long)]
    precision: Option<Precision>,
}

impl EngineArgs {
    /// Threads of the CPU, unless all.
    pub(crate) fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// Opens the device.
    pub(crate) fn open(&self) -> Result<Arc<dyn Backend>> {
        open("--device", device_index(&self.device)?, self.threads, self.precision)
    }
}

/// The index of the device that `name` names.
pub(crate) fn device_index(name: &str) -> Result<u32> {
    if name == "cpu" {
        return Ok(0);
    }
    if let Ok(index) = name.parse() {
        return Ok(index);
    }
    let Some(ordinal) = name.strip_prefix("cuda:").and_then(|ordinal| ordinal.parse().ok()) else {
        return Err(Error::argument(format!("--device is '{name}'; give cpu, cuda:0 or an index of `ov3d devices`")));
    };
    let place = devices().iter().position(|device| device.cuda_ordinal == Some(ordinal));
    // Where CUDA cannot be reached at all, the entry that says why.
    let place = place.or_else(|| devices().iter().position(|d| d.cuda_ordinal.is_none() && d.obstacle.is_some()));
    let place = place.and_then(|place| u32::try_from(place).ok());
    place.ok_or_else(|| Error::argument(format!("--device is '{name}', which `ov3d devices` does not list")))
}
