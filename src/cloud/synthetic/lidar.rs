//! A street as a spinning multi-beam lidar sees it: rings on the ground, cars, poles, fences and house fronts.

use super::{SyntheticCloud, normal};
use crate::random::SplitMix64;
use rayon::prelude::*;

/// What [`lidar`] generates.
#[derive(Debug, Clone)]
pub struct LidarOptions {
    /// Same seed, same street and same noise.
    pub seed: u64,
    /// Beams one above the other.
    pub beams: usize,
    /// Firings per turn.
    pub azimuth_steps: usize,
    /// Elevation of the lowest and of the highest beam in degrees.
    pub vertical_field_of_view: [f64; 2],
    /// Farthest return in metres.
    pub range: f64,
    /// Turns, [`Self::advance`] metres apart along the street, in one frame.
    pub sweeps: usize,
    /// Metres that the sensor moves from one turn to the next.
    pub advance: f64,
    /// Standard deviation of the measured distance in metres.
    pub noise: f64,
}

impl Default for LidarOptions {
    /// About a Velodyne HDL-64E.
    fn default() -> Self {
        Self {
            seed: 1,
            beams: 64,
            azimuth_steps: 2000,
            vertical_field_of_view: [-24.8, 2.0],
            range: 80.0,
            sweeps: 1,
            advance: 2.0,
            noise: 0.015,
        }
    }
}

const NAMES: [&str; 5] = ["ground", "building", "car", "pole", "fence"];
const GROUND: usize = 0;
const BUILDING: usize = 1;
const CAR: usize = 2;
const POLE: usize = 3;
const FENCE: usize = 4;

const COLORS: [[u8; 3]; 5] = [[105, 105, 110], [190, 165, 135], [70, 100, 170], [225, 200, 70], [120, 90, 60]];

/// Height of the sensor above the ground in metres.
const HEIGHT: f64 = 1.73;
/// Metres of street that one call of [`furnish`] furnishes.
const PLOT: f64 = 16.0;

/// What one or more turns of the sensor see, in the order of firing, beams from the lowest up.
pub fn lidar(options: &LidarOptions) -> SyntheticCloud {
    let mut cloud = SyntheticCloud::empty(&NAMES);
    let elevations: Vec<[f64; 2]> = (0..options.beams).map(|beam| elevation(options, beam)).collect();
    for sweep in 0..options.sweeps {
        let x = sweep as f64 * options.advance;
        let boxes = street(options, x);
        let firings = (0..options.azimuth_steps).into_par_iter().map(|step| {
            let firing = (sweep * options.azimuth_steps + step) as u64;
            let mut random = SplitMix64::new(options.seed ^ firing.wrapping_mul(0xD134_2543_DE82_EF95));
            let azimuth = direction_of_turn(step as f64 / options.azimuth_steps as f64);
            let returns = elevations.iter().filter_map(|&[cos, sin]| {
                let ray = Ray { x, direction: [azimuth[0] * cos, azimuth[1] * cos, sin] };
                let (distance, label) = ray.nearest(&boxes, options.range)?;
                let distance = distance + options.noise * normal(&mut random);
                Some((ray.at(distance), label, random.range(0.85, 1.1)))
            });
            returns.collect::<Vec<_>>()
        });
        for (point, label, shade) in firings.collect::<Vec<_>>().into_iter().flatten() {
            cloud.positions.push(point.map(|v| v as f32));
            cloud.colors.push(COLORS[label].map(|c| (f64::from(c) * shade).min(255.0) as u8));
            cloud.labels.push(label as i32);
        }
    }
    cloud
}

/// Cosine and sine of the elevation of `beam`.
fn elevation(options: &LidarOptions, beam: usize) -> [f64; 2] {
    let [low, high] = options.vertical_field_of_view;
    let part = beam as f64 / (options.beams.max(2) - 1) as f64;
    direction_of_turn((low + (high - low) * part) / 360.0)
}

/// Cosine and sine of a part of a turn, by plain arithmetic: the same on every machine, as those of the platform's
/// mathematics library are not.
fn direction_of_turn(turn: f64) -> [f64; 2] {
    let eighths = (turn * 8.0).round();
    let angle = (turn - eighths / 8.0) * std::f64::consts::TAU;
    let square = angle * angle;
    // Series of sine over angle and of cosine; the angle is below 0.4.
    let series = |first: f64| {
        let (mut term, mut sum) = (1.0, 1.0);
        for k in 0..8 {
            let n = first + 2.0 * f64::from(k);
            term *= -square / (n * (n + 1.0));
            sum += term;
        }
        sum
    };
    let (cos, sin) = (series(1.0), angle * series(2.0));
    let half = 0.5_f64.sqrt();
    let [c, s] = match eighths.rem_euclid(8.0) as u32 {
        0 => [1.0, 0.0],
        1 => [half, half],
        2 => [0.0, 1.0],
        3 => [-half, half],
        4 => [-1.0, 0.0],
        5 => [-half, -half],
        6 => [0.0, -1.0],
        _ => [half, -half],
    };
    [c * cos - s * sin, s * cos + c * sin]
}

/// A solid box on the ground, its sides along the axes.
struct Solid {
    label: usize,
    low: [f64; 3],
    high: [f64; 3],
}

/// The boxes within the sensor's range of `x`.
fn street(options: &LidarOptions, x: f64) -> Vec<Solid> {
    let (first, last) = (((x - options.range) / PLOT).floor() as i64, ((x + options.range) / PLOT).floor() as i64);
    (first..=last).flat_map(|plot| furnish(options.seed, plot)).collect()
}

/// What stands on both sides of [`PLOT`] metres of street, whichever sweep looks at it.
fn furnish(seed: u64, plot: i64) -> Vec<Solid> {
    let mut random = SplitMix64::new(seed.wrapping_add((plot as u64).wrapping_mul(0x9FB2_1C65_1E98_DF25)));
    let start = plot as f64 * PLOT;
    let mut solids = Vec::new();
    for side in [-1.0, 1.0] {
        let mut stand = |label: usize, [x, y]: [f64; 2], [length, depth, height]: [f64; 3]| {
            let (near, far) = (side * y, side * (y + depth));
            solids.push(Solid { label, low: [x, near.min(far), 0.0], high: [x + length, near.max(far), height] });
        };
        let front = random.range(8.5, 12.0);
        let length = random.range(9.0, PLOT);
        stand(BUILDING, [start, front], [length, random.range(7.0, 12.0), random.range(5.0, 14.0)]);
        if random.unit() < 0.6 {
            stand(FENCE, [start + length, front], [PLOT - length, 0.08, random.range(1.1, 1.9)]);
        }
        for place in 0..2 {
            if random.unit() < 0.45 {
                let (x, y) = (start + 8.0 * f64::from(place) + random.range(0.2, 2.8), random.range(3.6, 4.4));
                stand(CAR, [x, y], [4.4, 1.8, 0.9]);
                // The cabin.
                stand(CAR, [x + 0.9, y + 0.15], [2.4, 1.5, 1.48]);
            }
        }
        stand(POLE, [start + random.range(1.0, 15.0), 6.6], [0.18, 0.18, random.range(4.0, 7.0)]);
    }
    solids
}

/// A beam from the sensor at `x` on the middle of the street.
struct Ray {
    x: f64,
    direction: [f64; 3],
}

impl Ray {
    fn at(&self, distance: f64) -> [f64; 3] {
        let [x, y, z] = self.direction.map(|v| v * distance);
        [self.x + x, y, HEIGHT + z]
    }

    /// The distance and the label of the nearest surface within `range`.
    fn nearest(&self, solids: &[Solid], range: f64) -> Option<(f64, usize)> {
        let ground = (self.direction[2] < 0.0).then(|| (-HEIGHT / self.direction[2], GROUND));
        let hits = solids.iter().filter_map(|solid| Some((self.enters(solid)?, solid.label)));
        hits.chain(ground).filter(|hit| hit.0 <= range).min_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// Where the ray enters `solid`, by its slabs.
    fn enters(&self, solid: &Solid) -> Option<f64> {
        let origin = [self.x, 0.0, HEIGHT];
        let (mut enter, mut leave) = (0.0_f64, f64::INFINITY);
        for axis in 0..3 {
            // A direction of exactly 0 gives infinities of the right sign, as no side passes through the sensor.
            let inverse = 1.0 / self.direction[axis];
            let a = (solid.low[axis] - origin[axis]) * inverse;
            let b = (solid.high[axis] - origin[axis]) * inverse;
            enter = enter.max(a.min(b));
            leave = leave.min(a.max(b));
        }
        (enter > 0.0 && enter <= leave).then_some(enter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_are_reproducible_and_see_everything() {
        let options = LidarOptions { beams: 32, azimuth_steps: 500, ..LidarOptions::default() };
        let cloud = lidar(&options);
        assert_eq!(cloud.positions, lidar(&options).positions);
        assert_ne!(cloud.positions, lidar(&LidarOptions { seed: 2, ..options.clone() }).positions);
        for (label, name) in NAMES.iter().enumerate() {
            let count = cloud.labels.iter().filter(|&&l| l == label as i32).count();
            assert!(count > 20, "{name}: {count} points");
        }
        for p in &cloud.positions {
            let [x, y, z] = p.map(f64::from);
            assert!(x.hypot(y).hypot(z - HEIGHT) < options.range + 0.1 && z > -0.2, "{p:?}");
        }
        // Two sweeps stand in one frame and see one street.
        let two = lidar(&LidarOptions { sweeps: 2, ..options });
        assert_eq!(two.positions[..cloud.positions.len()], cloud.positions[..]);
        assert!(two.positions.len() > cloud.positions.len() * 3 / 2);
    }

    #[test]
    fn ground_returns_lie_on_rings() {
        let options =
            LidarOptions { beams: 2, vertical_field_of_view: [-30.0, -20.0], noise: 0.0, ..LidarOptions::default() };
        let ground = lidar(&options);
        let radius = |degrees: f64| HEIGHT / degrees.to_radians().tan();
        let mut rings = [0; 2];
        for (p, _) in ground.positions.iter().zip(&ground.labels).filter(|(_, label)| **label == GROUND as i32) {
            let r = f64::from(p[0]).hypot(f64::from(p[1]));
            let ring = [30.0, 20.0].iter().position(|&degrees| (r - radius(degrees)).abs() < 1e-4);
            rings[ring.unwrap()] += 1;
        }
        assert!(rings.iter().all(|&count| count > 1000), "{rings:?}");
    }

    #[test]
    fn directions_are_those_of_the_mathematics_library() {
        for turn in (-400..=400).map(|i| f64::from(i) / 321.0) {
            let [cos, sin] = direction_of_turn(turn);
            let angle = turn * std::f64::consts::TAU;
            assert!((cos - angle.cos()).abs() < 1e-14 && (sin - angle.sin()).abs() < 1e-14, "{turn}");
        }
    }
}
