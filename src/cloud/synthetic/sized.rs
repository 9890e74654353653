//! Generated clouds of a wanted number of voxels.

use super::{LidarOptions, RoomOptions, SphereOptions, SyntheticCloud, lidar, room, sphere};
use crate::arena::Arena;
use crate::cancel::Cancel;
use crate::cloud::{Cloud, GridOrigin, quantise};
use crate::error::{Error, Result};
use rayon::prelude::*;
use std::fmt;

/// Most voxels that a generated cloud may be asked to have.
pub const MOST_VOXELS: usize = 20_000_000;

/// A kind of generated cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scene {
    /// What a square window sees of a storey of furnished rooms.
    Room,
    /// The surface of a sphere.
    Sphere,
    /// A street as a spinning lidar sees it in one turn or more.
    Lidar,
}

/// A generated cloud and its number of voxels.
#[derive(Debug, Clone)]
pub struct SizedCloud {
    /// The cloud.
    pub cloud: SyntheticCloud,
    /// Voxels it has, at the voxel size it was generated for.
    pub voxels: usize,
}

/// Points per voxel that a flat surface parallel to two axes covers: enough to leave few holes, as scans do.
const POINTS_PER_VOXEL: f64 = 1.5;
/// The same for the sphere, most of which crosses voxels near a corner.
const POINTS_PER_VOXEL_OF_SPHERE: f64 = 4.0;
/// Voxels of the sphere per square voxel of its radius.
const VOXELS_OF_UNIT_SPHERE: f64 = 16.0;
/// Fraction of the wanted number that a search may miss it by.
const NEAR: f64 = 0.01;
const MOST_TRIES: usize = 12;
/// Metres from one room of the storey to the next: the walls between them.
const WALL: f64 = 0.2;

impl Scene {
    /// All scenes.
    pub const ALL: [Self; 3] = [Self::Room, Self::Sphere, Self::Lidar];

    /// A cloud with `voxels` voxels of `voxel_size` metres, within 3 % from 1000 voxels on. The same arguments give the
    /// same cloud on every machine. Surfaces keep their number of points per voxel and rooms, streets and the sensor
    /// their sizes in metres: fewer voxels are a part of the scene, more voxels more of it (a smaller or larger sphere;
    /// a lidar's returns up to some distance, or more than one turn).
    pub fn sized(self, voxels: usize, voxel_size: f64, seed: u64) -> Result<SizedCloud> {
        if !(1..=MOST_VOXELS).contains(&voxels) {
            let message = format!("voxels is {voxels}; a generated cloud may have 1 to {MOST_VOXELS}");
            return Err(Error::argument(message));
        }
        if !(1e-3..=1.0).contains(&voxel_size) {
            let message = format!(
                "the voxel size is {voxel_size} m; generated clouds have rooms and streets of real sizes, for which it \
                 must lie in 0.001..=1"
            );
            return Err(Error::argument(message));
        }
        match self {
            Self::Room => storey(voxels, voxel_size, seed),
            Self::Sphere => sized_sphere(voxels, voxel_size, seed),
            Self::Lidar => sized_lidar(voxels, voxel_size, seed),
        }
    }
}

impl fmt::Display for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Room => "room",
            Self::Sphere => "sphere",
            Self::Lidar => "lidar",
        })
    }
}

/// As many rooms as needed, cut by a square window around the table of the first.
fn storey(wanted: usize, voxel_size: f64, seed: u64) -> Result<SizedCloud> {
    let options = RoomOptions { density: POINTS_PER_VOXEL / (voxel_size * voxel_size), ..RoomOptions::default() };
    let [length, width, _] = options.size;
    let centre = [length * 0.35, width * 0.45];
    let rooms_of = |side: usize| -> SyntheticCloud {
        let rooms: Vec<SyntheticCloud> = (0..side * side)
            .into_par_iter()
            .map(|index| room(&RoomOptions { seed: seed.wrapping_add(index as u64), ..options.clone() }))
            .collect();
        let mut cloud = SyntheticCloud::empty(rooms[0].names);
        for (index, room) in rooms.into_iter().enumerate() {
            let x = (length + WALL) * (index % side) as f64;
            let y = (width + WALL) * (index / side) as f64;
            cloud.append(room, [x as f32, y as f32, 0.0]);
        }
        cloud
    };
    let mut side = 1;
    loop {
        let mut cloud = rooms_of(side);
        let reach = |point: usize| {
            let [x, y, _] = cloud.positions[point].map(f64::from);
            (x - centre[0]).abs().max((y - centre[1]).abs())
        };
        let nearest = nearest_of_voxels(&cloud, voxel_size, reach)?;
        if let Some((limit, voxels)) = cut(&nearest, wanted) {
            let kept: Vec<bool> = (0..cloud.positions.len()).map(|point| reach(point) <= limit).collect();
            cloud.retain(|point| kept[point]);
            return Ok(SizedCloud { cloud, voxels });
        }
        let missing = wanted as f64 / nearest.len() as f64;
        side = (side + 1).max((side as f64 * missing.sqrt()).ceil() as usize);
    }
}

/// A sphere whose radius is changed until it has the wanted number of voxels.
fn sized_sphere(wanted: usize, voxel_size: f64, seed: u64) -> Result<SizedCloud> {
    let density = POINTS_PER_VOXEL_OF_SPHERE / (voxel_size * voxel_size);
    let noise = voxel_size / 10.0;
    let mut radius = voxel_size * (wanted as f64 / VOXELS_OF_UNIT_SPHERE).sqrt();
    let mut best: Option<SizedCloud> = None;
    for _ in 0..MOST_TRIES {
        let cloud = sphere(&SphereOptions { seed, radius, density, noise });
        let voxels = nearest_of_voxels(&cloud, voxel_size, |_| 0.0)?.len();
        if best.as_ref().is_none_or(|best| voxels.abs_diff(wanted) < best.voxels.abs_diff(wanted)) {
            best = Some(SizedCloud { cloud, voxels });
        }
        if voxels.abs_diff(wanted) as f64 <= NEAR * wanted as f64 {
            break;
        }
        radius *= (wanted as f64 / voxels.max(1) as f64).sqrt();
    }
    best.ok_or_else(|| Error::internal("a search without tries"))
}

/// The returns of one turn up to some distance, or as many turns as it takes, cut in the order of firing.
fn sized_lidar(wanted: usize, voxel_size: f64, seed: u64) -> Result<SizedCloud> {
    let turn = LidarOptions { seed, ..LidarOptions::default() };
    let mut cloud = lidar(&turn);
    let distance = |p: [f32; 3]| p.map(f64::from).iter().map(|v| v * v).sum::<f64>();
    let nearest = nearest_of_voxels(&cloud, voxel_size, |point| distance(cloud.positions[point]))?;
    if let Some((limit, voxels)) = cut(&nearest, wanted) {
        let kept: Vec<bool> = cloud.positions.iter().map(|&p| distance(p) <= limit).collect();
        cloud.retain(|point| kept[point]);
        return Ok(SizedCloud { cloud, voxels });
    }
    let (mut sweeps, mut voxels) = (1, nearest.len());
    loop {
        sweeps = (sweeps + 1).max((1.2 * sweeps as f64 * wanted as f64 / voxels as f64).ceil() as usize);
        let mut cloud = lidar(&LidarOptions { sweeps, ..turn.clone() });
        let nearest = nearest_of_voxels(&cloud, voxel_size, |point| point as f64)?;
        if let Some((last, voxels)) = cut(&nearest, wanted) {
            cloud.retain(|point| point as f64 <= last);
            return Ok(SizedCloud { cloud, voxels });
        }
        voxels = nearest.len();
    }
}

/// The smallest `key` of each voxel's points: one entry per voxel.
fn nearest_of_voxels(cloud: &SyntheticCloud, voxel_size: f64, key: impl Fn(usize) -> f64) -> Result<Vec<f64>> {
    let view = Cloud::from_xyz(&cloud.positions);
    let cells = quantise(&view, voxel_size, GridOrigin::Minimum, None, &Arena::default(), Cancel::default())?.cells;
    let place = |[x, y, z]: [u32; 3]| u64::from(x) | u64::from(y) << 20 | u64::from(z) << 40;
    let mut keyed: Vec<(u64, f64)> = cells.iter().enumerate().map(|(point, &cell)| (place(cell), key(point))).collect();
    keyed.par_sort_unstable_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    keyed.dedup_by_key(|entry| entry.0);
    Ok(keyed.into_iter().map(|entry| entry.1).collect())
}

/// The key up to which points must be kept for `wanted` voxels, and how many voxels that leaves.
fn cut(nearest: &[f64], wanted: usize) -> Option<(f64, usize)> {
    let mut sorted = nearest.to_vec();
    let last = wanted.checked_sub(1).filter(|&last| last < sorted.len())?;
    let (_, &mut limit, _) = sorted.select_nth_unstable_by(last, f64::total_cmp);
    Some((limit, nearest.iter().filter(|&&key| key <= limit).count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(cloud: &SyntheticCloud, voxel_size: f64) -> usize {
        nearest_of_voxels(cloud, voxel_size, |_| 0.0).unwrap().len()
    }

    #[test]
    fn every_scene_has_the_wanted_voxels() {
        for scene in Scene::ALL {
            for (wanted, voxel_size) in [(1000, 0.02), (3000, 0.05), (12_345, 0.05), (90_000, 0.1)] {
                let made = scene.sized(wanted, voxel_size, 1).unwrap();
                assert_eq!(made.voxels, count(&made.cloud, voxel_size), "{scene}");
                let miss = made.voxels.abs_diff(wanted) as f64 / wanted as f64;
                assert!(miss <= 0.03, "{scene}: {} voxels for {wanted}", made.voxels);
                let points = made.cloud.positions.len();
                assert!(points > made.voxels && points < 6 * made.voxels, "{scene}: {points} points, {}", made.voxels);
                assert_eq!((made.cloud.colors.len(), made.cloud.labels.len()), (points, points));
            }
        }
    }

    #[test]
    fn sizes_are_reproducible_and_seeds_differ() {
        for scene in Scene::ALL {
            let made = |seed: u64| scene.sized(2000, 0.05, seed).unwrap().cloud.positions;
            assert_eq!(made(3), made(3), "{scene}");
            assert_ne!(made(3), made(4), "{scene}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for (voxels, voxel_size) in [(0, 0.02), (MOST_VOXELS + 1, 0.02), (100, 0.0), (100, f64::NAN), (100, 5.0)] {
            assert!(Scene::Room.sized(voxels, voxel_size, 1).is_err(), "{voxels} {voxel_size}");
        }
    }
}
