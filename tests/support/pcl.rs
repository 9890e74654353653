//! The point cloud library itself, where the program of `tests/pcl` has been built (env `OV3D_PCL`).

use super::supervoxels::{StoredCloud, read_u32, write_cloud};
use openvocab3d::superpoint::VccsPcl;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program, if the environment names one.
pub fn program() -> Option<PathBuf> {
    std::env::var_os("OV3D_PCL").map(PathBuf::from)
}

/// What the library found, and what it took.
pub struct Run {
    /// -1 for none.
    pub of_point: Vec<i32>,
    pub count: usize,
    pub milliseconds: f64,
    /// Memory above the loaded cloud.
    pub peak_kib: f64,
}

/// Runs the library once.
pub fn run(program: &Path, positions: &[[f32; 3]], colors: &[[u8; 3]], voxel: f64, options: &VccsPcl) -> Run {
    let cloud = StoredCloud { positions: positions.to_vec(), colors: colors.to_vec(), normals: None };
    run_repeatedly(program, &cloud, voxel, options, 1)
}

/// Runs the library `repeats` times in one process; the least time counts.
pub fn run_repeatedly(program: &Path, cloud: &StoredCloud, voxel: f64, options: &VccsPcl, repeats: usize) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let (path, labels) = (folder.path().join("cloud"), folder.path().join("labels"));
    write_cloud(&path, cloud);
    let weights = &options.weights;
    let numbers = [
        voxel,
        options.seed_size.unwrap(),
        f64::from(weights.color),
        f64::from(weights.spatial),
        f64::from(weights.normal),
        f64::from(options.refinements),
        repeats as f64,
    ];
    let mut command = Command::new(program);
    command.arg(path).arg(&labels).args(numbers.map(|v| v.to_string()));
    let output = command.output().unwrap_or_else(|e| panic!("cannot run '{}': {e}", program.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let told: Vec<f64> = text.split_whitespace().map(|v| v.parse().unwrap()).collect();
    let labels = read_u32(&labels);
    Run {
        of_point: labels.into_iter().map(|label| label as i32 - 1).collect(),
        milliseconds: told[0],
        count: told[1] as usize,
        peak_kib: told[2],
    }
}
