//! Everything a run derives from where the points are: voxels, levels and kernel maps.

use super::prepared::PreparedNetwork;
use crate::arena::{Arena, Buffer};
use crate::backend::Input;
use crate::cancel::Cancel;
use crate::cloud::quantise;
use crate::error::{Error, Result};
use crate::plan::{Geometry, Plan};
use crate::sparse::{KernelMap, Levels, Voxels, from_coordinates};

/// Most output rows per chunk: a chunk's outputs and the inputs they meet fit a core's L2 cache.
const CHUNK_ROWS: usize = 512;
/// Fewest: below this the tail of a row tile costs more than idle threads.
const MIN_CHUNK_ROWS: usize = 64;

/// Levels and kernel maps of a run's voxels.
pub(super) struct CoordinateMaps {
    pub(super) levels: Levels,
    pub(super) kernel_maps: Buffer<(Geometry, KernelMap)>,
}

impl CoordinateMaps {
    /// The kernel map of a geometry that the plan's steps need.
    pub(super) fn map(&self, geometry: Geometry) -> Result<&KernelMap> {
        let found = self.kernel_maps.iter().find(|(of, _)| *of == geometry);
        found.map(|(_, map)| map).ok_or_else(|| Error::internal(format!("no map for {geometry:?}")))
    }
}

/// The voxels of the input, and per cloud what to add to a cell for the coordinate callers see.
pub(super) fn voxelise(input: &Input<'_>, arena: &Arena, cancel: Cancel<'_>) -> Result<(Voxels, Buffer<[i64; 3]>)> {
    match input {
        Input::Coordinates { rows, .. } => Ok((from_coordinates(rows, arena, cancel)?, Buffer::new_in(arena.clone()))),
        Input::Clouds { clouds, voxel_size, grid_origin, rotation_scale, .. } => {
            let mut quantised = arena.with_capacity(clouds.len(), "the cells of the clouds")?;
            for cloud in *clouds {
                let cells = quantise(cloud, *voxel_size, *grid_origin, rotation_scale.as_ref(), arena, cancel)?;
                quantised.push(cells);
            }
            let cells = arena.collected(quantised.iter().map(|q| &q.cells[..]), "the cells of the clouds")?;
            let origins = arena.collected(quantised.iter().map(|q| q.origin), "the origins of the clouds")?;
            Ok((Voxels::from_cells(&cells, arena, cancel)?, origins))
        }
    }
}

/// Levels 0 and coarser over the voxels.
pub(super) fn levels(plan: &Plan, voxels: &Voxels, cancel: Cancel<'_>) -> Result<Levels> {
    let keys = voxels.keys.allocator().collected(voxels.keys.iter().copied(), "the voxel keys")?;
    Levels::new(keys, plan.levels, cancel)
}

/// Every kernel map that the plan's steps need.
pub(super) fn kernel_maps(
    network: &PreparedNetwork,
    levels: &Levels,
    cancel: Cancel<'_>,
) -> Result<Buffer<(Geometry, KernelMap)>> {
    let mut maps = levels.arena().with_capacity(network.geometries.len(), "the kernel maps")?;
    for &geometry in &network.geometries {
        let (Geometry::Submanifold { level: to, .. } | Geometry::Strided { to } | Geometry::Transposed { to }) =
            geometry;
        let chunk_rows = chunk_rows(levels.level(to).len());
        let map = match geometry {
            Geometry::Submanifold { level, size } => KernelMap::submanifold(levels, level, size, chunk_rows, cancel),
            Geometry::Strided { to } => KernelMap::strided(levels, to - 1, chunk_rows, cancel),
            Geometry::Transposed { to } => KernelMap::transposed(levels, to, chunk_rows, cancel),
        };
        maps.push((geometry, map?));
    }
    Ok(maps)
}

/// Chunks small enough that every thread gets several, within the limits above. No result depends on it.
pub(super) fn chunk_rows(rows: usize) -> usize {
    let share = rows.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(8).clamp(MIN_CHUNK_ROWS, CHUNK_ROWS)
}
