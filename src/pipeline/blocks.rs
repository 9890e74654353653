//! Memory blocks of results, kept for the results to come: a stream of frames then needs no new memory.

use super::Segmentation;
use crate::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;

/// Blocks of one type.
#[derive(Debug)]
struct Spare<T>(Mutex<Vec<Vec<T>>>);

/// Most blocks kept per type: those of a few results in flight.
const MOST: usize = 16;

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T> Spare<T> {
    /// The items in a kept block that is large enough, or in a new one.
    fn collected(&self, items: impl ExactSizeIterator<Item = T>, what: &str) -> Result<Vec<T>> {
        if items.len() == 0 {
            return Ok(Vec::new());
        }
        let mut block = {
            let mut spare = self.0.lock();
            let fits = |capacity: usize| capacity >= items.len() && capacity / 2 <= items.len();
            let fitting = spare.iter().enumerate().filter(|(_, block)| fits(block.capacity()));
            let best = fitting.min_by_key(|(_, block)| block.capacity()).map(|(index, _)| index);
            best.map_or_else(Vec::new, |index| spare.swap_remove(index))
        };
        block.try_reserve_exact(items.len()).map_err(|_| {
            let message =
                format!("no memory for {what} ({} elements); free memory or send a smaller cloud", items.len());
            Error::new(ErrorKind::OutOfMemory, message)
        })?;
        block.extend(items);
        Ok(block)
    }

    fn give(&self, mut block: Vec<T>) {
        let mut spare = self.0.lock();
        if block.capacity() > 0 && spare.len() < MOST {
            block.clear();
            spare.push(block);
        }
    }
}

/// The spare blocks of a session's results.
#[derive(Debug, Default)]
pub struct ResultBlocks {
    integers: Spare<i32>,
    floats: Spare<f32>,
    coordinates: Spare<[i32; 3]>,
}

impl ResultBlocks {
    /// Keeps the blocks of a result that nobody reads any more.
    pub fn give(&self, result: Segmentation) {
        for block in [result.labels, result.top_labels, result.voxel_of_point] {
            self.integers.give(block);
        }
        for block in [result.scores, result.top_scores, result.logits, result.features] {
            self.floats.give(block);
        }
        self.coordinates.give(result.coordinates);
    }

    pub(crate) fn integers(&self, items: impl ExactSizeIterator<Item = i32>, what: &str) -> Result<Vec<i32>> {
        self.integers.collected(items, what)
    }

    pub(crate) fn floats(&self, items: impl ExactSizeIterator<Item = f32>, what: &str) -> Result<Vec<f32>> {
        self.floats.collected(items, what)
    }

    pub(crate) fn coordinates(
        &self,
        items: impl ExactSizeIterator<Item = [i32; 3]>,
        what: &str,
    ) -> Result<Vec<[i32; 3]>> {
        self.coordinates.collected(items, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_back() {
        let blocks = ResultBlocks::default();
        let labels = blocks.integers(0..1000, "labels").unwrap();
        let place = labels.as_ptr();
        blocks.give(Segmentation { labels, ..Segmentation::default() });
        let [nothing, small] = [0, 10].map(|len| blocks.integers(0..len, "labels").unwrap());
        assert!(nothing.as_ptr() != place && small.as_ptr() != place, "a block is not wasted on a few elements");
        let smaller = blocks.integers(5..905, "labels").unwrap();
        assert_eq!((smaller.as_ptr(), smaller[0], smaller.len()), (place, 5, 900));
        let another = blocks.integers(0..900, "labels").unwrap();
        assert!(another.as_ptr() != place, "it is given out once");
    }
}
