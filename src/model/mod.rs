//! Networks as data: graph, model file, checkpoint import, compilation to a plan; and vocabularies.

mod compile;
mod container;
mod file;
mod graph;
#[cfg(feature = "cli")]
pub mod import;
mod initialise;
#[allow(clippy::module_inception, reason = "the file holds the type Model, as every file here holds one noun")]
mod model;
mod vocabulary;
mod vocabulary_sets;
pub mod weights;

pub use file::WeightDtype;
pub use graph::{ConcatOrder, Graph, InputFeatures, TensorShape, Variant};
pub use model::{Model, Provenance, TextSpace, VOXEL_SIZES};
pub use vocabulary::{Embeddings, Label, Other, Vocabulary};
