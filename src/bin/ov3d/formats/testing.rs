//! Damaged files for the tests of readers.

use openvocab3d::random::SplitMix64;

/// Calls `read` with `count` damaged forms of `file`: cut, bits flipped, bytes set, parts doubled. Nothing may come of it
/// but an error or a cloud.
pub(super) fn mutate(file: &[u8], count: usize, read: impl Fn(Vec<u8>)) {
    let mut random = SplitMix64::new(file.len() as u64);
    let mut below = |limit: usize| (random.bits() % limit.max(1) as u64) as usize;
    for _ in 0..count {
        let mut damaged = file.to_vec();
        for _ in 0..1 + below(4) {
            let at = below(damaged.len());
            match below(6) {
                0 => damaged.truncate(at),
                1 | 2 if at < damaged.len() => damaged[at] ^= 1 << below(8),
                3 if at < damaged.len() => damaged[at] = [0, 0xFF, 0x7F, 0x80][below(4)],
                4 => {
                    let end = damaged.len().min(at + below(16));
                    let part = damaged[at..end].to_vec();
                    damaged.splice(at..at, part);
                }
                _ => {
                    let end = damaged.len().min(at + 8);
                    damaged[at..end].fill(0xFF);
                }
            }
        }
        read(damaged);
    }
}
