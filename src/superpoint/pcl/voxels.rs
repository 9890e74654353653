//! Voxels, their means and normals, as the point cloud library's adjacency octree has them.

use super::super::normals;
use super::super::options::check_single;
use super::super::voxel_cloud::{color_of, occupied};
use crate::arena::{Buffer, nothing};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, MAX_EXTENT, NO_CELL};
use crate::error::{Error, ErrorKind, Result, collected, filled};
use crate::sparse::Neighbours;

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// The voxels of a cloud in the order of the library's octree leaves.
#[derive(Debug, Clone)]
pub struct PclVoxels {
    /// Edge of a voxel in metres.
    pub voxel_size: f64,
    /// `[v]` mean positions.
    pub positions: Vec<[f32; 3]>,
    /// `[v]` mean colours, 0-255.
    pub colors: Vec<[f32; 3]>,
    /// `[v]` normals, towards the frame's origin unless they were given; not a number where there is none.
    pub normals: Vec<[f32; 3]>,
    /// `[n]` the voxel of each point, or [`crate::sparse::NO_VOXEL`].
    pub voxel_of_point: Buffer<u32>,
    /// `[v]` the number of points in each voxel.
    pub point_counts: Vec<u32>,
    /// The voxels around each voxel, x slowest.
    pub neighbours: Neighbours,
}

/// The octree's Morton order has x in the highest bit of each three, that of our keys in the lowest.
pub(super) fn swapped([x, y, z]: [u32; 3]) -> [u32; 3] {
    [z, y, x]
}

impl PclVoxels {
    /// The voxels of `cloud` at `voxel_size` metres.
    pub fn new(cloud: &Cloud<'_>, voxel_size: f64, cancel: Cancel<'_>) -> Result<Self> {
        check_single("voxel_size", voxel_size, "0.05")?;
        cloud.validate()?;
        let mut points = filled(cloud.len(), [0.0_f32; 3], "the positions")?;
        for (block, points) in points.chunks_mut(BLOCK).enumerate() {
            cancel.check()?;
            for (index, point) in (block * BLOCK..).zip(points) {
                *point = cloud.frame.to_metres(cloud.positions.row(index)).map(|v| v as f32);
            }
        }
        let cells = cells(&points, f64::from(voxel_size as f32), cancel)?;
        let (voxels, neighbours) = occupied(&cells, cancel)?;
        let count = neighbours.len();
        let mut this = Self {
            voxel_size,
            positions: filled(count, [0.0; 3], "the positions of the voxels")?,
            colors: filled(count, [0.0; 3], "the colours of the voxels")?,
            normals: Vec::new(),
            point_counts: collected(voxels.starts.windows(2).map(|w| w[1] - w[0]), "the points per voxel")?,
            voxel_of_point: nothing(),
            neighbours,
        };
        let color = |point: usize| color_of(cloud, point).map(|v| v as f32);
        for voxel in 0..count {
            let points_here = voxels.points_of(voxel);
            this.positions[voxel] = mean(points_here, |point| points[point], cancel)?;
            this.colors[voxel] = mean(points_here, color, cancel)?;
        }
        this.normals = match &cloud.normals {
            None => this.estimated_normals(|_, _| true, cancel)?,
            Some(given) => {
                let of = |point: usize| cloud.frame.turn(given.row(point)).map(|v| v as f32);
                let mut normals = filled(count, [0.0; 3], "the normals of the voxels")?;
                for (voxel, normal) in normals.iter_mut().enumerate() {
                    *normal = unit(sum(voxels.points_of(voxel), of, cancel)?);
                }
                normals
            }
        };
        this.voxel_of_point = voxels.voxel_of_point;
        Ok(this)
    }

    /// The number of voxels.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether no point has a finite position.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    /// Normals from the surroundings of each voxel, where only pairs that are `joined` are neighbours.
    pub(super) fn estimated_normals(
        &self,
        joined: impl Fn(usize, usize) -> bool + Sync,
        cancel: Cancel<'_>,
    ) -> Result<Vec<[f32; 3]>> {
        let between = |a: usize, b: usize| -> [f64; 3] {
            std::array::from_fn(|axis| f64::from(self.positions[b][axis]) - f64::from(self.positions[a][axis]))
        };
        let normals = normals::two_ring(&self.neighbours, between, &joined, cancel)?;
        let towards_origin = normals.iter().zip(&self.positions).enumerate().map(|(voxel, (normal, at))| {
            let normal = normal.map_or_else(|| self.normal_of_line(voxel, &joined), |n| n.map(|v| v as f32));
            let cosine = normal[0] * -at[0] + normal[1] * -at[1] + normal[2] * -at[2];
            if cosine < 0.0 { normal.map(|v| -v) } else { normal }
        });
        collected(towards_origin, "the normals of the voxels")
    }

    /// What rounding in float32 leaves the library of a normal where the surroundings are a line, which has none; often
    /// not a number.
    fn normal_of_line(&self, voxel: usize, joined: &impl Fn(usize, usize) -> bool) -> [f32; 3] {
        let around = |voxel: usize| {
            let next = self.neighbours.of(voxel).iter().map(|&next| next as usize);
            next.filter(move |&next| joined(voxel, next))
        };
        let met = around(voxel).flat_map(|next| std::iter::once(next).chain(around(next)));
        let (mut products, mut sums, mut count) = ([0.0_f32; 6], [0.0_f32; 3], 0.0_f32);
        for met in std::iter::once(voxel).chain(met) {
            let at: [f32; 3] = std::array::from_fn(|axis| self.positions[met][axis] - self.positions[voxel][axis]);
            (0..3).for_each(|axis| sums[axis] += at[axis]);
            products.iter_mut().zip(normals::AXES).for_each(|(product, (a, b))| *product += at[a] * at[b]);
            count += 1.0;
        }
        let covariance: [f32; 6] = std::array::from_fn(|i| {
            let (a, b) = normals::AXES[i];
            products[i] / count - (sums[a] / count) * (sums[b] / count)
        });
        let scale = covariance.iter().fold(0.0_f32, |scale, v| scale.max(v.abs()));
        let [xx, xy, xz, yy, yz, zz] = covariance.map(|v| v / scale);
        let rows = [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]];
        let square = |v: &[f32; 3]| v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
        let crossed = [(0, 1), (0, 2), (1, 2)].map(|(a, b)| cross(rows[a], rows[b]));
        let longest = crossed.iter().fold(crossed[0], |best, v| if square(v) > square(&best) { *v } else { best });
        let length = square(&longest).sqrt();
        longest.map(|v| v / length)
    }
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// Cells in a cube of 2^d voxels around the centre of the bounding box.
fn cells(points: &[[f32; 3]], voxel: f64, cancel: Cancel<'_>) -> Result<Vec<[u32; 3]>> {
    const EPSILON: f64 = f32::EPSILON as f64;
    let finite = |point: &&[f32; 3]| point.iter().all(|v| v.is_finite());
    let mut low = [f64::INFINITY; 3];
    let mut high = [f64::NEG_INFINITY; 3];
    for point in points.iter().filter(finite) {
        for axis in 0..3 {
            low[axis] = low[axis].min(f64::from(point[axis]));
            high[axis] = high[axis].max(f64::from(point[axis]));
        }
    }
    let extent: [f64; 3] = std::array::from_fn(|axis| high[axis] - low[axis]);
    let most = extent.iter().map(|e| ((e - EPSILON) / voxel).ceil()).fold(2.0, f64::max);
    let depth = (most.log2() - EPSILON).ceil();
    if depth > (MAX_EXTENT as f64).log2() {
        return Err(out_of_range("voxels", most as i64));
    }
    let side = depth.exp2() * voxel;
    let origin: [f64; 3] = std::array::from_fn(|axis| {
        let surplus = side - extent[axis];
        if surplus > EPSILON { low[axis] - surplus / 2.0 } else { low[axis] }
    });
    let mut cells = filled(points.len(), NO_CELL, "the cells of the points")?;
    for (cells, points) in cells.chunks_mut(BLOCK).zip(points.chunks(BLOCK)) {
        cancel.check()?;
        for (cell, point) in cells.iter_mut().zip(points).filter(|(_, point)| finite(point)) {
            *cell = swapped(std::array::from_fn(|axis| ((f64::from(point[axis]) - origin[axis]) / voxel) as u32));
            check_extent("voxels", cell)?;
        }
    }
    Ok(cells)
}

/// An error unless the cell fits the keys.
pub(super) fn check_extent(what: &str, cell: &[u32; 3]) -> Result<()> {
    match cell.iter().find(|&&v| i64::from(v) >= MAX_EXTENT) {
        Some(&v) => Err(out_of_range(what, i64::from(v) + 1)),
        None => Ok(()),
    }
}

fn out_of_range(what: &str, count: i64) -> Error {
    Error::new(
        ErrorKind::OutOfRange,
        format!(
            "the cloud spans {count} {what} on an axis; at most {MAX_EXTENT} fit: use larger ones or split the cloud"
        ),
    )
}

/// The sum of the rows of `points`, in their order.
fn sum(points: &[u32], row: impl Fn(usize) -> [f32; 3], cancel: Cancel<'_>) -> Result<[f32; 3]> {
    let mut sum = [0.0; 3];
    for points in points.chunks(BLOCK) {
        cancel.check()?;
        for row in points.iter().map(|&point| row(point as usize)) {
            (0..3).for_each(|axis| sum[axis] += row[axis]);
        }
    }
    Ok(sum)
}

fn mean(points: &[u32], row: impl Fn(usize) -> [f32; 3], cancel: Cancel<'_>) -> Result<[f32; 3]> {
    let count = points.len() as f32;
    Ok(sum(points, row, cancel)?.map(|v| v / count))
}

/// `v` at length one; as it is where it has none.
pub(super) fn unit(v: [f32; 3]) -> [f32; 3] {
    let square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    if square > 0.0 { v.map(|c| c / square.sqrt()) } else { v }
}
