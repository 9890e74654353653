//! Safetensors files that hold the state dict of a checkpoint.

use super::names::{Collector, entry_error};
use super::values::{Budget, Element, View};
use crate::error::{Error, ErrorKind, Result};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;

/// Whether `bytes` begin as safetensors do: the length of a JSON header that fits in the file, then the header.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let Some((len, rest)) = bytes.split_first_chunk() else { return false };
    u64::from_le_bytes(*len) <= rest.len() as u64 && rest.first() == Some(&b'{')
}

/// Reads all floating tensors.
pub(super) fn read(bytes: &[u8]) -> Result<Collector> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|e| Error::format(format!("the safetensors header is damaged or does not match the file: {e}")))?;
    let tensors: BTreeMap<_, _> = file.iter().collect();
    let mut collector = Collector::new(tensors.keys().copied())?;
    let mut budget = Budget::for_file(bytes.len());
    for (name, tensor) in &tensors {
        match element_of(tensor.dtype()).map_err(|e| entry_error(name, e))? {
            Element::Integer(_) => collector.skip(name),
            element => {
                let view = View::contiguous(tensor.shape()).map_err(|e| entry_error(name, e))?;
                let data = view.read(tensor.data(), element, &mut budget).map_err(|e| entry_error(name, e))?;
                collector.add(name, tensor.shape().to_vec(), data);
            }
        }
    }
    Ok(collector)
}

fn element_of(dtype: Dtype) -> Result<Element> {
    Ok(match dtype {
        Dtype::F32 => Element::F32,
        Dtype::F16 => Element::F16,
        Dtype::BF16 => Element::BF16,
        Dtype::F64 => Element::F64,
        Dtype::I64 | Dtype::U64 => Element::Integer(8),
        Dtype::I32 | Dtype::U32 => Element::Integer(4),
        Dtype::I16 | Dtype::U16 => Element::Integer(2),
        Dtype::I8 | Dtype::U8 | Dtype::BOOL => Element::Integer(1),
        other => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("values of type {other:?}; F32, F16, BF16 and F64 are read, so save it as one of these"),
            ));
        }
    })
}
