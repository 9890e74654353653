//! The network against its float64 statement, on generated clouds and weights, at every CPU level.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::ErrorKind;
use openvocab3d::backend::cpu::CpuLevel;
use openvocab3d::backend::{Control, FeatureSpace, Precision};
use openvocab3d::cancel::Cancel;
use openvocab3d::model::InputFeatures;
use support::generate::{
    Shape, batched, hash_unit, negative_and_far, random_features, random_net, random_params, scattered, shuffle,
    surface_coordinates,
};
use support::library::{best, forward, levels, model, ones, oracle, session, session_at};
use support::oracle::{Coordinate, Matrix, Params};
use support::shared::worst_row_relative_error;

const PLANES: [usize; 8] = [8, 16, 24, 40, 32, 20, 12, 24];
/// The bar of the f32 path: worst row against the reference.
const BAR: f64 = 1e-4;

fn narrow(seed: u64) -> Params {
    random_params(PLANES, 8, [2; 8], 3, 48, false, seed)
}

/// Runs the library at every level on `rows` and compares trunk and output with the oracle.
fn check(params: &Params, input: InputFeatures, rows: &[Coordinate], what: &str) {
    let model = model(params, input);
    let colors = random_features(9, rows.len(), 3);
    let features = match input {
        InputFeatures::Ones => ones(rows.len()),
        InputFeatures::Colors => Matrix::from_f32(3, &colors),
    };
    let want = oracle(params, &model).forward(rows, &features);
    for level in levels() {
        let mut session = session(&model, level, 2);
        for (space, want) in [(FeatureSpace::Trunk, &want.trunk), (FeatureSpace::Text, &want.output)] {
            let got = forward(&mut session, rows, Some(&colors), space);
            let error = worst_row_relative_error(&got, &want.to_f32(), want.cols);
            assert!(error <= BAR, "{what}, {level}, {space:?}: worst row {error:.2e}");
        }
    }
    if want.output.rows > 0 {
        for level in CpuLevel::available(Precision::Bf16) {
            let mut session = session_at(&model, level, 2, Precision::Bf16);
            let got = forward(&mut session, rows, Some(&colors), FeatureSpace::Text);
            check_rounded(&got, &want.output, &format!("{what}, {level}"));
        }
    }
}

/// The bars of 16-bit paths: relative L2 error, mean cosine, and equal labels wherever the reference's margin between
/// first and second exceeds 3 % of the spread of its scores.
fn check_rounded(got: &[f32], want: &Matrix, what: &str) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let got: Vec<f64> = got.iter().map(|&v| f64::from(v)).collect();
    let difference: Vec<f64> = got.iter().zip(&want.data).map(|(got, want)| got - want).collect();
    let error = (dot(&difference, &difference) / dot(&want.data, &want.data)).sqrt();
    assert!(error <= 4e-2, "{what}: relative L2 error {error:.2e}");
    let mut cosines = 0.0;
    let texts: Vec<Vec<f64>> = (0..20).map(|label| hash_unit(label, want.cols).map(|v| v - 0.5).collect()).collect();
    for (got, want) in got.chunks_exact(want.cols).zip(want.data.chunks_exact(want.cols)) {
        cosines += dot(got, want) / (dot(got, got) * dot(want, want)).sqrt();
        let scores = |row: &[f64]| texts.iter().map(|text| dot(row, text)).collect::<Vec<_>>();
        let first = |scores: &[f64]| (0..20).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
        let (got, mut want) = (scores(got), scores(want));
        let label = first(&want);
        let sure = {
            let (best, lowest) = (want[label], want.iter().copied().fold(f64::INFINITY, f64::min));
            want[label] = f64::NEG_INFINITY;
            best - want[first(&want)] > 0.03 * (best - lowest)
        };
        assert!(!sure || first(&got) == label, "{what}: another label");
    }
    let cosine = cosines / want.rows as f64;
    assert!(cosine >= 0.9995, "{what}: mean cosine {cosine:.6}");
}

#[test]
fn clouds_of_every_kind() {
    let params = narrow(1);
    check(&params, InputFeatures::Ones, &surface_coordinates(2, 1500), "surfaces");
    check(&params, InputFeatures::Ones, &scattered(3, 400), "scattered voxels");
    check(&params, InputFeatures::Ones, &negative_and_far(4, 400), "negative and far voxels");
    check(&params, InputFeatures::Ones, &batched(5, 300, 4), "four clouds in one call");
}

#[test]
fn colour_input() {
    let params = narrow(6);
    check(&params, InputFeatures::Colors, &surface_coordinates(7, 800), "surfaces");
    check(&params, InputFeatures::Colors, &batched(8, 100, 3), "three clouds in one call");
}

#[test]
fn sizes_around_the_tiles() {
    let params = narrow(10);
    let all = surface_coordinates(11, 600);
    for count in [0, 1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 513] {
        check(&params, InputFeatures::Ones, &all[..count], &format!("{count} voxels"));
    }
}

#[test]
fn graphs_of_every_shape() {
    let shapes = [
        Shape {
            planes: [4, 8, 16, 32, 16, 16, 12, 12],
            stem: 4,
            stem_kernel: 5,
            blocks: [1; 8],
            input_channels: 3,
            out_channels: 7,
            bias: false,
        },
        Shape {
            planes: [32, 64, 96, 64, 64, 48, 32, 16],
            stem: 32,
            stem_kernel: 3,
            blocks: [2, 3, 4, 6, 2, 2, 2, 2],
            input_channels: 3,
            out_channels: 33,
            bias: true,
        },
        Shape {
            planes: [5, 7, 11, 13, 17, 19, 23, 49],
            stem: 3,
            stem_kernel: 5,
            blocks: [1, 2, 1, 2, 1, 2, 1, 2],
            input_channels: 3,
            out_channels: 130,
            bias: true,
        },
        Shape {
            planes: [16, 16, 16, 16, 16, 16, 16, 16],
            stem: 16,
            stem_kernel: 3,
            blocks: [1; 8],
            input_channels: 3,
            out_channels: 16,
            bias: false,
        },
    ];
    for (index, shape) in shapes.iter().enumerate() {
        let params = random_net(shape, 20 + index as u64);
        check(&params, InputFeatures::Ones, &surface_coordinates(30, 500), &format!("graph {index}"));
        check(&params, InputFeatures::Colors, &surface_coordinates(31, 300), &format!("graph {index} on colours"));
    }
}

#[test]
fn full_width() {
    let params = random_params([32, 64, 128, 256, 128, 128, 96, 96], 32, [2; 8], 3, 512, false, 40);
    check(&params, InputFeatures::Ones, &surface_coordinates(41, 700), "MinkUNet18A");
}

#[test]
fn results_are_bit_identical_for_any_threads_and_row_order() {
    let model = model(&narrow(50), InputFeatures::Ones);
    let rows = batched(51, 900, 2);
    let at = |precision| CpuLevel::available(precision).map(move |level| (level, precision));
    for (level, precision) in Precision::ALL.into_iter().flat_map(at) {
        let session = |threads| session_at(&model, level, threads, precision);
        let want = forward(&mut session(1), &rows, None, FeatureSpace::Text);
        for threads in [2, 3, 7] {
            let got = forward(&mut session(threads), &rows, None, FeatureSpace::Text);
            assert!(got == want, "{level}, {precision}, {threads} threads");
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        shuffle(52, &mut order);
        let shuffled: Vec<_> = order.iter().map(|&row| rows[row]).collect();
        let got = forward(&mut session(2), &shuffled, None, FeatureSpace::Text);
        for (position, &row) in order.iter().enumerate() {
            assert!(got[position * 48..][..48] == want[row * 48..][..48], "{level}, {precision}, row {row} shuffled");
        }
    }
}

#[test]
fn duplicates_take_the_features_of_the_first_row() {
    let params = narrow(60);
    let model = model(&params, InputFeatures::Colors);
    let unique = surface_coordinates(61, 200);
    let colors = random_features(62, 200, 3);
    let want = forward(&mut session(&model, best(), 2), &unique, Some(&colors), FeatureSpace::Text);
    let mut rows = unique.clone();
    rows.extend_from_slice(&unique[50..90]);
    let mut with_others = colors.clone();
    with_others.extend(random_features(63, 40, 3));
    let got = forward(&mut session(&model, best(), 2), &rows, Some(&with_others), FeatureSpace::Text);
    assert!(got[..want.len()] == want[..]);
    assert!(got[want.len()..] == want[50 * 48..90 * 48]);
}

#[test]
fn translation_by_multiples_of_sixteen_changes_nothing() {
    let model = model(&narrow(70), InputFeatures::Ones);
    let rows = surface_coordinates(71, 500);
    let shifted: Vec<_> = rows.iter().map(|c| [c[0], c[1] - 160, c[2] + 4096, c[3] - 16]).collect();
    let mut session = session(&model, best(), 2);
    let want = forward(&mut session, &rows, None, FeatureSpace::Trunk);
    assert!(forward(&mut session, &shifted, None, FeatureSpace::Trunk) == want);
}

#[test]
fn sessions_share_a_model_in_parallel() {
    let model = model(&narrow(80), InputFeatures::Ones);
    let rows = surface_coordinates(81, 600);
    let want = forward(&mut session(&model, best(), 1), &rows, None, FeatureSpace::Text);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut session = session(&model, best(), 1);
                for _ in 0..3 {
                    assert!(forward(&mut session, &rows, None, FeatureSpace::Text) == want);
                }
            });
        }
    });
}

#[test]
fn runs_can_be_stopped() {
    use std::sync::atomic::AtomicBool;
    let model = model(&narrow(90), InputFeatures::Ones);
    let rows = surface_coordinates(91, 300);
    let mut session = session(&model, best(), 2);
    let cancel = AtomicBool::new(true);
    let control = Control { cancel: Cancel::when(&cancel), progress: None };
    let error = session.forward(&rows, None, FeatureSpace::Text, control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let stop_half_way = |done: f32| done < 0.5;
    let control = Control { progress: Some(&stop_half_way), ..Control::default() };
    let error = session.forward(&rows, None, FeatureSpace::Text, control).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(session.forward(&rows, None, FeatureSpace::Text, Control::default()).is_ok(), "the next call works");
}

#[test]
fn wrong_features_are_named() {
    let model = model(&narrow(95), InputFeatures::Colors);
    let rows = surface_coordinates(96, 10);
    let mut session = session(&model, best(), 1);
    let error = session.forward(&rows, Some(&[0.0; 29]), FeatureSpace::Text, Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    let error = session.forward(&rows, None, FeatureSpace::Text, Control::default()).unwrap_err();
    assert!(error.to_string().contains("3 input features"), "{error}");
}
