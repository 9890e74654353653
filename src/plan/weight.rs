//! Named weight tensors as files store them: row-major, FP32, FP16 or BF16.

use crate::error::{Result, collected};
use half::{bf16, f16};
use std::collections::BTreeMap;

/// The values of one tensor at their stored width.
#[derive(Debug, Clone, PartialEq)]
pub enum WeightData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 16-bit floats.
    F16(Vec<f16>),
    /// The upper halves of 32-bit floats.
    BF16(Vec<bf16>),
}

impl WeightData {
    /// Bytes of one value.
    pub fn width(&self) -> usize {
        match self {
            Self::F32(_) => 4,
            Self::F16(_) | Self::BF16(_) => 2,
        }
    }
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
            WeightData::BF16(values) => values.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all values as stored.
    pub fn bytes(&self) -> usize {
        self.len() * self.data.width()
    }

    /// Value `index` of the row-major values, widened exactly.
    pub fn get(&self, index: usize) -> f32 {
        match &self.data {
            WeightData::F32(values) => values[index],
            WeightData::F16(values) => values[index].to_f32(),
            WeightData::BF16(values) => values[index].to_f32(),
        }
    }

    /// All values in order, widened exactly.
    pub fn values(&self) -> impl ExactSizeIterator<Item = f32> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// The same tensor as FP32.
    pub fn to_f32(&self) -> Result<Self> {
        Ok(Self::f32(self.shape.clone(), collected(self.values(), "the weights")?))
    }

    /// The same tensor with its values rounded to FP16 (to nearest, ties to even).
    pub fn to_f16(&self) -> Result<Self> {
        let values = collected(self.values().map(f16::from_f32), "the weights")?;
        Ok(Self { shape: self.shape.clone(), data: WeightData::F16(values) })
    }

    /// The same tensor with its values rounded to BF16 (to nearest, ties to even).
    pub fn to_bf16(&self) -> Result<Self> {
        let values = collected(self.values().map(bf16::from_f32), "the weights")?;
        Ok(Self { shape: self.shape.clone(), data: WeightData::BF16(values) })
    }
}
