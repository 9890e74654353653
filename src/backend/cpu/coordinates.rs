//! Everything a run derives from where the points are: voxels, levels and kernel maps.

use crate::backend::Input;
use crate::cancel::Cancel;
use crate::cloud::quantise;
use crate::error::{Result, collected};
use crate::plan::{Geometry, Plan};
use crate::sparse::{KernelMap, Levels, Voxels, from_coordinates};
use std::collections::HashMap;

/// Most output rows per chunk: a chunk's outputs and the inputs they meet fit a core's L2 cache.
const CHUNK_ROWS: usize = 512;
/// Fewest: below this the tail of a row tile costs more than idle threads.
const MIN_CHUNK_ROWS: usize = 64;

/// Levels and kernel maps of a run's voxels.
pub(super) struct CoordinateMaps {
    pub(super) levels: Levels,
    pub(super) kernel_maps: HashMap<Geometry, KernelMap>,
}

/// The voxels of the input, and per cloud what to add to a cell for the coordinate callers see.
pub(super) fn voxelise(input: &Input<'_>, cancel: Cancel<'_>) -> Result<(Voxels, Vec<[i64; 3]>)> {
    match input {
        Input::Coordinates { rows, .. } => Ok((from_coordinates(rows, cancel)?, Vec::new())),
        Input::Clouds { clouds, voxel_size, grid_origin, rotation_scale, .. } => {
            let quantised = clouds
                .iter()
                .map(|cloud| quantise(cloud, *voxel_size, *grid_origin, rotation_scale.as_ref(), cancel))
                .collect::<Result<Vec<_>>>()?;
            let cells: Vec<&[[u32; 3]]> = quantised.iter().map(|q| &q.cells[..]).collect();
            Ok((Voxels::from_cells(&cells, cancel)?, quantised.iter().map(|q| q.origin).collect()))
        }
    }
}

/// Levels 0 and coarser over the voxels.
pub(super) fn levels(plan: &Plan, voxels: &Voxels, cancel: Cancel<'_>) -> Result<Levels> {
    Levels::new(collected(voxels.keys.iter().copied(), "the voxel keys")?, plan.levels, cancel)
}

/// Every kernel map that the plan's steps need.
pub(super) fn kernel_maps(plan: &Plan, levels: &Levels, cancel: Cancel<'_>) -> Result<HashMap<Geometry, KernelMap>> {
    let mut maps = HashMap::new();
    for geometry in plan.steps.iter().flat_map(|step| step.geometries()) {
        if maps.contains_key(&geometry) {
            continue;
        }
        let (Geometry::Submanifold { level: to, .. } | Geometry::Strided { to } | Geometry::Transposed { to }) =
            geometry;
        let chunk_rows = chunk_rows(levels.level(to).len());
        let map = match geometry {
            Geometry::Submanifold { level, size } => KernelMap::submanifold(levels, level, size, chunk_rows, cancel),
            Geometry::Strided { to } => KernelMap::strided(levels, to - 1, chunk_rows, cancel),
            Geometry::Transposed { to } => KernelMap::transposed(levels, to, chunk_rows, cancel),
        };
        maps.insert(geometry, map?);
    }
    Ok(maps)
}

/// Chunks small enough that every thread gets several, within the limits above. No result depends on it.
fn chunk_rows(rows: usize) -> usize {
    let share = rows.div_ceil(4 * rayon::current_num_threads());
    share.next_multiple_of(8).clamp(MIN_CHUNK_ROWS, CHUNK_ROWS)
}
