//! Input features: the colours of each voxel's representative point, or those given with ready-made voxels.

use super::simd::bf16_pair;
use super::tensor::Tensor;
use crate::arena::{Arena, Buffer};
use crate::backend::{Input, Job, Precision, Representative};
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result};
use crate::sparse::Voxels;
use std::cmp::Ordering;

/// Voxels between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// Fills `tensor` with the `[v, channels]` features of the representative point of each voxel.
pub(super) fn input_features(job: &Job<'_>, voxels: &Voxels, mut tensor: Tensor) -> Result<Tensor> {
    let (channels, precision) = (tensor.channels, tensor.precision);
    tensor.as_mut_slice().fill(0.0);
    let stride = tensor.stride;
    let keep = |row: &mut [f32], features: &[f32]| match precision {
        Precision::F32 => row[..channels].copy_from_slice(&features[..channels]),
        Precision::Bf16 => {
            let number = |channel: usize| if channel < channels { features[channel] } else { 0.0 };
            for (word, to) in row[..channels.div_ceil(2)].iter_mut().enumerate() {
                *to = bf16_pair([2 * word, 2 * word + 1].map(number));
            }
        }
    };
    let rows = tensor.as_mut_slice().chunks_exact_mut(stride).enumerate();
    match &job.input {
        Input::Coordinates { features: Some(features), .. } => {
            for (voxel, row) in rows {
                let first = voxels.points_of(voxel)[0] as usize;
                keep(row, &features[first * channels..][..channels]);
            }
        }
        Input::Coordinates { features: None, .. } => {
            let cure = "give `[rows, channels]` features with the coordinates";
            return Err(Error::new(
                ErrorKind::InvalidState,
                format!("the network reads {channels} input features; {cure}"),
            ));
        }
        Input::Clouds { clouds, representative, .. } => {
            let points = PointIndex::new(clouds, voxels.keys.allocator())?;
            for (voxel, row) in rows {
                if voxel % BLOCK == 0 {
                    job.control.cancel.check()?;
                }
                let point = points.representative(voxels.points_of(voxel), *representative);
                let (cloud, index) = points.locate(point);
                keep(row, &cloud.color_feature(index)[..channels]);
            }
        }
    }
    Ok(tensor)
}

/// Finds the cloud and row of a point number that runs through all clouds of a call.
struct PointIndex<'a> {
    clouds: &'a [Cloud<'a>],
    starts: Buffer<usize>,
}

impl<'a> PointIndex<'a> {
    fn new(clouds: &'a [Cloud<'a>], arena: &Arena) -> Result<Self> {
        let mut total = 0;
        let starts = clouds.iter().map(|cloud| {
            total += cloud.len();
            total - cloud.len()
        });
        Ok(Self { clouds, starts: arena.collected(starts, "where the clouds begin")? })
    }

    fn locate(&self, point: u32) -> (&'a Cloud<'a>, usize) {
        let cloud = self.starts.partition_point(|&start| start <= point as usize) - 1;
        (&self.clouds[cloud], point as usize - self.starts[cloud])
    }

    fn representative(&self, points: &[u32], rule: Representative) -> u32 {
        match rule {
            Representative::First => points[0],
            Representative::Canonical => {
                points.iter().copied().min_by(|&a, &b| self.compare(a, b)).unwrap_or(points[0])
            }
        }
    }

    /// By position, then colour.
    fn compare(&self, a: u32, b: u32) -> Ordering {
        let key = |point: u32| {
            let (cloud, index) = self.locate(point);
            (cloud.positions.row(index), cloud.color_feature(index).map(f64::from))
        };
        let ((pa, ca), (pb, cb)) = (key(a), key(b));
        let terms = pa.iter().chain(&ca).zip(pb.iter().chain(&cb));
        terms.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    }
}
