//! Words to vectors: CLIP's tokeniser and text tower, prompts, published label sets, and vocabularies made of them.

mod clean;
mod config;
mod encoder;
mod file;
mod merges;
mod preset;
mod prompt;
mod tokeniser;

pub use encoder::{EncoderOptions, TextEncoder};
pub use file::WeightWidth;
pub use preset::Preset;
pub use prompt::{Prompt, PromptedLabel, Templates};
pub use tokeniser::{CONTEXT, END_TOKEN, Overflow, START_TOKEN, Tokeniser};
