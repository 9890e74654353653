//! How products are computed: a CPU level and a precision.

use super::level::CpuLevel;
use super::tensor::LINE;
use crate::backend::Precision;
use std::fmt;

/// Decides how weights are packed and which micro-kernel multiplies them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arithmetic {
    pub(super) level: CpuLevel,
    pub(super) precision: Precision,
}

impl Arithmetic {
    /// The best kernels up to `level`.
    pub(super) fn new(level: CpuLevel, precision: Precision) -> Self {
        Self { level: level.at(precision), precision }
    }

    /// A number of its own for each.
    pub(super) fn number(self) -> u64 {
        self.level as u64 * Precision::ALL.len() as u64 + self.precision as u64
    }

    /// The same level in FP32, for what is computed so at every precision.
    pub(super) fn full(self) -> Self {
        Self::new(self.level, Precision::F32)
    }
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.level, self.precision)
    }
}

/// 32-bit words of a row of `channels` numbers, padded to whole lines.
pub(super) fn row_words(channels: usize, precision: Precision) -> usize {
    channels.div_ceil(precision.per_word()).next_multiple_of(LINE)
}
