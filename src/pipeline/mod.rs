//! What happens around the network: folding a vocabulary into the head, test-time augmentation, splitting results,
//! superpoints and votes, relevance of one text.

mod augmentation;
mod fold;
mod options;
mod relevance;
mod segmentation;
mod superpoints;

pub use augmentation::Augmentation;
pub use fold::FoldedVocabulary;
pub use options::SegmentOptions;
pub use relevance::relevance;
pub use segmentation::{Kept, Segmentation, Segmentations};
pub(crate) use segmentation::{from_scores, mean_over_repeats, split};
pub use superpoints::{Ballot, Vote};
pub(crate) use superpoints::{refine, refine_answer};
