//! Named weight tensors as model files and checkpoints store them.

pub(crate) use super::container::read_weight;
pub use crate::plan::{StateDict, Weight, WeightData};
