//! A transformer over token sequences as a list of steps: the text tower of CLIP (Radford et al. 2021).
//!
//! A text reads as its tokens' vectors plus those of their places. Every step adds to that row of every token; the row
//! of the end token, normalised and projected, is the text's embedding. A token sees those before it alone.

use super::Weight;

/// `x · weightᵀ + bias`, with weights as checkpoints hold them.
#[derive(Debug)]
pub struct Dense {
    /// `[columns, inputs]` matrices whose results stand side by side.
    pub weights: Vec<Weight>,
    /// `[columns]` over all matrices; empty for none.
    pub bias: Vec<f32>,
}

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over the values of a row.
#[derive(Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Vec<f32>,
    /// `[width]`.
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub epsilon: f32,
}

/// What stands between the two products of a feed-forward step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x σ(1.702 x)`, as in the models of OpenAI.
    QuickGelu,
    /// `x Φ(x)`.
    Gelu,
}

/// What is added to the rows.
#[derive(Debug)]
pub enum TowerStep {
    /// Causal self-attention.
    Attention {
        /// Comes first.
        norm: LayerNorm,
        /// Queries, keys and values side by side.
        query_key_value: Dense,
        /// From the heads' results, side by side, to a row.
        out: Dense,
    },
    /// Two products of every row by itself.
    FeedForward {
        /// Comes first.
        norm: LayerNorm,
        /// To the inner width.
        up: Dense,
        /// Between the products.
        activation: Activation,
        /// And back.
        down: Dense,
    },
}

/// A text tower.
#[derive(Debug)]
pub struct Tower {
    /// `[tokens, width]`.
    pub tokens: Weight,
    /// `[context, width]`.
    pub positions: Weight,
    /// What is added to the rows, in order.
    pub steps: Vec<TowerStep>,
    /// Heads of every attention.
    pub heads: usize,
    /// Before the projection.
    pub norm: LayerNorm,
    /// To the text space.
    pub projection: Dense,
    /// The token whose row is the text's embedding.
    pub end_token: u32,
}

impl Dense {
    /// Number of results.
    pub fn columns(&self) -> usize {
        self.weights.iter().map(|weight| weight.shape[0]).sum()
    }

    /// Number of values a row must have.
    pub fn inputs(&self) -> usize {
        self.weights.first().map_or(0, |weight| weight.shape[1])
    }
}
