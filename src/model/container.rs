//! The safetensors container of model and vocabulary files: `openvocab3d.*` metadata and named float tensors.

use super::weights::{StateDict, Weight, WeightData};
use crate::error::{Error, ErrorKind, Result, collected, with_capacity};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const PREFIX: &str = "openvocab3d.";
const SCHEMA: &str = "1";
/// Most bytes of a header: room for a hundred thousand names, and a bound on what parsing it needs.
const MAX_HEADER: u64 = 16 << 20;

/// A parsed file.
pub(super) struct Container<'a> {
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl<'a> Container<'a> {
    /// Parses a file that must be of `kind`.
    pub(super) fn parse(bytes: &'a [u8], kind: &str) -> Result<Self> {
        let stated = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
        if stated > MAX_HEADER && stated < bytes.len() as u64 {
            let message =
                format!("the file's header has {stated} bytes; at most {MAX_HEADER} are read: use fewer names");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let damaged = |e: safetensors::SafeTensorError| {
            Error::format(format!("not a readable safetensors file ({e}); a {kind} file of this library is one"))
        };
        let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let (_, header): (usize, Metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let this = Self { metadata, tensors };
        let cure = "weights from elsewhere must first go through `ov3d convert`";
        let schema = this.optional("schema").ok_or_else(|| {
            Error::format(format!(
                "the file has no '{PREFIX}schema' metadata, so it is no {kind} of this library; {cure}"
            ))
        })?;
        if schema != SCHEMA {
            let message =
                format!("the file has schema {schema}; this library reads {SCHEMA}: update it or convert anew");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        match this.required("kind")? {
            found if found == kind => Ok(this),
            found => Err(Error::new(ErrorKind::Unsupported, format!("the file holds a {found}, not a {kind}"))),
        }
    }

    /// The metadata entry `openvocab3d.<key>`.
    pub(super) fn optional(&self, key: &str) -> Option<&str> {
        self.metadata.get(&format!("{PREFIX}{key}")).map(String::as_str)
    }

    /// The same, or an error that names it.
    pub(super) fn required(&self, key: &str) -> Result<&str> {
        self.optional(key).ok_or_else(|| Error::format(format!("the file lacks the metadata entry '{PREFIX}{key}'")))
    }

    /// All tensors, which must be FP32, FP16 or BF16.
    pub(super) fn into_tensors(self) -> Result<StateDict> {
        self.tensors.iter().map(|(name, view)| Ok((name.to_owned(), weight(name, &view)?))).collect()
    }

    /// The bytes of a file of `kind`: equal contents give equal bytes. Wider types come first, so that every tensor is
    /// aligned to its type.
    pub(super) fn serialise(kind: &str, metadata: Vec<(&str, String)>, tensors: &StateDict) -> Result<Vec<u8>> {
        let fixed = [("schema", SCHEMA.to_owned()), ("kind", kind.to_owned())];
        let metadata = fixed.into_iter().chain(metadata);
        let metadata: BTreeMap<String, String> =
            metadata.map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
        let mut order: Vec<(&String, &Weight)> = tensors.iter().collect();
        order.sort_by_key(|(_, weight)| std::cmp::Reverse(weight.data.width()));
        let mut header = serde_json::Map::new();
        header.insert("__metadata__".to_owned(), json!(metadata));
        let mut end = 0;
        for (name, weight) in &order {
            let dtype = match weight.data {
                WeightData::F32(_) => "F32",
                WeightData::F16(_) => "F16",
                WeightData::BF16(_) => "BF16",
            };
            let start = end;
            end += weight.len() * weight.data.width();
            header
                .insert((*name).clone(), json!({"dtype": dtype, "shape": weight.shape, "data_offsets": [start, end]}));
        }
        let mut header = to_json(&header)?.into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = with_capacity(8 + header.len() + end, "the file")?;
        file.extend((header.len() as u64).to_le_bytes());
        file.extend(header);
        for (_, weight) in order {
            match &weight.data {
                WeightData::F32(values) => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
                WeightData::F16(values) => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
                WeightData::BF16(values) => file.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            }
        }
        Ok(file)
    }
}

/// Writes `bytes` beside `path` first, so that a failed save leaves the file that was there.
pub(super) fn write_file(path: &Path, bytes: &[u8], action: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let result = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    result.map_err(|e| {
        // The part may not even exist; the error that matters is the first.
        let _ = std::fs::remove_file(&beside);
        Error::io(path, action, &e)
    })
}

fn weight(name: &str, view: &TensorView<'_>) -> Result<Weight> {
    read_weight(name, view.dtype(), view.shape(), view.data())
}

/// The tensor `name` of a safetensors file from its bytes, kept at its width.
pub(crate) fn read_weight(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> Result<Weight> {
    let what = format!("tensor '{name}'");
    let data = match dtype {
        Dtype::F32 => {
            let values = bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            WeightData::F32(collected(values, &what)?)
        }
        Dtype::F16 => {
            let values = bytes.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes));
            WeightData::F16(collected(values, &what)?)
        }
        Dtype::BF16 => {
            let values = bytes.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes));
            WeightData::BF16(collected(values, &what)?)
        }
        other => {
            let message = format!("{what} is stored as {other:?}; F32, F16 and BF16 are read");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(Weight { shape: shape.to_vec(), data })
}

/// Parses the JSON value of a metadata entry.
pub(super) fn parse_json<T: DeserializeOwned>(key: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|e| Error::format(format!("the metadata entry '{PREFIX}{key}' is not readable: {e}")))
}

/// The JSON text of a metadata entry.
pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::internal(format!("metadata cannot be written as JSON: {e}")))
}
