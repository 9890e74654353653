//! Fused convolutions: their weights on the device, and their launches.

use super::buffer::{Buffer, Span};
use super::context::Stream;
use super::coordinates::Counts;
use super::kernels::{Kernels, Queue, tiles_for};
use super::maps::{Map, Maps, needs_map, output_level};
use super::module::{Argument, Function};
use super::weights::{ColumnTiles, Columns, slabs_of, stride_of, upload_columns};
use crate::backend::Work;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::plan::{Convolution, Geometry, Plan, Product, TensorId};
use bytemuck::{Pod, Zeroable};
use half::f16;

/// Output rows of a block.
pub(super) const TILE_ROWS: usize = 128;
/// Widths of the convolution kernels' column tiles.
pub(super) const WIDTHS: [usize; 4] = [32, 64, 96, 128];
/// Blocks that a launch with splits has at most, two for each multiprocessor of a large device, which is what fits there at
/// one time; the same for all, so that sums do not depend on the device's size.
const BLOCKS: usize = 264;
/// Most parts the steps of a tile are split into, and the fewest steps of a part.
const MAX_SPLITS: usize = 8;
const MIN_STEPS: usize = 4;
/// Ratio of the two products' scales beyond which the smaller one is folded into its weights.
const MAX_RATIO: f32 = 1e20;

/// Shared memory of a block of the kernel for tiles of `width` columns; the struct `SharedTile` of `convolution.cuh`.
pub(super) fn shared_bytes(width: usize) -> u32 {
    let (stages, slots) = (3, 28);
    let stage = TILE_ROWS * 64 + width * 64;
    let bytes = stages * stage + 4 * (slots * TILE_ROWS + TILE_ROWS + slots + TILE_ROWS / 16);
    bytes.next_multiple_of(16) as u32
}

#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Source {
    pub(super) rows: u64,
    pub(super) stride: u32,
    pub(super) slabs: u32,
}

impl Source {
    pub(super) fn new(rows: Span<f16>, channels: usize) -> Self {
        Self { rows: rows.address(), stride: stride_of(channels) as u32, slabs: slabs_of(channels) as u32 }
    }
}

/// The struct `Product` of `convolution.cuh`.
#[derive(Debug, Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(super) struct ProductDescriptor {
    sources: [Source; 2],
    weights: u64,
    offsets: u32,
    slabs: u32,
}

impl ProductDescriptor {
    /// Of one or two sources.
    pub(super) fn new(mut sources: impl Iterator<Item = Source>, weights: &Span<f16>, offsets: usize) -> Self {
        let sources = [sources.next().unwrap_or_default(), sources.next().unwrap_or_default()];
        let slabs = sources[0].slabs + sources[1].slabs;
        Self { sources, weights: weights.address(), offsets: offsets as u32, slabs }
    }
}

/// The struct `Convolution` of `convolution.cuh`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Descriptor {
    pub(super) main: ProductDescriptor,
    pub(super) shortcut: ProductDescriptor,
    pub(super) table: u64,
    pub(super) masks: u64,
    pub(super) order: u64,
    pub(super) rows: u64,
    pub(super) scale: u64,
    pub(super) shift: u64,
    pub(super) between: u64,
    pub(super) residual: u64,
    pub(super) output: u64,
    pub(super) partial: u64,
    pub(super) stride: u32,
    pub(super) relu: u32,
    pub(super) output_is_f32: u32,
    pub(super) reserved: u32,
}

/// A product's sources and weights on the device.
#[derive(Debug)]
struct DeviceProduct {
    /// Tensors and their channels.
    sources: Vec<(TensorId, usize)>,
    offsets: usize,
    weights: Buffer<f16>,
}

impl DeviceProduct {
    fn channels(&self) -> usize {
        self.sources.iter().map(|&(_, channels)| channels).sum()
    }

    /// Steps of the kernels per offset.
    fn slabs(&self) -> usize {
        self.sources.iter().map(|&(_, channels)| slabs_of(channels)).sum()
    }

    fn descriptor(&self, tensors: &[Span<f16>]) -> ProductDescriptor {
        let sources = self.sources.iter().map(|&(tensor, channels)| Source::new(tensors[tensor.0], channels));
        ProductDescriptor::new(sources, &self.weights, self.offsets)
    }
}

/// A [`Convolution`] with its weights on the device.
#[derive(Debug)]
pub(super) struct DeviceConvolution {
    geometry: Geometry,
    tiles: ColumnTiles,
    columns: usize,
    main: DeviceProduct,
    shortcut: Option<DeviceProduct>,
    residual: Option<TensorId>,
    relu: bool,
    scale: Buffer<f32>,
    shift: Buffer<f32>,
    between: Buffer<f32>,
}

/// What the convolutions of a run share.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    /// Tensors by number; those not live are empty.
    pub(super) tensors: &'a [Span<f16>],
    pub(super) maps: &'a Maps,
    pub(super) counts: Counts,
    /// `counts` on the device.
    pub(super) device_counts: Span<u32>,
    /// Room for the sums of splits.
    pub(super) partial: Span<f32>,
}

fn sources_of(plan: &Plan, product: &Product) -> Vec<(TensorId, usize)> {
    product.sources.iter().map(|&source| (source, plan.tensor(source).channels)).collect()
}

fn columns_of<'a>(plan: &'a Plan, product: &'a Product) -> Columns<impl Fn(usize, usize, usize) -> f32 + 'a> {
    let sources: Vec<usize> = product.sources.iter().map(|&source| plan.tensor(source).channels).collect();
    let (channels, columns) = (sources.iter().sum::<usize>(), product.affine.scale.len());
    let value = move |offset, channel, column| product.weight.get((offset * channels + channel) * columns + column);
    Columns { offsets: product.geometry.volume(), sources, columns, value }
}

impl DeviceConvolution {
    pub(super) fn new(stream: &Stream, plan: &Plan, convolution: &Convolution, cancel: Cancel<'_>) -> Result<Self> {
        let main = &convolution.main;
        let products = || std::iter::once(main).chain(&convolution.shortcut);
        if products().any(|product| !(1..=2).contains(&product.sources.len())) {
            return Err(Error::internal(format!("'{}' has a product of more than two sources", convolution.name)));
        }
        let columns = main.affine.scale.len();
        let tiles = ColumnTiles::new(columns, &WIDTHS)?;
        let own = columns_of(plan, main);
        let exponents = own.exponents();
        let mut factors: Vec<f32> = exponents.iter().map(|unit| 1.0 / unit).collect();
        let mut scale: Vec<f32> =
            main.affine.scale.iter().zip(&exponents).map(|(&scale, &unit)| scale as f32 * unit).collect();
        let mut between = vec![1.0_f32; columns];
        let mut device_shortcut = None;
        let mut shift = main.affine.shift.clone();
        if let Some(shortcut) = &convolution.shortcut {
            if needs_map(shortcut.geometry) {
                return Err(Error::internal(format!("the shortcut of '{}' is no 1x1x1 kernel", convolution.name)));
            }
            let other = columns_of(plan, shortcut);
            let exponents = other.exponents();
            for column in 0..columns {
                shift[column] += shortcut.affine.shift[column];
                let its_scale = shortcut.affine.scale[column] as f32 * exponents[column];
                between[column] = its_scale / scale[column];
                if !between[column].is_finite() || between[column].abs() > MAX_RATIO {
                    // The main product hardly counts: its weights take the ratio, the sums the shortcut's scale.
                    let ratio = if its_scale == 0.0 { 0.0 } else { scale[column] / its_scale };
                    factors[column] *= ratio;
                    (scale[column], between[column]) = (its_scale, 1.0);
                }
            }
            let reciprocals: Vec<f32> = exponents.iter().map(|unit| 1.0 / unit).collect();
            let weights = other.upload(tiles, &reciprocals, stream, cancel)?;
            device_shortcut = Some(DeviceProduct { sources: sources_of(plan, shortcut), offsets: 1, weights });
        }
        let weights = own.upload(tiles, &factors, stream, cancel)?;
        Ok(Self {
            geometry: main.geometry,
            tiles,
            columns,
            main: DeviceProduct { sources: sources_of(plan, main), offsets: main.geometry.volume(), weights },
            shortcut: device_shortcut,
            residual: convolution.residual,
            relu: convolution.relu,
            scale: upload_columns(scale.into_iter(), tiles, stream)?,
            shift: upload_columns(shift.into_iter().map(|value| value as f32), tiles, stream)?,
            between: upload_columns(between.into_iter(), tiles, stream)?,
        })
    }

    /// Bytes of the weights and factors on the device.
    pub(super) fn bytes(&self) -> usize {
        let factors = self.scale.bytes() + self.shift.bytes() + self.between.bytes();
        self.main.weights.bytes() + self.shortcut.as_ref().map_or(0, |shortcut| shortcut.weights.bytes()) + factors
    }

    /// Into how many parts the steps of a tile are split, for `rows` output rows.
    fn splits(&self, rows: usize) -> usize {
        // Rows of a transposed map are grouped by offset: most tiles have one.
        let offsets = if matches!(self.geometry, Geometry::Transposed { .. }) { 1 } else { self.geometry.volume() };
        let steps = offsets * self.main.slabs() + self.shortcut.as_ref().map_or(0, DeviceProduct::slabs);
        let blocks = rows.div_ceil(TILE_ROWS) * self.tiles.count;
        (BLOCKS / blocks.max(1)).min(steps / MIN_STEPS).clamp(1, MAX_SPLITS)
    }

    /// Floats that the sums of splits need.
    pub(super) fn partial_len(&self, counts: &Counts) -> usize {
        let rows = counts[output_level(self.geometry).0] as usize;
        match self.splits(rows) {
            1 => 0,
            splits => splits * rows * self.tiles.columns(),
        }
    }

    /// Puts the convolution into the queue.
    pub(super) fn enqueue(&self, queue: Queue<'_>, operands: &Operands<'_>, output: Span<f16>) -> Result<()> {
        let level = output_level(self.geometry).0;
        let rows = operands.counts[level] as usize;
        let splits = self.splits(rows);
        let map = if needs_map(self.geometry) { Some(operands.maps.get(self.geometry)?) } else { None };
        let address = |part: fn(&Map) -> Span<u32>| map.map_or(0, |map| part(map).address());
        let descriptor = Descriptor {
            main: self.main.descriptor(operands.tensors),
            shortcut: self.shortcut.as_ref().map(|it| it.descriptor(operands.tensors)).unwrap_or_default(),
            table: address(|map| map.table),
            masks: address(|map| map.masks),
            order: address(|map| map.order),
            rows: operands.device_counts.part(level, 1)?.address(),
            scale: self.scale.address(),
            shift: self.shift.address(),
            between: self.between.address(),
            residual: self.residual.map_or(0, |residual| operands.tensors[residual.0].address()),
            output: output.address(),
            partial: if splits > 1 { operands.partial.address() } else { 0 },
            stride: stride_of(self.columns) as u32,
            relu: u32::from(self.relu),
            output_is_f32: 0,
            reserved: 0,
        };
        // SAFETY: tensors of `[rows of their level, stride]`, a map of the output's rows, weights and factors as packed for
        // these tiles, `partial_len` floats for the splits.
        unsafe { launch(queue, &descriptor, self.tiles, rows, splits, self.work(&operands.counts, 0).bytes as usize) }
    }

    /// What it has to do at least, `pairs` being those of its map.
    pub(super) fn work(&self, counts: &Counts, pairs: u64) -> Work {
        let (input, output) = match self.geometry {
            Geometry::Submanifold { level, .. } => (level, level),
            Geometry::Strided { to } => (to - 1, to),
            Geometry::Transposed { to } => (to + 1, to),
        };
        let rows = |level: usize| u64::from(counts[level]);
        let pairs = if needs_map(self.geometry) { pairs } else { rows(output) };
        let channels = self.main.channels();
        let shortcut = self.shortcut.as_ref().map_or(0, DeviceProduct::channels);
        let per_column = pairs * channels as u64 + rows(output) * shortcut as u64;
        let written = self.columns * if self.residual.is_some() { 2 } else { 1 };
        let values = rows(input) * channels as u64 + rows(output) * (shortcut + written) as u64;
        Work { flop: 2 * per_column * self.columns as u64, bytes: 2 * values + self.bytes() as u64 }
    }

    /// The map it reads.
    pub(super) fn geometry(&self) -> Geometry {
        self.geometry
    }
}

/// The kernel for tiles of `width` columns.
fn kernel(kernels: &Kernels, width: usize) -> Result<&Function> {
    match width {
        32 => Ok(&kernels.convolution_32),
        64 => Ok(&kernels.convolution_64),
        96 => Ok(&kernels.convolution_96),
        128 => Ok(&kernels.convolution_128),
        _ => Err(Error::internal(format!("no kernel for tiles of {width} columns"))),
    }
}

/// Launches `descriptor`, which moves `bytes` at least, for `rows` rows, and the sum over its splits.
///
/// # Safety
/// Everything that the descriptor names has the size that the kernels' struct asks for.
pub(super) unsafe fn launch(
    queue: Queue<'_>,
    descriptor: &Descriptor,
    tiles: ColumnTiles,
    rows: usize,
    splits: usize,
    bytes: usize,
) -> Result<()> {
    let grid = (tiles_for(rows, TILE_ROWS)?, tiles.count as u32, splits as u32);
    let (columns, parts) = (tiles.columns() as u32, splits as u32);
    // SAFETY: the caller vouches for the descriptor.
    unsafe {
        queue.launch(kernel(queue.kernels, tiles.width)?, grid, bytes, &[Argument::of(descriptor)])?;
        if splits > 1 {
            let items = rows * (descriptor.stride as usize / 8);
            let arguments = [Argument::of(descriptor), Argument::of(&columns), Argument::of(&parts)];
            let blocks = tiles_for(items, super::kernels::FEW_THREADS as usize)?;
            let moved = rows * (splits * tiles.columns() * size_of::<f32>() + 2 * descriptor.stride as usize);
            queue.launch(&queue.kernels.convolution_finish, (blocks, 1, 1), moved, &arguments)?;
        }
    }
    Ok(())
}
