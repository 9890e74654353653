//! The library under test, fed with the parameters the oracle uses.

use super::oracle::{Coordinate, Matrix, Oracle, Params};
use openvocab3d::backend::cpu::{CpuLevel, CpuOptions};
use openvocab3d::backend::{Backend, Control, FeatureSpace, Input, Job, Precision};
use openvocab3d::model::weights::{StateDict, Weight};
use openvocab3d::model::{Graph, InputFeatures, Model, Provenance, TextSpace};
use openvocab3d::plan::Plan;
use openvocab3d::session::Session;
use std::sync::Arc;

/// `params` as the library's tensors.
pub fn state_dict(params: &Params) -> StateDict {
    let weight = |(name, (shape, values)): (&String, &(Vec<usize>, Vec<f64>))| {
        let shape = if name.ends_with("bias") { vec![values.len()] } else { shape.clone() };
        (name.clone(), Weight::f32(shape, values.iter().map(|&v| v as f32).collect()))
    };
    params.iter().map(weight).collect()
}

/// A model over `params`, its graph read off them.
pub fn model(params: &Params, input: InputFeatures) -> Arc<Model> {
    let tensors = state_dict(params);
    let graph = Graph::infer(&tensors, input).unwrap();
    let space = TextSpace::published(graph.head_channels);
    Arc::new(Model::new(graph, tensors, 0.02, space, Provenance::default()).unwrap())
}

/// The oracle of the same network.
pub fn oracle<'a>(params: &'a Params, model: &Model) -> Oracle<'a> {
    let graph = model.graph();
    Oracle { params, eps: graph.batch_norm_eps, blocks: graph.blocks, stem_kernel: graph.stem_kernel }
}

/// An FP32 session at `level` with `threads` threads.
pub fn session(model: &Arc<Model>, level: CpuLevel, threads: usize) -> Session {
    session_at(model, level, threads, Precision::F32)
}

/// A session at `level` with `threads` threads and a precision.
pub fn session_at(model: &Arc<Model>, level: CpuLevel, threads: usize, precision: Precision) -> Session {
    Session::new(model.clone(), CpuOptions { threads: Some(threads), level: Some(level), precision }).unwrap()
}

/// The CPU levels of this machine in FP32.
pub fn levels() -> impl Iterator<Item = CpuLevel> {
    CpuLevel::available(Precision::F32)
}

/// The best CPU level of this machine.
pub fn best() -> CpuLevel {
    levels().last().unwrap()
}

/// Text-space or trunk features of ready-made voxels.
pub fn forward(session: &mut Session, rows: &[Coordinate], features: Option<&[f32]>, space: FeatureSpace) -> Vec<f32> {
    session.forward(rows, features, space, Control::default()).unwrap().features
}

/// What the last step of `plan` writes: `[rows, channels]`.
pub fn trunk(backend: &dyn Backend, plan: &Plan, rows: &[Coordinate], features: Option<&[f32]>) -> Vec<f32> {
    let job = Job {
        plan,
        input: Input::Coordinates { rows, features },
        scores: None,
        features: Some(FeatureSpace::Trunk),
        keep_trunk: false,
        memory_budget: None,
        control: Control::default(),
    };
    backend.execute(&job).unwrap().features.unwrap().to_vec()
}

/// Matrix of ones for networks with constant input.
pub fn ones(rows: usize) -> Matrix {
    Matrix::new(rows, 3, vec![1.0; rows * 3])
}
