//! Memory that will be needed soon, fetched towards the L2 cache a few lines at a time between multiplications.
//!
//! A chunk's rows are first touched in the middle of its products, where a miss to memory stalls them all. Fetching the
//! next chunk's rows while this one computes took the convolutions of a 100,000-voxel room from 64 to 80 % of the FMA
//! peak.

use super::tensor::LINE;

/// Words of the input rows from one look of the kernels at this list to the next.
pub(super) const STEP_WORDS: usize = 8;
/// Most memory regions of one chunk.
const REGIONS: usize = 8;
/// More lines per step would fill the core's miss buffers.
const MOST_LINES: usize = 8;

/// Regions to fetch and how fast.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// First address and number of lines; addresses are only hints and never read.
    regions: [(usize, usize); REGIONS],
    /// Regions added so far.
    count: usize,
    /// Lines per step.
    pace: usize,
}

impl Ahead {
    /// Adds `floats` floats from `start` on; regions past the limit are left to the caches.
    pub(super) fn add(&mut self, start: *const f32, floats: usize) {
        if self.count < REGIONS && floats > 0 {
            self.regions[self.count] = (start.addr(), floats.div_ceil(LINE));
            self.count += 1;
        }
    }

    /// Spreads the lines over `steps` steps.
    pub(super) fn pace(&mut self, steps: usize) {
        let lines: usize = self.regions.iter().map(|(_, lines)| lines).sum();
        self.pace = lines.div_ceil(steps.max(1)).min(MOST_LINES);
    }

    /// Gives the next lines to `fetch`.
    #[inline(always)]
    pub(super) fn step(&mut self, fetch: impl Fn(*const f32)) {
        let Some((start, lines)) = self.count.checked_sub(1).map(|last| &mut self.regions[last]) else { return };
        for _ in 0..self.pace.min(*lines) {
            fetch(std::ptr::without_provenance(*start));
            *start += LINE * size_of::<f32>();
            *lines -= 1;
        }
        self.count -= usize::from(*lines == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_fetched_once_within_the_steps() {
        for steps in [1, 3, 10, 1000] {
            let memory = vec![0.0_f32; 64 * LINE];
            let mut ahead = Ahead::default();
            ahead.add(memory.as_ptr(), 40 * LINE);
            ahead.add(memory[40 * LINE..].as_ptr(), 23 * LINE + 1);
            ahead.pace(steps);
            let seen = std::cell::RefCell::new(Vec::new());
            for _ in 0..steps.max(10) + 2 {
                ahead.step(|line| seen.borrow_mut().push((line.addr() - memory.as_ptr().addr()) / 64));
            }
            let mut seen = seen.into_inner();
            seen.sort_unstable();
            assert_eq!(seen, (0..64).collect::<Vec<_>>(), "{steps} steps");
        }
    }
}
