//! From points to labels: voxelisation, scores, options and errors, against the oracle and against themselves.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::ErrorKind;
use openvocab3d::backend::{Control, FeatureSpace, Representative};
use openvocab3d::cloud::{Axes, Cloud, Frame, GridOrigin, StridedView};
use openvocab3d::model::{Embeddings, InputFeatures, Label, Model, Other, Vocabulary};
use openvocab3d::pipeline::{Augmentation, Ballot, SegmentOptions, Segmentation, Vote};
use openvocab3d::plan::Similarity;
use openvocab3d::session::Session;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::generate::{Generator, random_params, shuffle, surface_coordinates, surface_points};
use support::library::{best, levels, model, ones, oracle, session};
use support::oracle::Params;

const PLANES: [usize; 8] = [8, 16, 16, 24, 24, 16, 16, 12];
const DIM: usize = 32;

fn params(seed: u64) -> Params {
    random_params(PLANES, 8, [1; 8], 3, DIM, false, seed)
}

/// Seven prompts for five labels; the second has three.
fn vocabulary() -> Arc<Vocabulary> {
    let label = |name: &str, prompts: &[&str]| Label {
        name: name.into(),
        prompts: prompts.iter().map(|p| (*p).to_owned()).collect(),
    };
    let labels = vec![
        label("a", &["a"]),
        label("b", &["b1", "b2", "b3"]),
        label("c", &["c"]),
        label("d", &["d"]),
        label("e", &["e"]),
    ];
    let mut random = Generator::new(77);
    let rows = (0..7 * DIM).map(|_| random.normal() as f32).collect();
    let set = Embeddings { space: format!("custom-{DIM}"), dim: DIM, rows };
    Arc::new(Vocabulary::new(labels, vec![set]).unwrap())
}

fn ready(model: &Arc<Model>, threads: usize) -> Session {
    let mut session = session(model, best(), threads);
    session.set_vocabulary(vocabulary()).unwrap();
    session
}

fn segment(session: &mut Session, cloud: &Cloud<'_>, options: &SegmentOptions) -> Segmentation {
    session.segment(&[*cloud], options, Control::default()).unwrap().clouds.remove(0)
}

fn default_segment(session: &mut Session, points: &[[f32; 3]]) -> Segmentation {
    segment(session, &Cloud::from_xyz(points), &SegmentOptions::default())
}

#[test]
fn labels_and_scores_are_the_oracles() {
    let (params, cloud, vocabulary) = (params(1), surface_points(2, 700), vocabulary());
    let model = model(&params, InputFeatures::Ones);
    let cells: Vec<[i64; 3]> = cloud.iter().map(|p| p.map(|v| (f64::from(v) * (1.0 / 0.02)).floor() as i64)).collect();
    let low = [0, 1, 2].map(|axis| cells.iter().map(|c| c[axis]).min().unwrap());
    let row = |c: &[i64; 3]| [0, (c[0] - low[0]) as i32, (c[1] - low[1]) as i32, (c[2] - low[2]) as i32];
    let mut unique = Vec::new();
    let mut voxel_of: HashMap<[i32; 4], usize> = HashMap::new();
    for c in &cells {
        voxel_of.entry(row(c)).or_insert_with(|| {
            unique.push(row(c));
            unique.len() - 1
        });
    }
    let trace = oracle(&params, &model).forward(&unique, &ones(unique.len()));
    let rows: Vec<Vec<f64>> =
        vocabulary.embeddings()[0].rows.chunks(DIM).map(|r| r.iter().map(|&v| f64::from(v)).collect()).collect();
    for similarity in [Similarity::Dot, Similarity::Cosine] {
        let options = SegmentOptions { similarity, logits: true, top_k: 3, ..SegmentOptions::default() };
        for level in levels() {
            let mut session = session(&model, level, 2);
            session.set_vocabulary(vocabulary.clone()).unwrap();
            let got = segment(&mut session, &Cloud::from_xyz(&cloud), &options);
            for (point, c) in cells.iter().enumerate() {
                let feature = trace.output.row(voxel_of[&row(c)]);
                let length = feature.iter().map(|v| v * v).sum::<f64>().sqrt();
                let divisor = if similarity == Similarity::Cosine { length } else { 1.0 };
                let prompt = |p: &Vec<f64>| p.iter().zip(feature).map(|(a, b)| a * b).sum::<f64>() / divisor;
                let prompts: Vec<f64> = rows.iter().map(prompt).collect();
                let b = prompts[1].max(prompts[2]).max(prompts[3]);
                let want = [prompts[0], b, prompts[4], prompts[5], prompts[6]];
                let voxel = got.voxel_of_point[point] as usize;
                assert_eq!(got.coordinates[voxel], [row(c)[1], row(c)[2], row(c)[3]]);
                let scale = length / divisor;
                for (label, want) in want.iter().enumerate() {
                    let error = (f64::from(got.logits[voxel * 5 + label]) - want).abs();
                    assert!(error <= 1e-4 * scale, "{level} point {point} label {label}: {error:.1e}");
                }
                let mut order: Vec<usize> = (0..5).collect();
                order.sort_by(|&a, &b| want[b].total_cmp(&want[a]));
                if want[order[0]] - want[order[1]] > 1e-3 * scale {
                    assert_eq!(got.labels[point], order[0] as i32);
                    assert_eq!(got.top_labels[3 * point], order[0] as i32);
                }
                assert_eq!(got.scores[point], got.logits[voxel * 5 + got.labels[point] as usize]);
                assert!(got.top_scores[3 * point] >= got.top_scores[3 * point + 1]);
            }
        }
    }
}

#[test]
fn softmax_scores_are_probabilities() {
    let model = model(&params(3), InputFeatures::Ones);
    let options = SegmentOptions {
        similarity: Similarity::Cosine,
        temperature: Some(0.05),
        logits: true,
        ..SegmentOptions::default()
    };
    let got = segment(&mut ready(&model, 2), &Cloud::from_xyz(&surface_points(4, 300)), &options);
    for row in got.logits.chunks(5) {
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let plain = SegmentOptions { similarity: Similarity::Cosine, ..SegmentOptions::default() };
    let raw = segment(&mut ready(&model, 2), &Cloud::from_xyz(&surface_points(4, 300)), &plain);
    assert_eq!(got.labels, raw.labels, "a softmax does not change the best label");
}

#[test]
fn bit_identical_for_any_threads_and_point_order() {
    let model = model(&params(5), InputFeatures::Ones);
    let cloud = surface_points(6, 900);
    let want = default_segment(&mut ready(&model, 1), &cloud);
    for threads in [2, 3, 7] {
        assert_eq!(default_segment(&mut ready(&model, threads), &cloud), want, "{threads} threads");
    }
    let mut order: Vec<usize> = (0..cloud.len()).collect();
    shuffle(7, &mut order);
    let shuffled: Vec<_> = order.iter().map(|&i| cloud[i]).collect();
    let got = default_segment(&mut ready(&model, 2), &shuffled);
    for (position, &point) in order.iter().enumerate() {
        assert_eq!(got.labels[position], want.labels[point]);
        assert_eq!(got.scores[position].to_bits(), want.scores[point].to_bits());
    }
}

#[test]
fn canonical_representatives_ignore_the_order_of_the_points() {
    let model = model(&params(8), InputFeatures::Colors);
    let cloud = surface_points(9, 400);
    let mut random = Generator::new(10);
    let colors: Vec<[u8; 3]> = cloud.iter().map(|_| [0; 3].map(|_: i32| random.below(256) as u8)).collect();
    let mut order: Vec<usize> = (0..cloud.len()).collect();
    shuffle(11, &mut order);
    let (shuffled, shuffled_colors): (Vec<_>, Vec<_>) = order.iter().map(|&i| (cloud[i], colors[i])).unzip();
    let mut session = ready(&model, 2);
    let mut scores = |points: &[[f32; 3]], colors: &[[u8; 3]], representative| {
        let cloud = Cloud { colors: Some(StridedView::packed_u8(colors)), ..Cloud::from_xyz(points) };
        segment(&mut session, &cloud, &SegmentOptions { representative, ..SegmentOptions::default() }).scores
    };
    for (representative, same) in [(Representative::Canonical, true), (Representative::First, false)] {
        let want = scores(&cloud, &colors, representative);
        let got = scores(&shuffled, &shuffled_colors, representative);
        let equal = order.iter().enumerate().all(|(position, &point)| got[position] == want[point]);
        assert_eq!(equal, same, "{representative:?}");
    }
}

#[test]
fn clouds_of_one_call_are_as_if_alone() {
    let model = model(&params(12), InputFeatures::Ones);
    let clouds = [surface_points(13, 300), Vec::new(), surface_points(14, 200), vec![[1.0, 2.0, 3.0]]];
    let views: Vec<Cloud<'_>> = clouds.iter().map(|c| Cloud::from_xyz(c)).collect();
    let options = SegmentOptions { logits: true, features: Some(FeatureSpace::Trunk), ..SegmentOptions::default() };
    let mut session = ready(&model, 2);
    let together = session.segment(&views, &options, Control::default()).unwrap();
    for (index, view) in views.iter().enumerate() {
        assert_eq!(together.clouds[index], segment(&mut session, view, &options), "cloud {index}");
    }
    assert!(session.segment(&[], &options, Control::default()).unwrap().clouds.is_empty());
}

#[test]
fn degenerate_clouds() {
    let model = model(&params(15), InputFeatures::Ones);
    let mut session = ready(&model, 2);
    assert_eq!(default_segment(&mut session, &[]), Segmentation::default());
    let one = default_segment(&mut session, &[[5.0, -3.0, 1e4]]);
    assert!((one.labels.len(), one.coordinates.len()) == (1, 1) && (0..5).contains(&one.labels[0]));
    let equal = default_segment(&mut session, &[[0.5; 3]; 100]);
    assert_eq!(
        (&equal.labels[..], equal.coordinates.len()),
        (&[one.labels[0]; 100][..], 1),
        "isolated voxels look alike"
    );
    let none = default_segment(&mut session, &[[f32::NAN; 3], [f32::INFINITY, 0.0, 0.0]]);
    assert_eq!(
        (&none.labels[..], &none.scores[..], &none.voxel_of_point[..]),
        (&[-1, -1][..], &[0.0, 0.0][..], &[-1, -1][..])
    );
}

#[test]
fn points_that_are_not_finite_change_nothing_for_the_others() {
    let model = model(&params(16), InputFeatures::Ones);
    let cloud = surface_points(17, 200);
    let mut session = ready(&model, 2);
    let want = default_segment(&mut session, &cloud);
    let mut with_holes = cloud.clone();
    with_holes.insert(0, [f32::NAN, 0.0, 0.0]);
    with_holes.insert(50, [0.0, f32::NEG_INFINITY, 0.0]);
    let mut got = default_segment(&mut session, &with_holes);
    for hole in [50, 0] {
        assert_eq!(got.labels.remove(hole), -1);
        assert_eq!(got.scores.remove(hole), 0.0);
    }
    assert_eq!((got.labels, got.scores), (want.labels, want.scores));
}

#[test]
fn the_world_lattice_keeps_labels_when_the_cloud_grows() {
    let model = model(&params(18), InputFeatures::Ones);
    let cloud = surface_points(19, 400);
    let mut grown = cloud.clone();
    grown.push([-333.37, 251.13, -77.71]);
    let mut session = ready(&model, 2);
    for (grid_origin, stable) in [(GridOrigin::World, true), (GridOrigin::Minimum, false)] {
        let options = SegmentOptions { grid_origin, ..SegmentOptions::default() };
        let before = segment(&mut session, &Cloud::from_xyz(&cloud), &options);
        let after = segment(&mut session, &Cloud::from_xyz(&grown), &options);
        assert_eq!(before.scores == after.scores[..cloud.len()], stable, "{grid_origin:?}");
        if grid_origin == GridOrigin::World {
            let place = |s: &Segmentation| s.coordinates[s.voxel_of_point[0] as usize];
            assert_eq!(place(&before), place(&after));
            assert_eq!(place(&before), cloud[0].map(|v| (f64::from(v) * (1.0 / 0.02)).floor() as i32));
        }
    }
}

#[test]
fn units_axes_pose_and_interleaved_layouts() {
    let model = model(&params(20), InputFeatures::Ones);
    // Cell centres of a dyadic voxel size: exact in every unit below.
    let centres: Vec<[f32; 3]> =
        surface_coordinates(21, 300).iter().map(|c| [c[1], c[2], c[3]].map(|v| (v as f32 + 0.5) / 64.0)).collect();
    let options = SegmentOptions { voxel_size: Some(1.0 / 64.0), ..SegmentOptions::default() };
    let mut session = ready(&model, 2);
    let want = segment(&mut session, &Cloud::from_xyz(&centres), &options);
    // 24-byte records of a left-handed sensor in units of 1/64 m, shifted by a pose that is undone.
    let records: Vec<u8> = centres
        .iter()
        .flat_map(|p| [p[0] * 64.0 - 128.0, -p[1] * 64.0, p[2] * 64.0, 7.0, 8.0, 9.0])
        .flat_map(f32::to_ne_bytes)
        .collect();
    let frame = Frame {
        unit_in_metres: 1.0 / 64.0,
        axes: Axes::LeftHandedZUp,
        pose: Some([[1.0, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]),
    };
    let positions = StridedView::new(&records, centres.len(), 24, openvocab3d::cloud::Dtype::F32, 3).unwrap();
    let got = segment(&mut session, &Cloud::new(positions, frame), &options);
    assert_eq!(got, want);
}

#[test]
fn a_kept_trunk_answers_for_other_words() {
    let model = model(&params(30), InputFeatures::Ones);
    let clouds = [surface_points(31, 300), surface_points(32, 100)];
    let views: Vec<Cloud<'_>> = clouds.iter().map(|c| Cloud::from_xyz(c)).collect();
    let words = vocabulary();
    let rows = words.embeddings()[0].rows[DIM..4 * DIM].to_vec();
    let other = Arc::new(Vocabulary::from_embeddings(&["x", "y", "z"], &rows, DIM, "").unwrap());
    let mut session = ready(&model, 2);
    let keep = SegmentOptions { keep_trunk: true, ..SegmentOptions::default() };
    let first = session.segment(&views, &keep, Control::default()).unwrap();
    let options =
        SegmentOptions { similarity: Similarity::Cosine, top_k: 2, logits: true, ..SegmentOptions::default() };
    let mut fresh = ready(&model, 2);
    fresh.set_vocabulary(other.clone()).unwrap();
    let want = fresh.segment(&views, &options, Control::default()).unwrap();
    for (index, (cloud, kept)) in first.clouds.iter().zip(&first.kept).enumerate() {
        let voxels = &cloud.voxel_of_point;
        let got = session.query(kept, voxels, other.clone(), &options, Control::default()).unwrap();
        assert_eq!(Segmentation { coordinates: cloud.coordinates.clone(), ..got }, want.clouds[index]);
        let error = session.query(kept, &[-2], other.clone(), &options, Control::default()).unwrap_err();
        assert!(error.to_string().contains("voxel_of_point"), "{error}");
    }
    let twin = support::library::model(&params(30), InputFeatures::Ones);
    let error = ready(&twin, 1).query(&first.kept[0], &[], other, &options, Control::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch, "{error}");
}

#[test]
fn augmented_passes() {
    let model = model(&params(22), InputFeatures::Ones);
    let cloud = surface_points(23, 300);
    let mut session = ready(&model, 2);
    let cosine =
        |augmentation| SegmentOptions { similarity: Similarity::Cosine, augmentation, ..SegmentOptions::default() };
    let once = Augmentation { repeats: 1, seed: 1, rotation: [0.0; 3], scale: [1.0, 1.0] };
    let [want, got] =
        [None, Some(once)].map(|augmentation| segment(&mut session, &Cloud::from_xyz(&cloud), &cosine(augmentation)));
    assert_eq!((got.labels, got.scores), (want.labels, want.scores), "one still pass is the plain pass, bit for bit");
    let plain = default_segment(&mut session, &cloud);
    let mut run = |repeats, seed, rotation, scale| {
        let augmentation = Some(Augmentation { repeats, seed, rotation, scale });
        segment(&mut session, &Cloud::from_xyz(&cloud), &SegmentOptions { augmentation, ..SegmentOptions::default() })
    };
    let still = run(1, 1, [0.0; 3], [1.0, 1.0]);
    assert_eq!((&still.labels, &still.scores), (&plain.labels, &plain.scores), "no rotation, no scale: the plain pass");
    let thrice = run(3, 1, [0.0; 3], [1.0, 1.0]);
    assert!(thrice.scores.iter().zip(&plain.scores).all(|(mean, one)| (mean - one).abs() <= 1e-5 * one.abs()));
    // Thresholds and temperatures mean the same in one pass and in several.
    let mut shares = |repeats| {
        let augmentation = Some(Augmentation { repeats, seed: 1, rotation: [0.0; 3], scale: [1.0, 1.0] });
        segment(
            &mut session,
            &Cloud::from_xyz(&cloud),
            &SegmentOptions { temperature: Some(0.5), ..cosine(augmentation) },
        )
    };
    let (one, three) = (shares(1), shares(3));
    assert!(one.scores.iter().zip(&three.scores).all(|(one, three)| (one - three).abs() <= 1e-5), "the same shares");
    let mut run = |repeats, seed, rotation, scale| {
        let augmentation = Some(Augmentation { repeats, seed, rotation, scale });
        segment(&mut session, &Cloud::from_xyz(&cloud), &SegmentOptions { augmentation, ..SegmentOptions::default() })
    };
    let published = Augmentation::default();
    let a = run(5, 7, published.rotation, published.scale);
    assert_eq!(a, run(5, 7, published.rotation, published.scale), "the same seed");
    assert_ne!(a.scores, run(5, 8, published.rotation, published.scale).scores, "another seed");
}

/// The means by hand, in a run and in a query.
#[test]
fn superpoints_fall_back_by_their_mean_score() {
    let model = model(&params(24), InputFeatures::Ones);
    let (points, labels) = (surface_points(25, 300)[..300].to_vec(), vocabulary().len());
    let ids: Vec<i64> = (0..300).map(|point| point / 6).collect();
    let cloud = Cloud { superpoints: Some(StridedView::packed_i64(&ids)), ..Cloud::from_xyz(&points) };
    let mut session = ready(&model, 2);
    let plain = segment(&mut session, &cloud, &SegmentOptions { logits: true, ..SegmentOptions::default() });
    let best = |superpoint: &[i32]| {
        let score = |voxel: i32, label: usize| f64::from(plain.logits[voxel as usize * labels + label]);
        let mean = |label| superpoint.iter().map(|&v| score(v, label)).sum::<f64>() / superpoint.len() as f64;
        (0..labels).map(|label| (label, mean(label))).max_by(|a, b| a.1.total_cmp(&b.1)).unwrap()
    };
    let best: Vec<(usize, f64)> = plain.voxel_of_point.chunks(6).map(best).collect();
    let mut means: Vec<f64> = best.iter().map(|best| best.1).collect();
    means.sort_by(f64::total_cmp);
    let other = Other { label: 4, threshold: ((means[24] + means[25]) / 2.0) as f32 };
    let want = best.iter().map(|(label, mean)| if *mean < f64::from(other.threshold) { 4 } else { *label as i32 });
    let want: Vec<i32> = want.flat_map(|label| [label; 6]).collect();

    let asked = Arc::new(Vocabulary::clone(&vocabulary()).with_other(Some(other)).unwrap());
    session.set_vocabulary(asked.clone()).unwrap();
    let vote = Some(Vote { ballot: Ballot::Scores, by_margin: false });
    let options = SegmentOptions { vote, keep_trunk: true, ..SegmentOptions::default() };
    let mut run = session.segment(&[cloud], &options, Control::default()).unwrap();
    let (voted, kept) = (run.clouds.remove(0), run.kept.remove(0));
    assert_eq!(voted.labels[..], want);
    let answer = session.query(&kept, &voted.voxel_of_point, asked, &options, Control::default()).unwrap();
    assert_eq!(answer.labels[..], want);
}

/// Whatever a budget refuses is refused before it is held, and what is held between calls keeps within it, too.
#[test]
fn budgets_hold() {
    let model = model(&params(30), InputFeatures::Ones);
    let points = surface_points(30, 30_000);
    let cloud = [Cloud::from_xyz(&points)];
    let options = SegmentOptions { keep_trunk: true, ..SegmentOptions::default() };
    let mut session = ready(&model, 2);
    session.segment(&cloud, &options, Control::default()).unwrap();
    let needed = session.memory().last_bytes;

    // Blocks are up to a quarter larger than what was asked for.
    let within = |held: u64, budget: u64| assert!(held <= budget + budget / 4, "{held} bytes held of {budget}");
    let mut small = ready(&model, 2);
    for share in [2, 3, 4, 6, 8, 12, 16] {
        let budget = needed * share / 20;
        small.set_memory_budget(Some(budget));
        let error = small.segment(&cloud, &options, Control::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Budget, "{error}");
        assert!(error.to_string().contains(&format!("memory_budget is {budget}")), "{error}");
        within(small.backend().held_bytes(), budget);
    }
    small.set_memory_budget(Some(needed));
    let run = small.segment(&cloud, &options, Control::default()).unwrap();
    drop(small.segment(&[Cloud::from_xyz(&points[..100])], &options, Control::default()).unwrap());
    within(small.backend().held_bytes(), needed);

    small.set_memory_budget(Some(1000));
    let query = |session: &mut Session| {
        let points = &run.clouds[0].voxel_of_point;
        session.query(&run.kept[0], points, vocabulary(), &options, Control::default()).map(|_| ())
    };
    assert_eq!(query(&mut small).unwrap_err().kind(), ErrorKind::Budget);
    small.set_memory_budget(None);
    query(&mut small).unwrap();
}

#[test]
fn errors_name_the_argument() {
    let model = model(&params(24), InputFeatures::Colors);
    let cloud = [[0.0_f32; 3]; 4];
    let mut session = session(&model, best(), 1);
    let expect = |session: &mut Session, cloud: Cloud<'_>, options: SegmentOptions, kind, words: &str| {
        let error = session.segment(&[cloud], &options, Control::default()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(words), "'{error}' does not say '{words}'");
    };
    let plain = SegmentOptions::default;
    expect(&mut session, Cloud::from_xyz(&cloud), plain(), ErrorKind::InvalidState, "no vocabulary");
    let wrong = Vocabulary::from_embeddings(&["x"], &[1.0; 8], 8, "clip-x").unwrap();
    let error = session.set_vocabulary(Arc::new(wrong)).unwrap_err().to_string();
    assert!(error.contains("clip-x") && error.contains("custom-32"), "{error}");
    session.set_vocabulary(vocabulary()).unwrap();
    expect(&mut session, Cloud::from_xyz(&cloud), plain(), ErrorKind::InvalidArgument, "colours");
    let colors = [[0_u8; 3]; 3];
    let short = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..Cloud::from_xyz(&cloud) };
    expect(&mut session, short, plain(), ErrorKind::Mismatch, "colors has 3 rows");
    let colors = [[0_u8; 3]; 4];
    let good = Cloud { colors: Some(StridedView::packed_u8(&colors)), ..Cloud::from_xyz(&cloud) };
    let invalid = ErrorKind::InvalidArgument;
    expect(&mut session, good, SegmentOptions { top_k: 6, ..plain() }, invalid, "top_k is 6");
    expect(&mut session, good, SegmentOptions { voxel_size: Some(0.0), ..plain() }, invalid, "voxel_size");
    expect(&mut session, good, SegmentOptions { voxel_size: Some(1e-310), ..plain() }, invalid, "voxel_size");
    let frame = Frame { unit_in_metres: 1e300, ..Frame::default() };
    let huge = [[1e30_f32; 3]; 4];
    let overflowing = Cloud { frame, colors: good.colors, ..Cloud::from_xyz(&huge) };
    expect(&mut session, overflowing, plain(), ErrorKind::OutOfRange, "on x");
    expect(&mut session, good, SegmentOptions { temperature: Some(f32::NAN), ..plain() }, invalid, "temperature");
    let repeated = SegmentOptions { augmentation: Some(Augmentation::default()), logits: true, ..plain() };
    expect(&mut session, good, repeated, invalid, "logits");
    let far = [[0.0_f32; 3], [1e6, 0.0, 0.0], [0.0; 3], [0.0; 3]];
    let far = Cloud { colors: good.colors, ..Cloud::from_xyz(&far) };
    expect(&mut session, far, plain(), ErrorKind::OutOfRange, "on x");
    let frame = Frame { unit_in_metres: -1.0, ..Frame::default() };
    expect(&mut session, Cloud { frame, ..good }, plain(), invalid, "unit_in_metres");
    assert!(session.segment(&[good], &plain(), Control::default()).is_ok(), "the next good call works");
}

#[test]
fn a_progress_callback_can_stop_superpoints_and_votes() {
    let points = surface_points(31, 600);
    let cloud = [Cloud::from_xyz(&points)];
    let mut session = ready(&model(&params(30), InputFeatures::Ones), 2);
    let mut run = |options: &SegmentOptions, last: usize| {
        let calls = AtomicUsize::new(0);
        let progress = |_| calls.fetch_add(1, Ordering::Relaxed) + 1 < last;
        let control = Control { progress: Some(&progress), ..Control::default() };
        let outcome = session.segment(&cloud, options, control).map(|_| ()).map_err(|e| e.kind());
        (outcome, calls.load(Ordering::Relaxed))
    };
    let (plain, of_network) = run(&SegmentOptions::default(), usize::MAX);
    assert_eq!(plain, Ok(()));
    let voting = SegmentOptions { vote: Some(Vote::default()), ..SegmentOptions::default() };
    for last in [1, 2] {
        assert_eq!(run(&voting, of_network + last), (Err(ErrorKind::Cancelled), of_network + last));
    }
    assert_eq!(run(&voting, usize::MAX).0, Ok(()));
}
