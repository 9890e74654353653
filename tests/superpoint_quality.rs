//! How good superpoints and their votes are, against the point cloud library's over many poses, on the optional
//! recordings (env `OV3D_SHARED`) and on generated rooms.
//!
//! With `OV3D_PCL` naming the program that `tests/pcl/build.sh` builds, the library itself runs side by side; without
//! it `vccs-pcl` stands in, whose ids are the library's (`tests/superpoint_parity.rs`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, RoomOptions, StridedView, room};
use openvocab3d::superpoint::{
    Graph, Method, SuperpointOptions, Superpoints, Target, Vccs, VccsPcl, superpoints, vote,
};
use std::path::Path;
use support::pcl;
use support::quality::{Borders, Quality, accuracy_and_miou, fill, mean_and_deviation, posed, quality};
use support::shared::shared;
use support::supervoxels::{StoredCloud, read_bytes, read_cloud, read_ply, read_truth, vccs as fixtures};

const POSES: u64 = 16;

/// A cloud with its truth.
struct Scene {
    cloud: StoredCloud,
    truth: Vec<u8>,
    borders: Borders,
    /// About the distance of neighbouring points in metres.
    spacing: f32,
    /// The radius of boundary recall in metres.
    radius: f32,
}

impl Scene {
    fn new((cloud, truth): (StoredCloud, Vec<u8>), spacing: f32, radius: f32) -> Self {
        let borders = Borders::new(&cloud.positions, spacing);
        Self { cloud, truth, borders, spacing, radius }
    }

    fn fixture(root: &Path, name: &str, spacing: f32, radius: f32) -> Self {
        Self::new((read_cloud(root, name), read_truth(root, name)), spacing, radius)
    }

    fn superpoints(&self, positions: &[[f32; 3]], options: &SuperpointOptions) -> Superpoints {
        let colors = Some(StridedView::packed_u8(&self.cloud.colors));
        let cloud = Cloud { colors, ..Cloud::from_xyz(positions) };
        superpoints(&cloud, options, None, Cancel::default()).unwrap()
    }

    fn measure(&self, pose: u64, options: &SuperpointOptions) -> Quality {
        let positions = posed(&self.cloud.positions, pose);
        let mut of_point = match (&options.method, pcl::program()) {
            (Method::VccsPcl(vccs), Some(program)) => {
                pcl::run(&program, &positions, &self.cloud.colors, options.voxel_size.unwrap(), vccs).of_point
            }
            _ => self.superpoints(&positions, options).of_point,
        };
        fill(&mut of_point, &self.cloud.positions, self.spacing);
        quality(&of_point, &self.truth, &self.borders, self.radius)
    }
}

/// Measures over poses or scenes.
#[derive(Clone)]
struct Measured(Vec<Quality>);

impl Measured {
    fn over_poses(name: &str, scene: &Scene, voxel: f64, method: Method) -> Self {
        let options = SuperpointOptions { voxel_size: Some(voxel), method };
        Self((0..POSES).map(|pose| scene.measure(pose, &options)).collect()).printed(name)
    }

    fn printed(self, name: &str) -> Self {
        let of = |pick| self.of(pick);
        let ((count, _), (accuracy, accuracy_sd)) = (of(|q| q.count), of(|q| q.accuracy));
        let ((miou, miou_sd), (recall, recall_sd)) = (of(|q| q.oracle_miou), of(|q| q.boundary_recall));
        println!(
            "{name:28} {count:7.1}  ASA {accuracy:.4} +- {accuracy_sd:.4}  oracle mIoU {miou:.4} +- {miou_sd:.4}  \
             border recall {recall:.3} +- {recall_sd:.3}"
        );
        self
    }

    fn of(&self, pick: fn(&Quality) -> f64) -> (f64, f64) {
        mean_and_deviation(self.0.iter().map(pick))
    }

    fn count(&self) -> f64 {
        self.of(|q| q.count).0
    }

    fn miou(&self) -> (f64, f64) {
        self.of(|q| q.oracle_miou)
    }

    /// How far the oracle mIoU lies above `other`'s, and the standard error of that.
    fn above(&self, other: &Self) -> (f64, f64) {
        let ((a, a_sd), (b, b_sd)) = (self.miou(), other.miou());
        (a - b, ((a_sd * a_sd + b_sd * b_sd) / POSES as f64).sqrt())
    }
}

fn pcl_method(seed: f64) -> Method {
    Method::VccsPcl(VccsPcl { seed_size: Some(seed), ..VccsPcl::default() })
}

fn vccs_method(seed: f64) -> Method {
    Method::Vccs(Vccs { seed_size: Some(seed), ..Vccs::default() })
}

fn graph_method(count: usize) -> Method {
    Method::Graph(Graph { target: Target::Count(count), ..Graph::default() })
}

fn same_count(a: &Measured, b: &Measured) {
    assert!((a.count() / b.count() - 1.0).abs() <= 0.1, "{} and {} superpoints", a.count(), b.count());
}

/// The bars of the S3DIS room: by how much `vccs` must lie above the library at each seed size, and the oracle mIoU
/// of `graph` at each count.
#[test]
fn a_room_in_many_poses() {
    let Some(root) = fixtures() else { return println!("OV3D_SHARED is not set, no recordings to measure on") };
    let scene = Scene::fixture(&root, "s3dis", 0.03, 0.05);
    let mut spreads = Vec::new();
    for voxel in [0.05, 0.04] {
        // At 0.2 m the library loses seeds that ours keep; a slightly larger one makes the numbers equal.
        for (seed, own_seed, ahead) in [(0.5, 0.5, 0.01), (0.3, 0.3, 0.01), (0.2, 0.21, 0.0)] {
            let library = Measured::over_poses(&format!("pcl {voxel}/{seed}"), &scene, voxel, pcl_method(seed));
            let own = Measured::over_poses(&format!("vccs {voxel}/{own_seed}"), &scene, voxel, vccs_method(own_seed));
            same_count(&own, &library);
            let (above, error) = own.above(&library);
            println!("  above by {above:.4}, standard error {error:.4}");
            assert!(above >= ahead && above > 2.0 * error, "{above:.4} above, standard error {error:.4}");
            spreads.push(own.miou().1);
        }
    }
    for ((count, bar), spread) in [(220, 0.914), (520, 0.939), (1040, 0.957)].into_iter().zip(&spreads[3..]) {
        let own = Measured::over_poses(&format!("graph 0.04, {count}"), &scene, 0.04, graph_method(count));
        let (miou, deviation) = own.miou();
        assert!((own.count() / count as f64 - 1.0).abs() < 0.01, "{} of {count} superpoints", own.count());
        assert!(miou + 2.0 * deviation / (POSES as f64).sqrt() >= bar, "{miou:.4}, not {bar}");
        assert!(deviation <= *spread, "a spread of {deviation:.4} over poses, more than {spread:.4}");
    }
}

#[test]
fn tables_with_things_on_them() {
    let Some(root) = shared() else { return println!("OV3D_SHARED is not set, no recordings to measure on") };
    let mut scenes = vec![Scene::fixture(&fixtures().unwrap(), "mosd_test60", 0.0015, 0.01)];
    for name in ["learn0", "learn25", "learn34"] {
        let recorded = read_ply(&root.join(format!("data/indoor_tabletop_osd/{name}.ply")));
        scenes.push(Scene::new(recorded, 0.0015, 0.01));
    }
    let over_scenes = |name: &str, method: &dyn Fn(usize) -> Method| {
        let measured = scenes.iter().enumerate().flat_map(|(index, scene)| {
            let options = SuperpointOptions { voxel_size: Some(0.008), method: method(index) };
            (0..4).map(move |pose| scene.measure(pose, &options))
        });
        Measured(measured.collect()).printed(name)
    };
    let library = over_scenes("pcl 0.008/0.1", &|_| pcl_method(0.1));
    let own = over_scenes("vccs 0.008/0.1", &|_| vccs_method(0.1));
    // The library's numbers in each scene.
    let counts: Vec<usize> =
        library.0.chunks(4).map(|poses| (poses.iter().map(|q| q.count).sum::<f64>() / 4.0) as usize).collect();
    let merged = over_scenes("graph, as many", &|scene| graph_method(counts[scene]));
    same_count(&own, &library);
    same_count(&merged, &library);
    let recall = |measured: &Measured| measured.of(|q| q.boundary_recall).0;
    assert!(recall(&own) > recall(&library) + 0.03, "{} and {}", recall(&own), recall(&library));
    assert!(recall(&merged) > recall(&library) + 0.05, "{} and {}", recall(&merged), recall(&library));
    assert!(own.miou().0 > library.miou().0 + 0.01 && merged.miou().0 > own.miou().0 + 0.01);
}

/// Kinds of noise, and the per cent of wrong labels of the stored draws.
const NOISE: [(&str, &[u32]); 3] = [("indep", &[10, 20, 30, 40]), ("blob", &[10, 20, 30, 40]), ("bleed", &[10, 20])];

/// Accuracy and mIoU after votes on the stored noise, mean over poses. Per kind of noise the mean accuracy must reach
/// the library's at the same sizes, less two standard errors.
#[test]
fn votes_remove_noise() {
    let Some(root) = fixtures() else { return println!("OV3D_SHARED is not set, no recordings to measure on") };
    let rooms = [
        ("pcl .05/.3", 0.05, pcl_method(0.3)),
        ("pcl .05/.5", 0.05, pcl_method(0.5)),
        ("vccs .05/.3", 0.05, vccs_method(0.3)),
        ("vccs .05/.5", 0.05, vccs_method(0.5)),
        ("graph .04, 510", 0.04, graph_method(510)),
        ("graph .04, 227", 0.04, graph_method(227)),
    ];
    let tables = [
        ("pcl .008/.1", 0.008, pcl_method(0.1)),
        ("vccs .008/.1", 0.008, vccs_method(0.1)),
        ("graph .008, 142", 0.008, graph_method(142)),
        ("graph .008, 64", 0.008, graph_method(64)),
    ];
    for (name, methods, poses) in [("s3dis", &rooms[..], POSES), ("mosd_test60", &tables[..], 6)] {
        let (cloud, truth) = (read_cloud(&root, name), read_truth(&root, name));
        let scene = Scene { borders: Borders::new(&[], 1.0), cloud, truth, spacing: 0.0, radius: 0.0 };
        let measured: Vec<_> = methods.iter().map(|method| voted(&root, name, &scene, method, poses)).collect();
        let compared = if name == "s3dis" { &[(2, 0), (3, 1), (4, 0), (5, 1)][..] } else { &[(1, 0), (2, 0), (3, 0)] };
        for &(own, library) in compared {
            for (kind, (own, library)) in measured[own].iter().zip(&measured[library]).enumerate() {
                let error = ((own.1.powi(2) + library.1.powi(2)) / poses as f64).sqrt();
                assert!(own.0 >= library.0 - 2.0 * error, "{}: {own:?}, the library {library:?}", NOISE[kind].0);
            }
        }
    }
}

/// Per kind of noise the mean accuracy and its deviation over poses.
fn voted(
    root: &Path,
    name: &str,
    scene: &Scene,
    (label, voxel, method): &(&str, f64, Method),
    poses: u64,
) -> Vec<(f64, f64)> {
    let options = SuperpointOptions { voxel_size: Some(*voxel), method: method.clone() };
    let partitions: Vec<Superpoints> =
        (0..poses).map(|pose| scene.superpoints(&posed(&scene.cloud.positions, pose), &options)).collect();
    let mut line = format!("{name} {label:16}");
    let of_kind = |(kind, shares): (&str, &[u32])| {
        line += &format!("  {kind}");
        let mut per_pose = vec![0.0; partitions.len()];
        for share in shares {
            let noisy = read_bytes(&root.join(format!("noise/{name}_{kind}_{share}.u8")));
            let labels: Vec<i32> = noisy.iter().map(|&label| i32::from(label)).collect();
            let after = |found: &Superpoints| {
                let voted = vote::majority(found, &labels, None, Cancel::default()).unwrap();
                accuracy_and_miou(&voted, &scene.truth)
            };
            let measures: Vec<(f64, f64)> = partitions.iter().map(after).collect();
            per_pose.iter_mut().zip(&measures).for_each(|(sum, m)| *sum += m.0 / shares.len() as f64);
            let mean = |pick: fn(&(f64, f64)) -> f64| mean_and_deviation(measures.iter().map(pick)).0;
            line += &format!(" {:.3}/{:.3}", mean(|m| m.0), mean(|m| m.1));
        }
        mean_and_deviation(per_pose.into_iter())
    };
    let kinds = NOISE.into_iter().map(of_kind).collect();
    println!("{line}");
    kinds
}

/// The figures of the documentation: generated rooms, which anybody can measure again.
#[test]
fn generated_rooms() {
    let scenes: Vec<Scene> = (1..=6)
        .map(|seed| {
            let scene = room(&RoomOptions { seed, density: 900.0, noise: 0.004, ..RoomOptions::default() });
            let truth = scene.labels.iter().map(|&label| label as u8).collect();
            Scene::new(
                (StoredCloud { positions: scene.positions, colors: scene.colors, normals: None }, truth),
                0.03,
                0.05,
            )
        })
        .collect();
    let over_rooms = |name: &str, method: Method| {
        let options = SuperpointOptions { voxel_size: Some(0.05), method };
        let poses = scenes.iter().zip(0..).map(|(scene, pose)| scene.measure(pose, &options));
        Measured(poses.collect()).printed(name)
    };
    for (seed, ahead) in [(0.5, 0.005), (0.3, 0.0)] {
        let library = over_rooms(&format!("pcl .05/{seed}"), pcl_method(seed));
        let own = over_rooms(&format!("vccs .05/{seed}"), vccs_method(seed));
        let merged = over_rooms("graph, as many", graph_method(library.count() as usize));
        let miou = |measured: &Measured| measured.miou().0;
        assert!(miou(&own) >= miou(&library) + ahead, "{} and {}", miou(&own), miou(&library));
        assert!(miou(&merged) > miou(&own), "{} and {}", miou(&merged), miou(&own));
    }
}
