//! CPU levels: which vector instructions the micro-kernels use, chosen once at run time.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::str::FromStr;

/// A set of vector instructions, from the one every CPU has upwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// Plain Rust, vectorised by the compiler for the target's baseline.
    Portable,
    /// 128-bit vectors of aarch64.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl CpuLevel {
    /// All levels, lowest first.
    pub const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// The environment variable that forces a level, for tests and for tracking down differences.
    pub const VARIABLE: &'static str = "OV3D_CPU_LEVEL";

    /// Whether this CPU has the level.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            Self::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }

    /// The best level of this CPU, or the one [`Self::VARIABLE`] names.
    pub fn detect() -> Result<Self> {
        match std::env::var(Self::VARIABLE) {
            Ok(name) => name.parse().map_err(|e: Error| e.within(Self::VARIABLE)),
            Err(_) => Ok(Self::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Self::Portable)),
        }
    }

    /// An error unless this CPU has the level.
    pub fn require(self) -> Result<()> {
        if self.is_available() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("this CPU has no {self}; use 'portable' or leave the choice open"),
        ))
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl FromStr for CpuLevel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|level| level.to_string() == name)
            .ok_or_else(|| Error::argument(format!("'{name}' is no CPU level; use portable, neon, avx2 or avx512")))
    }
}
