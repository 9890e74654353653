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

/// The buffers of a run's tensors, kept from one run to the next: fresh memory costs a page fault every 4 KiB.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// By slot; empty while a tensor has it.
    slots: Vec<Buffer>,
}

impl Scratch {
    /// Makes room for slots of `lens` words.
    pub(super) fn reserve(&mut self, lens: &[usize]) -> Result<()> {
        self.slots.resize_with(lens.len().max(self.slots.len()), Buffer::default);
        for (slot, &len) in self.slots.iter_mut().zip(lens) {
            if slot.lines.len() * LINE < len {
                // First gone, then new: the peak is one of them.
                *slot = Buffer::default();
                *slot = Buffer::zeroed(len, "the features of the layers")?;
            }
            if cfg!(debug_assertions) {
                slot.as_mut_slice().fill(f32::NAN);
            }
        }
        Ok(())
    }

    /// `[rows, channels]` of anything in a reserved slot: whoever fills it must fill whole rows, padding included.
    pub(super) fn take(&mut self, slot: usize, rows: usize, channels: usize, precision: Precision) -> Result<Tensor> {
        let data = self.slots.get_mut(slot).map(std::mem::take).unwrap_or_default();
        let stride = row_words(channels, precision);
        if data.lines.len() * LINE < rows * stride {
            return Err(Error::internal(format!("slot {slot} has no room for [{rows}, {channels}]")));
        }
        Ok(Tensor { rows, channels, precision, stride, slot, data })
    }

    /// Takes back the buffer of a tensor that nobody reads any more.
    pub(super) fn give(&mut self, tensor: Tensor) {
        if !tensor.data.lines.is_empty() {
            self.slots[tensor.slot] = tensor.data;
        }
    }

    /// Bytes of the buffers that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.slots.iter().map(|buffer| size_of_val(&buffer.lines[..]) as u64).sum()
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
    slot: usize,
    data: Buffer,
}

impl Tensor {
    /// `[rows, channels]` of zeros in a buffer of its own.
    #[cfg(test)]
    pub(super) fn zeroed(rows: usize, channels: usize, precision: Precision) -> Self {
        let mut scratch = Scratch::default();
        scratch.reserve(&[rows * row_words(channels, precision)]).unwrap();
        let mut tensor = scratch.take(0, rows, channels, precision).unwrap();
        tensor.as_mut_slice().fill(0.0);
        tensor
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
