//! The first convolution and its input features.

use super::buffer::{Buffer, Span};
use super::context::Stream;
use super::coordinates::{LevelArrays, Points};
use super::kernels::{Queue, blocks_for, tiles_for};
use super::module::Argument;
use super::weights::stride_of;
use crate::backend::{Input, Job, Representative, Work};
use crate::error::{Error, ErrorKind, Result, filled, with_capacity};
use crate::plan::{Affine, Stem, Weight};
use bytemuck::{Pod, Zeroable};
use half::f16;

/// Voxels of a block.
const TILE: usize = 64;

/// The struct `Stem` of `stem.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct StemDescriptor {
    weights: u64,
    shift: u64,
    features: u64,
    output: u64,
    pairs: u64,
    size: u32,
    channels: u32,
    stride: u32,
    reserved: u32,
}

/// The struct `Input` of `input.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct InputDescriptor {
    pub(super) keys: u64,
    pub(super) starts: u64,
    pub(super) points: [u64; 2],
    pub(super) buffer: u64,
    pub(super) voxels: u64,
    pub(super) features: u64,
    pub(super) places: u64,
    pub(super) output: u64,
    pub(super) count: u32,
    pub(super) channels: u32,
}

/// A first convolution with its weights on the device, in FP32 with batch norm's scale folded in.
#[derive(Debug)]
pub(super) struct DeviceStem {
    size: usize,
    /// Channels of the features it reads; 0 if its input is constant ones.
    channels: usize,
    columns: usize,
    weights: Buffer<f32>,
    shift: Buffer<f32>,
}

impl DeviceStem {
    /// On constant ones: sums of the weights by the pattern of occupied cells.
    pub(super) fn of_ones(stream: &Stream, stem: &Stem) -> Result<Self> {
        let columns = stem.affine.scale.len();
        let (stride, patterns) = (stride_of(columns), 1 << stem.size);
        let channels = stem.weight.len() / (stem.size.pow(3) * columns);
        let weight = |offset: usize, column: usize| -> f64 {
            let value = |channel: usize| stem.weight.get((offset * channels + channel) * columns + column);
            (0..channels).map(|channel| f64::from(value(channel))).sum()
        };
        let mut table = filled(stem.size.pow(2) * patterns * stride, 0.0_f32, "the stem's table")?;
        for (entry, sums) in table.chunks_exact_mut(stride).enumerate() {
            let (line, pattern) = (entry / patterns, entry % patterns);
            for (column, sum) in sums.iter_mut().enumerate().take(columns) {
                let set = (0..stem.size).filter(|&x| pattern >> x & 1 == 1);
                let total: f64 = set.map(|x| weight(line * stem.size + x, column)).sum();
                *sum = (total * stem.affine.scale[column]) as f32;
            }
        }
        Self::new(stream, [stem.size, 0, columns], &table, &stem.affine)
    }

    /// On `channels` features per voxel.
    pub(super) fn of_features(
        stream: &Stream,
        size: usize,
        channels: usize,
        weight: &Weight,
        affine: &Affine,
    ) -> Result<Self> {
        let columns = affine.scale.len();
        let stride = stride_of(columns);
        let mut values = filled(size.pow(3) * channels * stride, 0.0_f32, "the stem's weights")?;
        for (row, values) in values.chunks_exact_mut(stride).enumerate() {
            for (column, value) in values.iter_mut().enumerate().take(columns) {
                *value = (f64::from(weight.get(row * columns + column)) * affine.scale[column]) as f32;
            }
        }
        Self::new(stream, [size, channels, columns], &values, affine)
    }

    fn new(stream: &Stream, [size, channels, columns]: [usize; 3], weights: &[f32], affine: &Affine) -> Result<Self> {
        let mut shift = with_capacity(stride_of(columns), "the stem's shift")?;
        shift.extend(affine.shift.iter().map(|&value| value as f32));
        shift.resize(stride_of(columns), 0.0);
        Ok(Self {
            size,
            channels,
            columns,
            weights: Buffer::of(weights, stream, "the stem's weights")?,
            shift: Buffer::of(&shift, stream, "the stem's shift")?,
        })
    }

    /// Puts the stem into the queue. `pairs`, zero before, gets the number of neighbours met.
    pub(super) fn enqueue(
        &self,
        queue: Queue<'_>,
        levels: &LevelArrays,
        features: Span<f32>,
        pairs: Span<u64>,
        output: Span<f16>,
    ) -> Result<()> {
        let stride = stride_of(self.columns);
        let descriptor = StemDescriptor {
            weights: self.weights.address(),
            shift: self.shift.address(),
            features: features.address(),
            output: output.address(),
            pairs: pairs.address(),
            size: self.size as u32,
            channels: self.channels as u32,
            stride: stride as u32,
            reserved: 0,
        };
        let (kernels, voxels) = (queue.kernels, levels.counts[0] as usize);
        let kernel = if self.channels == 0 { &kernels.stem_ones } else { &kernels.stem_features };
        let grid = (tiles_for(voxels, TILE)?, stride.div_ceil(32) as u32, 1);
        let bytes = self.work(voxels as u64, 0).bytes as usize + voxels * size_of::<u64>();
        // SAFETY: the levels are written; weights and shift as the kernel's struct says, an output row and, if there are
        // channels, a row of features per voxel.
        unsafe { queue.launch(kernel, grid, bytes, &[Argument::of(&levels.table), Argument::of(&descriptor)]) }
    }

    /// What it has to do at least, with `pairs` neighbours met.
    pub(super) fn work(&self, voxels: u64, pairs: u64) -> Work {
        let (channels, columns) = (self.channels.max(1) as u64, self.columns as u64);
        let written = voxels * (2 * columns + 4 * self.channels as u64);
        Work { flop: 2 * pairs * channels * columns, bytes: self.weights.bytes() as u64 + written }
    }
}

/// `[points, channels]` features of every point of the job, on the host.
pub(super) fn point_features(job: &Job<'_>, channels: usize) -> Result<Vec<f32>> {
    match &job.input {
        Input::Coordinates { features: Some(features), rows } => {
            let mut all = with_capacity(rows.len() * channels, "the features of the points")?;
            all.extend_from_slice(features);
            Ok(all)
        }
        Input::Coordinates { features: None, .. } => Err(Error::new(
            ErrorKind::InvalidState,
            format!(
                "the network reads {channels} input features; give `[rows, channels]` features with the coordinates"
            ),
        )),
        Input::Clouds { clouds, .. } => {
            let mut all = with_capacity(job.input.points() * channels, "the features of the points")?;
            for cloud in *clouds {
                job.control.cancel.check()?;
                for index in 0..cloud.len() {
                    all.extend_from_slice(&cloud.color_feature(index)[..channels]);
                }
            }
            Ok(all)
        }
    }
}

/// Puts into the queue: `output[v]` = the features of the point that represents voxel `v`.
pub(super) fn enqueue_voxel_features(
    queue: Queue<'_>,
    job: &Job<'_>,
    points: &Points,
    levels: &LevelArrays,
    features: Span<f32>,
    output: Span<f32>,
) -> Result<()> {
    let canonical = matches!(job.input, Input::Clouds { representative: Representative::Canonical, .. });
    let channels = output.len().checked_div(points.voxels()).unwrap_or(0) as u32;
    let descriptor = points.input_descriptor(levels, features, output, canonical, channels)?;
    // SAFETY: the voxels' arrays are written; features have a row per point, the output one per voxel.
    unsafe {
        let grid = (blocks_for(points.voxels())?, 1, 1);
        queue.launch(
            &queue.kernels.voxel_features,
            grid,
            features.bytes() + output.bytes(),
            &[Argument::of(&descriptor)],
        )
    }
}
