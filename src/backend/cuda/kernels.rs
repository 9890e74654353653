//! Every kernel of the backend, loaded for one device, and the queue that they are put into.

use super::context::{Context, Stream};
use super::convolution::shared_bytes;
use super::images::Images;
use super::module::{Argument, Function, Grid, Module};
use super::profile::Profile;
use crate::error::{Error, ErrorKind, Result};
use std::sync::Arc;

/// Threads of a block of every kernel that gives a thread to an item.
pub(super) const THREADS: u32 = 256;

/// Threads of a block of the convolutions and the head.
pub(super) const FEW_THREADS: u32 = 128;

macro_rules! kernels {
    ($($module:ident { $($name:ident: $threads:expr $(, $shared:expr)?;)* })*) => {
        /// The kernels by name, `ov3d_` left out.
        #[derive(Debug)]
        pub(super) struct Kernels {
            $($(pub(super) $name: Function,)*)*
        }

        impl Kernels {
            /// Loads the images that suit the context's device.
            pub(super) fn load(context: &Arc<Context>) -> Result<Self> {
                let images = Images::embedded()?;
                $(let $module = Module::load(context, &images, stringify!($module))?;)*
                Ok(Self {
                    $($($name: $module.function(concat!("ov3d_", stringify!($name)), $threads)?$(.with_shared($shared)?)?,)*)*
                })
            }
        }

        /// The blocks of every kernel of a run.
        pub fn block_sizes() -> Vec<BlockSize> {
            vec![$($(BlockSize {
                kernel: concat!("ov3d_", stringify!($name)),
                threads: $threads,
                shared: 0 $(+ $shared)?,
            },)*)*]
        }
    };
}

/// How the blocks of a kernel are launched.
#[derive(Debug, Clone, Copy)]
pub struct BlockSize {
    /// The kernel's name.
    pub kernel: &'static str,
    /// Threads of a block.
    pub threads: u32,
    /// Bytes of shared memory that a block is given beside what the kernel declares.
    pub shared: u32,
}

kernels! {
    keys {
        cell_bounds: THREADS;
        cell_shift: THREADS;
        point_keys: THREADS;
    }
    sort {
        sort_plan: 32;
        sort_count: THREADS;
        sort_offsets: THREADS;
        sort_scatter: THREADS;
    }
    levels {
        level_count: THREADS;
        level_offsets: THREADS;
        level_write: THREADS;
    }
    neighbours {
        block_occupancy: THREADS;
        search_neighbours: THREADS;
        block_neighbours: THREADS;
    }
    maps {
        map_keys: THREADS;
        map_tables: THREADS;
    }
    input {
        voxel_features: THREADS;
    }
    stem {
        stem_ones: THREADS;
        stem_features: THREADS;
    }
    convolution {
        convolution_32: FEW_THREADS, shared_bytes(32);
        convolution_64: FEW_THREADS, shared_bytes(64);
        convolution_96: FEW_THREADS, shared_bytes(96);
        convolution_128: FEW_THREADS, shared_bytes(128);
        convolution_finish: FEW_THREADS;
    }
    head {
        head_best_32: FEW_THREADS, shared_bytes(32);
        head_best_64: FEW_THREADS, shared_bytes(64);
        head_best_96: FEW_THREADS, shared_bytes(96);
        head_labels: FEW_THREADS;
        head_rank: FEW_THREADS;
        head_lift: FEW_THREADS;
    }
}

/// Where a run puts its launches: one stream, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queue<'a> {
    pub(super) kernels: &'a Kernels,
    pub(super) stream: &'a Stream,
    /// Notes every launch, if there is one.
    pub(super) profile: Option<&'a Profile>,
}

impl Queue<'_> {
    /// Launches `function`, which cannot do with moving less than `bytes` of memory: what it reads and what it writes, each
    /// once.
    ///
    /// # Safety
    /// As for [`Function::launch`].
    pub(super) unsafe fn launch(
        &self,
        function: &Function,
        grid: Grid,
        bytes: usize,
        arguments: &[Argument<'_>],
    ) -> Result<()> {
        // SAFETY: the caller vouches for the arguments.
        let launch = || unsafe { function.launch(grid, self.stream, arguments) };
        match self.profile {
            Some(profile) => profile.around(function, self.stream, bytes, launch),
            None => launch(),
        }
    }
}

/// Blocks for a thread per item.
pub(super) fn blocks_for(items: usize) -> Result<u32> {
    tiles_for(items, THREADS as usize)
}

/// Blocks of `tile` items each. Kernels number items in 32 bits.
pub(super) fn tiles_for(items: usize, tile: usize) -> Result<u32> {
    let blocks = u32::try_from(items).ok().map(|items| items.div_ceil(tile as u32));
    // The limit of a grid along x.
    blocks.filter(|&blocks| blocks <= i32::MAX as u32).ok_or_else(|| {
        let message = format!(
            "a CUDA kernel would have {items} items, at most {} fit; send fewer points at once or use larger voxels",
            u32::MAX
        );
        Error::new(ErrorKind::OutOfRange, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_numbered_in_32_bits() {
        assert_eq!(blocks_for(0).unwrap(), 0);
        assert_eq!(blocks_for(257).unwrap(), 2);
        // 27 neighbours of as many voxels as fit.
        let voxels = u32::MAX as usize / 27;
        assert_eq!(blocks_for(27 * voxels).unwrap() as usize, (27 * voxels).div_ceil(256));
        let error = blocks_for(27 * (voxels + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert!(error.to_string().contains("fewer points"), "{error}");
        assert_eq!(tiles_for(u32::MAX as usize, 1).unwrap_err().kind(), ErrorKind::OutOfRange, "the limit of a grid");
    }
}
