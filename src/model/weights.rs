//! Named weight tensors as model files and checkpoints store them.

pub use crate::plan::{StateDict, Weight, WeightData};
