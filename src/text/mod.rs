//! Words to vectors: CLIP's tokeniser and text tower, prompts, published label sets, and vocabularies made of them.

mod clean;
mod config;
mod encoder;
mod file;
mod lookup;
mod merges;
mod names;
mod preset;
mod prompt;
mod tokeniser;
mod untrained;

pub use encoder::{EncoderOptions, TextEncoder};
pub use file::WeightWidth;
pub use names::names_vit_b32;
pub use preset::Preset;
pub use prompt::{Prompt, PromptedLabel, Templates};
pub use tokeniser::{CONTEXT, END_TOKEN, Overflow, START_TOKEN, Tokeniser};
pub use untrained::TowerShape;
