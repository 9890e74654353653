//! Words for networks in the text space of CLIP ViT-B/32, without a text tower: names of things with their embeddings.
//!
//! `names/README.md` says where they come from and under which terms (Apache-2.0).

use crate::error::Result;
use crate::model::Vocabulary;

/// FP16, a row per prompt.
const VIT_B32: &[u8] = include_bytes!("names/vit-b-32.safetensors");

/// The vocabulary of 1,412 names of things (of ScanNet, LVIS, Objects365 and COCO) in the text space `"clip-vit-b32"`, 512
/// wide. [`Vocabulary::look_up`] chooses words among them.
pub fn names_vit_b32() -> Result<Vocabulary> {
    Vocabulary::from_bytes(VIT_B32)
}
