//! Runs a test of this very program again with an emulated CUDA device: PTX of the build on a stand-in `libcuda.so.1`.

use super::stand_in;
use openvocab3d::backend::cuda::Images;
use std::path::PathBuf;

/// Schedules under which every test runs: blocks, warps and lanes forwards, backwards, in random order.
const SCHEDULES: [&str; 3] = ["fwd", "rev", "rand:7"];

/// The folders that hold an emulator's `libcuda.so.1`, each for one architecture.
fn emulators() -> Vec<PathBuf> {
    let folders = std::env::var_os("OV3D_EMULATORS").unwrap_or_default();
    std::env::split_paths(&folders).filter(|folder| folder.join("libcuda.so.1").exists()).collect()
}

/// Runs `code` in this process if it is the inner run of test `name`; else runs the test again for every architecture and
/// schedule. Says so where there is nothing to run it on.
pub fn on_every_emulator(name: &str, code: impl FnOnce()) {
    if stand_in::is_inner() {
        return code();
    }
    if Images::embedded().unwrap().is_empty() {
        return println!("skipped: no device code");
    }
    let emulators = emulators();
    if emulators.is_empty() {
        return println!("skipped: no emulator (OV3D_EMULATORS)");
    }
    for folder in emulators {
        for schedule in SCHEDULES {
            let output = stand_in::run_inner(name, &folder, &[("OV_EMU_ORDER", schedule)]);
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success() && text.contains("1 passed"),
                "{} {schedule}\n{text}{}",
                folder.display(),
                String::from_utf8_lossy(&output.stderr)
            );
            text.lines().filter(|line| line.starts_with("  ")).for_each(|line| println!("{schedule}{line}"));
        }
    }
}
