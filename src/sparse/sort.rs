//! A stable radix sort of voxel keys: the one sort of a run. It can be cancelled between blocks of keys.
//!
//! Where the bits up to the highest in which keys differ and a point's number fit 63, words of both are sorted, runs of
//! them by several threads, and merged. As no two words are equal, the result does not depend on the runs.

use crate::arena::{Arena, Buffer, parts};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::ops::Range;

const DIGIT_BITS: u32 = 11;
const DIGITS: usize = 1 << DIGIT_BITS;
const MOST_PASSES: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
/// Keys between two looks at the cancel token: a fraction of a millisecond.
const BLOCK: usize = 1 << 16;
/// Keys that are worth a thread's while.
pub(super) const RUN: usize = 1 << 13;

/// Keys in ascending order, each with its point; the points of equal keys ascend.
#[derive(Debug)]
pub(crate) enum Sorted {
    /// In each word the key's bits below those that are `common` to all, and its point below them.
    Words {
        /// In ascending order.
        words: Buffer<u64>,
        /// Bits of a point.
        point_bits: u32,
        /// The bits in which no keys differ.
        common: u64,
    },
    /// Keys too wide for that.
    Pairs(Buffer<(u64, u32)>),
}

impl Sorted {
    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Words { words, .. } => words.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    /// The first place, from `place` on, whose key is not that of the place before it.
    pub(crate) fn end_of_key(&self, place: usize) -> usize {
        let key = |place: usize| self.at(place..place + 1).next().map(|(key, _)| key);
        let (mut low, mut high) = (place.min(self.len()), self.len());
        let before = low.checked_sub(1).and_then(key);
        while low < high {
            let middle = low.midpoint(high);
            if key(middle) == before { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The keys and points at some places.
    pub(crate) fn at(&self, places: Range<usize>) -> impl Iterator<Item = (u64, u32)> {
        let (words, pairs, point_bits, common) = match self {
            Self::Words { words, point_bits, common } => (&words[places], &[][..], *point_bits, *common),
            Self::Pairs(pairs) => (&[][..], &pairs[places], 0, 0),
        };
        let points = low_bits(point_bits);
        let unpacked = words.iter().map(move |&word| (common | word >> point_bits, (word & points) as u32));
        unpacked.chain(pairs.iter().copied())
    }
}

/// What is known of some keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys {
    /// How many they are.
    pub(crate) count: usize,
    /// The bits that any has.
    pub(crate) any: u64,
    /// The bits that all have.
    pub(crate) all: u64,
}

impl Keys {
    /// What is known of none.
    pub(crate) const NONE: Self = Self { count: 0, any: 0, all: u64::MAX };

    /// Of those of these keys that there are.
    pub(crate) fn of(keys: impl Iterator<Item = Option<u64>>) -> Self {
        keys.flatten().map(|key| Self { count: 1, any: key, all: key }).fold(Self::NONE, Self::with)
    }

    /// Of these and `other` ones.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { count: self.count + other.count, any: self.any | other.any, all: self.all & other.all }
    }
}

/// Sorts the points 0 to `points - 1` by their keys: `keys_of` gives those of a range of points in order, none for points
/// that are left out, and `known_of` what is known of them.
pub(crate) fn sort_by_key<I: Iterator<Item = Option<u64>>>(
    points: usize,
    known_of: impl Fn(Range<usize>) -> Keys + Sync,
    keys_of: impl Fn(Range<usize>) -> I + Sync,
    arena: &Arena,
    cancel: Cancel<'_>,
) -> Result<Sorted> {
    let run_of = |run: usize| run * RUN..points.min((run + 1) * RUN);
    let mut runs = arena.filled(points.div_ceil(RUN), Keys::NONE, "the sorted keys")?;
    runs.par_iter_mut().enumerate().try_for_each(|(run, keys)| {
        cancel.check()?;
        *keys = known_of(run_of(run));
        Ok::<(), Error>(())
    })?;
    let Keys { any, all, .. } = runs.iter().copied().fold(Keys::NONE, Keys::with);
    let keyed_of = |run: usize| {
        let points = run_of(run);
        points.clone().zip(keys_of(points)).filter_map(|(point, key)| Some((key?, point as u32)))
    };
    let key_bits = u64::BITS - (any & !all).leading_zeros();
    let point_bits = usize::BITS - points.leading_zeros();
    if key_bits + point_bits >= u64::BITS {
        let mut pairs = fill(&runs, (0, 0), keyed_of, |keyed| keyed, arena, cancel)?;
        sort_pairs(&mut pairs, any & !all, cancel)?;
        return Ok(Sorted::Pairs(pairs));
    }
    let pack = |(key, point): (u64, u32)| (key & low_bits(key_bits)) << point_bits | u64::from(point);
    let mut words = fill(&runs, 0, keyed_of, pack, arena, cancel)?;
    sort_words(&mut words, point_bits..point_bits + key_bits, cancel)?;
    Ok(Sorted::Words { words, point_bits, common: all & !low_bits(key_bits) })
}

/// What `pack` makes of the keys and points of all runs.
fn fill<T: Clone + Send, I: Iterator<Item = (u64, u32)>>(
    runs: &[Keys],
    empty: T,
    keyed_of: impl Fn(usize) -> I + Sync,
    pack: impl Fn((u64, u32)) -> T + Sync,
    arena: &Arena,
    cancel: Cancel<'_>,
) -> Result<Buffer<T>> {
    let mut items = arena.filled(runs.iter().map(|keys| keys.count).sum(), empty, "the sorted keys")?;
    let mut tasks = arena.with_capacity(runs.len(), "the sorted keys")?;
    tasks.extend(parts(&mut items, runs.iter().map(|keys| keys.count)));
    tasks.par_iter_mut().enumerate().try_for_each(|(run, items)| {
        cancel.check()?;
        items.iter_mut().zip(keyed_of(run)).for_each(|(item, keyed)| *item = pack(keyed));
        Ok::<(), Error>(())
    })?;
    drop(tasks);
    Ok(items)
}

/// A word whose lowest `count` bits are set; `count` is at most 63.
fn low_bits(count: u32) -> u64 {
    (1 << count) - 1
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
    let digit = |word: u64, pass: usize| (word >> (bits.start as usize + pass * width)) as usize & ((1 << width) - 1);
    let mut next = [[0_u32; DIGITS]; MOST_PASSES];
    let next = &mut next[..passes];
    for block in words.chunks(BLOCK) {
        cancel.check()?;
        for &word in block {
            next.iter_mut().enumerate().for_each(|(pass, counts)| counts[digit(word, pass)] += 1);
        }
    }
    let (mut from, mut to) = (&mut *words, &mut *other);
    for (pass, next) in next.iter_mut().enumerate() {
        let mut start = 0;
        for count in next[..1 << width].iter_mut() {
            start += std::mem::replace(count, start);
        }
        for block in from.chunks(BLOCK) {
            cancel.check()?;
            for &word in block {
                let place = &mut next[digit(word, pass)];
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

/// Sorts pairs by key where words would be too narrow.
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
    use crate::random::SplitMix64;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn equals_a_stable_sort() {
        let mut random = SplitMix64::new(3);
        for (count, mask, holes) in [
            (0, !0, 0),
            (1, !0, 0),
            (2, 1, 0),
            (5000, 0xFF, 3),
            (5000, !0, 7),
            (70_000, 0x3FF << 54 | 0x7FFF, 0),
            (9, 0, 2),
            (9, 0, 1),
            (300_000, !0 >> 30, 0),
            (300_001, !0 >> 30, 1000),
            (300_005, !0 >> 30, 2),
        ] {
            let common = random.bits() & !mask;
            let mut keys: Vec<Option<u64>> = (0..count).map(|_| Some(random.bits() & mask | common)).collect();
            // One in so many points has no key, and a whole run has none.
            let is_hole = |at: usize| holes > 0 && (at.is_multiple_of(holes) || at / RUN == 2);
            keys.iter_mut().enumerate().filter(|(at, _)| is_hole(*at)).for_each(|(_, key)| *key = None);
            let mut want: Vec<(u64, u32)> =
                (0..).zip(&keys).filter_map(|(point, key)| Some(((*key)?, point))).collect();
            want.sort_by_key(|item| item.0);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1 + count % 7).build().unwrap();
            let known_of = |points: Range<usize>| Keys::of(keys[points].iter().copied());
            let keys_of = |points: Range<usize>| keys[points].iter().copied();
            let sort = || sort_by_key(count, known_of, keys_of, &Arena::default(), Cancel::default());
            let sorted = pool.install(sort).unwrap();
            assert_eq!(sorted.len(), want.len());
            assert!(sorted.at(0..want.len()).eq(want.iter().copied()));
            let middle = want.len() / 3..want.len() / 2;
            assert!(sorted.at(middle.clone()).eq(want[middle].iter().copied()));
        }
    }

    #[test]
    fn a_set_flag_stops_it() {
        let flag = AtomicBool::new(true);
        let keys_of = |points: Range<usize>| points.map(|point| Some(2 - point as u64));
        assert!(
            sort_by_key(2, |points| Keys::of(keys_of(points)), keys_of, &Arena::default(), Cancel::when(&flag))
                .is_err()
        );
    }
}
