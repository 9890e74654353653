//! Runs a test of this very program again with an emulated CUDA device: the PTX of this build on a stand-in `libcuda.so.1`.

#![allow(dead_code, reason = "not every test plants faults or changes the kernels")]

use super::stand_in;
use openvocab3d::backend::cuda::Images;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Architectures that every test runs on: cp.async and m16n8k16 from 80 on, neither on 75.
const CAPABILITIES: [u32; 2] = [80, 75];

/// Orders of blocks, warps and lanes, and of copies in the background: all early, all late, mixed.
pub const SCHEDULES: [(&str, &str); 3] = [("fwd", "lazy"), ("rev", "eager"), ("rand:7", "mix")];

/// The emulators, one folder with a `libcuda.so.1` per architecture: those that OV3D_EMULATORS names, else built from the PTX
/// of this build. None if there is no device code or no emulator in the repository.
fn emulators() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| {
        if Images::embedded().unwrap().is_empty() {
            println!("skipped: no device code");
            return Vec::new();
        }
        if let Some(folders) = std::env::var_os("OV3D_EMULATORS").filter(|folders| !folders.is_empty()) {
            return std::env::split_paths(&folders).collect();
        }
        let built = |capability: u32| {
            let ptx = ptx_files(Path::new(env!("OV3D_KERNELS")), capability);
            build(&format!("sm_{capability}"), &ptx)
        };
        CAPABILITIES.into_iter().filter_map(built).collect()
    })
}

/// The PTX files for `capability` in `folder`.
pub fn ptx_files(folder: &Path, capability: u32) -> Vec<PathBuf> {
    let paths = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let ending = format!(".compute_{capability}.ptx");
    let mut files: Vec<PathBuf> = paths.filter(|path| path.to_string_lossy().ends_with(&ending)).collect();
    files.sort();
    files
}

/// Builds an emulator of `ptx`; `None` if the repository has none.
pub fn build(name: &str, ptx: &[PathBuf]) -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/Cargo.toml");
    if !manifest.exists() {
        println!("skipped: no '{}'", manifest.display());
        return None;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulator");
    let out = folder.join(name);
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--release", "--manifest-path"]).arg(manifest);
    command.arg("--target-dir").arg(folder.join("program"));
    command.arg("--").arg("--out").arg(&out).arg("--cache").arg(folder.join("objects")).args(ptx);
    let output = command.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(out)
}

/// Runs test `name` again on the emulator of `folder`.
pub fn run_on(folder: &Path, name: &str, schedule: (&str, &str), variables: &[(&str, &str)]) -> Output {
    let own = [("OV_EMU_ORDER", schedule.0), ("OV_EMU_CPASYNC", schedule.1)];
    stand_in::run_inner(name, folder, &[&own[..], variables].concat())
}

/// Whether the inner run passed.
pub fn passed(output: &Output) -> bool {
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("1 passed")
}

/// Runs `code` in this process if it is the inner run of test `name`; else runs the test again, with `variables`, under every
/// schedule on the first architecture and under the last on the others, and prints what the last printed, line for line, if
/// it begins with a space.
pub fn on_every_emulator(name: &str, variables: &[(&str, &str)], code: impl FnOnce()) {
    if stand_in::is_inner() {
        return code();
    }
    let last = SCHEDULES.len() - 1;
    for (index, folder) in emulators().iter().enumerate() {
        for schedule in SCHEDULES.into_iter().skip(if index == 0 { 0 } else { last }) {
            let output = run_on(folder, name, schedule, variables);
            let text = String::from_utf8_lossy(&output.stdout);
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(passed(&output), "{} {schedule:?}\n{text}{error}", folder.display());
            if schedule == SCHEDULES[last] {
                let target = folder.file_name().unwrap_or_default().to_string_lossy();
                text.lines().filter(|line| line.starts_with(' ')).for_each(|line| println!("{target}{line}"));
            }
        }
    }
}

/// The same on the first architecture and schedule alone.
pub fn on_one_emulator(name: &str, variables: &[(&str, &str)], code: impl FnOnce()) {
    if stand_in::is_inner() {
        return code();
    }
    let Some(folder) = emulators().first() else { return };
    let output = run_on(folder, name, SCHEDULES[0], variables);
    let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(passed(&output), "{}\n{text}{error}", folder.display());
    text.lines().filter(|line| line.starts_with(' ')).for_each(|line| println!("{line}"));
}
