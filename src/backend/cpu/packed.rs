//! Weights packed for the micro-kernels: per kernel offset and column panel, `[words][width]` contiguous 32-bit words.

use super::arithmetic::{Arithmetic, row_words};
use super::simd::{bf16_pair, widest_panel};
use super::tensor::{Buffer, LINE};
use crate::backend::Precision;
use crate::error::Result;

/// A range of output columns that one micro-kernel call covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) column: usize,
    pub(super) width: usize,
}

/// The panels of `columns` output columns: whole lines, as even as the widest panel allows.
pub(super) fn panels(arithmetic: Arithmetic, columns: usize) -> Vec<Panel> {
    let lines = columns.div_ceil(LINE);
    let count = lines.div_ceil(widest_panel(arithmetic) / LINE);
    let mut column = 0;
    (0..count)
        .map(|index| {
            let width = (lines * (index + 1) / count - lines * index / count) * LINE;
            column += width;
            Panel { column: column - width, width }
        })
        .collect()
}

/// A `[volume, c_in, columns]` weight in packed form.
pub(super) struct Packed {
    pub(super) c_in: usize,
    /// 32-bit words of an input row, see [`row_words`].
    pub(super) words: usize,
    pub(super) panels: Vec<Panel>,
    /// Words per kernel offset.
    offset_len: usize,
    data: Buffer,
}

impl Packed {
    /// Packs `value(offset, channel, column)`; channels and columns past the last become 0.
    pub(super) fn new(
        arithmetic: Arithmetic,
        volume: usize,
        c_in: usize,
        columns: usize,
        value: impl Fn(usize, usize, usize) -> f32,
    ) -> Result<Self> {
        let panels = panels(arithmetic, columns);
        let words = row_words(c_in, arithmetic.precision);
        let offset_len = words * columns.next_multiple_of(LINE);
        let mut data = Buffer::zeroed(volume * offset_len, "the packed weights")?;
        let mut packed = data.as_mut_slice().iter_mut();
        let padded = |offset: usize, channel: usize, column: usize| match channel < c_in && column < columns {
            true => value(offset, channel, column),
            false => 0.0,
        };
        for offset in 0..volume {
            for panel in &panels {
                for word in 0..words {
                    for (column, slot) in (panel.column..panel.column + panel.width).zip(&mut packed) {
                        *slot = match arithmetic.precision {
                            Precision::F32 => padded(offset, word, column),
                            Precision::Bf16 => {
                                bf16_pair([2 * word, 2 * word + 1].map(|channel| padded(offset, channel, column)))
                            }
                        };
                    }
                }
            }
        }
        Ok(Self { c_in, words, panels, offset_len, data })
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(self.data.as_slice()) as u64
    }

    /// The `[words][width]` blocks of one offset and some panels, one after the other.
    pub(super) fn blocks(&self, offset: usize, panels: &[Panel]) -> &[f32] {
        let width: usize = panels.iter().map(|panel| panel.width).sum();
        let start = offset * self.offset_len + self.words * panels.first().map_or(0, |panel| panel.column);
        &self.data.as_slice()[start..start + self.words * width]
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed {} channels, {:?}", self.c_in, self.panels)
    }
}
