//! The numbers that a network's features and weights are kept and multiplied in.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// Numbers of features and weights while a network runs. Sums, the last features and all results are FP32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Precision {
    /// 24 significant bits.
    #[default]
    F32,
    /// BF16: 8 significant bits and the range of FP32; half the memory.
    Bf16,
}

impl Precision {
    /// All precisions.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Numbers in 32 bits.
    pub(crate) fn per_word(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|precision| precision.to_string() == name);
        found.ok_or_else(|| Error::argument(format!("'{name}' is no precision; use f32 or bf16")))
    }
}
