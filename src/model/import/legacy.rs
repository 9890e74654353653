//! PyTorch checkpoints from before 1.6: five pickles in a row, then the storages.

use super::names::Collector;
use super::pickle::{Pickle, Value};
use super::quoted;
use super::reference::StorageReference;
use super::torch::read_state_dict;
use super::values::Budget;
use crate::error::{Error, ErrorKind, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const PROTOCOL: i128 = 1001;

/// Whether `bytes` begin with the magic number; an error where they are some other pickle.
pub(super) fn is_magic(bytes: &[u8]) -> Result<bool> {
    if bytes.first() != Some(&0x80) || bytes.get(1).is_none_or(|&protocol| protocol > 5) {
        return Ok(false);
    }
    let (pickle, _) = Pickle::parse(bytes).map_err(|e| e.within("begins as a Python pickle does, but"))?;
    if *pickle.get(pickle.root) == Value::Int(MAGIC) {
        return Ok(true);
    }
    Err(Error::format(format!(
        "a Python pickle of {} instead of PyTorch's magic number; save the state dict with torch.save",
        pickle.describe(pickle.root)
    )))
}

/// Reads the state dict of a legacy checkpoint.
pub(super) fn read(bytes: &[u8]) -> Result<Collector> {
    let mut reader = Reader { bytes, at: 0 };
    reader.pickle("magic number")?;
    check_protocol(&reader.pickle("protocol version")?)?;
    check_byte_order(&reader.pickle("system description")?)?;
    let checkpoint = reader.pickle("checkpoint")?;
    let keys = reader.pickle("list of storages")?;
    let storages = reader.storages(&keys, &declared(&checkpoint)?)?;
    read_state_dict(&checkpoint, &mut Budget::for_file(bytes.len()), |key, _| {
        let storage = storages.get(key).ok_or_else(|| {
            Error::format(format!("storage {} is missing; the checkpoint is incomplete", quoted(key)))
        })?;
        Ok(Cow::Borrowed(*storage))
    })
}

fn check_protocol(pickle: &Pickle<'_>) -> Result<()> {
    if *pickle.get(pickle.root) == Value::Int(PROTOCOL) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("the protocol version is {}; only {PROTOCOL} is known", pickle.describe(pickle.root)),
    ))
}

fn check_byte_order(pickle: &Pickle<'_>) -> Result<()> {
    let little = pickle.lookup(pickle.root, "little_endian");
    if little.is_some_and(|id| *pickle.get(id) == Value::Bool(true)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "the system description does not say 'little_endian: True'; save the checkpoint on a little-endian machine",
    ))
}

/// Every storage the checkpoint mentions, by key: those of the optimizer must be known to be passed over.
fn declared<'p>(checkpoint: &'p Pickle<'_>) -> Result<BTreeMap<&'p str, StorageReference<'p>>> {
    let mut storages = BTreeMap::new();
    for value in &checkpoint.values {
        let &Value::Persistent(id) = value else { continue };
        // A whole module, saved beside the state dict, has no storage of its own.
        if checkpoint.items(id).and_then(<[_]>::first).is_some_and(|&tag| checkpoint.text(tag) == Some("module")) {
            continue;
        }
        let storage = StorageReference::new(checkpoint, id)?;
        storages.insert(storage.key, storage);
    }
    Ok(storages)
}

/// The file, read from front to back.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn pickle(&mut self, part: &str) -> Result<Pickle<'a>> {
        let (pickle, len) = Pickle::parse(self.rest()).map_err(|e| e.within(format!("{part} at byte {}", self.at)))?;
        self.at += len;
        Ok(pickle)
    }

    fn storages(
        &mut self,
        keys: &Pickle<'_>,
        declared: &BTreeMap<&str, StorageReference<'_>>,
    ) -> Result<BTreeMap<String, &'a [u8]>> {
        let Some(items) = keys.items(keys.root) else {
            return Err(Error::format(format!("the list of storages is {}", keys.describe(keys.root))));
        };
        let mut storages = BTreeMap::new();
        for &item in items {
            let storage = keys.text(item).and_then(|key| declared.get(key)).ok_or_else(|| {
                Error::format(format!(
                    "the list of storages has {}, which the checkpoint does not mention; the file is damaged",
                    keys.describe(item)
                ))
            })?;
            if storages.insert(storage.key.to_owned(), self.storage(storage)?).is_some() {
                return Err(Error::format(format!("storage {} is listed twice", quoted(storage.key))));
            }
        }
        Ok(storages)
    }

    /// The bytes of the next storage: its number of elements as a 64-bit integer, then the elements.
    fn storage(&mut self, storage: &StorageReference<'_>) -> Result<&'a [u8]> {
        let fail =
            |cause: String| Error::format(format!("storage {} at byte {}: {cause}", quoted(storage.key), self.at));
        let cut_short = || fail("the file ends within it; fetch the file again".to_owned());
        let (len, rest) = self.rest().split_first_chunk().ok_or_else(cut_short)?;
        let len = u64::from_le_bytes(*len);
        if usize::try_from(len) != Ok(storage.len) {
            return Err(fail(format!("{len} elements where {} are declared; the file is damaged", storage.len)));
        }
        let size = storage.len.checked_mul(storage.element.width()).ok_or_else(cut_short)?;
        let bytes = rest.get(..size).ok_or_else(cut_short)?;
        self.at += size_of::<u64>() + size;
        Ok(bytes)
    }
}
