//! Tensors as a PyTorch pickle describes them: a recorded call that names a storage, sizes and strides.

use super::pickle::{Pickle, Value, ValueId};
use super::quoted;
use super::values::{Element, View};
use crate::error::{Error, ErrorKind, Result};

/// A storage that a pickle refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StorageReference<'p> {
    /// Its name within the file.
    pub(super) key: &'p str,
    pub(super) element: Element,
    /// Its number of elements.
    pub(super) len: usize,
    /// First element and number of elements of the part that is meant (the legacy form has such windows).
    window: (usize, usize),
}

impl<'p> StorageReference<'p> {
    /// Reads a persistent id `('storage', class, key, location, len[, window])`.
    pub(super) fn new(pickle: &'p Pickle<'_>, persistent_id: ValueId) -> Result<Self> {
        let items = pickle.items(persistent_id).unwrap_or_default();
        let (&[tag, class, key, _location, len], rest) = items.split_first_chunk().ok_or_else(bad_storage)?;
        let key = pickle.text(key).ok_or_else(bad_storage)?;
        let len = pickle.size(len).ok_or_else(bad_storage)?;
        if pickle.text(tag) != Some("storage") {
            return Err(bad_storage());
        }
        let element = pickle.global(class).and_then(element_of).ok_or_else(|| {
            let class = pickle.describe(class);
            Error::new(
                ErrorKind::Unsupported,
                format!("storage {} is of an unknown type, {class}; save it as float32", quoted(key)),
            )
        })?;
        let window = match rest {
            &[window] => window_of(pickle, window, len)?,
            _ => (0, len),
        };
        Ok(Self { key, element, len, window })
    }
}

fn window_of(pickle: &Pickle<'_>, id: ValueId, len: usize) -> Result<(usize, usize)> {
    if *pickle.get(id) == Value::None {
        return Ok((0, len));
    }
    let Some(&[_key, start, window_len]) = pickle.items(id) else { return Err(bad_storage()) };
    let start = pickle.size(start).ok_or_else(bad_storage)?;
    let window_len = pickle.size(window_len).ok_or_else(bad_storage)?;
    if start.checked_add(window_len).is_none_or(|end| end > len) {
        return Err(Error::format(format!(
            "a view of {window_len} elements from element {start} reaches beyond its storage of {len}; the file is \
             damaged"
        )));
    }
    Ok((start, window_len))
}

fn bad_storage() -> Error {
    Error::format("a storage is not described as ('storage', class, key, location, size); the file is damaged")
}

fn element_of((module, name): (&str, &str)) -> Option<Element> {
    if module != "torch" {
        return None;
    }
    Some(match name {
        "FloatStorage" => Element::F32,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::BF16,
        "DoubleStorage" => Element::F64,
        "LongStorage" => Element::Integer(8),
        "IntStorage" => Element::Integer(4),
        "ShortStorage" => Element::Integer(2),
        "CharStorage" | "ByteStorage" | "BoolStorage" => Element::Integer(1),
        _ => return None,
    })
}

/// A tensor that a pickle describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TensorReference<'p> {
    pub(super) storage: StorageReference<'p>,
    pub(super) view: View,
}

impl<'p> TensorReference<'p> {
    /// Whether `id` is a tensor, sound or not.
    pub(super) fn is_tensor(pickle: &Pickle<'_>, id: ValueId) -> bool {
        matches!(pickle.call(id), Some((("torch._utils", "_rebuild_tensor_v2" | "_rebuild_parameter"), _)))
    }

    /// Reads the recorded call of `_rebuild_tensor_v2`, in a `_rebuild_parameter` or bare.
    pub(super) fn new(pickle: &'p Pickle<'_>, id: ValueId) -> Result<Self> {
        let id = match pickle.call(id) {
            Some((("torch._utils", "_rebuild_parameter"), &[data, ..])) => data,
            _ => id,
        };
        let Some((("torch._utils", "_rebuild_tensor_v2"), arguments)) = pickle.call(id) else {
            return Err(Error::format(format!("a tensor is expected, not {}", pickle.describe(id))));
        };
        let &[storage, offset, sizes, strides, ..] = arguments else { return Err(bad_tensor()) };
        let &Value::Persistent(persistent_id) = pickle.get(storage) else { return Err(bad_tensor()) };
        let storage = StorageReference::new(pickle, persistent_id)?;
        let offset = pickle.size(offset).ok_or_else(bad_tensor)?;
        let (start, len) = storage.window;
        let inner = View::new(offset, sizes_of(pickle, sizes)?, sizes_of(pickle, strides)?, len)?;
        Ok(Self { storage, view: inner.moved(start) })
    }
}

fn sizes_of(pickle: &Pickle<'_>, id: ValueId) -> Result<Vec<usize>> {
    let items = pickle.items(id).ok_or_else(bad_tensor)?;
    if items.len() > View::MAX_AXES {
        return Err(Error::format(format!("a tensor of {} axes; at most {} are read", items.len(), View::MAX_AXES)));
    }
    items.iter().map(|&item| pickle.size(item).ok_or_else(bad_tensor)).collect()
}

fn bad_tensor() -> Error {
    Error::format(
        "a tensor is not described as (storage, offset, sizes, strides, ...) in whole numbers that are not negative; \
         the file is damaged",
    )
}
