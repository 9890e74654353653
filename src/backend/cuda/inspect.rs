//! The coordinate stages alone, with their results on the host: what tests compare with the CPU's.

use super::buffer::{Region, RegionPlan};
use super::context::{Context, Stream};
use super::coordinates::{LevelArrays, LevelSlots, Points};
use super::kernels::{Kernels, Queue};
use super::maps::{MapSlots, Maps};
use crate::arena::Arena;
use crate::backend::Input;
use crate::error::Result;
use crate::plan::Geometry;
use crate::sparse::Voxels;

/// What a run derives from where the points are.
#[derive(Debug, Clone)]
pub struct CoordinateTables {
    /// The voxels and their points.
    pub voxels: Voxels,
    /// Per cloud, what to add to a voxel's cell for the coordinate callers see.
    pub origins: Vec<[i64; 3]>,
    /// Per level its keys, ascending; the two levels of blocks included.
    pub keys: Vec<Vec<u64>>,
    /// Per level but the last the row of each voxel on the next coarser one.
    pub parents: Vec<Vec<u32>>,
    /// Per level from 2 on, the rows of each voxel's 27 neighbours, [`u32::MAX`] for none.
    pub neighbours: Vec<Vec<[u32; 27]>>,
    /// The kernel maps asked for, in the order of asking.
    pub maps: Vec<MapTable>,
}

/// A kernel map.
#[derive(Debug, Clone)]
pub struct MapTable {
    /// Which rows meet.
    pub geometry: Geometry,
    /// `[rows]` output rows in the order in which they are computed.
    pub order: Vec<u32>,
    /// `[rows]` which kernel offsets have an input row, in that order.
    pub masks: Vec<u32>,
    /// `[offsets, rows]` input rows or [`u32::MAX`], in that order.
    pub table: Vec<u32>,
}

/// Runs the coordinate stages of `input` for `levels` levels and `geometries` on CUDA device `ordinal`.
pub fn coordinate_tables(
    ordinal: u32,
    input: &Input<'_>,
    levels: usize,
    geometries: &[Geometry],
) -> Result<CoordinateTables> {
    let context = Context::new(ordinal)?;
    let stream = Stream::new(&context)?;
    let kernels = Kernels::load(&context)?;
    let queue = Queue { kernels: &kernels, stream: &stream, profile: None };
    let (mut first, mut second) = (Region::new(&context)?, Region::new(&context)?);
    let arena = Arena::default();
    let points =
        Points::sorted(queue, |plan, _| first.hold(plan, None, "the points").map(|()| &first), input, levels, &arena)?;
    let mut plan = RegionPlan::default();
    let level_slots = LevelSlots::plan(&points.counts, &mut plan)?;
    let map_slots = MapSlots::plan(geometries.iter().copied(), &points.counts, &mut plan)?;
    second.hold(&plan, None, "the voxels")?;
    let arrays = LevelArrays::written(queue, &points, &level_slots, &second)?;
    let maps = Maps::written(queue, &arrays, &map_slots, &second)?;

    let counts = arrays.counts.map(|count| count as usize);
    let first_row = |level: usize| counts[..level].iter().sum::<usize>();
    let with_parents = arrays.levels - 1;
    let keys = |level: usize| arrays.keys.part(first_row(level), counts[level])?.download(counts[level], &stream);
    let parents = |level: usize| arrays.parents.part(first_row(level), counts[level])?.download(counts[level], &stream);
    let neighbours = |level: usize| {
        let (first, len) = ((first_row(level) - first_row(2)) * 27, counts[level] * 27);
        let flat = arrays.around.part(first, len)?.download(len, &stream)?;
        Ok(flat.as_chunks::<27>().0.to_vec())
    };
    Ok(CoordinateTables {
        voxels: points.download(queue, &arrays, &arena)?,
        keys: (0..arrays.levels).map(keys).collect::<Result<_>>()?,
        parents: (0..with_parents).map(parents).collect::<Result<_>>()?,
        neighbours: (2..arrays.levels).map(neighbours).collect::<Result<_>>()?,
        maps: maps
            .iter()
            .map(|map| {
                Ok(MapTable {
                    geometry: map.geometry,
                    order: map.order.download(map.rows, &stream)?,
                    masks: map.masks.download(map.rows, &stream)?,
                    table: map.table.download(map.table.len(), &stream)?,
                })
            })
            .collect::<Result<_>>()?,
        origins: points.origins.to_vec(),
    })
}
