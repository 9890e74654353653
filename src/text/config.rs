//! `config.json` of a CLIP model, or of its text tower alone: what the tensors do not tell.

use crate::error::{Error, ErrorKind, Result};
use crate::model::TextSpace;
use crate::plan::Activation;
use serde::Deserialize;
use std::path::Path;

/// Width of a head in every CLIP of OpenAI.
const HEAD: usize = 64;

/// Most bytes of the file.
const MOST_BYTES: u64 = 1 << 20;

/// What a tower's tensors do not tell.
#[derive(Debug, PartialEq)]
pub(super) struct Config {
    heads: Option<usize>,
    layers: Option<usize>,
    pub(super) activation: Activation,
    pub(super) epsilon: f32,
    /// Of the image tower trained with it, which tells towers of one width apart.
    patch_and_image: Option<(usize, usize)>,
}

/// The keys that are read, of a text tower's configuration.
#[derive(Deserialize)]
struct TextConfig {
    /// Configurations of `transformers` leave out what is its default: 8.
    #[serde(default = "default_heads")]
    num_attention_heads: usize,
    num_hidden_layers: Option<usize>,
    #[serde(default = "default_activation")]
    hidden_act: String,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
}

#[derive(Deserialize)]
struct VisionConfig {
    patch_size: Option<usize>,
    image_size: Option<usize>,
}

#[derive(Deserialize)]
struct Whole {
    text_config: Option<TextConfig>,
    vision_config: Option<VisionConfig>,
}

fn default_heads() -> usize {
    8
}

fn default_activation() -> String {
    "quick_gelu".to_owned()
}

fn default_epsilon() -> f32 {
    1e-5
}

impl Default for Config {
    fn default() -> Self {
        let (activation, epsilon) = (Activation::QuickGelu, default_epsilon());
        Self { heads: None, layers: None, activation, epsilon, patch_and_image: None }
    }
}

impl Config {
    /// The `config.json` in the folder of `file`; OpenAI's conventions without one.
    pub(super) fn beside(file: &Path) -> Result<Self> {
        let path = file.with_file_name("config.json");
        let failed = |e: std::io::Error| Error::io(&path, "read the configuration", &e);
        match std::fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(failed(e)),
            Ok(data) if data.len() > MOST_BYTES => {
                return Err(Error::format(format!("'{}' has {} bytes, too many", path.display(), data.len())));
            }
            Ok(_) => {}
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        Self::parse(&text).map_err(|e| e.within(format_args!("'{}'", path.display())))
    }

    fn parse(text: &str) -> Result<Self> {
        let damaged = |e: serde_json::Error| Error::format(format!("not a readable configuration of CLIP: {e}"));
        let whole: Whole = serde_json::from_str(text).map_err(damaged)?;
        let tower: TextConfig = match whole.text_config {
            Some(tower) => tower,
            None => serde_json::from_str(text).map_err(damaged)?,
        };
        let activation = match tower.hidden_act.as_str() {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            other => {
                let message = format!("hidden_act is '{other}'; 'quick_gelu' and 'gelu' are known");
                return Err(Error::new(ErrorKind::Unsupported, message));
            }
        };
        if !(tower.layer_norm_eps.is_finite() && tower.layer_norm_eps > 0.0) {
            return Err(Error::format(format!("layer_norm_eps is {}; it must be positive", tower.layer_norm_eps)));
        }
        Ok(Self {
            heads: Some(tower.num_attention_heads),
            layers: tower.num_hidden_layers,
            activation,
            epsilon: tower.layer_norm_eps,
            patch_and_image: whole.vision_config.and_then(|vision| Some((vision.patch_size?, vision.image_size?))),
        })
    }

    /// Heads of a tower of `width`.
    pub(super) fn heads(&self, width: usize) -> Result<usize> {
        let heads = self.heads.unwrap_or(width / HEAD);
        if heads == 0 || !width.is_multiple_of(heads) {
            let message = format!("a row of {width} values cannot be shared by {heads} heads; give its config.json");
            return Err(Error::format(message));
        }
        Ok(heads)
    }

    /// An error if the file has another number of layers than the configuration.
    pub(super) fn check_layers(&self, found: usize) -> Result<()> {
        match self.layers {
            Some(stated) if stated != found => {
                Err(Error::format(format!("the file has {found} layers but its config.json states {stated}")))
            }
            _ if found == 0 => Err(Error::format("the file has no layers of a text tower")),
            _ => Ok(()),
        }
    }

    /// The text space of a tower of `dim` outputs. Towers of one width differ: the activation tells OpenAI's from others,
    /// such as LAION's, which have spaces of their own; the image tower tells which of OpenAI's it is, or else it is taken
    /// for the one that OpenScene chose.
    pub(super) fn text_space(&self, dim: usize) -> TextSpace {
        let published = TextSpace::published(dim);
        let name = match (dim, self.patch_and_image) {
            _ if self.activation != Activation::QuickGelu => format!("custom-{dim}"),
            (512, Some((16, _))) => "clip-vit-b16".to_owned(),
            (768, Some((14, 224))) => "clip-vit-l14".to_owned(),
            _ => published.name,
        };
        TextSpace { name, ..published }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn whole_models_and_towers_alone() {
        let vision = r#""vision_config": {"patch_size": 14, "image_size": 336, "num_attention_heads": 16}"#;
        let text = r#"{"num_attention_heads": 12, "num_hidden_layers": 12, "hidden_act": "quick_gelu"}"#;
        let whole = Config::parse(&format!(r#"{{"text_config": {text}, {vision}, "projection_dim": 768}}"#)).unwrap();
        assert_eq!((whole.heads(768).unwrap(), whole.text_space(768).name.as_str()), (12, "clip-vit-l14-336"));
        let smaller = Config { patch_and_image: Some((14, 224)), ..whole };
        assert_eq!(smaller.text_space(768).name, "clip-vit-l14");
        let alone = Config::parse(text).unwrap();
        assert_eq!((alone.heads(768).unwrap(), alone.text_space(512).name.as_str()), (12, "clip-vit-b32"));
        let laion = Config { activation: Activation::Gelu, ..Config::default() };
        assert_eq!([512, 768].map(|dim| laion.text_space(dim).name), ["custom-512", "custom-768"]);
        assert!(alone.check_layers(11).is_err());
        assert_eq!(Config::parse("{}").unwrap().heads(512).unwrap(), 8, "the default of transformers");
        assert_eq!(Config::default().heads(768).unwrap(), 12);
    }

    #[test]
    fn unusable_configurations_are_errors() {
        for text in ["", "[]", r#"{"hidden_act": "relu"}"#, r#"{"layer_norm_eps": 0}"#, r#"{"text_config": 3}"#] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        let whole = br#"{"text_config": {"num_attention_heads": 12, "num_hidden_layers": 12, "hidden_act": "gelu",
            "layer_norm_eps": 1e-5}, "vision_config": {"patch_size": 14, "image_size": 336}}"#;
        let mut random = SplitMix64::new(9);
        for _ in 0..50_000 {
            let Ok(config) = Config::parse(&String::from_utf8_lossy(&random.damaged(whole))) else { continue };
            assert!(config.epsilon > 0.0 && config.heads(768).unwrap_or(1) > 0);
        }
        assert!(Config::parse(r#"{"num_attention_heads": 0}"#).unwrap().heads(64).is_err());
        assert!(Config::parse(r#"{"num_attention_heads": 7}"#).unwrap().heads(64).is_err());
    }
}
