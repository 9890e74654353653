//! CPU levels: which vector instructions the micro-kernels use, chosen once at run time.

#[cfg(target_arch = "x86_64")]
use super::simd::amx;
use crate::backend::Precision;
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
    /// The same with dot products of BF16 pairs.
    Avx512Bf16,
    /// The same with products of BF16 tiles.
    Amx,
}

impl CpuLevel {
    /// All levels, lowest first.
    pub const ALL: [Self; 6] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

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
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Bf16 => Self::Avx512.is_available() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => Self::Avx512Bf16.is_available() && amx::is_usable(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 | Self::Avx512Bf16 | Self::Amx => false,
        }
    }

    /// The best level of this CPU for a precision, or the one [`Self::VARIABLE`] names.
    pub fn detect(precision: Precision) -> Result<Self> {
        match std::env::var(Self::VARIABLE) {
            Ok(name) => name.parse().map_err(|e: Error| e.within(Self::VARIABLE)),
            Err(_) => Ok(Self::available(precision).last().unwrap_or(Self::Portable)),
        }
    }

    /// The levels of this CPU that make a difference at a precision, lowest first.
    pub fn available(precision: Precision) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |level| *level == level.at(precision) && level.is_available())
    }

    /// The highest level up to this one that has instructions of its own for `precision`.
    pub(super) fn at(self, precision: Precision) -> Self {
        match (precision, self) {
            (Precision::F32, Self::Avx512Bf16 | Self::Amx) => Self::Avx512,
            (Precision::Bf16, Self::Avx512) => Self::Avx2,
            (_, level) => level,
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
            Self::Avx512Bf16 => "avx512bf16",
            Self::Amx => "amx",
        })
    }
}

impl FromStr for CpuLevel {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|level| level.to_string() == name).ok_or_else(|| {
            Error::argument(format!(
                "'{name}' is no CPU level; use one of {}",
                Self::ALL.map(|level| level.to_string()).join(", ")
            ))
        })
    }
}
