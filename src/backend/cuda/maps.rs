//! Kernel maps on the device, as the convolutions read them: masks, tables and the order of the rows.

use super::buffer::{Region, RegionPlan, Slot, Span};
use super::coordinates::{Counts, LevelArrays};
use super::kernels::{Queue, blocks_for};
use super::module::Argument;
use super::sort::{KeyBits, SortSlots};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::Geometry;
use bytemuck::{Pod, Zeroable};

/// Most maps of a run.
const MAX_MAPS: usize = 16;
/// Bits of a mask's rank in the Gray code; the map's number stands above them.
const RANK_BITS: u32 = 26;

/// The struct `Maps` of `maps.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapTables {
    kinds: [u32; MAX_MAPS],
    levels: [u32; MAX_MAPS],
    tables: [u64; MAX_MAPS],
    count: u32,
    reserved: u32,
    keys: u64,
    rows: u64,
    masks: u64,
    table: u64,
    pairs: u64,
}

/// One kernel map.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map {
    pub(super) geometry: Geometry,
    /// Output rows.
    pub(super) rows: usize,
    /// `[rows]` output rows in the order in which they are computed.
    pub(super) order: Span<u32>,
    /// `[rows]` which kernel offsets have an input row, in that order.
    pub(super) masks: Span<u32>,
    /// `[offsets, rows]` input rows or all ones, in that order.
    pub(super) table: Span<u32>,
}

/// Memory for the kernel maps of a run.
#[derive(Debug)]
pub(super) struct MapSlots {
    geometries: Vec<Geometry>,
    sort: SortSlots,
    rows: usize,
    longest: usize,
    masks: Slot<u32>,
    table: Slot<u32>,
    pairs: Slot<u64>,
}

/// Every kernel map of a run.
#[derive(Debug)]
pub(super) struct Maps {
    maps: Vec<Map>,
    /// `[MAX_MAPS + 1]` pairs of rows that meet, per map; the last is the stem's, which has no map.
    pairs: Span<u64>,
}

/// The pairs of every map and of the stem, once a run has ended.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    maps: &'a [Map],
    counts: Vec<u64>,
}

/// The level of a geometry's output, and its number in the kernels.
pub(super) fn output_level(geometry: Geometry) -> (usize, u32) {
    match geometry {
        Geometry::Submanifold { level, .. } => (level, 0),
        Geometry::Strided { to } => (to, 1),
        Geometry::Transposed { to } => (to, 2),
    }
}

/// Whether a geometry needs a map: each row of a 1x1x1 kernel meets itself alone.
pub(super) fn needs_map(geometry: Geometry) -> bool {
    geometry.volume() > 1
}

impl MapSlots {
    /// For `geometries`, of which repeated ones and those that need no map are left out.
    pub(super) fn plan(
        geometries: impl Iterator<Item = Geometry>,
        counts: &Counts,
        plan: &mut RegionPlan,
    ) -> Result<Self> {
        let mut distinct: Vec<Geometry> = Vec::new();
        for geometry in geometries.filter(|&geometry| needs_map(geometry)) {
            if !distinct.contains(&geometry) {
                distinct.push(geometry);
            }
        }
        if distinct.len() > MAX_MAPS || distinct.iter().any(|geometry| geometry.volume() > 27) {
            let message = format!(
                "the network needs {} kernel maps, of up to 5x5x5; on CUDA at most {MAX_MAPS} of 3x3x3",
                distinct.len()
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let rows_of = |geometry: &Geometry| counts[output_level(*geometry).0] as usize;
        let rows: usize = distinct.iter().map(rows_of).sum();
        let entries: usize = distinct.iter().map(|geometry| geometry.volume() * rows_of(geometry)).sum();
        if u32::try_from(rows).is_err() {
            let message =
                format!("{rows} rows in all kernel maps; at most {} fit, send fewer points at once", u32::MAX);
            return Err(Error::new(ErrorKind::OutOfRange, message));
        }
        Ok(Self {
            sort: SortSlots::plan(rows, plan)?,
            masks: plan.reserve(rows)?,
            table: plan.reserve(entries)?,
            pairs: plan.reserve(MAX_MAPS + 1)?,
            longest: distinct.iter().map(rows_of).max().unwrap_or(0),
            rows,
            geometries: distinct,
        })
    }
}

impl Maps {
    /// Fills the maps from the voxels of `levels`.
    pub(super) fn written(queue: Queue<'_>, levels: &LevelArrays, slots: &MapSlots, region: &Region) -> Result<Self> {
        let pairs = region.span(slots.pairs)?;
        pairs.fill_bytes(0, queue.stream)?;
        if slots.geometries.is_empty() {
            return Ok(Self { maps: Vec::new(), pairs });
        }
        let sort = slots.sort.place(region)?;
        let (masks, table) = (region.span(slots.masks)?, region.span(slots.table)?);
        let mut tables = MapTables {
            count: slots.geometries.len() as u32,
            keys: sort.keys[0].address(),
            rows: sort.values[0].address(),
            masks: masks.address(),
            table: table.address(),
            pairs: pairs.address(),
            ..MapTables::zeroed()
        };
        let mut maps = Vec::new();
        let (mut first, mut entry) = (0, 0);
        for (index, &geometry) in slots.geometries.iter().enumerate() {
            let (level, kind) = output_level(geometry);
            let rows = levels.counts[level] as usize;
            (tables.kinds[index], tables.levels[index], tables.tables[index]) = (kind, level as u32, entry as u64);
            let entries = rows * geometry.volume();
            maps.push(Map {
                geometry,
                rows,
                order: sort.values[0].part(first, rows)?,
                masks: masks.part(first, rows)?,
                table: table.part(entry, entries)?,
            });
            first += rows;
            entry += entries;
        }
        let bits = u32::BITS - (slots.geometries.len() as u32 - 1).leading_zeros() + RANK_BITS;
        sort.bits.upload(&[KeyBits { differing: (1 << bits) - 1, ..KeyBits::default() }], queue.stream)?;
        sort.count.upload(&[slots.rows as u32], queue.stream)?;
        let grid = (blocks_for(slots.longest)?, slots.geometries.len() as u32, 1);
        let (from, to) = (levels.table, tables);
        let sorted = sort.values.map(|values| values.address());
        let buffer = sort.result()?.address();
        // Per row: 8 bytes of the occupancy of its block, a key and a number; an order and a mask, and what the table has.
        // SAFETY: the levels' arrays are written; keys, rows and masks have a place per row of all maps, the table one per
        // offset and row of each map, which begins where `tables` says.
        unsafe {
            queue.launch(&queue.kernels.map_keys, grid, 20 * slots.rows, &[Argument::of(&from), Argument::of(&to)])?;
            sort.enqueue(queue)?;
            let [first, second] = &sorted;
            let arguments = [
                Argument::of(&from),
                Argument::of(&to),
                Argument::of(first),
                Argument::of(second),
                Argument::of(&buffer),
            ];
            queue.launch(&queue.kernels.map_tables, grid, 8 * slots.rows + table.bytes(), &arguments)?;
        }
        Ok(Self { maps, pairs })
    }

    /// The map of `geometry`.
    pub(super) fn get(&self, geometry: Geometry) -> Result<&Map> {
        let found = self.maps.iter().find(|map| map.geometry == geometry);
        found.ok_or_else(|| Error::internal(format!("no kernel map for {geometry:?}")))
    }

    /// Where the stem counts its pairs.
    pub(super) fn stem_pairs(&self) -> Result<Span<u64>> {
        self.pairs.part(MAX_MAPS, 1)
    }

    /// Waits for the run's pairs.
    pub(super) fn pairs(&self, queue: Queue<'_>) -> Result<Pairs<'_>> {
        Ok(Pairs { maps: &self.maps, counts: self.pairs.download(MAX_MAPS + 1, queue.stream)? })
    }

    /// Every map.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Map> {
        self.maps.iter()
    }
}

impl Pairs<'_> {
    /// Of the map of `geometry`; 0 where there is none.
    pub(super) fn of(&self, geometry: Geometry) -> u64 {
        let index = self.maps.iter().position(|map| map.geometry == geometry);
        index.map_or(0, |index| self.counts[index])
    }

    /// Neighbours that the stem met.
    pub(super) fn of_stem(&self) -> u64 {
        self.counts[MAX_MAPS]
    }
}
