//! Points on a sphere: a closed surface of every orientation, without edges.

use super::{SyntheticCloud, direction, normal};
use crate::random::SplitMix64;

/// What [`sphere`] generates.
#[derive(Debug, Clone)]
pub struct SphereOptions {
    /// Same seed, same points.
    pub seed: u64,
    /// Radius in metres; the sphere lies on the floor.
    pub radius: f64,
    /// Points per square metre of surface.
    pub density: f64,
    /// Standard deviation of the points' distance from the surface in metres.
    pub noise: f64,
}

impl Default for SphereOptions {
    fn default() -> Self {
        Self { seed: 1, radius: 1.0, density: 5000.0, noise: 0.002 }
    }
}

/// Points spread evenly over a sphere, coloured by the way the surface faces.
pub fn sphere(options: &SphereOptions) -> SyntheticCloud {
    let mut random = SplitMix64::new(options.seed);
    let mut cloud = SyntheticCloud::empty(&["sphere"]);
    let area = 4.0 * std::f64::consts::PI * options.radius * options.radius;
    for _ in 0..(area * options.density).round() as usize {
        let normal_vector = direction(&mut random);
        let distance = options.radius + options.noise * normal(&mut random);
        let [x, y, z] = normal_vector.map(|v| v * distance);
        cloud.positions.push([x, y, z + options.radius].map(|v| v as f32));
        cloud.colors.push(normal_vector.map(|v| (127.5 + 127.5 * v) as u8));
        cloud.labels.push(0);
    }
    cloud
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_lie_on_the_sphere_in_every_direction() {
        let options = SphereOptions { radius: 2.0, density: 40.0, ..SphereOptions::default() };
        let cloud = sphere(&options);
        assert_eq!(cloud.positions, sphere(&options).positions);
        assert_ne!(cloud.positions, sphere(&SphereOptions { seed: 2, ..options }).positions);
        assert_eq!(cloud.positions.len(), (16.0 * std::f64::consts::PI * 40.0).round() as usize);
        let from_centre = |p: &[f32; 3]| [f64::from(p[0]), f64::from(p[1]), f64::from(p[2]) - 2.0];
        let mut octants = [0; 8];
        for v in cloud.positions.iter().map(from_centre) {
            let distance = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((distance - 2.0).abs() < 0.01, "{v:?}");
            octants[(0..3).map(|axis| usize::from(v[axis] > 0.0) << axis).sum::<usize>()] += 1;
        }
        assert!(octants.iter().all(|&count| (200..300).contains(&count)), "{octants:?}");
        assert_eq!((cloud.colors.len(), cloud.labels.len()), (cloud.positions.len(), cloud.positions.len()));
    }
}
