//! Parity with the point cloud library's supervoxels: every case of the optional fixtures (env `OV3D_SHARED`).
//!
//! Without that folder these tests say so and pass; `tests/superpoint.rs` covers the methods on generated input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, StridedView};
use openvocab3d::sparse::NO_VOXEL;
use openvocab3d::superpoint::pcl::{PclVoxels, supervoxels};
use openvocab3d::superpoint::{Method, SuperpointOptions, Superpoints, VccsPcl, Weights, superpoints, vote};
use std::path::PathBuf;
use support::quality::{accuracy_and_miou, fill, oracle};
use support::supervoxels::{
    StoredCloud, read_bytes, read_cloud, read_expected, read_f32_rows, read_truth, read_u16, read_u32, vccs,
};

/// The fixtures' folder, or a note that the test has nothing to compare with.
fn fixtures(test: &str) -> Option<PathBuf> {
    let folder = vccs();
    if folder.is_none() {
        println!("{test}: OV3D_SHARED is not set, nothing to compare with");
    }
    folder
}

fn cloud(stored: &StoredCloud) -> Cloud<'_> {
    Cloud { colors: Some(StridedView::packed_u8(&stored.colors)), ..Cloud::from_xyz(&stored.positions) }
}

#[test]
fn every_case_has_the_library_s_labels() {
    let Some(root) = fixtures("supervoxel cases") else { return };
    let mut failed = Vec::new();
    for (name, case) in read_expected(&root)["cases"].as_object().unwrap() {
        let stored = read_cloud(&root, case["cloud"].as_str().unwrap());
        let number = |key: &str| case[key].as_f64().unwrap();
        let given = case["normals_given"].as_bool().unwrap();
        let normals = stored.normals.as_ref().filter(|_| given).map(|n| StridedView::packed_f32(n));
        assert_eq!(normals.is_some(), given, "{name}");
        let cloud = Cloud { normals, ..cloud(&stored) };
        let options = VccsPcl {
            seed_size: Some(number("seed")),
            weights: Weights {
                spatial: number("spatial") as f32,
                color: number("color") as f32,
                normal: number("normal") as f32,
            },
            rounds: None,
            refinements: number("refine") as u32,
        };
        let voxels = PclVoxels::new(&cloud, number("voxel"), Cancel::default()).unwrap();
        assert_eq!(voxels.len() as f64, number("voxels"), "{name}");
        let found = supervoxels(&voxels, &options, Cancel::default()).unwrap();
        if let Some(seeds) = case["seeds"].as_u64() {
            assert_eq!(found.seeds.len() as u64, seeds, "{name}");
        }
        let want = read_u16(&root.join(format!("cases/{name}.labels.u16")));
        let label = |voxel: u32| if voxel == NO_VOXEL { 0 } else { found.labels[voxel as usize] };
        let got: Vec<u32> = voxels.voxel_of_point.iter().map(|&voxel| label(voxel)).collect();
        let equal = got.iter().zip(&want).filter(|(g, w)| **g == u32::from(**w)).count();
        let none = |labels: &mut dyn Iterator<Item = bool>| labels.filter(|none| *none).count();
        let unassigned = none(&mut got.iter().map(|&l| l == 0));
        let share = equal as f64 / want.len() as f64;
        println!("{name}: {:.4} % equal, {unassigned} unassigned", 100.0 * share);
        let bar = if (options.weights.color, options.weights.spatial) == (0.0, 0.0) { 0.98 } else { 0.999 };
        if share < bar || unassigned != none(&mut want.iter().map(|&l| l == 0)) {
            failed.push(name.clone());
        }
        let cent = read_f32_rows::<11>(&root.join(format!("cases/{name}.cent.f32")));
        if cent.len() != found.reported.len() {
            failed.push(format!("{name}: {} of {} reported", found.reported.len(), cent.len()));
        }
        let method = Method::VccsPcl(options);
        let options = SuperpointOptions { voxel_size: Some(number("voxel")), method };
        let dense = superpoints(&cloud, &options, None, Cancel::default()).unwrap();
        if equal == want.len() {
            let mut labels: Vec<u32> = found.labels.iter().copied().filter(|&l| l != 0).collect();
            labels.sort_unstable();
            labels.dedup();
            let pairs = dense.adjacency.iter().map(|pair| pair.map(|s| labels[s as usize]));
            // The library reports supervoxels that own nothing, too; here they do not exist.
            let owns = |pair: &&[u32; 2]| pair.iter().all(|label| labels.binary_search(label).is_ok());
            let want = read_u32(&root.join(format!("cases/{name}.adj.u32")));
            let want: Vec<[u32; 2]> = want.as_chunks().0.iter().filter(owns).copied().collect();
            let got: Vec<[u32; 2]> = pairs.collect();
            if got != want {
                failed.push(format!("{name}: {} pairs instead of {}", got.len(), want.len()));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Votes with the library's stored labels give the stored accuracies, to a millionth.
#[test]
fn votes_on_stored_noise_give_the_stored_accuracies() {
    let Some(root) = fixtures("votes") else { return };
    let mut compared = 0;
    for (name, expected) in read_expected(&root)["voting"].as_object().unwrap() {
        let cloud = expected["cloud"].as_str().unwrap();
        let truth = read_truth(&root, cloud);
        let labels: Vec<i32> = read_bytes(&root.join(format!("noise/{name}.u8"))).into_iter().map(i32::from).collect();
        let near = |labels: &[i32], expected: &serde_json::Value, what: &str| {
            let (accuracy, miou) = accuracy_and_miou(labels, &truth);
            for (got, key) in [(accuracy, "acc"), (miou, "miou")] {
                let want = expected[key].as_f64().unwrap();
                assert!((got - want).abs() <= 1e-6, "{name}, {what}: {key} {got}, stored {want}");
            }
        };
        near(&labels, &expected["before"], "before");
        for (case, after) in expected["after"].as_object().unwrap() {
            let stored = read_u16(&root.join(format!("cases/{case}.labels.u16")));
            // Label 0 is a point without a superpoint, which keeps its own.
            let ids: Vec<i64> = stored.iter().map(|&label| i64::from(label) - 1).collect();
            let superpoints = Superpoints::from_external(&ids, Cancel::default()).unwrap();
            near(&vote::majority(&superpoints, &labels, None, Cancel::default()).unwrap(), after, case);
            compared += 1;
        }
    }
    assert!(compared >= 20, "{compared} votes compared");
}

/// Oracle mIoU and achievable accuracy of the stored labels: the measures of these tests are the fixtures' own.
#[test]
fn measures_are_those_of_the_fixtures() {
    let Some(root) = fixtures("measures") else { return };
    for (name, case) in read_expected(&root)["cases"].as_object().unwrap() {
        let Some(metrics) = case["metrics"].as_object() else { continue };
        let cloud = case["cloud"].as_str().unwrap();
        let (stored, truth) = (read_cloud(&root, cloud), read_truth(&root, cloud));
        let labels = read_u16(&root.join(format!("cases/{name}.labels.u16")));
        let mut ids: Vec<i32> = labels.iter().map(|&label| i32::from(label) - 1).collect();
        fill(&mut ids, &stored.positions, 0.03);
        let (accuracy, miou) = accuracy_and_miou(&oracle(&ids, &truth), &truth);
        for (got, key) in [(accuracy, "asa"), (miou, "omiou")] {
            let want = metrics[key].as_f64().unwrap();
            // Which of two nearest points fills a gap, and which of two equal labels a superpoint has, is open.
            assert!((got - want).abs() <= 1e-4, "{name}: {key} {got}, stored {want}");
        }
    }
}
