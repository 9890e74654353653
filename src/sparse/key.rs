//! Voxel keys: batch and Morton code in 64 bits, so that sorting keys sorts voxels along a space-filling curve.

/// Clouds per call: what the 10 batch bits of a key hold.
pub const BATCH_LIMIT: usize = 1 << 10;

const AXIS_BITS: u32 = 18;
const MORTON_BITS: u32 = 3 * AXIS_BITS;

/// A voxel's place: its cloud within the call and its cell, each axis below 2^18.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Voxel {
    /// Which cloud of the call, below [`BATCH_LIMIT`].
    pub batch: u32,
    /// x, y, z in voxels of the level.
    pub cell: [u32; 3],
}

/// The key of `voxel`: batch above 54 Morton bits in which x is the lowest of each three, so that the low three
/// bits are the kernel offset of a stride-2 convolution.
pub fn encode(voxel: Voxel) -> u64 {
    let [x, y, z] = voxel.cell;
    debug_assert!((x | y | z) < 1 << AXIS_BITS && (voxel.batch as usize) < BATCH_LIMIT);
    u64::from(voxel.batch) << MORTON_BITS | spread(x) | spread(y) << 1 | spread(z) << 2
}

/// The voxel of `key` at coarsening `level` (a level-l key is the level-0 key shifted right by 3 l bits).
pub fn decode(key: u64, level: usize) -> Voxel {
    let morton_bits = MORTON_BITS - 3 * level as u32;
    let morton = key & ((1 << morton_bits) - 1);
    Voxel { batch: (key >> morton_bits) as u32, cell: [compact(morton), compact(morton >> 1), compact(morton >> 2)] }
}

/// The key of `voxel` among the keys of `level`.
pub(super) fn encode_at(voxel: Voxel, level: usize) -> u64 {
    let [x, y, z] = voxel.cell;
    u64::from(voxel.batch) << (MORTON_BITS - 3 * level as u32) | spread(x) | spread(y) << 1 | spread(z) << 2
}

/// The number of cells per axis at `level`.
pub(super) fn cells_per_axis(level: usize) -> u32 {
    1 << (AXIS_BITS - level as u32)
}

/// Moves bit i of `v`, below 2^18, to bit 3 i.
fn spread(v: u32) -> u64 {
    const HALF: usize = 1 << (AXIS_BITS / 2);
    const SPREAD: [u32; HALF] = {
        let mut table = [0; HALF];
        let mut v = 1;
        while v < HALF {
            // The lowest bit as it is, the others as they stand in the entry for all but it.
            table[v] = (v & 1) as u32 | table[v >> 1] << 3;
            v += 1;
        }
        table
    };
    let half = |v: u32| u64::from(SPREAD[v as usize % HALF]);
    half(v) | half(v >> (AXIS_BITS / 2)) << (3 * AXIS_BITS / 2)
}

/// Moves bit 3 i of `v` to bit i.
fn compact(v: u64) -> u32 {
    let mut x = v & 0x1249_2492_4924_9249;
    x = (x | x >> 2) & 0x10C3_0C30_C30C_30C3;
    x = (x | x >> 4) & 0x100F_00F0_0F00_F00F;
    x = (x | x >> 8) & 0x1F_0000_FF00_00FF;
    x = (x | x >> 16) & 0x1F_0000_0000_FFFF;
    (x | x >> 32) as u32 & 0x1F_FFFF
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_round_trip_on_every_level(
            batch in 0..BATCH_LIMIT as u32, x in 0_u32..1 << 18, y in 0_u32..1 << 18, z in 0_u32..1 << 18, level in 0_usize..7
        ) {
            let key = encode(Voxel { batch, cell: [x, y, z] });
            let coarse = Voxel { batch, cell: [x >> level, y >> level, z >> level] };
            prop_assert_eq!(decode(key >> (3 * level), level), coarse);
            prop_assert_eq!(encode_at(coarse, level), key >> (3 * level));
        }
    }

    #[test]
    fn low_bits_are_the_stride_two_offset_with_x_fastest() {
        let low = |cell| encode(Voxel { batch: 0, cell }) & 7;
        assert_eq!([low([1, 0, 0]), low([0, 1, 0]), low([0, 0, 1]), low([1, 1, 1])], [1, 2, 4, 7]);
    }
}
