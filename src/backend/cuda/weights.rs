//! Weights as the convolution kernels read them: FP16 fragments of the tensor cores, tile by tile.

use super::buffer::Buffer;
use super::context::Stream;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, with_capacity};
use half::f16;

/// Input channels of one step of the kernels.
const SLAB: usize = 32;
const LANES: usize = 32;
/// Largest weights of a column that are left as they are; others are scaled by a power of two, so that FP16 holds them.
const EXACT: std::ops::RangeInclusive<f32> = 0.003_906_25..=32_768.0;

/// Channels from row to row of a tensor: whole fragments.
pub(super) fn stride_of(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// Slabs of a source of `channels`.
pub(super) fn slabs_of(channels: usize) -> usize {
    channels.div_ceil(SLAB)
}

/// How a product's columns are cut into tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ColumnTiles {
    /// Columns of a tile.
    pub(super) width: usize,
    pub(super) count: usize,
}

impl ColumnTiles {
    /// The cheapest tiles of one of `widths` for `columns`: every tile gathers its rows anew, which weighs as 32 columns.
    pub(super) fn new(columns: usize, widths: &[usize]) -> Result<Self> {
        let tiles = widths.iter().map(|&width| Self { width, count: columns.div_ceil(width) });
        tiles
            .min_by_key(|tiles| tiles.count * (tiles.width + 32))
            .ok_or_else(|| Error::internal("no width to cut columns into"))
    }

    /// Columns of all tiles.
    pub(super) fn columns(self) -> usize {
        self.width * self.count
    }
}

/// One product's weights before packing: `value(offset, input channel, column)`, the input channels running through all
/// sources.
pub(super) struct Columns<F> {
    pub(super) offsets: usize,
    /// Channels of each source.
    pub(super) sources: Vec<usize>,
    pub(super) columns: usize,
    pub(super) value: F,
}

impl<F: Fn(usize, usize, usize) -> f32> Columns<F> {
    /// Per column the power of two that the packed weights are to be multiplied by; 1 for nearly all.
    pub(super) fn exponents(&self) -> Vec<f32> {
        let channels: usize = self.sources.iter().sum();
        let mut largest = vec![0.0_f32; self.columns];
        for offset in 0..self.offsets {
            for channel in 0..channels {
                for (column, largest) in largest.iter_mut().enumerate() {
                    *largest = largest.max((self.value)(offset, channel, column).abs());
                }
            }
        }
        let unit = |largest: f32| match largest > 0.0 && largest.is_finite() && !EXACT.contains(&largest) {
            true => largest.log2().floor().exp2(),
            false => 1.0,
        };
        largest.into_iter().map(unit).collect()
    }

    /// Uploads the fragments: `[column tiles][offsets][slabs of each source][N / 8][lanes][8]`, every column multiplied by
    /// its entry in `factors`.
    pub(super) fn upload(
        &self,
        tiles: ColumnTiles,
        factors: &[f32],
        stream: &Stream,
        cancel: Cancel<'_>,
    ) -> Result<Buffer<f16>> {
        let slabs: usize = self.sources.iter().map(|&channels| slabs_of(channels)).sum();
        let len = [tiles.columns(), self.offsets, slabs, SLAB].iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let len = len.ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "the weights exceed the address space"))?;
        let mut packed: Vec<f16> = with_capacity(len, "the packed weights")?;
        for tile in 0..tiles.count {
            for offset in 0..self.offsets {
                cancel.check()?;
                let mut first = 0;
                for &channels in &self.sources {
                    for slab in 0..slabs_of(channels) {
                        let columns = tile * tiles.width..(tile + 1) * tiles.width;
                        self.pack_slab(offset, (first, channels), slab, columns, factors, &mut packed);
                    }
                    first += channels;
                }
            }
        }
        Buffer::of(&packed, stream, "the weights")
    }

    /// One slab: per 8 columns and lane the four halves of two fragments, as `mma.m16n8k16` takes them.
    fn pack_slab(
        &self,
        offset: usize,
        (first, channels): (usize, usize),
        slab: usize,
        columns: std::ops::Range<usize>,
        factors: &[f32],
        packed: &mut Vec<f16>,
    ) {
        for eight in columns.step_by(8) {
            for lane in 0..LANES {
                let column = eight + lane / 4;
                for half in 0..8 {
                    let (k16, register, low) = (half / 4, half / 2 % 2, half % 2);
                    let channel = slab * SLAB + k16 * 16 + register * 8 + lane % 4 * 2 + low;
                    let value = match column < self.columns && channel < channels {
                        true => (self.value)(offset, first + channel, column) * factors[column],
                        false => 0.0,
                    };
                    packed.push(f16::from_f32(value));
                }
            }
        }
    }
}

/// `values` padded with zeros to every column of `tiles`, on the device.
pub(super) fn upload_columns(
    values: impl Iterator<Item = f32>,
    tiles: ColumnTiles,
    stream: &Stream,
) -> Result<Buffer<f32>> {
    let mut padded: Vec<f32> = with_capacity(tiles.columns(), "the factors of the columns")?;
    padded.extend(values);
    padded.resize(tiles.columns(), 0.0);
    Buffer::of(&padded, stream, "the factors of the columns")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_cut_with_the_least_waste() {
        let cut = |columns| {
            let tiles = ColumnTiles::new(columns, &[32, 64, 96, 128]).unwrap();
            (tiles.width, tiles.count)
        };
        let want = [
            (1, (32, 1)),
            (48, (64, 1)),
            (96, (96, 1)),
            (128, (128, 1)),
            (160, (96, 2)),
            (256, (128, 2)),
            (384, (128, 3)),
        ];
        for (columns, tiles) in want {
            assert_eq!(cut(columns), tiles, "{columns}");
        }
    }

    #[test]
    fn columns_that_half_floats_hold_badly_are_scaled_by_powers_of_two() {
        let largest = [1.0, 0.0, 1e-6, 1e6, 0.01];
        let columns = Columns {
            offsets: 1,
            sources: vec![2],
            columns: 5,
            value: |_, channel, column| largest[column] * channel as f32,
        };
        assert_eq!(columns.exponents(), [1.0, 1.0, 2_f32.powi(-20), 2_f32.powi(19), 1.0]);
    }
}
