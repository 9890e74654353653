//! Words asked of a finished run: the same labels as a run with those words, soon enough to type along.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

use openvocab3d::backend::Control;
use openvocab3d::backend::cpu::CpuOptions;
use openvocab3d::cloud::{Cloud, RoomOptions, room};
use openvocab3d::model::{Graph, Model, Other, Variant, Vocabulary};
use openvocab3d::pipeline::{Kept, SegmentOptions, Segmentation};
use openvocab3d::plan::Similarity;
use openvocab3d::random::SplitMix64;
use openvocab3d::session::Session;
use std::sync::Arc;
use std::time::Instant;

fn words(count: usize, seed: u64) -> Arc<Vocabulary> {
    let mut random = SplitMix64::new(seed);
    let names: Vec<String> = (0..count).map(|word| format!("word {word}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows: Vec<f32> = (0..count * 512).map(|_| random.range(-1.0, 1.0) as f32).collect();
    Arc::new(Vocabulary::from_embeddings(&names, &rows, 512, "clip-vit-b32").unwrap())
}

/// A run at `divisor` times less than the published widths, in voxels of `voxel_size`.
fn run(session: &mut Session, voxel_size: f64) -> (Segmentation, Kept) {
    let scene = room(&RoomOptions::default());
    let options = SegmentOptions { keep_trunk: true, voxel_size: Some(voxel_size), ..SegmentOptions::default() };
    let cloud = Cloud::from_xyz(&scene.positions);
    let mut results = session.segment(&[cloud], &options, Control::default()).unwrap();
    (results.clouds.pop().unwrap(), results.kept.pop().unwrap())
}

fn session(variant: &str, divisor: usize, vocabulary: Arc<Vocabulary>) -> Session {
    let variant = Variant::ALL.into_iter().find(|found| found.name == variant).unwrap();
    let model = Model::untrained(Graph::published(variant, 512, divisor), 0.02, 3).unwrap();
    let mut session = Session::new(Arc::new(model), CpuOptions { threads: Some(2), ..CpuOptions::default() }).unwrap();
    session.set_vocabulary(vocabulary).unwrap();
    session
}

#[test]
fn a_query_gives_the_labels_of_a_run() {
    let mut session = session("MinkUNet14A", 8, words(5, 1));
    let (points, kept) = run(&mut session, 0.05);
    let asked = words(7, 2);
    let cosine = SegmentOptions { similarity: Similarity::Cosine, ..SegmentOptions::default() };
    let plain = session.query(&kept, &points.voxel_of_point, asked.clone(), &cosine, Control::default()).unwrap();
    let mut scores = plain.scores.to_vec();
    scores.sort_by(f32::total_cmp);
    let middle = Other { label: 3, threshold: scores[scores.len() / 2] };
    for (similarity, other) in [(Similarity::Dot, None), (Similarity::Cosine, Some(middle))] {
        let asked = Arc::new(Vocabulary::clone(&asked).with_other(other).unwrap());
        let options = SegmentOptions { similarity, top_k: 2, ..SegmentOptions::default() };
        let got = session.query(&kept, &points.voxel_of_point, asked.clone(), &options, Control::default()).unwrap();
        session.set_vocabulary(asked).unwrap();
        let scene = room(&RoomOptions::default());
        let options = SegmentOptions { voxel_size: Some(0.05), ..options };
        let want = session.segment(&[Cloud::from_xyz(&scene.positions)], &options, Control::default()).unwrap();
        assert_eq!(got.labels, want.clouds[0].labels);
        assert_eq!(got.scores, want.clouds[0].scores);
        let weak = |point: usize| other.is_some_and(|other| got.scores[point] < other.threshold);
        let own = |point: usize| if weak(point) { 3 } else { got.top_labels[2 * point] };
        assert!((0..got.labels.len()).all(|point| got.labels[point] == own(point)));
        let count = (0..got.labels.len()).filter(|&point| weak(point) && got.top_labels[2 * point] != 3).count();
        assert_eq!(count > 0, other.is_some(), "{count} points fell back");
    }
}

/// The published widths and 100,000 voxels; `cargo test -- --nocapture` shows the times.
#[test]
fn twenty_new_words_take_little() {
    let mut session = session("MinkUNet14A", 1, words(10, 1));
    let (points, kept) = run(&mut session, 0.0225);
    println!("{} voxels", points.coordinates.len());
    for similarity in [Similarity::Dot, Similarity::Cosine] {
        let options = SegmentOptions { similarity, ..SegmentOptions::default() };
        let time = |seed| {
            let asked = words(20, seed);
            let start = Instant::now();
            session.query(&kept, &points.voxel_of_point, asked, &options, Control::default()).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        };
        let mut times: Vec<f64> = (2..12).map(time).collect();
        times.sort_by(f64::total_cmp);
        println!("{similarity:?}: 20 new words in {:.1} ms (median of 10; slowest {:.1})", times[5], times[9]);
        assert!(times[0] < 300.0, "{times:?}");
    }
}
