//! What holds of superpoints whatever the cloud: properties over generated clouds, and the clouds that break others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::ErrorKind;
use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Axes, Cloud, Frame, RoomOptions, StridedView, SyntheticCloud, room};
use openvocab3d::superpoint::{
    Graph, Method, NO_SUPERPOINT, SuperpointOptions, Superpoints, Target, Vccs, VccsPcl, VoxelCloud, VoxelFeatures,
    point_spacing, superpoints, superpoints_of_voxels, vote,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use support::generate::{Generator, shuffle};

const VOXEL: f64 = 0.05;

fn options(method: Method) -> SuperpointOptions {
    SuperpointOptions { voxel_size: Some(VOXEL), method }
}

fn vccs(seed_size: f64) -> Method {
    Method::Vccs(Vccs { seed_size: Some(seed_size), ..Vccs::default() })
}

fn graph(target: Target) -> Method {
    Method::Graph(Graph { target, ..Graph::default() })
}

/// The methods that give every point a superpoint.
fn own_methods() -> [Method; 6] {
    [
        vccs(0.3),
        vccs(0.05),
        Method::Vccs(Vccs { seed_size: Some(0.25), refinements: 2, stray_reach: Some(0.0), ..Vccs::default() }),
        graph(Target::Scale(0.05)),
        graph(Target::Count(20)),
        Method::Graph(Graph { least_voxels: 1, stray_reach: Some(0.0), ..Graph::default() }),
    ]
}

fn every_method() -> impl Iterator<Item = Method> {
    own_methods().into_iter().chain([Method::VccsPcl(VccsPcl { seed_size: Some(0.3), ..VccsPcl::default() })])
}

/// How far components without a superpoint reach, in metres.
fn stray_reach(method: &Method) -> f64 {
    match method {
        Method::Vccs(vccs) => vccs.stray_reach.unwrap_or(0.5 * vccs.seed_size.unwrap()),
        Method::Graph(graph) => graph.stray_reach.unwrap_or(3.0 * VOXEL),
        Method::VccsPcl(_) => 0.0,
    }
}

fn found(positions: &[[f64; 3]], colors: Option<&[[u8; 3]]>, method: &Method) -> Superpoints {
    let positions = Cloud::new(StridedView::packed_f64(positions), Frame::default());
    let cloud = Cloud { colors: colors.map(StridedView::packed_u8), ..positions };
    superpoints(&cloud, &options(method.clone()), None, Cancel::default()).unwrap()
}

fn furniture(seed: u64, density: f64) -> SyntheticCloud {
    room(&RoomOptions { seed, size: [2.5, 2.0, 1.5], density, noise: 0.004 })
}

fn in_f64(positions: &[[f32; 3]]) -> Vec<[f64; 3]> {
    positions.iter().map(|p| p.map(f64::from)).collect()
}

fn is_finite(position: &[f64; 3]) -> bool {
    position.iter().all(|v| v.is_finite())
}

fn cell(position: &[f64; 3]) -> [i64; 3] {
    position.map(|v| (v * (1.0 / VOXEL)).floor() as i64)
}

/// The 27 cells around one, itself included.
fn around(at: [i64; 3]) -> impl Iterator<Item = [i64; 3]> {
    (0..27).map(move |n| [at[0] + n % 3 - 1, at[1] + n / 3 % 3 - 1, at[2] + n / 9 - 1])
}

/// Superpoints by cell, computed apart from the library; fails where points of one cell differ.
fn by_cell(positions: &[[f64; 3]], superpoints: &Superpoints) -> BTreeMap<[i64; 3], i32> {
    let mut cells = BTreeMap::new();
    for (position, &superpoint) in positions.iter().zip(&superpoints.of_point).filter(|(p, _)| is_finite(p)) {
        assert_eq!(*cells.entry(cell(position)).or_insert(superpoint), superpoint, "a voxel belongs to one superpoint");
    }
    cells
}

/// The connected parts of a set of cells.
fn parts(mut cells: BTreeSet<[i64; 3]>) -> Vec<BTreeSet<[i64; 3]>> {
    let mut parts = Vec::new();
    while let Some(first) = cells.pop_first() {
        let (mut part, mut open) = (BTreeSet::from([first]), vec![first]);
        while let Some(at) = open.pop() {
            let next: Vec<_> = around(at).filter(|other| cells.remove(other)).collect();
            part.extend(&next);
            open.extend(next);
        }
        parts.push(part);
    }
    parts
}

/// Everything that a result promises, against plain recomputation.
fn check(positions: &[[f64; 3]], method: &Method, result: &Superpoints) {
    let count = result.count();
    assert_eq!(result.of_point.len(), positions.len());
    assert_eq!((result.centroids.len(), result.sizes.len()), (count, count));
    let mut sizes = vec![0_u32; count];
    let mut sums = vec![[0.0; 3]; count];
    for (position, &superpoint) in positions.iter().zip(&result.of_point) {
        if !is_finite(position) {
            assert_eq!(superpoint, NO_SUPERPOINT);
            continue;
        }
        let Ok(superpoint) = usize::try_from(superpoint) else {
            assert!(matches!(method, Method::VccsPcl(_)), "every finite point has a superpoint");
            continue;
        };
        sizes[superpoint] += 1;
        (0..3).for_each(|axis| sums[superpoint][axis] += position[axis]);
    }
    assert_eq!(result.sizes, sizes);
    assert!(sizes.iter().all(|&size| size > 0), "superpoints are numbered without holes");
    for ((centroid, sum), &size) in result.centroids.iter().zip(&sums).zip(&sizes) {
        for axis in 0..3 {
            let mean = sum[axis] / f64::from(size);
            assert!((centroid[axis] - mean).abs() <= VOXEL / 2048.0 + mean.abs() * 1e-6, "{centroid:?} {mean}");
        }
    }
    if matches!(method, Method::VccsPcl(_)) {
        return;
    }
    let cells = by_cell(positions, result);
    let mut pairs = BTreeSet::new();
    let mut members = vec![BTreeSet::new(); count];
    for (&at, &superpoint) in &cells {
        members[superpoint as usize].insert(at);
        let others = around(at).filter_map(|other| cells.get(&other)).filter(|&&other| superpoint < other);
        pairs.extend(others.map(|&other| [superpoint as u32, other as u32]));
    }
    assert_eq!(result.adjacency, Vec::from_iter(pairs));
    for cells in members {
        // What is not linked to the largest part was a stray within reach of it or of another stray's place.
        let mut parts = parts(cells);
        parts.sort_by_key(BTreeSet::len);
        let largest = parts.pop().unwrap();
        if stray_reach(method) == 0.0 {
            assert!(parts.is_empty(), "superpoints are connected");
        }
        let reach = (stray_reach(method) / VOXEL).ceil() as i64 + 1;
        for part in parts {
            let near = part.iter().any(|a| largest.iter().any(|b| (0..3).all(|i| (a[i] - b[i]).abs() <= reach)));
            assert!(near, "a part lies farther away than strays reach");
        }
    }
}

/// The ids of `result` for points in the order of `order`.
fn reordered(result: &Superpoints, order: &[usize]) -> Vec<i32> {
    order.iter().map(|&point| result.of_point[point]).collect()
}

fn any_cloud() -> impl Strategy<Value = Vec<[f64; 3]>> {
    // Clumps, sheets and scattered points on a coarse lattice, so that cells are shared and touch by chance.
    let coordinate = prop_oneof![4 => (-20_i32..20).prop_map(f64::from), 1 => -20.0..20.0_f64];
    let scattered = prop::collection::vec([coordinate.clone(), coordinate.clone(), coordinate], 0..60);
    let sheet = (1_i32..25, 1_i32..25, 0_usize..3).prop_map(|(width, height, axis)| {
        let place = |i: i32| [f64::from(i % width), f64::from(i / width), 3.0];
        (0..width * height)
            .map(|i| {
                let mut p = place(i);
                p.rotate_left(axis);
                p
            })
            .collect::<Vec<_>>()
    });
    let not_finite = prop::collection::vec(prop_oneof![Just(f64::NAN), Just(f64::INFINITY)], 0..3);
    (scattered, sheet, not_finite).prop_map(|(mut points, sheet, not_finite)| {
        points.extend(sheet);
        points.iter_mut().for_each(|p| *p = p.map(|v| (v + 0.31) * VOXEL));
        points.extend(not_finite.into_iter().map(|v| [0.0, v, 0.0]));
        points
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_cloud_has_a_sound_partition_in_any_order(points in any_cloud(), seed in any::<u64>()) {
        let colors: Vec<[u8; 3]> = points.iter().map(|p| p.map(|v| (v.abs() * 400.0) as u8)).collect();
        let mut order: Vec<usize> = (0..points.len()).collect();
        shuffle(seed, &mut order);
        let turned: Vec<_> = order.iter().map(|&i| points[i]).collect();
        let turned_colors: Vec<_> = order.iter().map(|&i| colors[i]).collect();
        for method in every_method() {
            let result = found(&points, Some(&colors), &method);
            check(&points, &method, &result);
            if !matches!(method, Method::VccsPcl(_)) {
                let again = found(&turned, Some(&turned_colors), &method);
                prop_assert_eq!(&again.of_point, &reordered(&result, &order));
                prop_assert_eq!((&again.sizes, &again.centroids), (&result.sizes, &result.centroids));
                prop_assert_eq!(&again.adjacency, &result.adjacency);
            }
        }
    }

    #[test]
    fn votes_follow_their_definition(
        ids in prop::collection::vec(-1_i64..6, 0..80),
        labels in prop::collection::vec(-1_i32..4, 80),
    ) {
        let superpoints = Superpoints::from_external(&ids, Cancel::default()).unwrap();
        let labels = &labels[..ids.len()];
        let got = vote::majority(&superpoints, labels, None, Cancel::default()).unwrap();
        for (point, &id) in ids.iter().enumerate() {
            let votes = |label: i32| (0..ids.len()).filter(|&p| ids[p] == id && labels[p] == label).count();
            let best = (0..4).rev().max_by_key(|&label| votes(label)).filter(|&label| votes(label) > 0);
            let want = if id == -1 { labels[point] } else { best.unwrap_or(-1) };
            prop_assert_eq!(got[point], want);
        }
    }
}

#[test]
fn rooms_have_sound_partitions_whatever_the_threads_and_the_order() {
    let scene = furniture(3, 900.0);
    let positions = in_f64(&scene.positions);
    let mut order: Vec<usize> = (0..positions.len()).collect();
    shuffle(8, &mut order);
    let turned: Vec<_> = order.iter().map(|&i| positions[i]).collect();
    let colors: Vec<_> = order.iter().map(|&i| scene.colors[i]).collect();
    for method in every_method() {
        let with = |threads: usize| {
            let pool = rayon_pool(threads);
            pool(&|| found(&positions, Some(&scene.colors), &method))
        };
        let result = with(1);
        check(&positions, &method, &result);
        assert!(result.count() > 15, "{method:?}: {}", result.count());
        assert_eq!(result, with(2));
        assert_eq!(result, with(5));
        if !matches!(method, Method::VccsPcl(_)) {
            let again = found(&turned, Some(&colors), &method);
            assert_eq!(again.of_point, reordered(&result, &order), "{method:?}");
            assert_eq!(again.of_voxel, result.of_voxel);
        }
    }
}

/// Runs what it is given on `threads` threads.
fn rayon_pool(threads: usize) -> impl Fn(&(dyn Fn() -> Superpoints + Sync)) -> Superpoints {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    move |work| pool.install(work)
}

#[test]
fn clouds_that_break_others_are_survived() {
    let line: Vec<[f64; 3]> = (0..500).map(|i| [f64::from(i) * 0.01, 0.0, 0.0]).collect();
    let mut some_nan = line.clone();
    some_nan.extend([[f64::NAN, 0.0, 0.0], [0.0, f64::NEG_INFINITY, 0.0], [f64::NAN; 3]]);
    type Case<'a> = (&'a str, Vec<[f64; 3]>, Option<usize>);
    let clouds: [Case<'_>; 8] = [
        ("empty", Vec::new(), Some(0)),
        ("all NaN", vec![[f64::NAN; 3]; 9], Some(0)),
        ("some NaN", some_nan, None),
        ("one point", vec![[1.0, 2.0, 3.0]], Some(1)),
        ("identical points", vec![[-0.3, 0.2, 0.1]; 100], Some(1)),
        ("two points far apart", vec![[0.0; 3], [10.0, 0.0, 0.0]], Some(2)),
        ("a line", line, None),
        ("smaller than a voxel", (0..50).map(|i| [0.001 * f64::from(i), 0.01, 0.01]).collect(), Some(1)),
    ];
    for (name, points, count) in &clouds {
        for method in every_method() {
            let result = found(points, None, &method);
            check(points, &method, &result);
            if let Some(count) = count
                && !matches!(method, Method::VccsPcl(_))
            {
                assert_eq!(result.count(), *count, "{name}, {method:?}");
            }
            // The voxel size may be measured on any of them.
            let cloud = Cloud::new(StridedView::packed_f64(points), Frame::default());
            let measured = SuperpointOptions { voxel_size: None, method };
            let result = superpoints(&cloud, &measured, None, Cancel::default()).unwrap();
            assert_eq!(result.of_point.len(), points.len(), "{name}");
        }
    }
}

#[test]
fn seeds_no_larger_than_voxels_make_every_voxel_a_superpoint() {
    let scene = furniture(1, 400.0);
    let positions = in_f64(&scene.positions);
    let voxels: BTreeSet<_> = positions.iter().map(cell).collect();
    for seed in [0.01, 0.05] {
        assert_eq!(found(&positions, None, &vccs(seed)).count(), voxels.len());
    }
}

#[test]
fn voxels_that_do_not_fit_their_keys_are_refused() {
    let points = [[0.0; 3], [100_000.0, 0.0, 0.0]];
    let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
    for method in every_method() {
        let tiny = SuperpointOptions { voxel_size: Some(0.001), method };
        let error = superpoints(&cloud, &tiny, None, Cancel::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
        let coarse = SuperpointOptions { voxel_size: Some(1.0), ..tiny };
        let found = superpoints(&cloud, &coarse, None, Cancel::default());
        // The library's seed cells are smaller than the voxels here, and its own kind does not need any.
        assert_eq!(found.is_err(), matches!(coarse.method, Method::VccsPcl(_)));
    }
}

#[test]
fn a_far_origin_changes_nothing() {
    // Multiples of 2^-10 m, and a shift by whole voxels and seed cells: nothing is rounded.
    let snap = |v: f32| (f64::from(v) * 1024.0).round() / 1024.0;
    let scene = furniture(5, 700.0);
    let near: Vec<[f64; 3]> = scene.positions.iter().map(|p| p.map(snap)).collect();
    let far: Vec<[f64; 3]> = near.iter().map(|p| [p[0] + 512_000.0, p[1] + 5_400_000.0, p[2] + 300.0]).collect();
    for method in [vccs(0.5), graph(Target::Scale(0.1))] {
        let of = |positions: &[[f64; 3]]| {
            let positions = Cloud::new(StridedView::packed_f64(positions), Frame::default());
            let cloud = Cloud { colors: Some(StridedView::packed_u8(&scene.colors)), ..positions };
            let options = SuperpointOptions { voxel_size: Some(0.0625), method: method.clone() };
            superpoints(&cloud, &options, None, Cancel::default()).unwrap()
        };
        let (near, far) = (of(&near), of(&far));
        assert_eq!(near.of_point, far.of_point);
        assert_eq!(near.adjacency, far.adjacency);
        for (a, b) in near.centroids.iter().zip(&far.centroids) {
            assert!((b[1] - a[1] - 5_400_000.0).abs() < 1e-3);
        }
    }
}

#[test]
fn units_axes_and_poses_are_applied() {
    let scene = furniture(2, 500.0);
    let positions = in_f64(&scene.positions);
    let want = found(&positions, None, &vccs(0.3));
    // The same room in centimetres of a left-handed frame.
    let unreal: Vec<[f64; 3]> = positions.iter().map(|p| [p[0] * 128.0, -p[1] * 128.0, p[2] * 128.0]).collect();
    let frame = Frame { unit_in_metres: 1.0 / 128.0, axes: Axes::LeftHandedZUp, pose: None };
    let cloud = Cloud::new(StridedView::packed_f64(&unreal), frame);
    let got = superpoints(&cloud, &options(vccs(0.3)), None, Cancel::default()).unwrap();
    assert_eq!(got.of_point, want.of_point);
    assert_eq!(got.centroids, want.centroids);
}

#[test]
fn given_normals_count_whatever_their_lengths_signs_and_order() {
    // Two planes that only their given normals tell apart: the points lie in one.
    let points: Vec<[f64; 3]> =
        (0..2400).map(|i| [f64::from(i % 60) * 0.025, f64::from(i / 60) * 0.025, 0.0]).collect();
    let normal = |i: usize| {
        let length = if i.is_multiple_of(2) { 2.0 } else { -0.5 };
        if points[i][0] < 0.75 { [0.0, 0.0, length] } else { [length, 0.0, 0.0] }
    };
    let mut normals: Vec<[f64; 3]> = (0..points.len()).map(normal).collect();
    normals[7] = [f64::NAN; 3];
    let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
    let cloud = Cloud { normals: Some(StridedView::packed_f64(&normals)), ..cloud };
    for method in [vccs(0.3), graph(Target::Count(2))] {
        let result = superpoints(&cloud, &options(method), None, Cancel::default()).unwrap();
        let side = |left: bool| -> BTreeSet<i32> {
            let on = points.iter().zip(&result.of_point).filter(|(p, _)| (p[0] < 0.75) == left);
            on.map(|(_, &superpoint)| superpoint).collect()
        };
        assert!(side(true).is_disjoint(&side(false)));
    }
    let short = Cloud { normals: Some(StridedView::packed_f64(&normals[1..])), ..cloud };
    let error = superpoints(&short, &options(vccs(0.3)), None, Cancel::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

#[test]
fn a_target_count_is_met() {
    let scene = furniture(4, 900.0);
    let positions = in_f64(&scene.positions);
    let components = parts(positions.iter().map(cell).collect()).len();
    for count in [1, 2, 17, 64, 300] {
        let result = found(&positions, Some(&scene.colors), &graph(Target::Count(count)));
        assert!(result.count() <= count.max(components), "{} of {count}", result.count());
        assert!(result.count() + 2 >= count, "{} of {count}", result.count());
    }
    // Small superpoints join others unless asked for.
    let small = Graph { target: Target::Scale(0.0), least_voxels: 1, ..Graph::default() };
    assert!(found(&positions, None, &Method::Graph(small)).count() > 300);
}

#[test]
fn features_of_voxels_make_borders_that_nothing_else_shows() {
    // A flat grey plane whose halves differ in meaning only.
    let points: Vec<[f64; 3]> = (0..3600).map(|i| [f64::from(i % 60) * 0.03, f64::from(i / 60) * 0.03, 0.0]).collect();
    let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
    let voxels = VoxelCloud::new(&cloud, VOXEL, Cancel::default()).unwrap();
    let mut meaning = vec![0.0_f32; voxels.len()];
    for (point, &voxel) in points.iter().zip(&voxels.voxel_of_point) {
        meaning[voxel as usize] = if point[0] < 0.9 { 1.0 } else { 0.0 };
    }
    let values: Vec<f32> = meaning.iter().flat_map(|&m| [m, 1.0 - m, 0.5]).collect();
    let method = Method::Graph(Graph { target: Target::Count(2), features: 1.0, ..Graph::default() });
    let with = |features| superpoints_of_voxels(&voxels, &method, features, Cancel::default());
    let result = with(Some(VoxelFeatures { values: &values, width: 3 })).unwrap();
    assert_eq!(result.count(), 2);
    for (voxel, &superpoint) in result.of_voxel.iter().enumerate() {
        assert_eq!(superpoint == result.of_voxel[0], meaning[voxel] == meaning[0]);
    }
    let error = with(Some(VoxelFeatures { values: &values[1..], width: 3 })).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
}

#[test]
fn parameters_out_of_range_are_named() {
    let cloud = Cloud::from_xyz(&[[0.0; 3]]);
    let vccs_with = |change: &dyn Fn(&mut Vccs)| {
        let mut vccs = Vccs::default();
        change(&mut vccs);
        Method::Vccs(vccs)
    };
    let graph_with = |change: &dyn Fn(&mut Graph)| {
        let mut graph = Graph::default();
        change(&mut graph);
        Method::Graph(graph)
    };
    let wrong = [
        ("voxel_size", SuperpointOptions { voxel_size: Some(0.0), method: Method::default() }),
        ("voxel_size", SuperpointOptions { voxel_size: Some(f64::NAN), method: Method::default() }),
        ("seed_size", options(vccs(-1.0))),
        ("rounds", options(vccs_with(&|v| v.rounds = Some(0)))),
        ("rounds", options(vccs_with(&|v| v.rounds = Some(1001)))),
        ("refinements", options(vccs_with(&|v| v.refinements = 101))),
        ("refinements", options(Method::VccsPcl(VccsPcl { refinements: 101, ..VccsPcl::default() }))),
        ("color", options(vccs_with(&|v| v.weights.color = f32::NAN))),
        ("stray_reach", options(vccs_with(&|v| v.stray_reach = Some(-0.1)))),
        ("scale", options(graph(Target::Scale(-1.0)))),
        ("count", options(graph(Target::Count(0)))),
        ("step", options(graph_with(&|g| g.step = f32::INFINITY))),
        ("seed_size", options(Method::VccsPcl(VccsPcl { seed_size: Some(f64::INFINITY), ..VccsPcl::default() }))),
    ];
    for (name, options) in wrong {
        let error = superpoints(&cloud, &options, None, Cancel::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn extreme_parameters_end() {
    let scene = furniture(6, 300.0);
    let positions = in_f64(&scene.positions);
    let huge = f64::MAX;
    for method in [
        vccs(huge),
        vccs(1e-300),
        Method::Vccs(Vccs { seed_size: Some(0.3), rounds: Some(1000), ..Vccs::default() }),
        Method::Vccs(Vccs { seed_size: Some(0.3), stray_reach: Some(huge), ..Vccs::default() }),
        graph(Target::Scale(f32::MAX)),
        graph(Target::Count(usize::MAX)),
        Method::Graph(Graph { normal: 0.0, color: 0.0, step: 0.0, spatial: 0.0, ..Graph::default() }),
        Method::Graph(Graph { normal: f32::MAX, spatial: f32::MAX, ..Graph::default() }),
        Method::Graph(Graph { least_voxels: u32::MAX, stray_reach: Some(huge), ..Graph::default() }),
    ] {
        let result = found(&positions, Some(&scene.colors), &method);
        assert!(result.of_point.iter().all(|&superpoint| superpoint >= 0), "{method:?}");
    }
}

#[test]
fn the_point_spacing_is_the_median_distance_of_nearest_points() {
    let grid: Vec<[f64; 3]> =
        (0..4000).map(|i| [f64::from(i % 50), f64::from(i / 50), 0.0].map(|v| v * 0.03)).collect();
    let mut random = Generator::new(3);
    let spacing = |points: &[[f64; 3]]| {
        let cloud = Cloud::new(StridedView::packed_f64(points), Frame::default());
        point_spacing(&cloud, Cancel::default()).unwrap()
    };
    assert!((spacing(&grid).unwrap() - 0.03).abs() < 1e-9);
    // Duplicates have no distance, and one far point does not spoil the cells.
    let doubled: Vec<_> = grid.iter().chain(&grid).copied().chain([[30_000.0, 0.0, 0.0]]).collect();
    assert!((spacing(&doubled).unwrap() - 0.03).abs() < 1e-9);
    let scattered: Vec<[f64; 3]> = (0..900).map(|_| [0; 3].map(|_| random.range(0.0, 1.0))).collect();
    let distance = |a: &[f64; 3], b: &[f64; 3]| (0..3).map(|i| (a[i] - b[i]).powi(2)).sum::<f64>().sqrt();
    let nearest = |a: &[f64; 3]| scattered.iter().filter(|b| *b != a).map(|b| distance(a, b)).fold(f64::MAX, f64::min);
    let mut want: Vec<f64> = scattered.iter().map(nearest).collect();
    want.sort_by(f64::total_cmp);
    assert!((spacing(&scattered).unwrap() - want[450]).abs() < 1e-12);
    assert_eq!(spacing(&[]), None);
    assert_eq!(spacing(&[[1.0; 3]; 5]), None);
}

#[test]
fn every_phase_can_be_cancelled() {
    let scene = furniture(7, 900.0);
    let cloud = Cloud::from_xyz(&scene.positions);
    for method in every_method() {
        let set = AtomicBool::new(true);
        let error = superpoints(&cloud, &options(method.clone()), None, Cancel::when(&set)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled);
        // Set at some moment of a run: the result is whole or absent.
        let want = superpoints(&cloud, &options(method.clone()), None, Cancel::default()).unwrap();
        let cancelled = AtomicUsize::new(0);
        for delay in 0..12 {
            let flag = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(std::time::Duration::from_micros(500 * delay));
                    flag.store(true, Ordering::Relaxed);
                });
                match superpoints(&cloud, &options(method.clone()), None, Cancel::when(&flag)) {
                    Ok(result) => assert_eq!(result, want),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Cancelled);
                        cancelled.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        assert!(cancelled.into_inner() > 0, "{method:?}");
    }
}
