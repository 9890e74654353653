//! Text towers with hash-generated weights, as files, and the goldens that `transformers` gave for them.

use half::{bf16, f16};
use npyz::NpyFile;
use openvocab3d::random::SplitMix64;
use openvocab3d::text::Tokeniser;
use serde_json::json;
use std::path::{Path, PathBuf};

/// The sizes of a tower.
pub struct Shape {
    /// Its name among the goldens.
    pub name: &'static str,
    pub width: usize,
    pub heads: usize,
    pub layers: usize,
    pub inner: usize,
    pub dim: usize,
    pub activation: &'static str,
}

pub const SMALL: [Shape; 2] = [
    Shape { name: "small_gelu", width: 96, heads: 3, layers: 2, inner: 160, dim: 40, activation: "gelu" },
    Shape { name: "small_quick_gelu", width: 64, heads: 1, layers: 3, inner: 256, dim: 64, activation: "quick_gelu" },
];

pub const PUBLISHED: [Shape; 2] = [
    Shape { name: "vit_b32", width: 512, heads: 8, layers: 12, inner: 2048, dim: 512, activation: "quick_gelu" },
    Shape { name: "vit_l14", width: 768, heads: 12, layers: 12, inner: 3072, dim: 768, activation: "quick_gelu" },
];

const CONTEXT: usize = 77;
const TOKENS: usize = 49_408;

fn fnv(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}

/// Whole numbers in -128..128 that depend on the name alone.
fn integers(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let mut random = SplitMix64::new(fnv(name));
    (0..count).map(move |_| (random.bits() >> 56) as f32 - 128.0)
}

/// Weights with so few digits that FP32, FP16 and BF16 hold them exactly.
fn weights(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let norm = name.contains("norm") && name.ends_with("weight");
    let wide = name.ends_with("bias") || name.contains("q_proj") || name.contains("k_proj");
    integers(name, count).map(move |value| match () {
        () if norm => 1.0 + (value / 4.0).floor() / 128.0,
        () if wide => value / 2048.0,
        () => value / 4096.0,
    })
}

impl Shape {
    /// Every tensor of Hugging Face's layout.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let (width, inner) = (self.width, self.inner);
        let mut tensors = vec![
            ("text_model.embeddings.token_embedding.weight".to_owned(), vec![TOKENS, width]),
            ("text_model.embeddings.position_embedding.weight".to_owned(), vec![CONTEXT, width]),
            ("text_model.final_layer_norm.weight".to_owned(), vec![width]),
            ("text_model.final_layer_norm.bias".to_owned(), vec![width]),
            ("text_projection.weight".to_owned(), vec![self.dim, width]),
        ];
        for layer in 0..self.layers {
            let mut add = |part: &str, kind: &str, shape: &[usize]| {
                tensors.push((format!("text_model.encoder.layers.{layer}.{part}.{kind}"), shape.to_vec()));
            };
            for part in ["layer_norm1", "layer_norm2"] {
                add(part, "weight", &[width]);
                add(part, "bias", &[width]);
            }
            let square = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"];
            let square = square.map(|part| (part, width, width));
            for (part, rows, columns) in
                square.into_iter().chain([("mlp.fc1", inner, width), ("mlp.fc2", width, inner)])
            {
                add(part, "weight", &[rows, columns]);
                add(part, "bias", &[rows]);
            }
        }
        tensors
    }

    /// Writes the tower to a folder as `save_pretrained` does; `dtype` is `"F32"`, `"F16"` or `"BF16"`.
    pub fn save(&self, folder: &Path, dtype: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let config = json!({
            "hidden_act": self.activation, "num_attention_heads": self.heads, "num_hidden_layers": self.layers,
        });
        std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
        std::fs::write(folder.join("model.safetensors"), self.file(dtype)).unwrap();
        folder.to_owned()
    }

    /// The safetensors file.
    pub fn file(&self, dtype: &str) -> Vec<u8> {
        let width = if dtype == "F32" { 4 } else { 2 };
        let (mut header, mut end) = (serde_json::Map::new(), 0);
        for (name, shape) in self.tensors() {
            let start = end;
            end += shape.iter().product::<usize>() * width;
            header.insert(name, json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
        }
        let header = serde_json::to_vec(&header).unwrap();
        let mut file = Vec::with_capacity(8 + header.len() + end);
        file.extend((header.len() as u64).to_le_bytes());
        file.extend(&header);
        // `header` is sorted by name, but the tensors lie as they were listed.
        for (name, shape) in self.tensors() {
            let values = weights(&name, shape.iter().product());
            match dtype {
                "F32" => file.extend(values.flat_map(f32::to_le_bytes)),
                "F16" => file.extend(values.flat_map(|v| f16::from_f32(v).to_le_bytes())),
                _ => file.extend(values.flat_map(|v| bf16::from_f32(v).to_le_bytes())),
            }
        }
        file
    }

    /// The largest root mean square, over the golden texts, of the differences of embeddings projected on sign vectors:
    /// what the length of the difference of the embeddings themselves is expected to be.
    pub fn worst_difference(&self, embeddings: &[f32]) -> f64 {
        let signs: Vec<f64> =
            integers("projection", PROJECTIONS * self.dim).map(|v| if v < 0.0 { -1.0 } else { 1.0 }).collect();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text").join(self.name).with_extension("npy");
        let golden: Vec<f32> = NpyFile::new(&std::fs::read(file).unwrap()[..]).unwrap().into_vec().unwrap();
        assert_eq!((golden.len(), embeddings.len()), (GOLDENS * PROJECTIONS, GOLDENS * self.dim));
        let rows = embeddings.chunks_exact(self.dim).zip(golden.chunks_exact(PROJECTIONS));
        let difference = |(row, golden): (&[f32], &[f32])| {
            let squares = signs.chunks_exact(self.dim).zip(golden).map(|(signs, want)| {
                let got: f64 = signs.iter().zip(row).map(|(sign, v)| sign * f64::from(*v)).sum();
                (got - f64::from(*want)).powi(2)
            });
            (squares.sum::<f64>() / PROJECTIONS as f64).sqrt()
        };
        rows.map(difference).fold(0.0, f64::max)
    }
}

/// Number of golden texts: of 0 to 75 words, so of 2 to 77 tokens.
pub const GOLDENS: usize = CONTEXT - 1;
const PROJECTIONS: usize = 32;

const WORDS: &str = "chair table sofa bed door window wall floor lamp desk sink toilet curtain cabinet counter shelf book \
                     box red blue small wooden photo scene room kitchen";

/// The text of `count` words, each of one token.
pub fn text(count: usize) -> String {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let word = |index: usize| words[(count * 7 + index * (1 + count % 5)) % words.len()];
    (0..count).map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn golden_texts_have_every_length() {
    let tokeniser = Tokeniser::new().unwrap();
    assert!((0..GOLDENS).all(|count| tokeniser.tokens(&text(count)).len() == count));
}
