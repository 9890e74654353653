//! A stable radix sort of voxel keys: the one sort of a run. It can be cancelled between blocks of keys.
//!
//! Where the bits in which keys differ and a point's number fit one word, words are sorted, runs of them by several
//! threads, and merged. As no two words are equal, the result does not depend on the runs.

use crate::arena::Buffer;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;
/// Keys between two looks at the cancel token: a fraction of a millisecond.
const BLOCK: usize = 1 << 16;
/// Keys that are worth a thread's while.
const RUN: usize = 1 << 13;

/// Sorts pairs of a key and a point, given with ascending points, by key; equal keys keep their order.
pub(crate) fn sort_by_key(items: &mut Buffer<(u64, u32)>, cancel: Cancel<'_>) -> Result<()> {
    let Some(&(first, _)) = items.first() else { return Ok(()) };
    let (differing, points) = items.iter().fold((0, 0), |bits, item| (bits.0 | (item.0 ^ first), bits.1 | item.1));
    let key_bits = u64::BITS - differing.leading_zeros();
    let point_bits = u32::BITS - points.leading_zeros();
    if key_bits + point_bits > u64::BITS {
        return sort_pairs(items, differing, cancel);
    }
    let (key_mask, point_mask) = (low_bits(key_bits), low_bits(point_bits));
    let pack = |&(key, point): &(u64, u32)| (key & key_mask) << point_bits | u64::from(point);
    let mut words = items.allocator().collected(items.iter().map(pack), "the sorted keys")?;
    sort_words(&mut words, point_bits..point_bits + key_bits, cancel)?;
    let common = first & !key_mask;
    items.par_chunks_mut(RUN).zip(words.par_chunks(RUN)).for_each(|(items, words)| {
        for (item, &word) in items.iter_mut().zip(words) {
            *item = (common | word >> point_bits, (word & point_mask) as u32);
        }
    });
    Ok(())
}

/// A word whose lowest `count` bits are set; `count` is at most 63 unless all are.
fn low_bits(count: u32) -> u64 {
    if count == u64::BITS { u64::MAX } else { (1 << count) - 1 }
}

/// Sorts words that differ from one another, the bits below `bits` ascending already among words equal in them.
fn sort_words(words: &mut Buffer<u64>, bits: Range<u32>, cancel: Cancel<'_>) -> Result<()> {
    let mut other = words.allocator().filled(words.len(), 0, "the sorted keys")?;
    let runs = rayon::current_num_threads().min(words.len() / RUN).max(1);
    let mut run = words.len().div_ceil(runs).max(1);
    let sorted = words.par_chunks_mut(run).zip(other.par_chunks_mut(run));
    sorted.try_for_each(|(words, other)| sort_run(words, other, bits.clone(), cancel))?;
    while run < words.len() {
        let pairs = words.par_chunks(2 * run).zip(other.par_chunks_mut(2 * run));
        pairs.try_for_each(|(words, other)| {
            let (a, b) = words.split_at(run.min(words.len()));
            merge(a, b, other, cancel)
        })?;
        std::mem::swap(words, &mut other);
        run *= 2;
    }
    Ok(())
}

/// Sorts `words` by the digits in `bits`, the least significant first; `other` is as long.
fn sort_run(words: &mut [u64], other: &mut [u64], bits: Range<u32>, cancel: Cancel<'_>) -> Result<()> {
    let passes = bits.len().div_ceil(DIGIT_BITS as usize);
    let width = bits.len().div_ceil(passes.max(1));
    let (mut from, mut to) = (&mut *words, &mut *other);
    for shift in bits.step_by(width.max(1)) {
        let digit = |word: u64| (word >> shift) as usize & ((1 << width) - 1);
        let mut next = [0_u32; DIGITS];
        for block in from.chunks(BLOCK) {
            cancel.check()?;
            block.iter().for_each(|&word| next[digit(word)] += 1);
        }
        let mut start = 0;
        for count in &mut next {
            start += std::mem::replace(count, start);
        }
        for block in from.chunks(BLOCK) {
            cancel.check()?;
            for &word in block {
                let place = &mut next[digit(word)];
                to[*place as usize] = word;
                *place += 1;
            }
        }
        std::mem::swap(&mut from, &mut to);
    }
    if passes % 2 == 1 {
        words.copy_from_slice(other);
    }
    Ok(())
}

/// Merges two ascending runs into `merged`, halves of it at once.
fn merge(a: &[u64], b: &[u64], merged: &mut [u64], cancel: Cancel<'_>) -> Result<()> {
    if a.len() < b.len() {
        return merge(b, a, merged, cancel);
    }
    if merged.len() > RUN {
        let half = a.len() / 2;
        let other = b.partition_point(|&word| word < a[half]);
        let (low, high) = merged.split_at_mut(half + other);
        let both = rayon::join(
            || merge(&a[..half], &b[..other], low, cancel),
            || merge(&a[half..], &b[other..], high, cancel),
        );
        return both.0.and(both.1);
    }
    cancel.check()?;
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    for place in merged {
        let first = match (a.peek(), b.peek()) {
            (Some(x), Some(y)) if x < y => a.next(),
            (Some(_), None) => a.next(),
            _ => b.next(),
        };
        *place = first.ok_or_else(|| Error::internal("two runs of keys are shorter than their union"))?;
    }
    Ok(())
}

/// The same for keys that do not fit.
fn sort_pairs(items: &mut Buffer<(u64, u32)>, differing: u64, cancel: Cancel<'_>) -> Result<()> {
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
        for (count, mask) in [
            (0, !0),
            (1, !0),
            (2, 1),
            (5000, 0xFF),
            (5000, !0),
            (70_000, 0x3FF << 54 | 0x7FFF),
            (9, 0),
            (300_000, !0 >> 30),
            (300_001, !0 >> 30),
            (300_005, !0 >> 30),
        ] {
            let items = (0..count).map(|index| (random.bits() & mask, index));
            let mut items = Arena::default().collected(items, "items").unwrap();
            let mut want = items.clone();
            want.sort_by_key(|item| item.0);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1 + count as usize % 7).build().unwrap();
            pool.install(|| sort_by_key(&mut items, Cancel::default())).unwrap();
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
