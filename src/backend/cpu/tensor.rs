//! Feature rows on the CPU: 32-bit words of one FP32 or two BF16 numbers, each row padded with zeros to whole 16-word
//! lines at 64-byte alignment.

use super::arithmetic::row_words;
use crate::backend::Precision;
use crate::error::{Error, Result, zeroed};
use bytemuck::{Pod, Zeroable};
use parking_lot::Mutex;

/// Words per line; rows are padded to whole lines, so kernels need no tails.
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
        Ok(Self { lines: zeroed(len.div_ceil(LINE), what)? })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines)
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.lines)
    }
}

/// Buffers of finished layers for those to come, within a run and from one run to the next: fresh memory costs a page
/// fault every 4 KiB.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    spare: Vec<Buffer>,
}

impl Scratch {
    /// A buffer of at least `len` floats: the smallest spare one that is large enough, or a new one.
    fn take(&mut self, len: usize) -> Result<Buffer> {
        let lines = len.div_ceil(LINE);
        let fitting = self.spare.iter().enumerate().filter(|(_, buffer)| buffer.lines.len() >= lines);
        let Some(best) = fitting.min_by_key(|(_, buffer)| buffer.lines.len()).map(|(index, _)| index) else {
            // Room made by dropping the largest spare: sizes only grow when the clouds do.
            let largest = self.spare.iter().enumerate().max_by_key(|(_, buffer)| buffer.lines.len());
            if let Some(index) = largest.map(|(index, _)| index) {
                self.spare.swap_remove(index);
            }
            return Buffer::zeroed(len, "the features of a layer");
        };
        let mut buffer = self.spare.swap_remove(best);
        if cfg!(debug_assertions) {
            buffer.as_mut_slice().fill(f32::NAN);
        }
        Ok(buffer)
    }

    /// Keeps the buffer of a tensor that nobody reads any more.
    pub(super) fn give(&mut self, tensor: Tensor) {
        if !tensor.data.lines.is_empty() {
            self.spare.push(tensor.data);
        }
    }

    /// Bytes of the spare buffers.
    pub(super) fn bytes(&self) -> u64 {
        self.spare.iter().map(|buffer| size_of_val(&buffer.lines[..]) as u64).sum()
    }
}

/// Memory of each thread for sums that become something else once they are complete.
#[derive(Debug)]
pub(super) struct Workers {
    sums: Vec<Mutex<Buffer>>,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Self {
        Self { sums: (0..threads).map(|_| Mutex::default()).collect() }
    }

    /// Makes room for `len` floats on every thread: work is shared out differently in every run.
    pub(super) fn reserve(&self, len: usize) -> Result<()> {
        for sums in &self.sums {
            let mut buffer = sums.lock();
            if buffer.lines.len() * LINE < len {
                *buffer = Buffer::default();
                *buffer = Buffer::zeroed(len, "the sums of a chunk")?;
            }
        }
        Ok(())
    }

    /// Lends `len` reserved floats of anything to `work`, which runs on a thread of the pool.
    pub(super) fn with<T>(&self, len: usize, work: impl FnOnce(&mut [f32]) -> T) -> Result<T> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.sums.len();
        let mut buffer = self.sums[thread].lock();
        let sums = buffer.as_mut_slice().get_mut(..len);
        Ok(work(sums.ok_or_else(|| Error::internal(format!("{len} floats were not reserved")))?))
    }

    pub(super) fn threads(&self) -> usize {
        self.sums.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.sums.iter().map(|sums| size_of_val(&sums.lock().lines[..]) as u64).sum()
    }
}

/// `[rows, channels]` features, `stride` words from row to row.
#[derive(Default)]
pub(super) struct Tensor {
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) precision: Precision,
    pub(super) stride: usize,
    data: Buffer,
}

impl Tensor {
    /// `[rows, channels]` of anything: whoever fills it must fill whole rows, padding included.
    pub(super) fn unfilled(rows: usize, channels: usize, precision: Precision, scratch: &mut Scratch) -> Result<Self> {
        let stride = row_words(channels, precision);
        Ok(Self { rows, channels, precision, stride, data: scratch.take(rows * stride)? })
    }

    /// All words; those of BF16 numbers only look like floats.
    pub(super) fn as_slice(&self) -> &[f32] {
        &self.data.as_slice()[..self.rows * self.stride]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.data.as_mut_slice()[..self.rows * self.stride]
    }

    pub(super) fn bytes(&self) -> u64 {
        size_of_val(self.as_slice()) as u64
    }

    /// The channels of `row` of an FP32 tensor, without its padding.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        &self.as_slice()[row * self.stride..][..self.channels]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer of {} lines", self.lines.len())
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor [{}, {}] {}", self.rows, self.channels, self.precision)
    }
}
