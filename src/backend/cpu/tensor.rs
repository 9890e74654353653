//! Feature rows on the CPU: 32-bit words of one FP32 or two BF16 numbers, each row padded with zeros to whole 16-word
//! lines at 64-byte alignment.

use super::arithmetic::row_words;
use crate::arena::block_bytes;
use crate::backend::Precision;
use crate::error::{Error, Result, zeroed};
use parking_lot::Mutex;

/// Words per line; rows are padded to whole lines, so kernels need no tails.
pub(super) const LINE: usize = 16;

/// A 64-byte aligned buffer of whole lines.
#[derive(Default)]
pub(super) struct Buffer {
    /// The lines begin at the first aligned word. A vector of aligned lines would be cleared here and now: allocators
    /// have cleared pages at hand only for the alignments of numbers.
    words: Vec<f32>,
    first: usize,
    len: usize,
}

impl Buffer {
    /// `len` zeros (rounded up to whole lines).
    pub(super) fn zeroed(len: usize, what: &str) -> Result<Self> {
        let len = len.next_multiple_of(LINE);
        let words: Vec<f32> = zeroed(len + LINE - 1, what)?;
        let first = words.as_ptr().align_offset(LINE * size_of::<f32>());
        Ok(Self { words, first, len })
    }

    pub(super) fn as_slice(&self) -> &[f32] {
        &self.words[self.first..][..self.len]
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut self.words[self.first..][..self.len]
    }

    fn bytes(&self) -> u64 {
        size_of_val(self.as_slice()) as u64
    }
}

/// Runs after which slots that were too large for all of them go back to the system.
const IDLE_RUNS: u32 = 8;

/// The buffers of a run's tensors, kept from one run to the next: fresh memory costs a page fault every 4 KiB.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    slots: Vec<Slot>,
    /// Since slots that were too large last went back.
    runs: u32,
}

#[derive(Debug, Default)]
struct Slot {
    /// Empty while a tensor has it.
    buffer: Buffer,
    /// The most words a run of late asked for.
    most: usize,
}

/// The words of a slot for `len`: frames of about the same size have the same.
fn room(len: usize) -> usize {
    block_bytes(len * size_of::<f32>()) / size_of::<f32>()
}

impl Scratch {
    /// Makes room for slots of `lens` words, with some to spare unless that would be more than `most_bytes`.
    pub(super) fn reserve(&mut self, lens: &[usize], most_bytes: Option<u64>) -> Result<()> {
        self.slots.resize_with(lens.len().max(self.slots.len()), Slot::default);
        self.runs += 1;
        if self.runs > IDLE_RUNS {
            self.slots.iter_mut().for_each(|slot| slot.shrink(slot.most));
            self.slots.iter_mut().for_each(|slot| slot.most = 0);
            self.runs = 1;
        }
        let held = |slots: &[Slot]| -> usize {
            let wanted = lens.iter().map(|&len| room(len)).chain(std::iter::repeat(0));
            slots.iter().zip(wanted).map(|(slot, wanted)| slot.buffer.len.max(wanted)).sum()
        };
        let fits = |words: usize| most_bytes.is_none_or(|most| (words * size_of::<f32>()) as u64 <= most);
        let spare = fits(held(&self.slots)) || {
            let lens = lens.iter().copied().chain(std::iter::repeat(0));
            self.slots.iter_mut().zip(lens).for_each(|(slot, len)| slot.shrink(len));
            fits(held(&self.slots))
        };
        for (slot, &len) in self.slots.iter_mut().zip(lens) {
            slot.most = slot.most.max(len);
            if slot.buffer.len < len || !spare && slot.buffer.len > len.next_multiple_of(LINE) {
                // First gone, then new: the peak is one of them.
                slot.buffer = Buffer::default();
                slot.buffer = Buffer::zeroed(if spare { room(len) } else { len }, "the features of the layers")?;
            }
            if cfg!(debug_assertions) {
                slot.buffer.as_mut_slice().fill(f32::NAN);
            }
        }
        Ok(())
    }

    /// `[rows, channels]` of anything in a reserved slot: whoever fills it must fill whole rows, padding included.
    pub(super) fn take(&mut self, slot: usize, rows: usize, channels: usize, precision: Precision) -> Result<Tensor> {
        let data = self.slots.get_mut(slot).map(|slot| std::mem::take(&mut slot.buffer)).unwrap_or_default();
        let stride = row_words(channels, precision);
        if data.len < rows * stride {
            return Err(Error::internal(format!("slot {slot} has no room for [{rows}, {channels}]")));
        }
        Ok(Tensor { rows, channels, precision, stride, slot, data })
    }

    /// Takes back the buffer of a tensor that nobody reads any more.
    pub(super) fn give(&mut self, tensor: Tensor) {
        if tensor.data.len > 0 {
            self.slots[tensor.slot].buffer = tensor.data;
        }
    }

    /// Bytes of the buffers that are here.
    pub(super) fn bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.buffer.bytes()).sum()
    }
}

impl Slot {
    /// Gives the buffer back to the system if it is larger than one for `len` words.
    fn shrink(&mut self, len: usize) {
        if self.buffer.len > room(len) || len == 0 {
            self.buffer = Buffer::default();
        }
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
            if buffer.len < len {
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
        self.sums.iter().map(|sums| sums.lock().bytes()).sum()
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
        scratch.reserve(&[rows * row_words(channels, precision)], None).unwrap();
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
        write!(f, "Buffer of {} words", self.len)
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor [{}, {}] {}", self.rows, self.channels, self.precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(scratch: &Scratch) -> usize {
        scratch.bytes() as usize / size_of::<f32>()
    }

    #[test]
    fn buffers_are_aligned_wherever_they_move() {
        for len in [0, 1, 16, 17, 100_000] {
            let moved = [Buffer::zeroed(len, "a buffer").unwrap()];
            let slice = moved[0].as_slice();
            assert!(slice.as_ptr().addr().is_multiple_of(64) && slice.len() == len.next_multiple_of(LINE));
            assert!(slice.iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn slots_have_room_to_spare_and_shrink_when_it_lies_idle() {
        let mut scratch = Scratch::default();
        scratch.reserve(&[100_000, 500], None).unwrap();
        let held = words(&scratch);
        assert!((100_500..=100_500 * 5 / 4 + 2 * LINE).contains(&held), "{held}");
        let place = scratch.slots[0].buffer.as_slice().as_ptr();
        scratch.reserve(&[101_000, 500], None).unwrap();
        assert_eq!(scratch.slots[0].buffer.as_slice().as_ptr(), place);
        // One large frame within so many keeps the room; none gives it back.
        for run in 0..3 * IDLE_RUNS {
            scratch.reserve(if run % IDLE_RUNS == 0 { &[101_000, 500] } else { &[1000] }, None).unwrap();
            assert!(words(&scratch) >= 101_000, "{run}");
        }
        for _ in 0..2 * IDLE_RUNS {
            scratch.reserve(&[1000], None).unwrap();
        }
        assert!(words(&scratch) <= 1250, "{}", words(&scratch));
    }

    #[test]
    fn slots_keep_within_what_they_may_hold() {
        let mut scratch = Scratch::default();
        scratch.reserve(&[100_000, 1000], None).unwrap();
        scratch.reserve(&[1000, 90_000], Some(4 * 91_100)).unwrap();
        assert!(scratch.bytes() <= 4 * 91_100, "{}", scratch.bytes());
        let tensor = scratch.take(1, 900, 100, Precision::F32);
        assert!(tensor.is_err(), "rows of 100 channels are padded to 112");
    }
}
