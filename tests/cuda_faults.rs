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
use openvocab3d::cloud::Cloud;
use openvocab3d::model::{InputFeatures, Model, Vocabulary};
use openvocab3d::pipeline::{SegmentOptions, Segmentations};
use openvocab3d::session::Session;
use openvocab3d::{ErrorKind, Result};
use std::sync::Arc;
use support::generate::{random_features, random_params, surface_coordinates, surface_points};
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

/// Device and host together, refused or accepted, for clouds whose results are copied to the host.
#[test]
fn budgets_hold_for_clouds_and_queries() {
    emulated::on_one_emulator("budgets_hold_for_clouds_and_queries", &[], || {
        let model = small();
        let names = ["a", "b", "c", "d", "e"];
        let vocabulary = Vocabulary::from_embeddings(&names, &random_features(5, names.len(), 24), 24, "custom-24");
        let vocabulary = Arc::new(vocabulary.unwrap());
        let ready = || {
            let mut session = on_device(&model).unwrap();
            session.set_vocabulary(vocabulary.clone()).unwrap();
            session
        };
        let points = surface_points(30, 600);
        let clouds = [Cloud::from_xyz(&points), Cloud::from_xyz(&points[..100])];
        let options = SegmentOptions { keep_trunk: true, logits: true, top_k: 2, ..SegmentOptions::default() };
        let segment =
            |session: &mut Session, clouds: &[Cloud<'_>]| session.segment(clouds, &options, Control::default());
        let labels = |run: &Segmentations| run.clouds.iter().map(|cloud| cloud.labels.to_vec()).collect::<Vec<_>>();
        // Blocks on the host are up to a quarter larger than what was asked for, the smallest to a cache line.
        let within = |session: &Session, budget: u64| {
            let (held, host) = (session.backend().held_bytes(), session.backend().arena().held_bytes());
            assert!(held <= budget + host / 4 + 4096, "{held} bytes held of {budget}, {host} of them on the host");
        };
        let mut session = ready();
        let want = labels(&segment(&mut session, &clouds).unwrap());
        let needed = session.memory().last_bytes;

        let mut small = ready();
        for share in [1, 2, 4, 8, 12, 16, 19] {
            let budget = needed * share / 20;
            small.set_memory_budget(Some(budget));
            let error = segment(&mut small, &clouds).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Budget, "{error}");
            assert!(error.to_string().contains(&format!("memory_budget is {budget}")), "{error}");
            within(&small, budget);
        }
        // One that has grown under its budget, and one that held more before.
        let large: Vec<_> = (0..6).flat_map(|_| points.iter().copied()).collect();
        drop(segment(&mut session, &[Cloud::from_xyz(&large)]).unwrap());
        for session in [&mut small, &mut session] {
            session.set_memory_budget(Some(needed - 1));
            assert_eq!(segment(session, &clouds).unwrap_err().kind(), ErrorKind::Budget);
            session.set_memory_budget(Some(needed));
            let run = segment(session, &clouds).unwrap();
            assert_eq!(labels(&run), want);
            assert_eq!(session.memory().last_bytes, needed);
            within(session, needed);
            drop(segment(session, &clouds[1..]).unwrap());
            within(session, needed);
            let query = |session: &mut Session| {
                let voxels = &run.clouds[0].voxel_of_point;
                let answer = session.query(&run.kept[0], voxels, vocabulary.clone(), &options, Control::default());
                answer.map(|answer| answer.labels.to_vec())
            };
            session.set_memory_budget(Some(1000));
            let error = query(session).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Budget);
            assert!(error.to_string().contains("memory_budget is 1000"), "{error}");
            session.set_memory_budget(Some(needed));
            assert_eq!(query(session).unwrap(), want[0]);
            session.set_memory_budget(None);
            assert_eq!(query(session).unwrap(), want[0]);
        }
    });
}

/// CUDA_ERROR_NO_BINARY_FOR_GPU for two cubins: their kernels come from PTX. Where PTX fails too, there is no session.
#[test]
fn a_refused_cubin_gives_way_to_ptx() {
    let name = "a_refused_cubin_gives_way_to_ptx";
    let failing = [1, 3, 12, 13].map(|call| format!("cuModuleLoadData:{call}=209")).join(",");
    emulated::on_one_emulator(name, &[("OV_EMU_FAIL", &failing)], || {
        let (model, rows) = (small(), surface_coordinates(2, 200));
        let got = features(&mut on_device(&model).unwrap(), &rows).unwrap();
        let want = features(&mut session(&model, best(), 2), &rows).unwrap();
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 0.1));
        let error = on_device(&model).unwrap_err();
        assert!(error.to_string().contains("CUDA_ERROR_NO_BINARY_FOR_GPU"), "{error}");
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
