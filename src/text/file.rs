//! Text towers in Hugging Face's safetensors layout: `text_model.*` and `text_projection.weight`, with `config.json`.
//!
//! Only the tensors of the tower are read, so a file of a whole CLIP costs no more memory than its text half.

use super::config::Config;
use super::tokeniser::{END_TOKEN, TOKENS};
use crate::error::{Error, ErrorKind, Result, collected, zeroed};
use crate::model::weights::{StateDict, Weight, WeightData, read_weight};
use crate::plan::{Dense, LayerNorm, Tower, TowerStep};
use safetensors::tensor::Metadata;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Most bytes of a header, as for model files.
const MAX_HEADER: u64 = 16 << 20;

const EXPORT: &str = "save a CLIPModel or a CLIPTextModelWithProjection with save_pretrained";

/// The width at which the weights of the products are kept; results are FP32 sums either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightWidth {
    /// As the file has them.
    #[default]
    Stored,
    /// FP32.
    F32,
    /// FP16.
    F16,
    /// BF16.
    Bf16,
}

/// Reads the tower at `path`, a file or the folder of `model.safetensors`.
pub(super) fn load(path: &Path, width: WeightWidth) -> Result<(Tower, Config)> {
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.to_owned() };
    let config = Config::beside(&file)?;
    let tensors = read_tensors(&file)?;
    let named = |e: Error| e.within(format_args!("text encoder '{}'", file.display()));
    let tower = build(tensors, &config, width).map_err(named)?;
    Ok((tower, config))
}

/// The tensors of the tower in the file at `path`.
fn read_tensors(path: &PathBuf) -> Result<StateDict> {
    let failed = |e: &std::io::Error| Error::io(path, "read the text encoder", e);
    let named = |e: Error| e.within(format_args!("text encoder '{}'", path.display()));
    let mut file = File::open(path).map_err(|e| failed(&e))?;
    let size = file.metadata().map_err(|e| failed(&e))?.len();
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| named(Error::format("the file is too short for a safetensors file")))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER || length + 8 > size {
        let message = format!("no safetensors file: its header would have {length} of {size} bytes; {EXPORT}");
        return Err(named(Error::format(message)));
    }
    let mut header = zeroed(length as usize, "the header of the text encoder")?;
    file.read_exact(&mut header).map_err(|e| failed(&e))?;
    let header: Metadata = serde_json::from_slice(&header)
        .map_err(|e| named(Error::format(format!("the safetensors header is damaged: {e}"))))?;
    let mut tensors = StateDict::new();
    for (name, info) in header.tensors() {
        if !(name.starts_with("text_model.") && !name.ends_with("position_ids") || name == "text_projection.weight") {
            continue;
        }
        let (start, end) = info.data_offsets;
        let room = size - 8 - length;
        let values = info.shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent));
        let bytes = values.and_then(|values| values.checked_mul(info.dtype.bitsize())).map(|bits| bits / 8);
        if start > end || end as u64 > room || bytes != Some(end - start) {
            let message = format!("tensor '{name}' does not lie within the file; it is damaged or cut short");
            return Err(named(Error::format(message)));
        }
        let mut bytes = zeroed::<u8>(end - start, "a tensor of the text encoder")?;
        file.seek(SeekFrom::Start(8 + length + start as u64)).map_err(|e| failed(&e))?;
        file.read_exact(&mut bytes).map_err(|e| failed(&e))?;
        let weight = read_weight(&name, info.dtype, &info.shape, &bytes).map_err(named)?;
        tensors.insert(name, weight);
    }
    Ok(tensors)
}

/// Takes tensors out of the file's by name, and checks their shapes.
struct Tensors {
    tensors: StateDict,
    width: WeightWidth,
}

impl Tensors {
    /// The tensor `text_model.<name>` (or `name` itself), which must have `axes` axes.
    fn take(&mut self, name: &str, axes: usize) -> Result<Weight> {
        let full = if name == "text_projection.weight" { name.to_owned() } else { format!("text_model.{name}") };
        let missing = || Error::format(format!("tensor '{full}' is missing; {EXPORT}"));
        let weight = self.tensors.remove(&full).ok_or_else(missing)?;
        if weight.shape.len() != axes || weight.is_empty() {
            return Err(Error::format(format!("tensor '{full}' has shape {:?}; it needs {axes} axes", weight.shape)));
        }
        Ok(weight)
    }

    fn matrix(&mut self, name: &str, shape: [Option<usize>; 2]) -> Result<Weight> {
        let weight = self.take(name, 2)?;
        check(name, &weight, &shape)?;
        match (self.width, &weight.data) {
            (WeightWidth::Stored, _)
            | (WeightWidth::F32, WeightData::F32(_))
            | (WeightWidth::F16, WeightData::F16(_))
            | (WeightWidth::Bf16, WeightData::BF16(_)) => Ok(weight),
            (WeightWidth::F32, _) => weight.to_f32(),
            (WeightWidth::Bf16, _) => weight.to_bf16(),
            (WeightWidth::F16, _) => {
                let half = weight.to_f16()?;
                if !half.values().all(f32::is_finite) {
                    return Err(Error::format(format!("tensor '{name}' has weights beyond FP16's 65504; keep BF16")));
                }
                Ok(half)
            }
        }
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>> {
        let weight = self.take(name, 1)?;
        check(name, &weight, &[Some(length)])?;
        collected(weight.values(), "a vector of the text encoder")
    }

    fn norm(&mut self, name: &str, width: usize, epsilon: f32) -> Result<LayerNorm> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        Ok(LayerNorm { weight, bias: self.vector(&format!("{name}.bias"), width)?, epsilon })
    }

    /// The products `names` of rows of `inputs` values side by side; each gives `columns`, whatever that is for `None`.
    fn dense(&mut self, names: &[String], columns: Option<usize>, inputs: usize) -> Result<Dense> {
        let mut dense = Dense { weights: Vec::new(), bias: Vec::new() };
        for name in names {
            let weight = self.matrix(&format!("{name}.weight"), [columns, Some(inputs)])?;
            dense.bias.extend(self.vector(&format!("{name}.bias"), weight.shape[0])?);
            dense.weights.push(weight);
        }
        Ok(dense)
    }
}

fn check(name: &str, weight: &Weight, shape: &[Option<usize>]) -> Result<()> {
    if weight.shape.iter().zip(shape).any(|(have, want)| want.is_some_and(|want| *have != want)) {
        let want: Vec<String> = shape.iter().map(|extent| extent.map_or("?".to_owned(), |e| e.to_string())).collect();
        let message = format!("tensor '{name}' has shape {:?}; it must be [{}]", weight.shape, want.join(", "));
        return Err(Error::format(message));
    }
    if weight.values().any(|value| !value.is_finite()) {
        return Err(Error::format(format!("tensor '{name}' has weights that are not finite; the file is damaged")));
    }
    Ok(())
}

/// The tower of `tensors`, each of which must have its place in it.
pub(super) fn build(tensors: StateDict, config: &Config, width: WeightWidth) -> Result<Tower> {
    let mut tensors = Tensors { tensors, width };
    let tokens = tensors.matrix("embeddings.token_embedding.weight", [None, None])?;
    let width = tokens.shape[1];
    if tokens.shape[0] != TOKENS {
        let count = tokens.shape[0];
        let message =
            format!("the tower knows {count} tokens but CLIP's tokeniser has {TOKENS}: it is of another kind");
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let positions = tensors.matrix("embeddings.position_embedding.weight", [None, Some(width)])?;
    if positions.shape[0] < 2 {
        return Err(Error::format("the tower reads less than two tokens, but every text has a start and an end"));
    }
    let heads = config.heads(width)?;
    let layers = (0..).take_while(|layer| {
        let first = format!("text_model.encoder.layers.{layer}.layer_norm1.weight");
        tensors.tensors.contains_key(&first)
    });
    let mut steps = Vec::new();
    for layer in 0..layers.count() {
        let name = |part: &str| format!("encoder.layers.{layer}.{part}");
        let queries = ["q", "k", "v"].map(|part| name(&format!("self_attn.{part}_proj")));
        steps.push(TowerStep::Attention {
            norm: tensors.norm(&name("layer_norm1"), width, config.epsilon)?,
            query_key_value: tensors.dense(&queries, Some(width), width)?,
            out: tensors.dense(&[name("self_attn.out_proj")], Some(width), width)?,
        });
        let norm = tensors.norm(&name("layer_norm2"), width, config.epsilon)?;
        let up = tensors.dense(&[name("mlp.fc1")], None, width)?;
        let inner = up.columns();
        let down = tensors.dense(&[name("mlp.fc2")], Some(width), inner)?;
        steps.push(TowerStep::FeedForward { norm, up, activation: config.activation, down });
    }
    config.check_layers(steps.len() / 2)?;
    let norm = tensors.norm("final_layer_norm", width, config.epsilon)?;
    let projection = tensors.matrix("text_projection.weight", [None, Some(width)])?;
    if let Some(name) = tensors.tensors.keys().next() {
        return Err(Error::format(format!("tensor '{name}' is no part of a CLIP text tower; {EXPORT}")));
    }
    let projection = Dense { weights: vec![projection], bias: Vec::new() };
    Ok(Tower { tokens, positions, steps, heads, norm, projection, end_token: END_TOKEN })
}
