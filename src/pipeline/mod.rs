//! What happens around the network: folding a vocabulary into the head, test-time augmentation, splitting results.

mod augmentation;
mod fold;
mod options;
mod segmentation;

pub use augmentation::Augmentation;
pub use fold::FoldedVocabulary;
pub use options::SegmentOptions;
pub use segmentation::{Kept, Segmentation, Segmentations};
pub(crate) use segmentation::{from_scores, split, sum_over_repeats};
