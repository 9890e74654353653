//! Superpoints at the limits: targets above what there is, sizes that leave float32 or the keys, crowded clouds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, Frame, MAX_EXTENT, StridedView};
use openvocab3d::superpoint::{
    Graph, Method, SuperpointOptions, Superpoints, Target, Vccs, VccsPcl, VoxelCloud, VoxelFeatures,
    default_voxel_size, point_spacing, superpoints, superpoints_of_voxels,
};
use openvocab3d::{ErrorKind, Result};
use support::generate::Generator;

fn find(positions: &[[f64; 3]], voxel_size: f64, method: Method) -> Result<Superpoints> {
    let cloud = Cloud::new(StridedView::packed_f64(positions), Frame::default());
    superpoints(&cloud, &SuperpointOptions { voxel_size: Some(voxel_size), method }, None, Cancel::default())
}

fn counted(positions: &[[f64; 3]], count: usize) -> usize {
    let graph = Graph { target: Target::Count(count), ..Graph::default() };
    find(positions, 1.0, Method::Graph(graph)).unwrap().count()
}

fn pcl(seed_size: Option<f64>) -> Method {
    Method::VccsPcl(VccsPcl { seed_size, ..VccsPcl::default() })
}

fn plane(side: u32) -> Vec<[f64; 3]> {
    (0..side * side).map(|i| [f64::from(i % side) + 0.5, f64::from(i / side) + 0.5, 0.5]).collect()
}

#[test]
fn counts_near_the_number_of_voxels_are_met() {
    let plane = plane(30);
    for count in [300, 800, 850, 899, 900, 901, 5000] {
        assert_eq!(counted(&plane, count), count.min(900), "of {count}");
    }
    // A third of the cells of a box: clumps, chains and single voxels.
    let mut random = Generator::new(11);
    let box_of = (0..15 * 15 * 15).map(|i| [i % 15, i / 15 % 15, i / 225].map(|v| f64::from(v) + 0.5));
    let speckled: Vec<[f64; 3]> = box_of.filter(|_| random.range(0.0, 1.0) < 0.3).collect();
    for count in [200, 600, speckled.len(), 2 * speckled.len()] {
        let (got, want) = (counted(&speckled, count), count.min(speckled.len()));
        // Only voxels that touch nothing join others.
        assert!(got <= want && got + 8 > want, "{got} of {want}");
    }
}

#[test]
fn sizes_that_float32_takes_for_nothing_or_everything_are_refused() {
    let point = [[0.25, 0.5, 0.75]];
    for (voxel, seed, name) in [
        (1e-50, Some(1e-50), "seed_size"),
        (1e-50, None, "voxel_size"),
        (0.05, Some(1e-50), "seed_size"),
        (0.05, Some(1e39), "seed_size"),
        (1e39, None, "voxel_size"),
        (1e38, None, "seed_size"),
    ] {
        let error = find(&point, voxel, pcl(seed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // The sum of two is more than float32 holds.
    let far = [[3e38; 3]; 2];
    let error = find(&far, 0.05, pcl(None)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
    assert!(find(&point, 0.05, pcl(Some(1e30))).is_ok());
    assert!(find(&point, 1e-30, pcl(None)).is_ok());
}

#[test]
fn cells_at_the_limit_of_the_keys_are_refused_not_wrapped() {
    let most = MAX_EXTENT as f64;
    for extent in [most - 1.0, most, most + 1.0, 2.0 * most] {
        let points = [[0.0; 3], [extent, 0.0, 0.0]];
        match find(&points, 1.0, pcl(Some(8.0))) {
            Ok(found) => assert!(extent < most && found.of_point[0] != found.of_point[1] || found.count() == 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}");
                assert!(extent >= most, "{extent}");
            }
        }
    }
    assert!(find(&[[0.0; 3], [most, 0.0, 0.0]], 1.0, pcl(Some(8.0))).is_err());
    // Voxels that fit, in seed cells that straddle one more.
    let seeds = Vccs { seed_size: Some(1.000_000_1), stray_reach: Some(0.0), ..Vccs::default() };
    let points = [[16.0, 0.0, 0.0], [16.0 + most - 0.1, 0.0, 0.0]];
    match find(&points, 1.0, Method::Vccs(seeds)) {
        Ok(found) => assert_eq!(found.count(), 2),
        Err(error) => assert_eq!(error.kind(), ErrorKind::OutOfRange, "{error}"),
    }
}

#[test]
fn features_without_a_weight_are_not_read() {
    let points = plane(20);
    let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
    let voxels = VoxelCloud::new(&cloud, 1.0, Cancel::default()).unwrap();
    let values: Vec<f32> = (0..voxels.len()).map(|voxel| if voxel % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
    let method = Method::Graph(Graph { target: Target::Count(7), ..Graph::default() });
    let with = |features| superpoints_of_voxels(&voxels, &method, features, Cancel::default()).unwrap();
    assert_eq!(with(Some(VoxelFeatures { values: &values, width: 1 })), with(None));
}

fn spacing(points: &[[f64; 3]]) -> Option<f64> {
    let cloud = Cloud::new(StridedView::packed_f64(points), Frame::default());
    point_spacing(&cloud, Cancel::default()).unwrap()
}

#[test]
fn the_spacing_of_crowded_clouds_is_that_of_their_places() {
    let near = |got: Option<f64>, want: f64| assert!((got.unwrap() - want).abs() < 1e-6 * want, "{got:?} {want}");
    let flat = |count: u32| (0..count).map(|i| [f64::from(i % 400), f64::from(i / 400), 0.0].map(|v| v * 0.05));
    // Half of the points at each of several places, so that one of them is in the sample.
    for place in 0..3 {
        let crowd = std::iter::repeat_n([0.05 * f64::from(place), 0.0, 0.0], 150_000);
        near(spacing(&crowd.chain(flat(150_000)).collect::<Vec<_>>()), 0.05);
    }
    let far: Vec<_> = flat(1_000_000).chain([[3e6, 0.0, 0.0]]).collect();
    near(spacing(&far), 0.05);
    let few: Vec<_> = (0..1_000_000).map(|i| [f64::from(i % 20) * 3.0, 1.0, 2.0]).collect();
    near(spacing(&few), 3.0);
}

#[test]
fn the_default_voxel_size_fits_the_keys_whatever_lies_far_away() {
    for far in [1e3, 5_000.0, 3e6] {
        let points: Vec<_> = plane(60).iter().map(|p| p.map(|v| v * 0.01 - 7.3)).chain([[far, -far, 0.3]]).collect();
        let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
        let size = default_voxel_size(&cloud, Cancel::default()).unwrap();
        assert!((size >= 0.02 - 1e-9) && (far > 1e3 || size < 0.021), "{size}");
        let graph = Method::Graph(Graph::default());
        for method in [Method::default(), graph, pcl(None)] {
            let found = superpoints(&cloud, &SuperpointOptions { voxel_size: None, method }, None, Cancel::default());
            assert_eq!(found.unwrap().of_point.len(), points.len());
        }
    }
}

#[test]
fn strays_join_the_nearest_superpoint_however_far_they_reach() {
    // Single voxels three apart, and a sheet beyond them: all of one row are as far from the sheet.
    let sheet = plane(40);
    let single = (0..3000).map(|i| [f64::from(i % 60) * 3.0 + 0.5, 0.5 - f64::from(i / 60 + 1) * 3.0, 0.5]);
    let points: Vec<_> = sheet.iter().copied().chain(single).collect();
    let with =
        |reach: f64| find(&points, 1.0, Method::Graph(Graph { stray_reach: Some(reach), ..Graph::default() })).unwrap();
    let (all, some) = (with(1e6), with(30.0));
    assert!(all.count() < 10, "{}", all.count());
    for (point, at) in points.iter().enumerate().skip(sheet.len()) {
        let square = |other: &[f64; 3]| (0..3).map(|axis| (at[axis] - other[axis]).powi(2)).sum::<f64>();
        let nearest = sheet.iter().map(square).fold(f64::INFINITY, f64::min);
        let adopters: Vec<i32> =
            sheet.iter().zip(&all.of_point).filter(|(p, _)| square(p) == nearest).map(|(_, &s)| s).collect();
        assert_eq!(Some(&all.of_point[point]), adopters.iter().min(), "{at:?}");
        assert_eq!(some.sizes[some.of_point[point] as usize] == 1, nearest > 900.0, "{at:?}");
    }
}

#[test]
fn a_region_that_touches_nearly_all_others_is_merged_as_any_other() {
    // A ground with speckles of other colours on it, which only space keeps apart: here nothing does.
    let points = plane(120);
    let mut random = Generator::new(4);
    let colors: Vec<[u8; 3]> = points
        .iter()
        .map(|p| match (p[0] as u32 % 3, p[1] as u32 % 3) {
            (0, 0) => [0; 3].map(|_| random.range(100.0, 255.0) as u8),
            _ => [10; 3],
        })
        .collect();
    let cloud = Cloud::new(StridedView::packed_f64(&points), Frame::default());
    let cloud = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..cloud };
    let target = Target::Count(401);
    let method = Method::Graph(Graph { target, spatial: 0.0, least_voxels: 1, ..Graph::default() });
    let options = SuperpointOptions { voxel_size: Some(1.0), method };
    let found = superpoints(&cloud, &options, None, Cancel::default()).unwrap();
    assert_eq!(found.count(), 401);
    let ground = found.of_point[1];
    for (&superpoint, color) in found.of_point.iter().zip(&colors) {
        assert!(*color != [10; 3] || superpoint == ground);
    }
}
