//! A stream of frames needs no new memory: what a run takes it gives back, and the next run takes it again.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use openvocab3d::allocations;
use openvocab3d::backend::cpu::CpuOptions;
use openvocab3d::backend::{Control, FeatureSpace, Precision};
use openvocab3d::cloud::{Cloud, Scene};
use openvocab3d::model::{Graph, Model, Variant, Vocabulary};
use openvocab3d::pipeline::SegmentOptions;
use openvocab3d::session::Session;
use std::sync::Arc;

const FRAMES: u64 = 126;
/// What the thread pool takes: a block of slots for every 63 calls from outside, and a little at its own pace.
const OF_THE_POOL: u64 = FRAMES / 63 + 3;
/// What frames take that are all larger than those before: a block here and there whose size class they outgrow.
const OF_GROWTH: u64 = 40;

#[test]
fn frames_after_the_first_allocate_nothing() {
    let graph = Graph::published(*Variant::ALL.iter().find(|v| v.name == "MinkUNet14A").unwrap(), 64, 1);
    let model = Arc::new(Model::untrained(graph, 0.02, 1).unwrap());
    let rows: Vec<f32> = (0..20 * 64).map(|i| (i as f32).sin()).collect();
    let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let vocabulary = Arc::new(Vocabulary::from_embeddings(&names, &rows, 64, "").unwrap());
    let room = Scene::Room.sized(1000, 0.02, 1).unwrap();
    for precision in Precision::ALL {
        let options = CpuOptions { threads: Some(2), precision, ..CpuOptions::default() };
        let mut session = Session::new(model.clone(), options).unwrap();
        session.set_vocabulary(vocabulary.clone()).unwrap();
        for options in [
            SegmentOptions::default(),
            SegmentOptions { logits: true, features: Some(FeatureSpace::Text), top_k: 3, ..SegmentOptions::default() },
        ] {
            let points = &room.cloud.positions;
            let mut frames = |number: u64, points_of: &dyn Fn(u64) -> usize| {
                let before = allocations();
                for index in 0..number {
                    let cloud = [Cloud::from_xyz(&points[..points_of(index)])];
                    let results = session.segment(&cloud, &options, Control::default()).unwrap();
                    assert_eq!(results.clouds[0].labels.len(), points_of(index));
                }
                allocations() - before
            };
            frames(2, &|_| points.len() - 300);
            let calls = frames(FRAMES, &|_| points.len() - 300);
            assert!(calls <= OF_THE_POOL, "{precision}: {calls} allocations in {FRAMES} frames");
            let calls = frames(30, &|index| points.len() - 300 + 10 * index as usize);
            assert!(calls <= OF_THE_POOL + OF_GROWTH, "{precision}: {calls} allocations in 30 frames that grow");
            let calls = frames(FRAMES, &|index| points.len() - 10 * (index as usize * 7 % 30));
            assert!(calls <= OF_THE_POOL + OF_GROWTH, "{precision}: {calls} allocations in frames of various sizes");
        }
    }
}
