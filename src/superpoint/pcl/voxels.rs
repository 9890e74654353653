//! Voxels, their means and normals, as the point cloud library's adjacency octree has them.

use super::super::normals;
use super::super::options::check_positive;
use super::super::voxel_cloud::{color_of, occupied};
use crate::arena::{Buffer, nothing};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, MAX_EXTENT, NO_CELL};
use crate::error::{Error, ErrorKind, Result, collected, filled};
use crate::sparse::Neighbours;

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
        check_positive("voxel_size", voxel_size, "m", "0.05")?;
        cloud.validate()?;
        let positions = (0..cloud.len()).map(|i| cloud.frame.to_metres(cloud.positions.row(i)).map(|v| v as f32));
        let points: Vec<[f32; 3]> = collected(positions, "the positions")?;
        let cells = cells(&points, f64::from(voxel_size as f32))?;
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
        cancel.check()?;
        for voxel in 0..count {
            let points_here = voxels.points_of(voxel);
            let color = |point: u32| color_of(cloud, point as usize).map(|v| v as f32);
            this.positions[voxel] = mean(points_here.iter().map(|&p| points[p as usize]));
            this.colors[voxel] = mean(points_here.iter().map(|&p| color(p)));
        }
        this.normals = match &cloud.normals {
            None => this.estimated_normals(|_, _| true, cancel)?,
            Some(given) => {
                let of = |&point: &u32| cloud.frame.turn(given.row(point as usize)).map(|v| v as f32);
                let summed = |voxel| unit(sum(voxels.points_of(voxel).iter().map(of)));
                collected((0..count).map(summed), "the normals of the voxels")?
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
fn cells(points: &[[f32; 3]], voxel: f64) -> Result<Vec<[u32; 3]>> {
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
    let cell = |point: &[f32; 3]| match finite(&point) {
        true => swapped(std::array::from_fn(|axis| ((f64::from(point[axis]) - origin[axis]) / voxel) as u32)),
        false => NO_CELL,
    };
    collected(points.iter().map(cell), "the cells of the points")
}

pub(super) fn out_of_range(what: &str, count: i64) -> Error {
    Error::new(
        ErrorKind::OutOfRange,
        format!(
            "the cloud spans {count} {what} on an axis; at most {MAX_EXTENT} fit: use larger ones or split the cloud"
        ),
    )
}

fn sum(rows: impl Iterator<Item = [f32; 3]>) -> [f32; 3] {
    rows.fold([0.0; 3], |sum, row| [sum[0] + row[0], sum[1] + row[1], sum[2] + row[2]])
}

fn mean(rows: impl ExactSizeIterator<Item = [f32; 3]>) -> [f32; 3] {
    let count = rows.len() as f32;
    sum(rows).map(|v| v / count)
}

/// `v` at length one; as it is where it has none.
pub(super) fn unit(v: [f32; 3]) -> [f32; 3] {
    let square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    if square > 0.0 { v.map(|c| c / square.sqrt()) } else { v }
}
