//! A stable radix sort of voxel keys: the one sort of a run. It can be cancelled between blocks of keys.

use crate::arena::Buffer;
use crate::cancel::Cancel;
use crate::error::Result;

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;
/// Keys between two looks at the cancel token: a fraction of a millisecond.
const BLOCK: usize = 1 << 16;

/// Sorts by key; equal keys keep their order. Least significant digit first, skipping digits that all keys share.
pub(super) fn sort_by_key(items: &mut Buffer<(u64, u32)>, cancel: Cancel<'_>) -> Result<()> {
    let differing = items.iter().fold(0, |bits, item| bits | (item.0 ^ items[0].0));
    let mut sorted = items.allocator().filled(items.len(), (0, 0), "the sorted keys")?;
    for shift in (0..u64::BITS).step_by(DIGIT_BITS as usize) {
        let digit = |key: u64| (key >> shift) as usize & (DIGITS - 1);
        if digit(differing) == 0 {
            continue;
        }
        let mut next = [0_usize; DIGITS];
        for block in items.chunks(BLOCK) {
            cancel.check()?;
            block.iter().for_each(|item| next[digit(item.0)] += 1);
        }
        let mut start = 0;
        for count in &mut next {
            start += std::mem::replace(count, start);
        }
        for block in items.chunks(BLOCK) {
            cancel.check()?;
            for &item in block {
                let place = &mut next[digit(item.0)];
                sorted[*place] = item;
                *place += 1;
            }
        }
        std::mem::swap(items, &mut sorted);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::random::SplitMix64;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn equals_a_stable_sort() {
        let mut random = SplitMix64::new(3);
        for (count, mask) in
            [(0, !0), (1, !0), (2, 1), (5000, 0xFF), (5000, !0), (70_000, 0x3FF << 54 | 0x7FFF), (9, 0)]
        {
            let items = (0..count).map(|index| (random.bits() & mask, index));
            let mut items = Arena::default().collected(items, "items").unwrap();
            let mut want = items.clone();
            want.sort_by_key(|item| item.0);
            sort_by_key(&mut items, Cancel::default()).unwrap();
            assert_eq!(items, want);
        }
    }

    #[test]
    fn a_set_flag_stops_it() {
        let flag = AtomicBool::new(true);
        let mut items = Arena::default().collected([(2, 0), (1, 1)].into_iter(), "items").unwrap();
        assert!(sort_by_key(&mut items, Cancel::when(&flag)).is_err());
    }
}
