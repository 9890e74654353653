//! Feature rows on the CPU: FP32, each row padded with zeros to whole 16-float lines at 64-byte alignment.

use crate::error::{Result, filled};
use bytemuck::{Pod, Zeroable};

/// Floats per line; rows are padded to whole lines, so kernels need no tails.
pub(super) const LINE: usize = 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// A 64-byte aligned buffer of whole lines.
#[derive(Clone, Default)]
pub(super) struct Buffer {
    lines: Vec<Line>,
}

impl Buffer {
    /// `len` zeros (rounded up to whole lines).
    pub(super) fn zeroed(len: usize, what: &str) -> Result<Self> {
        Ok(Self { lines: filled(len.div_ceil(LINE), Line::zeroed(), what)? })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines)
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

/// `[rows, channels]` features, `stride` floats from row to row.
#[derive(Clone, Default)]
pub(super) struct Tensor {
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) stride: usize,
    data: Buffer,
}

impl Tensor {
    pub(super) fn zeroed(rows: usize, channels: usize) -> Result<Self> {
        let stride = channels.next_multiple_of(LINE);
        Ok(Self { rows, channels, stride, data: Buffer::zeroed(rows * stride, "the features of a layer")? })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        self.data.as_slice()
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        self.data.as_mut_slice()
    }

    /// The channels of `row`, without its padding.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.stride..][..self.channels]
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor [{}, {}]", self.rows, self.channels)
    }
}
