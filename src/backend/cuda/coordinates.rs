//! From clouds to the voxels of every level, on the device: keys, one sort, levels and the links between them.

use super::buffer::{Region, RegionPlan, Slot, Span};
use super::kernels::{Queue, blocks_for, tiles_for};
use super::module::Argument;
use super::placement::{Bounds, Lattice, Packed, Placement};
use super::sort::{KeyBits, Sort, SortSlots};
use super::stem::InputDescriptor;
use crate::arena::{Arena, Buffer, nothing};
use crate::backend::Input;
use crate::cloud::Cloud;
use crate::error::{Error, Result, filled};
use crate::sparse::{BATCH_LIMIT, Voxels, check_count, coordinate_keys};
use bytemuck::{Pod, Zeroable};

/// Most levels, the two of blocks included.
pub(super) const MAX_LEVELS: usize = 8;
/// Points of a block of the kernels of `levels.cu`.
const LEVEL_TILE: usize = 1024;
const NEIGHBOURS: usize = 27;

/// Voxels per level.
pub(super) type Counts = [u32; MAX_LEVELS];

/// The struct `SortedPoints` of `levels.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SortedPoints {
    keys: [u64; 2],
    points: [u64; 2],
    buffer: u64,
    count: u64,
    tile_counts: u64,
    tiles: u32,
    reserved: u32,
}

/// The struct `Levels` of `levels.cuh`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Levels {
    counts: u64,
    keys: u64,
    parents: u64,
    children: u64,
    blocks: u64,
    occupancy: u64,
    around: u64,
    levels: u32,
    reserved: u32,
}

/// The points of a run, sorted by voxel key; voxels are counted but not yet written.
#[derive(Debug)]
pub(super) struct Points {
    /// Points of the run.
    pub(super) count: usize,
    /// Those that have a voxel: the first of the sorted.
    pub(super) finite: usize,
    /// Per cloud, what to add to a cell for the coordinate callers see.
    pub(super) origins: Buffer<[i64; 3]>,
    /// Bytes of device memory that they have, and bytes on the host that sorting them took beside.
    pub(super) device_bytes: u64,
    pub(super) host_bytes: u64,
    /// Voxels per level.
    pub(super) counts: Counts,
    /// Levels counted, those of blocks included.
    levels: u32,
    sort: Sort,
    tile_counts: Span<u32>,
    /// `counts` on the device.
    pub(super) device_counts: Span<u32>,
    /// Where each voxel's points begin among the sorted points.
    starts: Span<u32>,
    /// One per cloud; none for ready-made coordinates.
    places: Span<Placement>,
    /// `[count]` the voxel of every point, or all ones.
    pub(super) voxel_of_point: Span<u32>,
}

/// Bytes of device memory that the points of a run take, beside the positions.
pub(super) fn point_bytes(points: usize) -> Result<usize> {
    let mut plan = RegionPlan::default();
    PointSlots::plan(points, &mut plan)?;
    Ok(plan.bytes())
}

#[derive(Debug, Clone, Copy)]
struct PointSlots {
    sort: SortSlots,
    tile_counts: Slot<u32>,
    counts: Slot<u32>,
    starts: Slot<u32>,
    voxel_of_point: Slot<u32>,
}

impl PointSlots {
    fn plan(points: usize, plan: &mut RegionPlan) -> Result<Self> {
        Ok(Self {
            sort: SortSlots::plan(points, plan)?,
            tile_counts: plan.reserve(MAX_LEVELS * points.div_ceil(LEVEL_TILE))?,
            counts: plan.reserve(MAX_LEVELS)?,
            starts: plan.reserve(points)?,
            voxel_of_point: plan.reserve(points)?,
        })
    }

    fn place(&self, region: &Region, count: usize, levels: u32) -> Result<Points> {
        Ok(Points {
            count,
            finite: 0,
            origins: nothing(),
            device_bytes: 0,
            host_bytes: 0,
            counts: [0; MAX_LEVELS],
            levels,
            sort: self.sort.place(region)?,
            tile_counts: region.span(self.tile_counts)?,
            device_counts: region.span(self.counts)?,
            starts: region.span(self.starts)?,
            places: Span::default(),
            voxel_of_point: region.span(self.voxel_of_point)?,
        })
    }
}

impl Points {
    /// Sorts the points of `input` by voxel and counts the voxels of `levels` levels and of the two above, in the region that
    /// `hold` gives for a plan and the bytes that are needed on the host beside it. Waits for the device: what follows is
    /// sized by the counts.
    pub(super) fn sorted<'r>(
        queue: Queue<'_>,
        hold: impl FnOnce(&RegionPlan, u64) -> Result<&'r Region>,
        input: &Input<'_>,
        levels: usize,
        arena: &Arena,
    ) -> Result<Self> {
        let levels = levels + 2;
        if levels > MAX_LEVELS {
            return Err(Error::internal(format!("{levels} levels; the kernels have room for {MAX_LEVELS}")));
        }
        match *input {
            Input::Clouds { clouds, voxel_size, grid_origin, ref rotation_scale, .. } => {
                let lattice = Lattice { voxel_size, origin: grid_origin, rotation_scale: rotation_scale.as_ref() };
                Self::of_clouds(queue, hold, clouds, lattice, (levels as u32, arena))
            }
            Input::Coordinates { rows, .. } => Self::of_coordinates(queue, hold, rows, (levels as u32, arena)),
        }
    }

    fn of_clouds<'r>(
        queue: Queue<'_>,
        hold: impl FnOnce(&RegionPlan, u64) -> Result<&'r Region>,
        clouds: &[Cloud<'_>],
        lattice: Lattice<'_>,
        (levels, arena): (u32, &Arena),
    ) -> Result<Self> {
        if clouds.len() > BATCH_LIMIT {
            let message = format!("{} clouds in one call; at most {BATCH_LIMIT} fit", clouds.len());
            return Err(Error::argument(message));
        }
        let count: usize = clouds.iter().map(Cloud::len).sum();
        check_count(count)?;
        let packed = clouds.iter().map(|cloud| Packed::new(&cloud.positions)).collect::<Result<Vec<_>>>()?;
        let mut plan = RegionPlan::default();
        let slots = PointSlots::plan(count, &mut plan)?;
        let positions = packed.iter().map(|rows| plan.reserve::<u8>(rows.bytes().len())).collect::<Result<Vec<_>>>()?;
        let (places, bounds) = (plan.reserve::<Placement>(clouds.len())?, plan.reserve::<Bounds>(clouds.len())?);
        let copied = packed.iter().map(Packed::copied_bytes).sum::<usize>() as u64;
        let region = hold(&plan, copied)?;
        let mut points = slots.place(region, count, levels)?;
        (points.device_bytes, points.host_bytes) = (plan.roomy() as u64, copied);
        let mut placements = Vec::new();
        let mut first = 0;
        for (batch, (cloud, rows)) in clouds.iter().zip(&packed).enumerate() {
            let to = region.span(positions[batch])?;
            to.upload(rows.bytes(), queue.stream)?;
            placements.push(Placement::new(cloud, rows, to.address(), [batch, first], lattice));
            first += cloud.len();
        }
        let (places, bounds) = (region.span(places)?, region.span(bounds)?);
        places.upload(&placements, queue.stream)?;
        points.places = places;
        bounds.upload(&filled(clouds.len(), Bounds::EMPTY, "the bounds of the clouds")?, queue.stream)?;
        points.sort.bits.upload(&[KeyBits::default()], queue.stream)?;
        let longest = blocks_for(clouds.iter().map(Cloud::len).max().unwrap_or(0))?;
        let grid = (longest, clouds.len() as u32, 1);
        let (at, limits, bits) = (places.address(), bounds.address(), points.sort.bits.address());
        let (keys, values) = (points.sort.keys[0].address(), points.sort.values[0].address());
        let number = clouds.len() as u32;
        let read = packed.iter().map(|rows| rows.bytes().len()).sum::<usize>();
        let kernels = queue.kernels;
        // SAFETY: one placement and one bounds per cloud, positions of as many bytes as each placement's count and stride
        // tell, room for a key and a number per point of all clouds.
        unsafe {
            queue.launch(&kernels.cell_bounds, grid, read, &[Argument::of(&at), Argument::of(&limits)])?;
            let arguments = [Argument::of(&at), Argument::of(&limits), Argument::of(&bits), Argument::of(&number)];
            queue.launch(&kernels.cell_shift, (blocks_for(clouds.len())?, 1, 1), bounds.bytes(), &arguments)?;
            let arguments = [Argument::of(&at), Argument::of(&limits), Argument::of(&keys), Argument::of(&values)];
            queue.launch(&kernels.point_keys, grid, read + points.sort.bytes(), &arguments)?;
        }
        points.count_voxels(queue)?;
        let bounds = bounds.download(clouds.len(), queue.stream)?;
        points.finite = bounds.iter().map(|bounds| bounds.finite as usize).sum();
        points.origins = arena.with_capacity(clouds.len(), "the origins of the clouds")?;
        for bounds in &bounds {
            points.origins.push(bounds.check(lattice)?);
        }
        Ok(points)
    }

    fn of_coordinates<'r>(
        queue: Queue<'_>,
        hold: impl FnOnce(&RegionPlan, u64) -> Result<&'r Region>,
        rows: &[[i32; 4]],
        (levels, arena): (u32, &Arena),
    ) -> Result<Self> {
        let keys = coordinate_keys(rows, arena)?;
        let mut plan = RegionPlan::default();
        let slots = PointSlots::plan(rows.len(), &mut plan)?;
        // Keys and numbers.
        let host = rows.len() as u64 * 12;
        let region = hold(&plan, host)?;
        let mut points = slots.place(region, rows.len(), levels)?;
        (points.device_bytes, points.host_bytes) = (plan.roomy() as u64, host);
        let numbers = arena.collected(0..rows.len() as u32, "the numbers of the coordinates")?;
        let differing = keys.iter().fold(0, |bits, key| bits | (key ^ keys[0]));
        points.sort.keys[0].upload(&keys, queue.stream)?;
        points.sort.values[0].upload(&numbers, queue.stream)?;
        points.sort.bits.upload(&[KeyBits { differing, ..KeyBits::default() }], queue.stream)?;
        points.count_voxels(queue)?;
        points.finite = rows.len();
        Ok(points)
    }

    /// Sorts the keys and counts the voxels of every level.
    fn count_voxels(&mut self, queue: Queue<'_>) -> Result<()> {
        if self.count == 0 {
            return self.device_counts.fill_bytes(0, queue.stream);
        }
        self.sort.count.upload(&[self.count as u32], queue.stream)?;
        self.sort.enqueue(queue)?;
        let (sorted, counts, levels) = (self.sorted_points()?, self.device_counts.address(), self.levels);
        // SAFETY: the sorted keys, a count per tile and level, and a count per level.
        unsafe {
            let arguments = [Argument::of(&sorted), Argument::of(&levels)];
            queue.launch(&queue.kernels.level_count, (sorted.tiles, 1, 1), self.sort.keys[0].bytes(), &arguments)?;
            let arguments = [Argument::of(&sorted), Argument::of(&counts)];
            queue.launch(
                &queue.kernels.level_offsets,
                (MAX_LEVELS as u32, 1, 1),
                2 * self.tile_counts.bytes(),
                &arguments,
            )?;
        }
        self.device_counts.download_into(&mut self.counts, queue.stream)
    }

    fn sorted_points(&self) -> Result<SortedPoints> {
        Ok(SortedPoints {
            keys: self.sort.keys.map(|keys| keys.address()),
            points: self.sort.values.map(|points| points.address()),
            buffer: self.sort.result()?.address(),
            count: self.sort.count.address(),
            tile_counts: self.tile_counts.address(),
            tiles: tiles_for(self.count, LEVEL_TILE)?,
            reserved: 0,
        })
    }

    /// Voxels of level 0.
    pub(super) fn voxels(&self) -> usize {
        self.counts[0] as usize
    }

    /// What the kernel of the input features reads.
    pub(super) fn input_descriptor(
        &self,
        levels: &LevelArrays,
        features: Span<f32>,
        output: Span<f32>,
        canonical: bool,
        channels: u32,
    ) -> Result<InputDescriptor> {
        Ok(InputDescriptor {
            keys: levels.keys.address(),
            starts: self.starts.address(),
            points: self.sort.values.map(|points| points.address()),
            buffer: self.sort.result()?.address(),
            voxels: self.device_counts.address(),
            features: features.address(),
            places: if canonical { self.places.address() } else { 0 },
            output: output.address(),
            count: self.finite as u32,
            channels,
        })
    }

    /// The voxels and their points on the host.
    pub(super) fn download(&self, queue: Queue<'_>, levels: &LevelArrays, arena: &Arena) -> Result<Voxels> {
        let (voxels, stream) = (self.voxels(), queue.stream);
        let mut starts = arena.filled(voxels + 1, self.finite as u32, "the voxel starts")?;
        self.starts.download_into(&mut starts[..voxels], stream)?;
        let buffer = self.sort.result()?.download(usize::from(self.count > 0), stream)?;
        let points = self.sort.values[usize::from(buffer.first() == Some(&1))];
        Ok(Voxels {
            keys: levels.keys.download_to(arena, voxels, stream, "the voxel keys")?,
            starts,
            points: points.download_to(arena, self.finite, stream, "the points by voxel")?,
            voxel_of_point: self.voxel_of_point.download_to(arena, self.count, stream, "the voxel of each point")?,
        })
    }
}

/// Memory for the voxels of all levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelSlots {
    keys: Slot<u64>,
    parents: Slot<u32>,
    children: Slot<u32>,
    blocks: Slot<u32>,
    occupancy: Slot<u64>,
    around: Slot<u32>,
}

/// The voxels of all levels: level l stands after the finer ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct LevelArrays {
    pub(super) counts: Counts,
    pub(super) levels: usize,
    pub(super) keys: Span<u64>,
    pub(super) parents: Span<u32>,
    pub(super) around: Span<u32>,
    pub(super) table: Levels,
}

impl LevelSlots {
    pub(super) fn plan(counts: &Counts, plan: &mut RegionPlan) -> Result<Self> {
        let rows: usize = counts.iter().map(|&count| count as usize).sum();
        let coarse: usize = counts[2..].iter().map(|&count| count as usize).sum();
        Ok(Self {
            keys: plan.reserve(rows)?,
            parents: plan.reserve(rows)?,
            children: plan.reserve(rows)?,
            blocks: plan.reserve(rows)?,
            occupancy: plan.reserve(rows)?,
            around: plan.reserve(coarse * NEIGHBOURS)?,
        })
    }
}

impl LevelArrays {
    /// Writes the voxels that `points` counted, the links between the levels, and the neighbours of the blocks.
    pub(super) fn written(queue: Queue<'_>, points: &Points, slots: &LevelSlots, region: &Region) -> Result<Self> {
        let (keys, parents, around) =
            (region.span(slots.keys)?, region.span(slots.parents)?, region.span(slots.around)?);
        let table = Levels {
            counts: points.device_counts.address(),
            keys: keys.address(),
            parents: parents.address(),
            children: region.span(slots.children)?.address(),
            blocks: region.span(slots.blocks)?.address(),
            occupancy: region.span(slots.occupancy)?.address(),
            around: around.address(),
            levels: points.levels,
            reserved: 0,
        };
        let this = Self { counts: points.counts, levels: points.levels as usize, keys, parents, around, table };
        if points.count > 0 {
            this.write(queue, points)?;
        }
        Ok(this)
    }

    fn write(&self, queue: Queue<'_>, points: &Points) -> Result<()> {
        let (sorted, table, kernels) = (points.sorted_points()?, self.table, queue.kernels);
        let (starts, voxels) = (points.starts.address(), points.voxel_of_point.address());
        let of_level = |level: usize, per_voxel: usize| blocks_for(self.counts[level] as usize * per_voxel);
        let rows = |levels: &[u32]| levels.iter().map(|&count| count as usize).sum::<usize>();
        // Keys and numbers of the points to voxels of points, starts and what `LevelSlots` has of every voxel; keys to words.
        let written = 16 * points.count + 4 * points.voxels() + 20 * rows(&self.counts);
        let occupied = 8 * (rows(&self.counts) + rows(&self.counts[2..]));
        // SAFETY: `LevelSlots::plan` gave every array a row per voxel of all levels, `around` one per voxel of levels 2
        // and coarser; starts and voxels have one entry per point. A level's neighbours are read after the coarser ones'.
        unsafe {
            let arguments = [Argument::of(&sorted), Argument::of(&table), Argument::of(&starts), Argument::of(&voxels)];
            queue.launch(&kernels.level_write, (sorted.tiles, 1, 1), written, &arguments)?;
            let grid = (of_level(2, 1)?, self.levels as u32 - 2, 1);
            queue.launch(&kernels.block_occupancy, grid, occupied, &[Argument::of(&table)])?;
            for level in (2..self.levels).rev() {
                let searched = level + 2 >= self.levels;
                let kernel = if searched { &kernels.search_neighbours } else { &kernels.block_neighbours };
                let number = level as u32;
                let arguments = [Argument::of(&table), Argument::of(&number)];
                let bytes = size_of::<u32>() * NEIGHBOURS * self.counts[level] as usize;
                queue.launch(kernel, (of_level(level, NEIGHBOURS)?, 1, 1), bytes, &arguments)?;
            }
        }
        Ok(())
    }
}
