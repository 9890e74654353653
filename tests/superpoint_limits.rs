//! Superpoints at the limits: targets above what there is, sizes that leave float32 or the keys, crowded clouds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod support;

use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, Frame, MAX_EXTENT, StridedView};
use openvocab3d::superpoint::{
    Graph, Method, SuperpointOptions, Superpoints, Target, Vccs, VccsPcl, VoxelCloud, VoxelFeatures, superpoints,
    superpoints_of_voxels,
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
