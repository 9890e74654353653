//! Superpoints beside the point cloud library: time on one and two threads, and memory.
//!
//!     cargo bench --bench superpoints
//!
//! Generated rooms always, the recordings of `OV3D_SHARED` where it is set, and the library where `OV3D_PCL` names the
//! program that `tests/pcl/build.sh` builds. Every measurement is a process of its own, so that its peak of memory is
//! its own; the least of several runs counts, and the library's turns come between ours.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a benchmark prints its table")]

#[path = "../tests/support/mod.rs"]
mod support;

use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, RoomOptions, StridedView, room};
use openvocab3d::superpoint::{Graph, Method, SuperpointOptions, Target, Vccs, VccsPcl, superpoints};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;
use support::pcl;
use support::shared::shared;
use support::supervoxels::{StoredCloud, read_cloud, read_cloud_at, read_ply, vccs, write_cloud};

/// Rounds of measurements; the best of each counts.
const ROUNDS: usize = 3;

/// Runs in one process.
const RUNS: usize = 4;

/// A cloud and the sizes of voxels and seeds, in metres.
struct Case {
    name: String,
    cloud: StoredCloud,
    voxel: f64,
    seed: f64,
}

/// What a process measured: milliseconds, superpoints, KiB above the loaded cloud.
#[derive(Clone, Copy)]
struct Measured {
    milliseconds: f64,
    count: usize,
    kib: f64,
}

impl Measured {
    fn best(self, other: Option<Self>) -> Self {
        other.map_or(self, |other| Self {
            milliseconds: self.milliseconds.min(other.milliseconds),
            kib: self.kib.min(other.kib),
            ..self
        })
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |name: &str, cloud: &StoredCloud, voxel: f64, seed: f64| {
        let name = format!("{name} {voxel}/{seed}");
        cases.push(Case { name, cloud: cloud.clone(), voxel, seed });
    };
    for (name, size, density) in [("room", [6.0, 5.0, 2.7], 1200.0), ("hall", [20.0, 15.0, 4.0], 1600.0)] {
        let scene = room(&RoomOptions { size, density, ..RoomOptions::default() });
        let cloud = StoredCloud { positions: scene.positions, colors: scene.colors, normals: None };
        add(name, &cloud, 0.05, 0.3);
        add(name, &cloud, 0.04, 0.2);
    }
    if let (Some(root), Some(shared)) = (vccs(), shared()) {
        for (name, sizes) in [
            ("s3dis", &[(0.05, 0.3), (0.04, 0.2)][..]),
            ("scannet0000", &[(0.05, 0.5)]),
            ("o3dfrag", &[(0.02, 0.2), (0.01, 0.1)]),
            ("mosd_test60", &[(0.008, 0.1)]),
            ("nusc", &[(0.5, 5.0)]),
        ] {
            let cloud = read_cloud(&root, name);
            sizes.iter().for_each(|&(voxel, seed)| add(name, &cloud, voxel, seed));
        }
        // Table-tops side by side: 1.5 million points.
        let mut scenes = vec![read_cloud(&root, "mosd_test60")];
        for name in ["learn0", "learn25", "learn34"] {
            scenes.push(read_ply(&shared.join(format!("data/indoor_tabletop_osd/{name}.ply"))).0);
        }
        let mut all = StoredCloud::default();
        for place in 0..8 {
            let scene = &scenes[place % scenes.len()];
            all.positions.extend(scene.positions.iter().map(|p| [p[0] + 4.0 * place as f32, p[1], p[2]]));
            all.colors.extend(&scene.colors);
        }
        add("8 table-tops", &all, 0.008, 0.1);
        add("8 table-tops", &all, 0.005, 0.05);
    }
    cases
}

/// One measurement in this process: `--measure CLOUD VOXEL SEED METHOD COUNT THREADS`.
fn measure(arguments: &[String]) {
    let cloud = read_cloud_at(Path::new(&arguments[0]));
    let number = |place: usize| arguments[place].parse::<f64>().unwrap();
    let method = match arguments[3].as_str() {
        "vccs" => Method::Vccs(Vccs { seed_size: Some(number(2)), ..Vccs::default() }),
        "graph" => Method::Graph(Graph { target: Target::Count(number(4) as usize), ..Graph::default() }),
        _ => Method::VccsPcl(VccsPcl { seed_size: Some(number(2)), ..VccsPcl::default() }),
    };
    let options = SuperpointOptions { voxel_size: Some(number(1)), method };
    let view = Cloud { colors: Some(StridedView::packed_u8(&cloud.colors)), ..Cloud::from_xyz(&cloud.positions) };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(number(5) as usize).build().unwrap();
    // Where this cannot be written the peak counts from the start of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let before = status_kib("VmRSS:");
    let run = || {
        let start = Instant::now();
        let found = pool.install(|| superpoints(&view, &options, None, Cancel::default()).unwrap());
        (start.elapsed().as_secs_f64() * 1e3, found.count())
    };
    let best = (0..RUNS).map(|_| run()).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    println!("{} {} {}", best.0, best.1, status_kib("VmHWM:") - before);
}

fn status_kib(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(f64::NAN)
}

/// The same in a process of its own.
fn measured(cloud: &Path, case: &Case, method: &str, count: usize, threads: usize) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg("--measure").arg(cloud).args([case.voxel, case.seed].map(|v| v.to_string()));
    command.arg(method).args([count, threads].map(|v| v.to_string()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<f64> = text.split_whitespace().map(|v| v.parse().unwrap()).collect();
    Measured { milliseconds: told[0], count: told[1] as usize, kib: told[2] }
}

fn library(program: &Path, case: &Case) -> Measured {
    let options = VccsPcl { seed_size: Some(case.seed), ..VccsPcl::default() };
    let run = pcl::run_repeatedly(program, &case.cloud, case.voxel, &options, RUNS);
    Measured { milliseconds: run.milliseconds, count: run.count, kib: run.peak_kib }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(place) = arguments.iter().position(|argument| argument == "--measure") {
        return measure(&arguments[place + 1..]);
    }
    let only = arguments.iter().skip(1).find(|argument| !argument.starts_with("--"));
    let program: Option<PathBuf> = pcl::program();
    println!("Milliseconds from points to superpoints with sizes, centroids and adjacency; MiB above the cloud.");
    println!("{:22} {:>9} {:>7} | {:>24} | {:>39} | {:>39}", "", "points", "found", "PCL", "vccs", "graph, as many");
    println!(
        "{:22} {:>9} {:>7} | {:>9} {:>6} {:>7} | {:>8} {:>6} {:>8} {:>6} {:>7} | {:>8} {:>6} {:>8} {:>6} {:>7}",
        "", "", "", "ms", "MiB", "found", "1 thread", "x", "2", "x", "MiB", "1 thread", "x", "2", "x", "MiB"
    );
    let folder = tempfile::tempdir().unwrap();
    for case in cases().iter().filter(|case| only.is_none_or(|only| case.name.contains(only.as_str()))) {
        let path = folder.path().join("cloud");
        write_cloud(&path, &case.cloud);
        let count = measured(&path, case, "vccs", 0, 1).count;
        let mut best = [None; 5];
        for _ in 0..ROUNDS {
            for (place, best) in best.iter_mut().enumerate() {
                let own = |method, threads| Some(measured(&path, case, method, count, threads));
                let new = match place {
                    0 => program.as_ref().map(|program| library(program, case)),
                    1 | 2 => own("vccs", place),
                    _ => own("graph", place - 2),
                };
                *best = new.map(|new| new.best(*best)).or(*best);
            }
        }
        let [library, vccs, vccs_2, graph, graph_2] = best;
        let (library, none) = (library, String::from("-"));
        let speedup =
            |own: &Measured| library.map_or(none.clone(), |l| format!("{:.2}", l.milliseconds / own.milliseconds));
        let pair = |one: Option<Measured>, two: Option<Measured>| {
            let (one, two) = (one.unwrap(), two.unwrap());
            format!(
                "{:8.1} {:>6} {:8.1} {:>6} {:7.1}",
                one.milliseconds,
                speedup(&one),
                two.milliseconds,
                speedup(&two),
                one.kib.max(two.kib) / 1024.0
            )
        };
        let library_columns = library.map_or(format!("{:>9} {:>6} {:>7}", "-", "-", "-"), |l| {
            format!("{:9.1} {:6.1} {:7}", l.milliseconds, l.kib / 1024.0, l.count)
        });
        println!(
            "{:22} {:9} {:7} | {library_columns} | {} | {}",
            case.name,
            case.cloud.positions.len(),
            count,
            pair(vccs, vccs_2),
            pair(graph, graph_2)
        );
    }
}
