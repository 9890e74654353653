//! A model: graph, weights, voxel size, text space and provenance, immutable and shareable between sessions.

use super::compile::{SharedWeights, compile};
use super::graph::Graph;
use super::weights::StateDict;
use crate::error::{Error, Result};
use crate::plan::{Plan, Weight};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Edges of a voxel in metres that a network may use.
pub const VOXEL_SIZES: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// The space a network's features and a vocabulary's embeddings share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextSpace {
    /// The text tower, such as `"clip-vit-b32"`.
    pub name: String,
    /// Width of an embedding.
    pub dim: usize,
    /// What names are put into before encoding, `{}` standing for the name.
    pub prompt_template: String,
}

impl TextSpace {
    /// OpenScene's choice of text tower for a head of `dim` outputs.
    pub fn published(dim: usize) -> Self {
        let name = match dim {
            512 => "clip-vit-b32".to_owned(),
            768 => "clip-vit-l14-336".to_owned(),
            _ => format!("custom-{dim}"),
        };
        Self { name, dim, prompt_template: "a {} in a scene".to_owned() }
    }
}

/// Where a model's weights come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Provenance {
    /// SHA-256 of the source file in lower-case hex, if the model was imported.
    pub source_sha256: Option<String>,
    /// Licence of the weights, if stated.
    pub license: Option<String>,
}

/// A network with its weights, compiled to a plan.
#[derive(Debug)]
pub struct Model {
    graph: Graph,
    voxel_size: f64,
    text_space: TextSpace,
    provenance: Provenance,
    weights: SharedWeights,
    plan: Arc<Plan>,
}

impl Model {
    /// A model of `graph` over `tensors` with published names, for voxels of `voxel_size` metres.
    pub fn new(
        graph: Graph,
        tensors: StateDict,
        voxel_size: f64,
        text_space: TextSpace,
        provenance: Provenance,
    ) -> Result<Self> {
        graph.validate()?;
        graph.check(&tensors)?;
        if !VOXEL_SIZES.contains(&voxel_size) {
            return Err(Error::argument(format!(
                "voxel size is {voxel_size} m; it must lie in {VOXEL_SIZES:?}, such as 0.02"
            )));
        }
        if text_space.dim != graph.head_channels {
            return Err(Error::format(format!(
                "text space '{}' is {} wide but the network's head has {} outputs",
                text_space.name, text_space.dim, graph.head_channels
            )));
        }
        let weights: SharedWeights = tensors.into_iter().map(|(name, weight)| (name, Arc::new(weight))).collect();
        let plan = Arc::new(compile(&graph, &weights)?);
        Ok(Self { graph, voxel_size, text_space, provenance, weights, plan })
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Edge of a voxel in metres.
    pub fn voxel_size(&self) -> f64 {
        self.voxel_size
    }

    /// The text space of the head.
    pub fn text_space(&self) -> &TextSpace {
        &self.text_space
    }

    /// Where the weights come from.
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// The compiled network.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The weights by published name.
    pub fn weights(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.weights.iter().map(|(name, weight)| (name.as_str(), &**weight))
    }

    /// Number of weights, running statistics included.
    pub fn parameter_count(&self) -> usize {
        self.weights.values().map(|w| w.len()).sum()
    }
}
