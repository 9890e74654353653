//! Text towers with reproducible random weights: stand-ins for benchmarks.

use super::config::Config;
use super::encoder::{EncoderOptions, TextEncoder};
use super::file::build;
use super::tokeniser::{CONTEXT, TOKENS};
use crate::error::{Result, with_capacity};
use crate::model::weights::{StateDict, Weight};
use crate::random::SplitMix64;

/// The sizes of a tower whose heads are 64 wide and whose inner rows are four times as wide as its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TowerShape {
    /// Of a row.
    pub width: usize,
    /// Each an attention and a feed-forward step.
    pub layers: usize,
    /// Of an embedding.
    pub dim: usize,
}

impl TowerShape {
    /// The published sizes by name.
    pub const PUBLISHED: [(&str, Self); 2] = [
        ("vit-b-32", Self { width: 512, layers: 12, dim: 512 }),
        ("vit-l-14", Self { width: 768, layers: 12, dim: 768 }),
    ];

    /// Every tensor of Hugging Face's layout.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let width = self.width;
        let mut tensors = vec![
            ("text_model.embeddings.token_embedding.weight".to_owned(), vec![TOKENS, width]),
            ("text_model.embeddings.position_embedding.weight".to_owned(), vec![CONTEXT, width]),
            ("text_projection.weight".to_owned(), vec![self.dim, width]),
        ];
        let mut add = |name: String, rows: usize, columns: Option<usize>| {
            tensors.push((format!("{name}.weight"), std::iter::once(rows).chain(columns).collect()));
            tensors.push((format!("{name}.bias"), vec![rows]));
        };
        for layer in 0..self.layers {
            let name = |part: &str| format!("text_model.encoder.layers.{layer}.{part}");
            for norm in ["layer_norm1", "layer_norm2"] {
                add(name(norm), width, None);
            }
            for part in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                add(name(&format!("self_attn.{part}")), width, Some(width));
            }
            add(name("mlp.fc1"), 4 * width, Some(width));
            add(name("mlp.fc2"), width, Some(4 * width));
        }
        add("text_model.final_layer_norm".to_owned(), width, None);
        tensors
    }
}

impl TextEncoder {
    /// An encoder of `shape` with random weights (uniform, FP32 unless `options` say otherwise) that depend on `seed` alone.
    pub fn untrained(shape: TowerShape, seed: u64, options: &EncoderOptions) -> Result<Self> {
        let mut random = SplitMix64::new(seed);
        let mut tensors = StateDict::new();
        for (name, shape) in shape.tensors() {
            let count = shape.iter().product();
            let mut values = with_capacity(count, "the weights of the text encoder")?;
            let bound = (3.0 / shape.last().copied().unwrap_or(1) as f64).sqrt();
            let norm = name.contains("norm") && name.ends_with("weight");
            values.extend((0..count).map(|_| if norm { 1.0 } else { random.range(-bound, bound) as f32 }));
            tensors.insert(name, Weight::f32(shape, values));
        }
        let config = Config::default();
        Self::new(build(tensors, &config, options.width)?, &config, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;

    #[test]
    fn random_towers_encode() {
        let shape = TowerShape { width: 64, layers: 2, dim: 24 };
        let encoder = |seed| TextEncoder::untrained(shape, seed, &EncoderOptions::default()).unwrap();
        let rows = |seed| encoder(seed).encode(&["a sofa", "a lamp"], Cancel::default()).unwrap();
        let (one, other) = (rows(1), rows(2));
        assert_eq!((one.len(), &one), (48, &rows(1)));
        assert!(one != other && one[..24] != one[24..]);
        assert_eq!(encoder(1).space().name, "custom-24");
    }
}
