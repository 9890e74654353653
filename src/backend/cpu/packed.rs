//! Weights packed for the micro-kernels: per kernel offset and column panel, `[channels][width]` contiguous floats.

use super::level::CpuLevel;
use super::tensor::{Buffer, LINE};
use crate::error::Result;

/// A range of output columns that one micro-kernel call covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panel {
    pub(super) column: usize,
    pub(super) width: usize,
}

/// The panels of `columns` output columns: whole lines, as even as the level's widest panel allows.
pub(super) fn panels(level: CpuLevel, columns: usize) -> Vec<Panel> {
    let lines = columns.div_ceil(LINE);
    let count = lines.div_ceil(super::simd::widest_panel(level) / LINE);
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
#[derive(Clone)]
pub(super) struct Packed {
    pub(super) c_in: usize,
    /// `c_in` padded to whole lines, as the rows of a tensor are.
    pub(super) channels: usize,
    pub(super) panels: Vec<Panel>,
    /// Floats per kernel offset.
    offset_len: usize,
    data: Buffer,
}

impl Packed {
    /// Packs `value(offset, channel, column)`; channels and columns past the last become 0.
    pub(super) fn new(
        level: CpuLevel,
        volume: usize,
        c_in: usize,
        columns: usize,
        value: impl Fn(usize, usize, usize) -> f32,
    ) -> Result<Self> {
        let panels = panels(level, columns);
        let channels = c_in.next_multiple_of(LINE);
        let offset_len = channels * columns.next_multiple_of(LINE);
        let mut data = Buffer::zeroed(volume * offset_len, "the packed weights")?;
        let mut packed = data.as_mut_slice().iter_mut();
        for offset in 0..volume {
            for panel in &panels {
                for channel in 0..channels {
                    for (column, slot) in (panel.column..panel.column + panel.width).zip(&mut packed) {
                        *slot = if channel < c_in && column < columns { value(offset, channel, column) } else { 0.0 };
                    }
                }
            }
        }
        Ok(Self { c_in, channels, panels, offset_len, data })
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(self.data.as_slice()) as u64
    }

    /// The `[channels][width]` block of one offset and panel.
    pub(super) fn block(&self, offset: usize, panel: Panel) -> &[f32] {
        let start = offset * self.offset_len + self.channels * panel.column;
        &self.data.as_slice()[start..start + self.channels * panel.width]
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed {} channels, {:?}", self.c_in, self.panels)
    }
}
