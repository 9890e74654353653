//! Untrained networks with reproducible weights: the start of training, and stand-ins for demos and benchmarks.

use super::graph::{Graph, TensorShape};
use super::model::{Model, Provenance, TextSpace};
use super::weights::{StateDict, Weight};
use crate::error::Result;
use crate::random::SplitMix64;

impl Model {
    /// A network of `graph` with random kernels (uniform, variance preserving) that depend on `seed` alone.
    pub fn untrained(graph: Graph, voxel_size: f64, seed: u64) -> Result<Self> {
        graph.validate()?;
        let mut random = SplitMix64::new(seed);
        let tensors: StateDict =
            graph.tensors().into_iter().map(|t| (t.name.clone(), initial(&t, &mut random))).collect();
        let text_space = TextSpace::published(graph.head_channels);
        Self::new(graph, tensors, voxel_size, text_space, Provenance::default())
    }
}

fn initial(tensor: &TensorShape, random: &mut SplitMix64) -> Weight {
    let len = tensor.shape.iter().product();
    let values = if tensor.name.ends_with(".kernel") {
        let (volume, c_out) = match tensor.shape[..] {
            [volume, _, c_out] => (volume, c_out),
            _ => (1, tensor.shape.last().copied().unwrap_or(1)),
        };
        let bound = (6.0 / (volume * c_out) as f64).sqrt();
        (0..len).map(|_| ((2.0 * random.unit() - 1.0) * bound) as f32).collect()
    } else if tensor.name.ends_with(".weight") || tensor.name.ends_with("running_var") {
        vec![1.0; len]
    } else {
        vec![0.0; len]
    };
    Weight::f32(tensor.shape.clone(), values)
}
