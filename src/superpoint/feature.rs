//! What a voxel or a superpoint looks like, how far two of them are apart, and exact means of many.

/// Positions are counted in these parts of a voxel, so that sums of them are exact.
pub const PARTS: i32 = 1 << 12;

/// Colour levels (0-255) and normals as integers, for exact sums.
const COLOR_SCALE: f32 = 256.0;
const NORMAL_SCALE: f32 = (1 << 20) as f32;

/// Position, colour and normal of a voxel or the mean of several.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Feature {
    /// In [`PARTS`] of a voxel from the corner of the first cell.
    pub position: [i32; 3],
    /// Red, green and blue, 0-255.
    pub color: [f32; 3],
    /// Of unit length, the sign without meaning; zero where the surroundings define none.
    pub normal: [f32; 3],
}

/// The weights of VCCS's distance: a plain weighted sum of three terms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Of the distance in space in seed edges.
    pub spatial: f32,
    /// Of the distance in RGB, 255 being one.
    pub color: f32,
    /// Of one minus the cosine between the normals, whatever their signs.
    pub normal: f32,
}

impl Default for Weights {
    /// Those of the point cloud library's demonstration, by which most others go.
    fn default() -> Self {
        Self { spatial: 0.4, color: 0.2, normal: 1.0 }
    }
}

/// [`Weights`] made ready for [`Feature`]s.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    spatial: f32,
    color: f32,
    normal: f32,
}

impl Metric {
    /// `seed` is the seed edge in voxels.
    pub(super) fn new(weights: &Weights, seed: f64) -> Self {
        Self {
            spatial: (f64::from(weights.spatial) / (seed * f64::from(PARTS))) as f32,
            color: weights.color / 255.0,
            normal: weights.normal,
        }
    }

    /// How unlike `a` and `b` are; finite.
    pub(super) fn distance(&self, a: &Feature, b: &Feature) -> f32 {
        let apart = [0, 1, 2].map(|i| (a.position[i] - b.position[i]) as f32);
        let shade = [0, 1, 2].map(|i| a.color[i] - b.color[i]);
        self.normal * (1.0 - dot(a.normal, b.normal).abs())
            + self.color * dot(shade, shade).sqrt()
            + self.spatial * dot(apart, apart).sqrt()
    }
}

/// The scalar product.
pub(super) fn dot(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The sum of several features in integers: the same for any order, and members can be taken out again.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// Members.
    pub(super) count: i64,
    position: [i64; 3],
    color: [i64; 3],
    normal: [i64; 3],
    /// Normals are summed on this one's side, so that opposite signs do not cancel.
    side: [f32; 3],
}

impl Sum {
    /// The empty sum whose normals take the side of `side`.
    pub(super) fn beside(side: [f32; 3]) -> Self {
        Self { side, ..Self::default() }
    }

    /// Takes `member` in.
    pub(super) fn add(&mut self, member: &Feature) {
        self.shift(member, 1);
    }

    /// Takes `member` out again.
    pub(super) fn remove(&mut self, member: &Feature) {
        self.shift(member, -1);
    }

    fn shift(&mut self, member: &Feature, by: i64) {
        self.count += by;
        let side = if dot(member.normal, self.side) < 0.0 { -NORMAL_SCALE } else { NORMAL_SCALE };
        for axis in 0..3 {
            self.position[axis] += by * i64::from(member.position[axis]);
            self.color[axis] += by * (member.color[axis] * COLOR_SCALE) as i64;
            self.normal[axis] += by * (member.normal[axis] * side) as i64;
        }
    }

    /// The mean of the members; `None` where there are none.
    pub(super) fn mean(&self) -> Option<Feature> {
        if self.count == 0 {
            return None;
        }
        let normal = self.normal.map(|v| v as f64);
        let length = normal.iter().map(|v| v * v).sum::<f64>().sqrt();
        Some(Feature {
            position: self.position.map(|v| v.div_euclid(self.count) as i32),
            color: self.color.map(|v| (v as f64 / (self.count as f64 * f64::from(COLOR_SCALE))) as f32),
            normal: if length > 0.0 { normal.map(|v| (v / length) as f32) } else { [0.0; 3] },
        })
    }
}

/// `value` rounded to what [`Sum`] keeps of a colour.
pub(super) fn exact_color(value: f64) -> f32 {
    ((value * f64::from(COLOR_SCALE)).round() / f64::from(COLOR_SCALE)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(n: i32) -> Feature {
        let angle = n as f32 * 0.3;
        Feature {
            position: [n * 977, -n * 31, n * n],
            color: [n as f32, 255.0 - n as f32, exact_color(f64::from(n) / 3.0)],
            normal: [angle.cos(), angle.sin(), 0.0],
        }
    }

    #[test]
    fn what_is_taken_out_leaves_no_trace() {
        let mut sum = Sum::beside([1.0, 0.0, 0.0]);
        (0..9).for_each(|n| sum.add(&feature(n)));
        let before = sum.mean();
        (9..50).for_each(|n| sum.add(&feature(n)));
        (9..50).rev().for_each(|n| sum.remove(&feature(n)));
        assert_eq!(sum.mean(), before);
        (0..9).for_each(|n| sum.remove(&feature(n)));
        assert_eq!(sum.mean(), None);
    }

    #[test]
    fn opposite_normals_support_each_other() {
        let up = Feature { normal: [0.0, 0.0, 1.0], ..Feature::default() };
        let mut sum = Sum::beside(up.normal);
        sum.add(&up);
        sum.add(&Feature { normal: [0.0, 0.0, -1.0], ..up });
        assert_eq!(sum.mean().unwrap().normal, [0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_distance_is_the_weighted_sum_of_its_terms() {
        let metric = Metric::new(&Weights::default(), 6.0);
        let a = Feature { position: [0; 3], color: [0.0; 3], normal: [0.0, 0.0, 1.0] };
        let b = Feature { position: [3 * PARTS, 0, 0], color: [0.0, 51.0, 0.0], normal: [0.0, 0.6, -0.8] };
        assert!((metric.distance(&a, &b) - (0.2 + 0.2 * 0.2 + 0.4 * 0.5)).abs() < 1e-6);
        assert_eq!(metric.distance(&a, &a), 0.0);
    }
}
