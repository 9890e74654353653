//! Where and how the tool runs networks.

use openvocab3d::backend::Precision;
use openvocab3d::backend::cpu::CpuOptions;

/// How to compute; shared by commands that run a network.
#[derive(clap::Args)]
pub(crate) struct EngineArgs {
    /// Threads [default: all]
    #[arg(long)]
    threads: Option<usize>,
    /// What features and weights are multiplied in: f32 or bf16, which is faster on CPUs with AVX-512 BF16 or AMX
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
}

impl EngineArgs {
    pub(crate) fn cpu(&self) -> CpuOptions {
        CpuOptions { threads: self.threads, level: None, precision: self.precision }
    }
}
