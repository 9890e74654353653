//! Damaged files for the tests of readers.

use openvocab3d::random::SplitMix64;

/// Calls `read` with `count` damaged forms of `file`. Nothing may come of it but an error or a cloud.
pub(super) fn mutate(file: &[u8], count: usize, read: impl Fn(Vec<u8>)) {
    let mut random = SplitMix64::new(file.len() as u64);
    (0..count).for_each(|_| read(random.damaged(file)));
}
