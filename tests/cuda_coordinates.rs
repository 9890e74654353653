//! The coordinate kernels against the CPU's algorithms: the same bits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "cuda/emulated.rs"]
mod emulated;
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;

use openvocab3d::arena::Arena;
use openvocab3d::backend::cuda::{CoordinateTables, MapTable, coordinate_tables};
use openvocab3d::backend::{Input, Representative};
use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Axes, Cloud, Dtype, Frame, GridOrigin, StridedView, quantise};
use openvocab3d::plan::Geometry;
use openvocab3d::random::SplitMix64;
use openvocab3d::sparse::{Levels, Voxels, decode, from_coordinates, kernel_offsets};
use openvocab3d::{ErrorKind, Result};
use std::collections::HashMap;

const LEVELS: usize = 5;

/// The maps of a MinkUNet.
fn geometries() -> Vec<Geometry> {
    let submanifold = (0..LEVELS).map(|level| Geometry::Submanifold { level, size: 3 });
    let strided = (1..LEVELS).map(|to| Geometry::Strided { to });
    submanifold.chain(strided).chain((0..LEVELS - 1).map(|to| Geometry::Transposed { to })).collect()
}

/// Compares everything that `tables` holds with what the CPU makes of `voxels`.
fn compare(what: &str, tables: &CoordinateTables, voxels: &Voxels) {
    assert_eq!(tables.voxels.keys, voxels.keys, "{what}: keys");
    assert_eq!(tables.voxels.starts, voxels.starts, "{what}: starts");
    assert_eq!(tables.voxels.points, voxels.points, "{what}: points");
    assert_eq!(tables.voxels.voxel_of_point, voxels.voxel_of_point, "{what}: voxels of points");
    let levels = Levels::new(voxels.keys.clone(), LEVELS, Cancel::default()).unwrap();
    let rows: Vec<HashMap<_, u32>> = (0..LEVELS + 2)
        .map(|depth| (0_u32..).zip(&levels.level(depth).keys).map(|(row, &key)| (place(key, depth), row)).collect())
        .collect();
    for depth in 0..LEVELS + 2 {
        let level = levels.level(depth);
        assert_eq!(tables.keys[depth], *level.keys, "{what}: level {depth}");
        if depth < LEVELS + 1 {
            assert_eq!(tables.parents[depth], *level.parents, "{what}: parents of level {depth}");
        }
        if depth >= 2 {
            let found = level.keys.iter().map(|&key| neighbours(key, depth, &rows[depth]));
            assert!(found.eq(tables.neighbours[depth - 2].iter().copied()), "{what}: neighbours on level {depth}");
        }
    }
    for map in &tables.maps {
        compare_map(what, map, &levels, &rows);
    }
}

type Place = (u32, [i64; 3]);

fn place(key: u64, depth: usize) -> Place {
    let voxel = decode(key, depth);
    (voxel.batch, voxel.cell.map(i64::from))
}

/// The rows of the 27 neighbours, from a dictionary of places.
fn neighbours(key: u64, depth: usize, rows: &HashMap<Place, u32>) -> [u32; 27] {
    let (batch, cell) = place(key, depth);
    let mut found = [u32::MAX; 27];
    for (slot, offset) in kernel_offsets(3).enumerate() {
        let target = [0, 1, 2].map(|axis| cell[axis] + i64::from(offset[axis]));
        found[slot] = rows.get(&(batch, target)).copied().unwrap_or(u32::MAX);
    }
    found
}

fn compare_map(what: &str, map: &MapTable, levels: &Levels, rows: &[HashMap<Place, u32>]) {
    let (depth, volume) = match map.geometry {
        Geometry::Submanifold { level, .. } => (level, 27),
        Geometry::Strided { to } | Geometry::Transposed { to } => (to, 8),
    };
    let level = levels.level(depth);
    let inputs: Vec<Vec<u32>> = (0..level.len())
        .map(|row| match map.geometry {
            Geometry::Submanifold { .. } => neighbours(level.keys[row], depth, &rows[depth]).to_vec(),
            Geometry::Strided { .. } => (0..8_u64)
                .map(|offset| level.keys[row] << 3 | offset)
                .map(|key| rows[depth - 1].get(&place(key, depth - 1)).copied().unwrap_or(u32::MAX))
                .collect(),
            Geometry::Transposed { .. } => (0..8_u64)
                .map(|offset| if level.keys[row] & 7 == offset { level.parents[row] } else { u32::MAX })
                .collect(),
        })
        .collect();
    let mask = |row: usize| (0..volume).filter(|&o| inputs[row][o] != u32::MAX).map(|o| 1_u32 << o).sum::<u32>();
    // The rank of the mask in the Gray code, the centre of a 3x3x3 kernel left out because it is always there.
    let rank = |row: usize| {
        let mask = mask(row);
        let mut rank = if volume == 27 { mask & 0x1FFF | mask >> 14 << 13 } else { mask };
        for step in [1, 2, 4, 8, 16] {
            rank ^= rank >> step;
        }
        rank
    };
    let mut order: Vec<u32> = (0..level.len() as u32).collect();
    order.sort_by_key(|&row| rank(row as usize));
    let what = format!("{what}: {:?}", map.geometry);
    assert_eq!(map.order, order, "{what}: order");
    let masks: Vec<u32> = order.iter().map(|&row| mask(row as usize)).collect();
    assert_eq!(map.masks, masks, "{what}: masks");
    let table: Vec<u32> = (0..volume)
        .flat_map(|o| order.iter().map(move |&row| (o, row)))
        .map(|(o, row)| inputs[row as usize][o])
        .collect();
    assert_eq!(map.table, table, "{what}: table");
}

fn tables_of(
    clouds: &[Cloud<'_>],
    voxel_size: f64,
    grid_origin: GridOrigin,
    rotation: Option<[[f64; 3]; 3]>,
) -> Result<CoordinateTables> {
    let input = Input::Clouds {
        clouds,
        voxel_size,
        grid_origin,
        representative: Representative::First,
        rotation_scale: rotation,
    };
    coordinate_tables(0, &input, LEVELS, &geometries())
}

fn check_clouds(
    what: &str,
    clouds: &[Cloud<'_>],
    voxel_size: f64,
    grid_origin: GridOrigin,
    rotation: Option<[[f64; 3]; 3]>,
) {
    let tables = tables_of(clouds, voxel_size, grid_origin, rotation).unwrap();
    let quantised: Vec<_> = clouds
        .iter()
        .map(|cloud| {
            quantise(cloud, voxel_size, grid_origin, rotation.as_ref(), &Arena::default(), Cancel::default()).unwrap()
        })
        .collect();
    let cells: Vec<&[[u32; 3]]> = quantised.iter().map(|q| &q.cells[..]).collect();
    let voxels = Voxels::from_cells(&cells, &Arena::default(), Cancel::default()).unwrap();
    let origins: Vec<[i64; 3]> = quantised.iter().map(|q| q.origin).collect();
    assert_eq!(tables.origins, origins, "{what}: origins");
    compare(what, &tables, &voxels);
}

/// A bent surface with holes, duplicates and points that are not finite.
fn surface(count: usize, seed: u64) -> Vec<[f32; 3]> {
    let mut random = SplitMix64::new(seed);
    let mut value = |scale: f32| (random.bits() >> 40) as f32 / (1 << 24) as f32 * scale;
    let mut points: Vec<[f32; 3]> = Vec::new();
    for index in 0..count {
        let (x, y) = (value(1.3) - 0.4, value(0.9) - 0.7);
        let point = [x, y, 0.3 * (5.0 * x).sin() + value(0.02)];
        points.push(match index % 50 {
            7 => [f32::NAN, y, x],
            19 => [x, f32::INFINITY, y],
            23 if index > 60 => points[index - 60],
            _ => point,
        });
    }
    points
}

#[test]
fn clouds_of_every_size_become_the_same_voxels_and_maps() {
    emulated::on_every_emulator("clouds_of_every_size_become_the_same_voxels_and_maps", &[], || {
        // Around the tiles of the sort (2048), of the levels (1024) and of a block (256).
        for count in [0, 1, 2, 31, 255, 256, 257, 1023, 1025, 2047, 2048, 2049, 5000] {
            let points = surface(count, count as u64);
            check_clouds(&format!("{count} points"), &[Cloud::from_xyz(&points)], 0.04, GridOrigin::Minimum, None);
        }
        let nowhere = [[f32::NAN; 3]; 5];
        check_clouds("no finite point", &[Cloud::from_xyz(&nowhere)], 0.02, GridOrigin::Minimum, None);
        let lonely: Vec<[f32; 3]> =
            (0..40_u16).map(|i| [0, 1, 2].map(|a| f32::from(i * 37 % (11 + a)) * 9.7)).collect();
        check_clouds("lonely points", &[Cloud::from_xyz(&lonely)], 0.02, GridOrigin::Minimum, None);
        println!("  keys, levels, neighbours and kernel maps: bit for bit");
    });
}

#[test]
fn several_clouds_in_any_layout_frame_and_lattice_become_the_same_voxels() {
    emulated::on_every_emulator("several_clouds_in_any_layout_frame_and_lattice_become_the_same_voxels", &[], || {
        let (first, second) = (surface(700, 1), surface(300, 2));
        let wide: Vec<[f64; 3]> = second.iter().map(|p| p.map(|v| f64::from(v) * 100.0 + 3e5)).collect();
        // Interleaved with 12 bytes of something else, and with one odd byte, which the device cannot read in place.
        let interleave = |extra: usize| -> Vec<u8> {
            first
                .iter()
                .flat_map(|p| p.iter().flat_map(|v| v.to_ne_bytes()).chain(std::iter::repeat_n(9, extra)))
                .collect()
        };
        let (even, odd) = (interleave(12), interleave(1));
        let view = |bytes, extra: usize| StridedView::new(bytes, first.len(), 12 + extra, Dtype::F32, 3).unwrap();
        let pose = [[0.8, -0.6, 0.0, 5.0], [0.6, 0.8, 0.0, -2.5], [0.0, 0.0, 1.0, 0.125]];
        let frame = |unit_in_metres, axes, pose| Frame { unit_in_metres, axes, pose };
        let cloud = Cloud::new;
        let clouds = [
            cloud(view(&even, 12), frame(1.0, Axes::RightHandedZUp, Some(pose))),
            Cloud::from_xyz(&[]),
            cloud(StridedView::packed_f64(&wide), frame(0.01, Axes::LeftHandedZUp, None)),
            cloud(view(&odd, 1), frame(1.0, Axes::Camera, Some(pose))),
            cloud(StridedView::packed_f32(&second), frame(0.5, Axes::LeftHandedYUp, None)),
            cloud(StridedView::packed_f32(&second), frame(2.0, Axes::RightHandedYUp, Some(pose))),
        ];
        let turned = [[0.9, 0.1, 0.0], [-0.1, 0.9, 0.2], [0.0, -0.2, 1.1]];
        check_clouds("minimum", &clouds, 0.05, GridOrigin::Minimum, None);
        check_clouds("world", &clouds, 0.05, GridOrigin::World, None);
        check_clouds("turned", &clouds, 0.05, GridOrigin::World, Some(turned));
    });
}

#[test]
fn coordinates_and_limits_are_those_of_the_cpu() {
    emulated::on_every_emulator("coordinates_and_limits_are_those_of_the_cpu", &[], || {
        let mut random = SplitMix64::new(9);
        let rows: Vec<[i32; 4]> = (0..1500)
            .map(|_| {
                let bits = random.bits();
                [(bits % 3) as i32, (bits >> 8) as i32 % 20, (bits >> 28) as i32 % 25 - 70_000, (bits >> 50) as i32 % 9]
            })
            .collect();
        for rows in [&rows[..], &rows[..1], &[]] {
            let input = Input::Coordinates { rows, features: None };
            let tables = coordinate_tables(0, &input, LEVELS, &geometries()).unwrap();
            compare(
                &format!("{} rows", rows.len()),
                &tables,
                &from_coordinates(rows, &Arena::default(), Cancel::default()).unwrap(),
            );
        }
        // The corners of the key space, and one cell too many.
        let edge = ((1 << 18) - 1) as f32;
        let corners = [[0.0, 0.0, 0.0], [edge, 0.0, 0.0], [edge, edge, edge], [0.0, edge, 1.0]];
        check_clouds("corners", &[Cloud::from_xyz(&corners)], 1.0, GridOrigin::Minimum, None);
        for (far, origin) in [([edge + 1.0; 3], GridOrigin::Minimum), ([1e30; 3], GridOrigin::World)] {
            let points = [[0.0; 3], far];
            let cloud = [Cloud::from_xyz(&points)];
            let error = tables_of(&cloud, 1.0, origin, None).unwrap_err();
            let expected = quantise(&cloud[0], 1.0, origin, None, &Arena::default(), Cancel::default()).unwrap_err();
            assert_eq!((error.kind(), error.to_string()), (ErrorKind::OutOfRange, expected.to_string()));
        }
    });
}
