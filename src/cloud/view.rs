//! Read-only strided views of the caller's rows: packed, interleaved and unaligned layouts without a copy.

use crate::error::{Error, Result};
use std::fmt;

/// The type of one component of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    /// Unsigned byte.
    U8,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 32-bit integer with a sign.
    I32,
    /// 64-bit integer with a sign.
    I64,
}

impl Dtype {
    /// Bytes of one component.
    pub const fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::I32 => "i32",
            Self::I64 => "i64",
        })
    }
}

/// `count` rows of `components` values each, `stride` bytes apart, in native byte order and at any alignment.
#[derive(Debug, Clone, Copy)]
pub struct StridedView<'a> {
    bytes: &'a [u8],
    count: usize,
    stride: usize,
    dtype: Dtype,
    components: usize,
}

impl<'a> StridedView<'a> {
    /// A view of `bytes`; fails when the last row would end past them or rows would overlap.
    pub fn new(bytes: &'a [u8], count: usize, stride: usize, dtype: Dtype, components: usize) -> Result<Self> {
        let row = components
            .checked_mul(dtype.size())
            .ok_or_else(|| Error::argument(format!("{components} components per row overflow the address space")))?;
        if stride < row {
            return Err(Error::argument(format!(
                "stride is {stride} bytes, less than the {row} bytes of one row; give the distance between rows"
            )));
        }
        let needed = match count {
            0 => Some(0),
            _ => (count - 1).checked_mul(stride).and_then(|n| n.checked_add(row)),
        };
        match needed {
            Some(needed) if needed <= bytes.len() => Ok(Self { bytes, count, stride, dtype, components }),
            _ => Err(Error::argument(format!(
                "{count} rows of stride {stride} need more than the {} bytes given",
                bytes.len()
            ))),
        }
    }

    /// Packed FP32 triples.
    pub fn packed_f32(rows: &'a [[f32; 3]]) -> Self {
        Self { bytes: bytemuck::cast_slice(rows), count: rows.len(), stride: 12, dtype: Dtype::F32, components: 3 }
    }

    /// Packed FP64 triples.
    pub fn packed_f64(rows: &'a [[f64; 3]]) -> Self {
        Self { bytes: bytemuck::cast_slice(rows), count: rows.len(), stride: 24, dtype: Dtype::F64, components: 3 }
    }

    /// Packed byte triples.
    pub fn packed_u8(rows: &'a [[u8; 3]]) -> Self {
        Self { bytes: bytemuck::cast_slice(rows), count: rows.len(), stride: 3, dtype: Dtype::U8, components: 3 }
    }

    /// Packed integers, one per row.
    pub fn packed_i64(rows: &'a [i64]) -> Self {
        Self { bytes: bytemuck::cast_slice(rows), count: rows.len(), stride: 8, dtype: Dtype::I64, components: 1 }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The type of a component.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Components per row.
    pub fn components(&self) -> usize {
        self.components
    }

    /// Bytes from one row to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// The rows and what lies between them, from the first row's first byte to the last row's last.
    pub fn bytes(&self) -> &'a [u8] {
        match self.count {
            0 => &[],
            count => &self.bytes[..(count - 1) * self.stride + self.components * self.dtype.size()],
        }
    }

    /// The bytes of the first three components of row `index`.
    pub fn raw_row(&self, index: usize) -> &'a [u8] {
        &self.bytes[index * self.stride..][..3 * self.dtype.size()]
    }

    /// The first three components of row `index`, widened exactly (integers of 64 bits to the nearest).
    pub fn row(&self, index: usize) -> [f64; 3] {
        match self.dtype {
            Dtype::U8 => self.components_of(index).map(|[v]: [u8; 1]| f64::from(v)),
            Dtype::F32 => self.components_of(index).map(|v| f64::from(f32::from_ne_bytes(v))),
            Dtype::F64 => self.components_of(index).map(f64::from_ne_bytes),
            Dtype::I32 => self.components_of(index).map(|v| f64::from(i32::from_ne_bytes(v))),
            Dtype::I64 => self.components_of(index).map(|v| i64::from_ne_bytes(v) as f64),
        }
    }

    /// The first three components of row `index`, of `N` bytes each.
    fn components_of<const N: usize>(&self, index: usize) -> [[u8; N]; 3] {
        let (components, _) = self.bytes[index * self.stride..][..3 * N].as_chunks();
        [components[0], components[1], components[2]]
    }

    /// The first component of row `index` as an integer; floats lose their fractions.
    pub fn integer(&self, index: usize) -> i64 {
        let bytes = &self.bytes[index * self.stride..][..self.dtype.size()];
        match self.dtype {
            Dtype::U8 => i64::from(bytes[0]),
            Dtype::F32 => bytemuck::pod_read_unaligned::<f32>(bytes) as i64,
            Dtype::F64 => bytemuck::pod_read_unaligned::<f64>(bytes) as i64,
            Dtype::I32 => i64::from(bytemuck::pod_read_unaligned::<i32>(bytes)),
            Dtype::I64 => bytemuck::pod_read_unaligned(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_and_unaligned_rows_are_read() {
        let mut bytes = vec![0xAA_u8];
        for point in [[1.0_f32, 2.0, 3.0], [4.0, 5.0, 6.0]] {
            bytes.extend(point.iter().flat_map(|v| v.to_ne_bytes()));
            bytes.extend([9; 12]);
        }
        let view = StridedView::new(&bytes[1..], 2, 24, Dtype::F32, 3).unwrap();
        assert_eq!(view.row(0), [1.0, 2.0, 3.0]);
        assert_eq!(view.row(1), [4.0, 5.0, 6.0]);
        let ids: Vec<u8> = [7_i32, -1, i32::MIN].iter().flat_map(|v| v.to_ne_bytes()).chain([0]).collect();
        let view = StridedView::new(&ids, 3, 4, Dtype::I32, 1).unwrap();
        assert_eq!([0, 1, 2].map(|row| view.integer(row)), [7, -1, i64::from(i32::MIN)]);
        assert_eq!(StridedView::packed_i64(&[3, i64::MAX]).integer(1), i64::MAX);
    }

    #[test]
    fn rows_past_the_end_are_refused() {
        let bytes = [0_u8; 47];
        assert!(StridedView::new(&bytes, 2, 24, Dtype::F64, 3).is_err());
        assert!(StridedView::new(&bytes, 1, 24, Dtype::F64, 3).is_ok());
        assert!(StridedView::new(&bytes, 2, 8, Dtype::F32, 3).is_err(), "overlapping rows");
        assert!(StridedView::new(&bytes, usize::MAX, 24, Dtype::F64, 3).is_err(), "overflowing size");
        assert!(StridedView::new(&[], 0, 12, Dtype::F32, 3).is_ok(), "an empty cloud");
    }
}
