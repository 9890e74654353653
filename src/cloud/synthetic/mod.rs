//! Generated clouds with known labels: what demos, benchmarks and tests run on where no recording may be shipped.

mod lidar;
mod room;
mod sized;
mod sphere;

pub use lidar::{LidarOptions, lidar};
pub use room::{RoomOptions, room};
pub use sized::{MOST_VOXELS, Scene, SizedCloud};
pub use sphere::{SphereOptions, sphere};

use crate::random::SplitMix64;

/// A generated cloud, in metres, z up, the floor at z = 0.
#[derive(Debug, Clone)]
pub struct SyntheticCloud {
    /// `[n]` positions.
    pub positions: Vec<[f32; 3]>,
    /// `[n]` colours, 0-255.
    pub colors: Vec<[u8; 3]>,
    /// `[n]` what each point belongs to, as an index into `names`.
    pub labels: Vec<i32>,
    /// The names of the labels.
    pub names: &'static [&'static str],
}

impl SyntheticCloud {
    fn empty(names: &'static [&'static str]) -> Self {
        Self { positions: Vec::new(), colors: Vec::new(), labels: Vec::new(), names }
    }

    /// Adds the points of `other`, which has the same names, moved by `offset`.
    fn append(&mut self, other: Self, offset: [f32; 3]) {
        self.positions.extend(other.positions.iter().map(|p| [0, 1, 2].map(|axis| p[axis] + offset[axis])));
        self.colors.extend(other.colors);
        self.labels.extend(other.labels);
    }

    /// Keeps the points whose index `keep` takes.
    fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        fn some<T>(values: &mut Vec<T>, keep: &impl Fn(usize) -> bool) {
            let mut index = 0..;
            values.retain(|_| index.next().is_some_and(keep));
        }
        some(&mut self.positions, &keep);
        some(&mut self.colors, &keep);
        some(&mut self.labels, &keep);
    }
}

/// A number from nearly the standard normal distribution: the sum of four uniform ones is near enough to it, and exact
/// on every machine.
fn normal(random: &mut SplitMix64) -> f64 {
    let sum: f64 = (0..4).map(|_| random.range(-1.0, 1.0)).sum();
    sum * (3.0_f64 / 4.0).sqrt()
}

/// A direction from the uniform distribution on the unit sphere: by rejection, so that no trigonometry enters.
fn direction(random: &mut SplitMix64) -> [f64; 3] {
    loop {
        let d = [0.0; 3].map(|_: f64| random.range(-1.0, 1.0));
        let square: f64 = d.iter().map(|v| v * v).sum();
        if (0.01..=1.0).contains(&square) {
            return d.map(|v| v / square.sqrt());
        }
    }
}
