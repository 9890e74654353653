//! When the device runs out of memory or fails, the call says so and everything else goes on working.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "cuda/emulated.rs"]
mod emulated;
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;
mod support;

use openvocab3d::backend::cuda::CudaBackend;
use openvocab3d::backend::{Control, FeatureSpace};
use openvocab3d::model::{InputFeatures, Model};
use openvocab3d::session::Session;
use openvocab3d::{ErrorKind, Result};
use std::sync::Arc;
use support::generate::{random_params, surface_coordinates};
use support::library::{best, model, session};
use support::oracle::Coordinate;

fn small() -> Arc<Model> {
    let params = random_params([8, 16, 16, 24, 24, 16, 16, 12], 8, [1; 8], 3, 24, false, 1);
    model(&params, InputFeatures::Ones)
}

fn features(session: &mut Session, rows: &[Coordinate]) -> Result<Vec<f32>> {
    Ok(session.forward(rows, None, FeatureSpace::Text, Control::default())?.features)
}

fn on_device(model: &Arc<Model>) -> Result<Session> {
    Ok(Session::on(model.clone(), Arc::new(CudaBackend::new(0)?)))
}

/// Runs until everything has been allocated: each failure is a status, and the next attempt goes further.
#[test]
fn every_failed_allocation_is_out_of_memory_and_the_next_attempt_works() {
    let name = "every_failed_allocation_is_out_of_memory_and_the_next_attempt_works";
    // The first 40 allocations but every third fail.
    let failing: Vec<String> = (0..40).filter(|n| n % 3 != 2).map(|n| format!("cuMemAlloc_v2:{}=2", n + 1)).collect();
    emulated::on_one_emulator(name, &[("OV_EMU_FAIL", &failing.join(","))], || {
        let (model, rows) = (small(), surface_coordinates(2, 200));
        let mut failures = 0;
        let got = loop {
            let attempt = on_device(&model).and_then(|mut session| features(&mut session, &rows));
            match attempt {
                Ok(features) => break features,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
                    assert!(error.to_string().contains("bytes of device memory"), "{error}");
                    failures += 1;
                }
            }
            assert!(failures < 60);
        };
        assert!(failures >= 10, "only {failures} failures");
        let want = features(&mut session(&model, best(), 2), &rows).unwrap();
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 0.1));
        println!(" {failures} failed allocations, each a status");
    });
}

#[test]
fn a_launch_that_fails_is_a_status_and_other_sessions_go_on() {
    let name = "a_launch_that_fails_is_a_status_and_other_sessions_go_on";
    // CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES at the seventh launch and the hundredth: no sticky error.
    emulated::on_one_emulator(name, &[("OV_EMU_FAIL", "cuLaunchKernel:7=701,cuLaunchKernel:100=701")], || {
        let (model, rows) = (small(), surface_coordinates(2, 200));
        let (mut first, mut second) = (on_device(&model).unwrap(), on_device(&model).unwrap());
        let (mut errors, mut good) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            for session in [&mut first, &mut second] {
                match features(session, &rows) {
                    Ok(features) => good.push(features),
                    Err(error) => errors.push(error),
                }
            }
        }
        assert_eq!((errors.len(), good.len()), (2, 4));
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::Device);
            assert!(error.to_string().contains("launching 'ov3d_"), "{error}");
        }
        assert!(good.iter().all(|features| *features == good[0]));
    });
}

/// A fault inside a kernel ends every session of the device, as it does on a real one: each says so, and the CPU goes on.
#[test]
fn a_fault_on_the_device_is_a_status_of_every_later_call() {
    let name = "a_fault_on_the_device_is_a_status_of_every_later_call";
    let variables = [("OV_EMU_FAIL", "kernel/ov3d_map_tables:2=719"), ("OV_EMU_QUIET", "1")];
    emulated::on_one_emulator(name, &variables, || {
        let (model, rows) = (small(), surface_coordinates(2, 200));
        let (mut first, mut second) = (on_device(&model).unwrap(), on_device(&model).unwrap());
        let want = features(&mut first, &rows).unwrap();
        for which in [0, 1, 0] {
            let session = if which == 0 { &mut first } else { &mut second };
            let error = features(session, &rows).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Device, "{error}");
            assert!(error.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{error}");
        }
        let cpu = features(&mut session(&model, best(), 2), &rows).unwrap();
        assert!(want.iter().zip(&cpu).all(|(a, b)| (a - b).abs() < 0.1));
    });
}

#[test]
fn budgets_and_cancelled_runs_leave_the_session_usable() {
    emulated::on_one_emulator("budgets_and_cancelled_runs_leave_the_session_usable", &[], || {
        let (model, rows) = (small(), surface_coordinates(2, 300));
        let mut session = on_device(&model).unwrap();
        let want = features(&mut session, &rows).unwrap();
        let needed = session.memory().last_bytes;
        session.set_memory_budget(Some(needed - 1));
        let error = features(&mut session, &rows).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Budget);
        assert!(error.to_string().contains(&needed.to_string()), "{error}");
        session.set_memory_budget(Some(needed));
        assert_eq!(features(&mut session, &rows).unwrap(), want);
        // Stopped after every fraction that the run reports.
        let mut stops = 0;
        for limit in 0..40 {
            let stop = |fraction: f32| fraction < limit as f32 / 20.0;
            let control = Control { progress: Some(&stop), ..Control::default() };
            match session.forward(&rows, None, FeatureSpace::Text, control) {
                Ok(forward) => assert_eq!(forward.features, want),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Cancelled);
                    stops += 1;
                }
            }
        }
        assert!(stops > 10);
        assert_eq!(features(&mut session, &rows).unwrap(), want);
        assert!(session.backend().held_bytes() > 0);
    });
}
