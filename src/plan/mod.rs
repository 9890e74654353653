//! The list of fused steps and the tensors between them: what a model writes and a backend reads.
//!
//! A backend executes plans; a model never names a device. Every step knows what it reads and writes, so buffers
//! live no longer than needed and training can run the list backwards.

mod cache;
mod scoring;
mod step;
mod tower;
mod weight;

pub use cache::PreparedCache;
pub use scoring::{Ranking, Scoring, Similarity};
pub use step::{Affine, Convolution, Geometry, Head, Product, Stem, Step};
pub use tower::{Activation, Dense, LayerNorm, Tower, TowerStep};
pub use weight::{StateDict, Weight, WeightData};

use std::sync::Arc;

/// A tensor between steps, by its number in [`Plan::tensors`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TensorId(pub usize);

/// Features of the voxels of one level: `[voxels of the level, channels]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TensorSpec {
    /// Coarsening; tensor stride 2^level.
    pub level: usize,
    /// Features per voxel.
    pub channels: usize,
}

/// A network compiled to steps.
#[derive(Debug)]
pub struct Plan {
    /// Every tensor the steps name.
    pub tensors: Vec<TensorSpec>,
    /// What to run, in order.
    pub steps: Vec<Step>,
    /// Number of levels.
    pub levels: usize,
    /// The tensor to fill with input features, or none when the network's input is constant ones.
    pub input: Option<TensorId>,
    /// The last features before the text space (96 wide in the published networks).
    pub trunk: TensorId,
    /// The map from the trunk to the text space.
    pub head: Head,
    /// What backends made of the weights, once per kind of device.
    pub prepared: PreparedCache,
}

impl Plan {
    /// The shape of `tensor`.
    pub fn tensor(&self, tensor: TensorId) -> TensorSpec {
        self.tensors[tensor.0]
    }

    /// Per step, the tensors that no later step reads and that are not the trunk.
    pub fn released_after(&self) -> Vec<Vec<TensorId>> {
        let mut last_use = vec![None; self.tensors.len()];
        for (index, step) in self.steps.iter().enumerate() {
            for tensor in step.reads().into_iter().chain([step.writes()]) {
                last_use[tensor.0] = Some(index);
            }
        }
        let mut released = vec![Vec::new(); self.steps.len()];
        for (tensor, last) in last_use.into_iter().enumerate() {
            if let (Some(step), true) = (last, TensorId(tensor) != self.trunk) {
                released[step].push(TensorId(tensor));
            }
        }
        released
    }

    /// Bytes of all weights as stored.
    pub fn weight_bytes(&self) -> usize {
        let mut seen: Vec<*const Weight> = Vec::new();
        let mut bytes = 0;
        for weight in self.steps.iter().flat_map(Step::weights).chain([&self.head.weight]) {
            if !seen.contains(&Arc::as_ptr(weight)) {
                seen.push(Arc::as_ptr(weight));
                bytes += weight.bytes();
            }
        }
        bytes
    }
}
