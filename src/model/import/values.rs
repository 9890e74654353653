//! Tensor values: element types, strided views over raw bytes, and the bound on what may be allocated.

use super::MAX_BYTES;
use crate::error::{Error, ErrorKind, Result, with_capacity};
use crate::model::weights::WeightData;
use half::{bf16, f16};

/// The type of a tensor's elements, little endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    BF16,
    F64,
    /// Integers and booleans, so many bytes wide; never loaded.
    Integer(usize),
}

impl Element {
    /// Bytes per element.
    pub(super) fn width(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Integer(width) => width,
        }
    }
}

/// Where a tensor's values lie in a storage, in elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    len: usize,
}

impl View {
    /// Most axes a tensor may have; networks use up to three.
    pub(super) const MAX_AXES: usize = 8;

    /// A row-major tensor at the start of its storage.
    pub(super) fn contiguous(shape: &[usize]) -> Result<Self> {
        let mut strides = vec![0; shape.len()];
        let mut step = 1usize;
        for (stride, &extent) in strides.iter_mut().zip(shape).rev() {
            *stride = step;
            step = step.checked_mul(extent.max(1)).ok_or_else(|| too_large(shape))?;
        }
        Self::new(0, shape.to_vec(), strides, step)
    }

    /// A strided tensor that starts at `offset` of a storage of `available` elements.
    pub(super) fn new(offset: usize, shape: Vec<usize>, mut strides: Vec<usize>, available: usize) -> Result<Self> {
        if shape.len() != strides.len() || shape.len() > Self::MAX_AXES {
            return Err(Error::format(format!(
                "{} sizes and {} strides; as many of either are expected, and at most {}",
                shape.len(),
                strides.len(),
                Self::MAX_AXES
            )));
        }
        let len = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).ok_or_else(|| too_large(&shape))?;
        if len == 0 {
            return Ok(Self { offset: 0, shape, strides, len });
        }
        let mut last = Some(offset);
        for (stride, &extent) in strides.iter_mut().zip(&shape) {
            // PyTorch leaves any number as the stride of an axis it never steps along.
            if extent == 1 {
                *stride = 0;
            }
            last = last.and_then(|last| last.checked_add(stride.checked_mul(extent - 1)?));
        }
        if last.is_none_or(|last| last >= available) {
            return Err(Error::format(format!(
                "sizes {shape:?} with strides {strides:?} from element {offset} reach beyond the storage of \
                 {available} elements; the file is damaged"
            )));
        }
        Ok(Self { offset, shape, strides, len })
    }

    /// The same view where the storage's elements are preceded by `start` others.
    pub(super) fn moved(self, start: usize) -> Self {
        Self { offset: self.offset.saturating_add(start), ..self }
    }

    /// Extent of each axis.
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values in row-major order; `bytes` is the whole storage.
    pub(super) fn read(&self, bytes: &[u8], element: Element, budget: &mut Budget) -> Result<WeightData> {
        budget.take(self.len as u64, 4)?;
        Ok(match element {
            Element::F32 => WeightData::F32(self.gather(bytes, f32::from_le_bytes)?),
            Element::F16 => WeightData::F16(self.gather(bytes, f16::from_le_bytes)?),
            Element::BF16 => WeightData::F32(self.gather(bytes, |b| bf16::from_le_bytes(b).to_f32())?),
            Element::F64 => WeightData::F32(self.gather(bytes, |b| f64::from_le_bytes(b) as f32)?),
            Element::Integer(_) => return Err(Error::internal("an integer tensor was to be loaded")),
        })
    }

    fn gather<T, const W: usize>(&self, bytes: &[u8], value: impl Fn([u8; W]) -> T) -> Result<Vec<T>> {
        let (cells, _) = bytes.as_chunks::<W>();
        let mut values = with_capacity(self.len, "a tensor of the checkpoint")?;
        let mut index = [0usize; Self::MAX_AXES];
        let mut position = self.offset;
        for _ in 0..self.len {
            let cell = cells.get(position).ok_or_else(|| Error::internal("a tensor's storage is too short"))?;
            values.push(value(*cell));
            for ((at, &extent), &stride) in index.iter_mut().zip(&self.shape).zip(&self.strides).rev() {
                *at += 1;
                if *at < extent {
                    position += stride;
                    break;
                }
                *at = 0;
                position -= stride * (extent - 1);
            }
        }
        Ok(values)
    }
}

fn too_large(shape: &[usize]) -> Error {
    Error::format(format!("sizes {shape:?} multiply to more values than memory can hold; the file is damaged"))
}

/// Bytes that may still be allocated for one file.
#[derive(Debug)]
pub(super) struct Budget {
    limit: u64,
    left: u64,
}

impl Budget {
    /// Room for what a file of `file_len` bytes can sensibly hold, compressed or with shared storages.
    pub(super) fn for_file(file_len: usize) -> Self {
        const RATIO: u64 = 64;
        const SLACK: u64 = 16 << 20;
        let limit = (file_len as u64).saturating_mul(RATIO).saturating_add(SLACK).min(MAX_BYTES);
        Self { limit, left: limit }
    }

    /// Takes `count` items of `width` bytes.
    pub(super) fn take(&mut self, count: u64, width: u64) -> Result<()> {
        let left = count.checked_mul(width).and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!(
                    "its tensors would take more than {} bytes of memory, the limit for a file of this size; save \
                     the state dict again, uncompressed",
                    self.limit
                ),
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &View, values: &[f32]) -> WeightData {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        view.read(&bytes, Element::F32, &mut Budget::for_file(0)).unwrap()
    }

    #[test]
    fn strided_views_are_gathered_row_major() {
        let storage: Vec<f32> = (0..12u8).map(f32::from).collect();
        let transposed = View::new(0, vec![3, 2], vec![1, 3], 12).unwrap();
        assert_eq!(read(&transposed, &storage), WeightData::F32(vec![0., 3., 1., 4., 2., 5.]));
        let shifted = View::new(6, vec![2, 1, 3], vec![3, 999, 1], 12).unwrap();
        assert_eq!(read(&shifted, &storage), WeightData::F32(vec![6., 7., 8., 9., 10., 11.]));
        let expanded = View::new(5, vec![2, 2], vec![0, 1], 12).unwrap();
        assert_eq!(read(&expanded, &storage), WeightData::F32(vec![5., 6., 5., 6.]));
        let scalar = View::new(11, vec![], vec![], 12).unwrap();
        assert_eq!(read(&scalar, &storage), WeightData::F32(vec![11.]));
        let empty = View::new(99, vec![0, 3], vec![3, 1], 0).unwrap();
        assert_eq!(read(&empty, &storage), WeightData::F32(vec![]));
    }

    #[test]
    fn contiguous_equals_row_major_strides() {
        let view = View::contiguous(&[2, 3, 4]).unwrap();
        assert_eq!(view, View::new(0, vec![2, 3, 4], vec![12, 4, 1], 24).unwrap());
    }

    #[test]
    fn views_beyond_the_storage_are_refused() {
        assert!(View::new(1, vec![3, 4], vec![4, 1], 12).is_err());
        assert!(View::new(12, vec![], vec![], 12).is_err());
        assert!(View::new(usize::MAX, vec![2], vec![1], 12).is_err());
        assert!(View::new(0, vec![usize::MAX, 2], vec![0, 0], 12).is_err());
        assert!(View::new(0, vec![2], vec![usize::MAX], 12).is_err());
        assert!(View::new(0, vec![3, 3], vec![usize::MAX, usize::MAX], 12).is_err());
        assert!(View::new(0, vec![1; 9], vec![1; 9], 12).is_err());
        assert!(View::new(0, vec![1], vec![], 12).is_err());
    }

    #[test]
    fn expanding_a_value_is_bounded_by_the_budget() {
        let view = View::new(0, vec![1 << 40], vec![0], 1).unwrap();
        let error = view.read(&[0; 4], Element::F32, &mut Budget::for_file(1000)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }

    #[test]
    fn element_types_keep_or_gain_width() {
        let read = |bytes: &[u8], element: Element| {
            View::contiguous(&[1]).unwrap().read(bytes, element, &mut Budget::for_file(0)).unwrap()
        };
        assert_eq!(read(&1.5f64.to_le_bytes(), Element::F64), WeightData::F32(vec![1.5]));
        assert_eq!(read(&bf16::from_f32(-2.0).to_le_bytes(), Element::BF16), WeightData::F32(vec![-2.0]));
        let half = f16::from_f32(0.25);
        assert_eq!(read(&half.to_le_bytes(), Element::F16), WeightData::F16(vec![half]));
    }
}
