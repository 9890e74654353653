//! The cloud as the methods see it: occupied voxels, their mean position and colour, their normal, their neighbours.
//!
//! Positions become cell and fraction in float64 before anything is rounded, and all sums are of integers: neither a
//! far origin, up to 2^31 voxels, nor the order of the points changes a bit of the result.

use super::feature::{Feature, PARTS, exact_color};
use super::normals;
use super::options::check_positive;
use super::rows::Rows;
use crate::arena::{Arena, Buffer, nothing};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, Dtype, GridOrigin, StridedView, quantise};
use crate::error::{Error, Result, collected, filled};
use crate::sparse::{Levels, NO_VOXEL, Neighbours, Voxels, decode};
use rayon::prelude::*;

/// Voxels of one thread's task, and between two looks at the cancel token.
const BLOCK: usize = 1 << 9;

/// Fractions of a cell and components of a normal, as integers for exact sums: 2^31 of them fit 63 bits.
const FRACTION: f64 = (1_u64 << 31) as f64;

/// A voxelised cloud.
#[derive(Debug, Clone)]
pub struct VoxelCloud {
    /// Edge of a voxel in metres.
    pub voxel_size: f64,
    /// The first cell's place on the lattice through the frame's origin, in voxels.
    pub origin: [i64; 3],
    /// `[v]` what each voxel looks like.
    pub features: Vec<Feature>,
    /// `[v]` the number of points in each voxel.
    pub point_counts: Vec<u32>,
    /// `[n]` the voxel of each point, or [`crate::sparse::NO_VOXEL`].
    pub voxel_of_point: Buffer<u32>,
    /// The voxels around each voxel.
    pub neighbours: Neighbours,
}

/// Occupied voxels of `cells` and their neighbours.
pub(super) fn occupied(cells: &[[u32; 3]], cancel: Cancel<'_>) -> Result<(Voxels, Neighbours)> {
    let mut voxels = Voxels::from_cells(&[cells], &Arena::default(), cancel)?;
    let levels = Levels::new(std::mem::replace(&mut voxels.keys, nothing()), 1, cancel)?;
    let neighbours = Neighbours::new(levels.blocks(0), cancel)?;
    voxels.keys = levels.into_keys();
    Ok((voxels, neighbours))
}

/// The colour of a point, 0-255; black without colours, and where one is not finite.
pub(super) fn color_of(cloud: &Cloud<'_>, point: usize) -> [f64; 3] {
    let Some(colors) = &cloud.colors else { return [0.0; 3] };
    let rgb = colors.row(point);
    match colors.dtype() {
        Dtype::U8 => rgb,
        // What is not a number is black.
        _ => rgb.map(|v| if v > 0.0 { (v * 255.0).min(255.0) } else { 0.0 }),
    }
}

impl VoxelCloud {
    /// Voxels of edge `voxel_size` metres on the lattice through the frame's origin; normals are the cloud's own, or
    /// else from the voxels around each.
    pub fn new(cloud: &Cloud<'_>, voxel_size: f64, cancel: Cancel<'_>) -> Result<Self> {
        check_positive("voxel_size", voxel_size, "m", "0.05")?;
        cloud.validate()?;
        let quantised = quantise(cloud, voxel_size, GridOrigin::World, None, &Arena::default(), cancel)?;
        let origin = quantised.origin;
        let (voxels, neighbours) = occupied(&quantised.cells, cancel)?;
        drop(quantised);
        let mut features = filled(neighbours.len(), Feature::default(), "the voxels")?;
        let cells_per_metre = 1.0 / voxel_size;
        features.par_chunks_mut(BLOCK).enumerate().try_for_each(|(block, features)| {
            cancel.check()?;
            for (voxel, feature) in (block * BLOCK..).zip(features) {
                let points = voxels.points_of(voxel);
                *feature = mean_of(cloud, points, decode(voxels.keys[voxel], 0).cell, origin, cells_per_metre);
                if let Some(normals) = &cloud.normals {
                    feature.normal = mean_normal(cloud, normals, points);
                }
            }
            Ok::<(), Error>(())
        })?;
        let counts = voxels.starts.windows(2).map(|w| w[1] - w[0]);
        let point_counts = collected(counts, "the points per voxel")?;
        let voxel_of_point = voxels.voxel_of_point;
        // Normals take most memory: what is not needed any more goes before.
        drop((voxels.keys, voxels.starts, voxels.points));
        if cloud.normals.is_none() {
            let between = |a: usize, b: usize| -> [f64; 3] {
                let (a, b) = (&features[a].position, &features[b].position);
                std::array::from_fn(|axis| f64::from(b[axis] - a[axis]) / f64::from(PARTS))
            };
            let normals = normals::sharp(&neighbours, between, cancel)?;
            for (feature, normal) in features.iter_mut().zip(normals) {
                feature.normal = normal;
            }
        }
        Ok(Self { voxel_size, origin, features, point_counts, voxel_of_point, neighbours })
    }

    /// `[v, width]` per voxel the mean of its points' rows, each as a direction: of unit length, so that the scale of a
    /// network's features does not matter. Zero where no point has a row.
    pub(super) fn directions(&self, rows: &Rows<'_>, cancel: Cancel<'_>) -> Result<Vec<f32>> {
        rows.check_points(self.voxel_of_point.len())?;
        let width = rows.width();
        let unit = |row: &mut [f32]| {
            let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            let factor = if length > 0.0 { 1.0 / length } else { 0.0 };
            row.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
        };
        let mut values = filled(self.len() * width, 0.0_f32, "the features of the voxels")?;
        let mut direction = filled(width, 0.0_f32, "a feature")?;
        for (point, &voxel) in self.voxel_of_point.iter().enumerate().filter(|(_, voxel)| **voxel != NO_VOXEL) {
            if point.is_multiple_of(BLOCK) {
                cancel.check()?;
            }
            if let Some(row) = rows.get(point) {
                direction.copy_from_slice(row);
                unit(&mut direction);
                let sum = &mut values[voxel as usize * width..][..width];
                sum.iter_mut().zip(&direction).for_each(|(sum, v)| *sum += v);
            }
        }
        values.chunks_exact_mut(width).for_each(unit);
        Ok(values)
    }

    /// The number of voxels.
    pub fn len(&self) -> usize {
        self.features.len()
    }

    /// Whether no point has a finite position.
    pub fn is_empty(&self) -> bool {
        self.features.is_empty()
    }
}

/// Mean position and colour of the points of `cell`.
fn mean_of(cloud: &Cloud<'_>, points: &[u32], cell: [u32; 3], origin: [i64; 3], cells_per_metre: f64) -> Feature {
    let corner = [0, 1, 2].map(|axis| (i64::from(cell[axis]) + origin[axis]) as f64);
    let mut place = [0_u64; 3];
    let mut color = [0_u64; 3];
    for &point in points {
        let at = cloud.frame.to_metres(cloud.positions.row(point as usize)).map(|v| v * cells_per_metre);
        let rgb = color_of(cloud, point as usize);
        for axis in 0..3 {
            place[axis] += u64::from(((at[axis] - corner[axis]) * FRACTION) as u32);
            color[axis] += u64::from((rgb[axis] * 65_536.0) as u32);
        }
    }
    let count = points.len() as u64;
    let part = |sum: u64| (sum / count) >> (31 - PARTS.trailing_zeros());
    Feature {
        position: [0, 1, 2].map(|axis| cell[axis] as i32 * PARTS + part(place[axis]) as i32),
        color: color.map(|sum| exact_color(sum as f64 / (count as f64 * 65_536.0))),
        normal: [0.0; 3],
    }
}

/// The direction that the normals of `points` share, whatever their signs; zero where they share none.
fn mean_normal(cloud: &Cloud<'_>, given: &StridedView<'_>, points: &[u32]) -> [f32; 3] {
    let mut products = [0_i64; 6];
    for &point in points {
        let normal = cloud.frame.turn(given.row(point as usize));
        let length = normal.iter().map(|v| v * v).sum::<f64>().sqrt();
        if length.is_finite() && length > 0.0 {
            let unit = normal.map(|v| v / length);
            for (product, (a, b)) in products.iter_mut().zip(normals::AXES) {
                *product += (unit[a] * unit[b] * FRACTION) as i64;
            }
        }
    }
    let direction = normals::common_direction(products.map(|v| v as f64));
    direction.map_or([0.0; 3], |direction| direction.map(|v| v as f32))
}
