//! Networks on CUDA against the CPU backend: FP16 features and weights, so within the bars of the FP16 path.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "cuda/emulated.rs"]
mod emulated;
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;
mod support;

use openvocab3d::backend::cuda::CudaBackend;
use openvocab3d::backend::{Control, FeatureSpace, Representative};
use openvocab3d::cloud::{Cloud, StridedView};
use openvocab3d::model::{Embeddings, InputFeatures, Label, Model, Vocabulary};
use openvocab3d::pipeline::{Augmentation, SegmentOptions, Segmentation};
use openvocab3d::plan::Similarity;
use openvocab3d::session::Session;
use std::sync::Arc;
use support::generate::{
    Generator, batched, negative_and_far, random_features, random_params, scattered, surface_coordinates,
    surface_points,
};
use support::library::{best, forward, model, session};
use support::oracle::{Coordinate, Params};

/// Widths that fill neither a tile, nor a slab of 32 channels, nor a fragment of 16.
const PLANES: [usize; 8] = [8, 16, 24, 40, 32, 20, 12, 24];
const DIM: usize = 48;

/// A session on the emulated device.
fn on_device(model: &Arc<Model>) -> Session {
    Session::on(model.clone(), Arc::new(CudaBackend::new(0).unwrap()))
}

/// Relative L2 error of all, and the mean and smallest cosine of the rows.
fn agreement(got: &[f32], want: &[f32], width: usize) -> (f64, f64, f64) {
    assert_eq!(got.len(), want.len());
    if want.is_empty() {
        return (0.0, 1.0, 1.0);
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let difference: f64 = got.iter().zip(want).map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum();
    let cosines: Vec<f64> = got
        .chunks(width)
        .zip(want.chunks(width))
        .map(
            |(a, b)| {
                if dot(b, b) == 0.0 && dot(a, a) == 0.0 { 1.0 } else { dot(a, b) / (dot(a, a) * dot(b, b)).sqrt() }
            },
        )
        .collect();
    let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
    let error = (difference / dot(want, want).max(f64::MIN_POSITIVE)).sqrt();
    (error, mean, cosines.into_iter().fold(1.0, f64::min))
}

/// Asserts the bars of the FP16 path; NaN fails.
fn assert_close(what: &str, got: &[f32], want: &[f32], width: usize) {
    let (error, mean, least) = agreement(got, want, width);
    println!("  {what}: relative L2 {error:.1e}, cosine {mean:.7}, least {least:.7}");
    assert!(error <= 1e-2 && mean >= 0.9995, "{what}: relative L2 {error}, mean cosine {mean}");
}

fn check(what: &str, params: &Params, input: InputFeatures, rows: &[Coordinate]) {
    let model = model(params, input);
    let colors = random_features(9, rows.len(), 3);
    let (mut cpu, mut device) = (session(&model, best(), 2), on_device(&model));
    for space in [FeatureSpace::Trunk, FeatureSpace::Text] {
        let want = forward(&mut cpu, rows, Some(&colors), space);
        let got = forward(&mut device, rows, Some(&colors), space);
        assert_close(&format!("{what}, {space:?}"), &got, &want, (want.len() / rows.len().max(1)).max(1));
        let again = forward(&mut device, rows, Some(&colors), space);
        assert_eq!(got, again, "{what}: two runs differ");
    }
}

#[test]
fn clouds_of_every_kind_and_size() {
    emulated::on_every_emulator("clouds_of_every_kind_and_size", &[], || {
        let params = random_params(PLANES, 8, [2; 8], 3, DIM, true, 1);
        let ones = InputFeatures::Ones;
        check("surfaces", &params, ones, &surface_coordinates(2, 700));
        check("scattered voxels", &params, ones, &scattered(3, 300));
        check("negative and far", &params, ones, &negative_and_far(4, 200));
        check("four clouds", &params, ones, &batched(5, 90, 4));
        let small = random_params([8, 16, 16, 24, 24, 16, 16, 12], 8, [1; 8], 3, 33, false, 6);
        for rows in [0, 1, 2, 127, 128, 129] {
            check(&format!("{rows} rows"), &small, ones, &surface_coordinates(7, rows));
        }
    });
}

#[test]
fn colour_input() {
    emulated::on_every_emulator("colour_input", &[], || {
        let params = random_params(PLANES, 8, [1; 8], 3, DIM, false, 6);
        check("colours", &params, InputFeatures::Colors, &surface_coordinates(7, 400));
        check("colours of three clouds", &params, InputFeatures::Colors, &batched(8, 60, 3));
    });
}

#[test]
fn published_widths() {
    emulated::on_every_emulator("published_widths", &[], || {
        let planes = [32, 64, 128, 256, 128, 128, 96, 96];
        let params = random_params(planes, 32, [1; 8], 3, 64, false, 11);
        check("MinkUNet14A", &params, InputFeatures::Ones, &surface_coordinates(12, 300));
    });
}

/// The emulator's own checks: memory read before it was written, threads that race in shared memory, results used before
/// their stream was waited for. They cost time, so one whole way from points to labels stands for all.
#[test]
fn no_race_no_unwritten_memory_and_no_early_result() {
    let name = "no_race_no_unwritten_memory_and_no_early_result";
    let checks = [("OV_EMU_RACECHECK", "1"), ("OV_EMU_INITCHECK", "1"), ("OV_EMU_STREAMS", "lazy")];
    emulated::on_every_emulator(name, &checks, || {
        let params = random_params([8, 16, 16, 24, 24, 16, 16, 12], 8, [1; 8], 3, DIM, false, 41);
        let vocabulary = vocabulary(9, DIM);
        let positions = points(42, 150);
        for input in [InputFeatures::Ones, InputFeatures::Colors] {
            let model = model(&params, input);
            let (mut cpu, mut device) = (session(&model, best(), 2), on_device(&model));
            cpu.set_vocabulary(vocabulary.clone()).unwrap();
            device.set_vocabulary(vocabulary.clone()).unwrap();
            let colors = vec![[90, 120, 30]; positions.len()];
            let cloud = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..Cloud::from_xyz(&positions) };
            let brief = SegmentOptions::default();
            let all = SegmentOptions { logits: true, features: Some(FeatureSpace::Text), top_k: 2, ..brief.clone() };
            let run = |session: &mut Session, options: &SegmentOptions| {
                session.segment(&[cloud], options, Control::default()).unwrap().clouds.remove(0)
            };
            let want = run(&mut cpu, &SegmentOptions { logits: true, ..brief.clone() });
            let got = run(&mut device, &brief);
            assert_labels(&format!("{input:?}"), &got, &want, vocabulary.len());
            let logits = run(&mut device, &all).logits;
            assert_close(&format!("{input:?}, logits"), &logits, &want.logits, vocabulary.len());
        }
    });
}

/// As many labels as `prompts`, but the second has three prompts.
fn vocabulary(prompts: usize, dim: usize) -> Arc<Vocabulary> {
    let label = |index: usize| {
        let count = if index == 1 { 3 } else { 1 };
        let prompts = (0..count).map(|prompt| format!("{index}.{prompt}")).collect();
        Label { name: format!("label {index}"), prompts }
    };
    let mut random = Generator::new(77);
    let rows = (0..prompts * dim).map(|_| random.normal() as f32).collect();
    let set = Embeddings { space: format!("custom-{dim}"), dim, rows };
    Arc::new(Vocabulary::new((0..prompts - 2).map(label).collect(), vec![set]).unwrap())
}

fn points(seed: u64, voxels: usize) -> Vec<[f32; 3]> {
    let mut points = surface_points(seed, voxels);
    points.push([f32::NAN, 0.0, 0.0]);
    points
}

/// Labels are equal wherever the CPU's first and second score lie 3 % of the spread of all scores apart.
fn assert_labels(what: &str, got: &Segmentation, want: &Segmentation, labels: usize) {
    assert_eq!(got.voxel_of_point, want.voxel_of_point, "{what}");
    assert_eq!(got.coordinates, want.coordinates, "{what}");
    let (low, high) = want.logits.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    let (mut sure, mut equal) = (0, 0);
    for (point, &voxel) in want.voxel_of_point.iter().enumerate() {
        if voxel < 0 {
            assert_eq!((got.labels[point], got.scores[point]), (-1, 0.0), "{what}: point {point}");
            continue;
        }
        equal += usize::from(got.labels[point] == want.labels[point]);
        let mut scores = want.logits[voxel as usize * labels..][..labels].to_vec();
        scores.sort_by(f32::total_cmp);
        let margin = scores[labels - 1] - scores[labels - 2];
        if margin > 0.03 * (high - low) {
            sure += 1;
            assert_eq!(got.labels[point], want.labels[point], "{what}: point {point}, margin {margin}");
        }
        let error = (got.scores[point] - scores[labels - 1]).abs();
        assert!(error <= 0.01 * (high - low), "{what}: score of point {point} is off by {error}");
    }
    println!("  {what}: {equal} of {} labels equal, {sure} of them by margin", want.labels.len() - 1);
    assert!(sure > 0, "{what}: no margin was wide enough to check");
}

#[test]
fn labels_scores_and_queries() {
    emulated::on_every_emulator("labels_scores_and_queries", &[], || {
        let params = random_params(PLANES, 8, [1; 8], 3, DIM, true, 21);
        let model = model(&params, InputFeatures::Ones);
        let cloud = points(22, 300);
        let cloud = [Cloud::from_xyz(&cloud)];
        for (prompts, similarity, temperature, top_k) in [
            (7, Similarity::Dot, None, 1),
            (7, Similarity::Cosine, None, 1),
            (130, Similarity::Cosine, None, 1),
            (100, Similarity::Dot, None, 3),
            (40, Similarity::Cosine, Some(0.05), 5),
        ] {
            let what = format!("{prompts} prompts, {similarity:?}, {temperature:?}, top {top_k}");
            let vocabulary = vocabulary(prompts, DIM);
            let (mut cpu, mut device) = (session(&model, best(), 2), on_device(&model));
            cpu.set_vocabulary(vocabulary.clone()).unwrap();
            device.set_vocabulary(vocabulary.clone()).unwrap();
            let options = SegmentOptions { similarity, temperature, top_k, ..SegmentOptions::default() };
            let with_logits = SegmentOptions { logits: true, keep_trunk: true, ..options.clone() };
            let want = cpu.segment(&cloud, &with_logits, Control::default()).unwrap().clouds.remove(0);
            let got = device.segment(&cloud, &options, Control::default()).unwrap().clouds.remove(0);
            assert_labels(&what, &got, &want, vocabulary.len());
            // The same through scores in memory, and again from the trunk that was kept.
            let mut full = device.segment(&cloud, &with_logits, Control::default()).unwrap();
            let cloud_result = full.clouds.remove(0);
            assert_labels(&format!("{what}, logits"), &cloud_result, &want, vocabulary.len());
            assert_close(&format!("{what}, logits"), &cloud_result.logits, &want.logits, vocabulary.len());
            let query =
                device.query(&full.kept[0], &got.voxel_of_point, vocabulary, &options, Control::default()).unwrap();
            assert_eq!((query.labels, query.top_labels), (got.labels, got.top_labels), "{what}: query");
            assert_eq!((query.scores, query.top_scores), (got.scores, got.top_scores), "{what}: query");
        }
    });
}

#[test]
fn colours_and_repeats_take_the_cpus_way() {
    emulated::on_every_emulator("colours_and_repeats_take_the_cpus_way", &[], || {
        let params = random_params([8, 16, 16, 24, 24, 16, 16, 12], 8, [1; 8], 3, DIM, false, 31);
        let model = model(&params, InputFeatures::Colors);
        let vocabulary = vocabulary(9, DIM);
        let positions = points(32, 200);
        let mut random = Generator::new(33);
        let colors: Vec<[u8; 3]> = positions.iter().map(|_| [0; 3].map(|_: u8| random.below(256) as u8)).collect();
        let cloud = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..Cloud::from_xyz(&positions) };
        let augmentation = Some(Augmentation { repeats: 2, ..Augmentation::default() });
        for (representative, augmentation) in
            [(Representative::First, None), (Representative::Canonical, None), (Representative::First, augmentation)]
        {
            let repeated = augmentation.is_some();
            let what = format!("{representative:?}, repeated: {repeated}");
            let options =
                SegmentOptions { representative, augmentation, logits: !repeated, ..SegmentOptions::default() };
            let run = |mut session: Session| {
                session.set_vocabulary(vocabulary.clone()).unwrap();
                session.segment(&[cloud], &options, Control::default()).unwrap().clouds.remove(0)
            };
            let (want, got) = (run(session(&model, best(), 2)), run(on_device(&model)));
            if repeated {
                assert_close(&what, &got.scores, &want.scores, want.scores.len());
            } else {
                assert_close(&what, &got.logits, &want.logits, vocabulary.len());
                assert_labels(&what, &got, &want, vocabulary.len());
            }
        }
    });
}
