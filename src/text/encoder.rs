//! Texts to unit vectors: the tokeniser, and CLIP's text tower on threads of its own.

use super::config::Config;
use super::file::{self, WeightWidth};
use super::tokeniser::{Overflow, Tokeniser};
use crate::backend::cpu::{CpuBackend, CpuOptions, PreparedTower};
use crate::cancel::Cancel;
use crate::error::{Result, with_capacity};
use crate::model::TextSpace;
use crate::plan::Tower;
use std::path::Path;

/// How a text encoder is loaded and what it does.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EncoderOptions {
    /// Threads of the encoder's own; all the machine's when `None`.
    pub threads: Option<usize>,
    /// The width at which weights are kept.
    pub width: WeightWidth,
    /// What happens to a text of more tokens than fit.
    pub overflow: Overflow,
    /// Name of the text space, where that of the file's own sizes is not right.
    pub text_space: Option<String>,
}

/// A text encoder. Immutable: any number of threads may share it.
#[derive(Debug)]
pub struct TextEncoder {
    tokeniser: Tokeniser,
    overflow: Overflow,
    backend: CpuBackend,
    tower: PreparedTower,
    space: TextSpace,
}

impl TextEncoder {
    /// Reads a CLIP text model in Hugging Face's safetensors layout: `path` is the file, or the folder of
    /// `model.safetensors`; `config.json` beside it is read if there is one.
    pub fn load(path: &Path, options: &EncoderOptions) -> Result<Self> {
        let (tower, config) = file::load(path, options.width)?;
        Self::new(tower, &config, options)
    }

    pub(super) fn new(tower: Tower, config: &Config, options: &EncoderOptions) -> Result<Self> {
        let backend = CpuBackend::new(CpuOptions { threads: options.threads, ..CpuOptions::default() })?;
        let tower = backend.prepare_tower(tower)?;
        let mut space = config.text_space(tower.dim());
        if let Some(name) = &options.text_space {
            space.name.clone_from(name);
        }
        Ok(Self { tokeniser: Tokeniser::new()?, overflow: options.overflow, backend, tower, space })
    }

    /// `[texts, dim]` embeddings of unit length. A text's embedding has the same bits whatever texts are encoded beside
    /// it and however many threads there are.
    pub fn encode<T: AsRef<str>>(&self, texts: &[T], cancel: Cancel<'_>) -> Result<Vec<f32>> {
        let context = self.tower.context();
        let mut sequences = with_capacity(texts.len(), "the tokens")?;
        for (index, text) in texts.iter().enumerate() {
            let tokens = self.tokeniser.sequence(text.as_ref(), context, self.overflow);
            sequences.push(tokens.map_err(|e| e.within(format_args!("text {index}")))?);
        }
        self.backend.encode(&self.tower, &sequences, cancel)
    }

    /// Tokens that the tower reads of `text`, start and end included.
    pub fn tokens_of(&self, text: &str) -> usize {
        (self.tokeniser.tokens(text).len() + 2).min(self.tower.context())
    }

    /// The text space: its name, its width, and the published template of prompts.
    pub fn space(&self) -> &TextSpace {
        &self.space
    }

    /// Width of an embedding.
    pub fn dim(&self) -> usize {
        self.tower.dim()
    }

    /// Most tokens of a text, start and end included.
    pub fn context(&self) -> usize {
        self.tower.context()
    }

    /// Bytes of the weights in memory.
    pub fn weight_bytes(&self) -> u64 {
        self.tower.bytes()
    }
}
