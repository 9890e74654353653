//! Bugs planted in the kernels: the tests on the emulator must notice every one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "only the compiler is used here")]
#[path = "../build/device_code.rs"]
mod device_code;
#[path = "cuda/emulated.rs"]
mod emulated;
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;
mod support;

use openvocab3d::backend::FeatureSpace;
use openvocab3d::backend::cuda::{CudaBackend, Images};
use openvocab3d::model::InputFeatures;
use openvocab3d::session::Session;
use std::path::Path;
use std::sync::Arc;
use support::generate::{random_params, surface_coordinates};
use support::library::{best, forward, model, session};
use support::shared::relative_l2;

/// One bug: what of a file becomes what, and the kernel file whose PTX changes.
struct Mutation {
    bug: &'static str,
    file: &'static str,
    module: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn in_convolution(bug: &'static str, from: &'static str, to: &'static str) -> Mutation {
    Mutation { bug, file: "convolution.cuh", module: "convolution", from, to }
}

const MUTATIONS: [Mutation; 9] = [
    // That what follows is noticed for its own sake.
    in_convolution("no bug", "#pragma once", "#pragma once"),
    in_convolution(
        "no barrier between a stage's last use and its refill",
        "wait_for_copies<STAGES - 2>();\n            __syncthreads();",
        "wait_for_copies<STAGES - 2>();",
    ),
    in_convolution(
        "a wait that lets one copy too many be late",
        "wait_for_copies<STAGES - 2>()",
        "wait_for_copies<STAGES - 1>()",
    ),
    in_convolution("the masks of half a group", "step < GROUP_ROWS; step", "step < GROUP_ROWS / 2; step"),
    in_convolution(
        "the last row left out",
        "const bool inside = place < rows;",
        "const bool inside = place + 1 < rows;",
    ),
    in_convolution("a shortcut in the wrong unit", "if (before && at.slot == 1 && at.slab == 0) rescale();", ""),
    Mutation {
        bug: "splits added in the wrong place",
        file: "convolution.cu",
        module: "convolution",
        from: "static_cast<u64>(split) * rows + place",
        to: "static_cast<u64>(splits - 1) * rows + place",
    },
    Mutation {
        bug: "an unstable rank within a warp",
        file: "sort.cu",
        module: "sort",
        from: "__popc(peers & lanes_before(lane()))",
        to: "__popc(peers >> lane()) - 1",
    },
    Mutation {
        bug: "a height off by one level",
        file: "levels.cu",
        module: "levels",
        from: "/ 3 + 1;",
        to: "/ 3 + 2;",
    },
];

/// What every planted bug must break: a network with split and unsplit layers, shortcuts, residuals and two sources on
/// clouds that end within a tile. Sums have the same bits in whatever order blocks and warps run.
#[test]
fn the_network_holds() {
    emulated::on_every_emulator("the_network_holds", &[], || {
        let params = random_params([8, 16, 32, 40, 48, 32, 24, 16], 8, [2; 8], 3, 24, false, 1);
        let model = model(&params, InputFeatures::Ones);
        let mut device = Session::on(model.clone(), Arc::new(CudaBackend::new(0).unwrap()));
        let mut cpu = session(&model, best(), 2);
        for rows in [129, 400] {
            let cloud = surface_coordinates(rows as u64, rows);
            let want = forward(&mut cpu, &cloud, None, FeatureSpace::Text);
            let got = forward(&mut device, &cloud, None, FeatureSpace::Text);
            let error = relative_l2(&got, &want);
            // Ten times what rounding makes, so that a bug of one step in hundreds is seen.
            assert!(error <= 5e-3, "{rows} rows: relative L2 {error:.1e}");
        }
    });
}

#[test]
fn every_planted_bug_is_noticed() {
    if Images::embedded().unwrap().is_empty() {
        return println!("skipped: no device code");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("tests/emulator/Cargo.toml").exists() {
        return println!("skipped: no emulator in the repository");
    }
    let unchanged = emulated::ptx_files(Path::new(env!("OV3D_KERNELS")), 80);
    for (index, mutation) in MUTATIONS.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        for entry in root.join("kernels").read_dir().unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
        let file = folder.path().join(mutation.file);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text.matches(mutation.from).count(), 1, "{}: not exactly once in {}", mutation.bug, mutation.file);
        std::fs::write(&file, text.replace(mutation.from, mutation.to)).unwrap();
        let source = folder.path().join(format!("{}.cu", mutation.module));
        let name = format!("{}.compute_80.ptx", mutation.module);
        let mutant = folder.path().join(&name);
        device_code::compile_ptx(&source, "compute_80", &mutant).unwrap();
        let ptx: Vec<_> =
            unchanged.iter().map(|path| if path.ends_with(&name) { mutant.clone() } else { path.clone() }).collect();
        let Some(emulator) = emulated::build(&format!("mutant_{index}"), &ptx) else { return };
        let quiet = [("OV_EMU_QUIET", "1"), ("OV_EMU_TIMEOUT", "20")];
        let noticed = emulated::SCHEDULES
            .into_iter()
            .find(|&schedule| !emulated::passed(&emulated::run_on(&emulator, "the_network_holds", schedule, &quiet)));
        println!("{}: noticed under {noticed:?}", mutation.bug);
        assert_eq!(noticed.is_some(), mutation.from != mutation.to, "{}", mutation.bug);
    }
}
