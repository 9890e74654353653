//! Where voxels are and which are neighbours: keys, levels, kernel offsets and kernel maps, all from one sort.
//!
//! Voxels stand in the order of their Morton keys on every level, so coarser levels, strided maps and neighbours
//! follow by scans and 4x4x4 block masks; there are no hash tables, hence no capacity, collision or order effects.

mod blocks;
mod kernel_map;
mod key;
mod levels;
mod neighbours;
mod offsets;
mod sort;
mod voxels;

pub use blocks::{Blocks, Window, local_cell};
pub use kernel_map::{Chunk, KernelMap, Pair, Pairs};
pub use key::{BATCH_LIMIT, Voxel, decode, encode};
pub use levels::{Level, Levels};
pub use neighbours::Neighbours;
pub use offsets::kernel_offsets;
pub(crate) use sort::{Keys, sort_by_key};
pub use voxels::{NO_VOXEL, Voxels, from_coordinates};
pub(crate) use voxels::{check_count, coordinate_keys};
