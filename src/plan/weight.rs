//! Named weight tensors as files store them: row-major, FP32 or FP16.

use half::f16;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The values of one tensor at their stored width.
#[derive(Debug, Clone, PartialEq)]
pub enum WeightData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
}

/// One tensor: its shape and its row-major values.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// Extent of each axis.
    pub shape: Vec<usize>,
    /// `shape.iter().product()` values.
    pub data: WeightData,
}

/// Tensors by name, as in a PyTorch state dict.
pub type StateDict = BTreeMap<String, Weight>;

impl Weight {
    /// A tensor of 32-bit floats.
    pub fn f32(shape: impl Into<Vec<usize>>, values: Vec<f32>) -> Self {
        Self { shape: shape.into(), data: WeightData::F32(values) }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        match &self.data {
            WeightData::F32(values) => values.len(),
            WeightData::F16(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as 32-bit floats (exact for both widths).
    pub fn to_f32(&self) -> Cow<'_, [f32]> {
        match &self.data {
            WeightData::F32(values) => Cow::Borrowed(values),
            WeightData::F16(values) => Cow::Owned(values.iter().map(|v| v.to_f32()).collect()),
        }
    }

    /// The same tensor with its values rounded to FP16 (to nearest, ties to even).
    pub fn to_f16(&self) -> Self {
        let values = self.to_f32().iter().map(|&v| f16::from_f32(v)).collect();
        Self { shape: self.shape.clone(), data: WeightData::F16(values) }
    }
}
