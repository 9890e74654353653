//! The safetensors container of model and vocabulary files: `openvocab3d.*` metadata and named float tensors.

use super::weights::{StateDict, Weight, WeightData};
use crate::error::{Error, ErrorKind, Result, collected, with_capacity};
use half::f16;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, TensorView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashMap;

const PREFIX: &str = "openvocab3d.";
const SCHEMA: &str = "1";

/// A parsed file.
pub(super) struct Container<'a> {
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl<'a> Container<'a> {
    /// Parses a file that must be of `kind`.
    pub(super) fn parse(bytes: &'a [u8], kind: &str) -> Result<Self> {
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

    /// All tensors, which must be FP32 or FP16.
    pub(super) fn into_tensors(self) -> Result<StateDict> {
        self.tensors.iter().map(|(name, view)| Ok((name.to_owned(), weight(name, &view)?))).collect()
    }

    /// The bytes of a file of `kind`.
    pub(super) fn serialise(kind: &str, metadata: Vec<(&str, String)>, tensors: StateDict) -> Result<Vec<u8>> {
        let fixed = [("schema", SCHEMA.to_owned()), ("kind", kind.to_owned())];
        let metadata =
            fixed.into_iter().chain(metadata).map(|(key, value)| (format!("{PREFIX}{key}"), value)).collect();
        let bytes: Vec<(&String, &Weight, Vec<u8>)> = tensors
            .iter()
            .map(|(name, weight)| Ok((name, weight, little_endian(&weight.data)?)))
            .collect::<Result<_>>()?;
        let views = bytes
            .iter()
            .map(|(name, weight, bytes)| {
                let dtype = match weight.data {
                    WeightData::F32(_) => Dtype::F32,
                    WeightData::F16(_) => Dtype::F16,
                };
                let view = TensorView::new(dtype, weight.shape.clone(), bytes)
                    .map_err(|e| Error::internal(format!("tensor '{name}' cannot be stored: {e}")))?;
                Ok((name.as_str(), view))
            })
            .collect::<Result<Vec<_>>>()?;
        let file = safetensors::serialize(views, Some(metadata))
            .map_err(|e| Error::internal(format!("the {kind} file cannot be made: {e}")))?;
        sorted_metadata(&file)
    }
}

/// The same file with its header's keys sorted, so that equal contents give equal bytes.
fn sorted_metadata(file: &[u8]) -> Result<Vec<u8>> {
    let unreadable = || Error::internal("the serialised header is not readable");
    let (length, rest) = file.split_first_chunk::<8>().ok_or_else(unreadable)?;
    let length = u64::from_le_bytes(*length) as usize;
    let (header, data) = rest.split_at_checked(length).ok_or_else(unreadable)?;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(header).map_err(|_| unreadable())?;
    let mut sorted = serde_json::to_vec(&header).map_err(|_| unreadable())?;
    sorted.resize(sorted.len().next_multiple_of(8), b' ');
    Ok([&(sorted.len() as u64).to_le_bytes()[..], &sorted, data].concat())
}

fn weight(name: &str, view: &TensorView<'_>) -> Result<Weight> {
    let what = format!("tensor '{name}'");
    let data = match view.dtype() {
        Dtype::F32 => {
            let values = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
            WeightData::F32(collected(values, &what)?)
        }
        Dtype::F16 => {
            let values = view.data().as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes));
            WeightData::F16(collected(values, &what)?)
        }
        other => {
            let message = format!("{what} is stored as {other:?}; this library's files hold F32 and F16");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    Ok(Weight { shape: view.shape().to_vec(), data })
}

fn little_endian(data: &WeightData) -> Result<Vec<u8>> {
    let (len, width) = match data {
        WeightData::F32(values) => (values.len(), 4),
        WeightData::F16(values) => (values.len(), 2),
    };
    let mut bytes = with_capacity(len * width, "the file")?;
    match data {
        WeightData::F32(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        WeightData::F16(values) => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
    }
    Ok(bytes)
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
