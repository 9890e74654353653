//! What is known of regions: their means, and the spread that a union adds.

use super::super::feature::{Feature, PARTS};
use super::{Graph, VoxelFeatures};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, collected};

/// Regions between two looks at the cancel token.
const BLOCK: usize = 1 << 10;

/// A region: its mean position, mean colour with 255 as one, and mean products of the normals' components. Of those six
/// numbers the squared distance of two normals, whatever their signs, is twice one minus the square of their cosine.
/// One cache line, in the order in which vector instructions take it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
struct Mean {
    /// The last two are zero.
    normal: [f32; 8],
    color: [f32; 3],
    /// One of its voxels.
    name: u32,
    /// In [`PARTS`] of a voxel.
    position: [i32; 3],
    /// Voxels.
    size: u32,
}

/// The products of the components of `v` with themselves, whose scalar product with those of another vector is the
/// square of the two vectors' scalar product; then zeros.
fn products([x, y, z]: [f32; 3]) -> [f32; 8] {
    const ROOT_2: f32 = std::f32::consts::SQRT_2;
    [x * x, y * y, z * z, ROOT_2 * x * y, ROOT_2 * x * z, ROOT_2 * y * z, 0.0, 0.0]
}

/// The sum of eight, four beside four.
fn sum([a, b, c, d, e, f, g, h]: [f32; 8]) -> f32 {
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

impl Mean {
    fn of((name, feature): (usize, &Feature)) -> Self {
        Self {
            normal: products(feature.normal),
            color: feature.color.map(|v| v / 255.0),
            name: name as u32,
            position: feature.position,
            size: 1,
        }
    }

    /// Takes `other` in and returns what part of the union that is.
    fn absorb(&mut self, other: &Self) -> f32 {
        let size = f64::from(self.size) + f64::from(other.size);
        let exact = f64::from(other.size) / size;
        let part = exact as f32;
        self.normal.iter_mut().zip(other.normal).for_each(|(mean, other)| *mean += (other - *mean) * part);
        self.color.iter_mut().zip(other.color).for_each(|(mean, other)| *mean += (other - *mean) * part);
        for (mean, other) in self.position.iter_mut().zip(other.position) {
            *mean += (f64::from(other - *mean) * exact).round() as i32;
        }
        self.size += other.size;
        part
    }
}

/// The weights of [`Graph`] as they enter a sum of squares.
#[derive(Debug, Clone, Copy)]
struct Factors {
    normal: f32,
    color: f32,
    step: f32,
    spatial: f32,
    features: f32,
}

/// All regions.
#[derive(Debug, Clone)]
pub(super) struct Statistics {
    factors: Factors,
    means: Vec<Mean>,
    /// `[r, width]` the means of the further features.
    features: Vec<f32>,
    width: usize,
}

impl Statistics {
    /// Every voxel as a region of its own.
    pub(super) fn of_voxels(voxels: &[Feature], options: &Graph, features: Option<VoxelFeatures<'_>>) -> Result<Self> {
        let (values, width) = features.map_or((&[][..], 0), |f| (f.values, f.width));
        if Some(values.len()) != width.checked_mul(voxels.len()) {
            let (got, want) = (values.len(), voxels.len());
            let message =
                format!("{got} feature values for {want} voxels and a width of {width}; give a row per voxel");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        // Without a weight they are left out: nothing times what overflows is not a number.
        let (values, width) = if options.features > 0.0 { (values, width) } else { (&[][..], 0) };
        let finite = |&v: &f32| if v.is_finite() { v } else { 0.0 };
        Ok(Self {
            factors: Factors {
                normal: options.normal / 2.0,
                color: options.color,
                step: options.step / 2.0,
                spatial: options.spatial,
                features: options.features,
            },
            means: collected(voxels.iter().enumerate().map(Mean::of), "the means of the regions")?,
            features: collected(values.iter().map(finite), "the features of the regions")?,
            width,
        })
    }

    /// The number of regions.
    pub(super) fn len(&self) -> usize {
        self.means.len()
    }

    /// One of the voxels of `region`, which it keeps.
    pub(super) fn name(&self, region: u32) -> u32 {
        self.means[region as usize].name
    }

    /// Voxels of region `region`.
    pub(super) fn size(&self, region: u32) -> u32 {
        self.means[region as usize].size
    }

    fn features_of(&self, region: u32) -> &[f32] {
        &self.features[region as usize * self.width..][..self.width]
    }

    /// The spread that the union of `a` and `b` adds (Ward 1963); the same whichever comes first.
    pub(super) fn added_spread(&self, a: u32, b: u32) -> f32 {
        let (a, b) = (a.min(b), a.max(b));
        let (mean, other) = (&self.means[a as usize], &self.means[b as usize]);
        let apart = [0, 1, 2].map(|axis| (mean.position[axis] - other.position[axis]) as f32 * (1.0 / PARTS as f32));
        let along = products(apart);
        let factors = &self.factors;
        let turn: [f32; 8] = std::array::from_fn(|i| (mean.normal[i] - other.normal[i]).powi(2));
        // Mean squares of the way between the two along the normals of either.
        let step: [f32; 8] = std::array::from_fn(|i| along[i] * (mean.normal[i] + other.normal[i]));
        let shade = [0, 1, 2].map(|i| (mean.color[i] - other.color[i]).powi(2));
        let mut square = factors.normal * sum(turn)
            + factors.color * (shade[0] + shade[1] + shade[2])
            + factors.step * sum(step).max(0.0)
            + factors.spatial * (along[0] + along[1] + along[2]);
        if self.width > 0 {
            let further = self.features_of(a).iter().zip(self.features_of(b)).map(|(a, b)| (a - b) * (a - b));
            square += factors.features * further.sum::<f32>();
        }
        let [a, b] = [mean.size, other.size].map(|size| size as f32);
        a * b / (a + b) * square
    }

    /// Region `kept` takes `gone` in.
    pub(super) fn absorb(&mut self, kept: u32, gone: u32) {
        let other = self.means[gone as usize];
        let part = self.means[kept as usize].absorb(&other);
        for channel in 0..self.width {
            let other = self.features[gone as usize * self.width + channel];
            let mean = &mut self.features[kept as usize * self.width + channel];
            *mean += (other - *mean) * part;
        }
    }

    /// Region k becomes the union of the k-th of `members`, a region with another or with itself, which changes
    /// nothing; first members ascend.
    pub(super) fn unite(&mut self, members: &[[u32; 2]], cancel: Cancel<'_>) -> Result<()> {
        // Nobody after the k-th reads what stands in place k, so one pass needs no second table.
        for (place, &[a, b]) in members.iter().enumerate() {
            if place.is_multiple_of(BLOCK) {
                cancel.check()?;
            }
            if a != b {
                self.absorb(a, b);
            }
            self.means[place] = self.means[a as usize];
            let row = a as usize * self.width..(a as usize + 1) * self.width;
            self.features.copy_within(row, place * self.width);
        }
        self.means.truncate(members.len());
        self.features.truncate(members.len() * self.width);
        Ok(())
    }
}
