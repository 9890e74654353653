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

#[test]
fn frames_after_the_first_allocate_nothing() {
    let graph = Graph::published(*Variant::ALL.iter().find(|v| v.name == "MinkUNet14A").unwrap(), 64, 1);
    let model = Arc::new(Model::untrained(graph, 0.02, 1).unwrap());
    let rows: Vec<f32> = (0..20 * 64).map(|i| (i as f32).sin()).collect();
    let names: Vec<String> = (0..20).map(|i| i.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let vocabulary = Arc::new(Vocabulary::from_embeddings(&names, &rows, 64, "").unwrap());
    let room = Scene::Room.sized(1000, 0.02, 1).unwrap();
    let cloud = [Cloud::from_xyz(&room.cloud.positions)];
    for precision in Precision::ALL {
        let options = CpuOptions { threads: Some(2), precision, ..CpuOptions::default() };
        let mut session = Session::new(model.clone(), options).unwrap();
        session.set_vocabulary(vocabulary.clone()).unwrap();
        for options in [
            SegmentOptions::default(),
            SegmentOptions { logits: true, features: Some(FeatureSpace::Text), top_k: 3, ..SegmentOptions::default() },
        ] {
            let mut frame = || {
                let results = session.segment(&cloud, &options, Control::default()).unwrap();
                assert_eq!(results.clouds[0].labels.len(), room.cloud.positions.len());
            };
            frame();
            frame();
            let before = allocations();
            (0..FRAMES).for_each(|_| frame());
            let calls = allocations() - before;
            assert!(calls <= OF_THE_POOL, "{precision}: {calls} allocations in {FRAMES} frames");
        }
    }
}
