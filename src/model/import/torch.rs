//! PyTorch zip checkpoints (since 1.6), and the state dict inside any PyTorch pickle.

use super::machine::MAX_PICKLE;
use super::names::{Collector, entry_error};
use super::pickle::{Pickle, ValueId};
use super::reference::TensorReference;
use super::values::{Budget, Element};
use super::{MAX_BYTES, first_few, quoted};
use crate::error::{Error, ErrorKind, Result, with_capacity};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use zip::ZipArchive;
use zip::result::ZipError;

/// Names under which training scripts save the state dict.
const STATE_DICT_KEYS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Reads the state dict of a zip checkpoint.
pub(super) fn read(bytes: &[u8]) -> Result<Collector> {
    let mut budget = Budget::for_file(bytes.len());
    let mut archive = Archive::open(bytes)?;
    archive.check_byte_order(&mut budget)?;
    let program = archive.entry("data.pkl", MAX_PICKLE as u64, &mut budget)?;
    let (pickle, _) = Pickle::parse(&program).map_err(|e| e.within("data.pkl"))?;
    read_state_dict(&pickle, &mut budget, |key, budget| {
        archive.entry(&format!("data/{key}"), MAX_BYTES, budget).map(Cow::Owned)
    })
}

/// The entries of a checkpoint, all of which lie under one folder.
struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    folder: String,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8]) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|e| Error::format(format!("a zip archive that is cut short or damaged: {e}")))?;
        if zip.has_duplicate_names() {
            return Err(Error::format("the zip archive has two entries of one name; save the checkpoint again"));
        }
        let mut folders =
            zip.file_names().flatten().filter_map(|name| Some(name.strip_suffix("/data.pkl")?.to_owned()));
        let folder = folders.next();
        let second = folders.next();
        drop(folders);
        let (Some(folder), None) = (folder, second) else {
            return Err(Error::format(
                "a zip archive, but without exactly one '<folder>/data.pkl' as PyTorch writes it; give the file that \
                 torch.save made",
            ));
        };
        let archive = Self { zip, folder };
        if archive.has("constants.pkl") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "a TorchScript module; save the state dict of the original module with torch.save instead",
            ));
        }
        Ok(archive)
    }

    fn has(&self, name: &str) -> bool {
        self.zip.index_for_name(&format!("{}/{name}", self.folder)).is_some()
    }

    fn check_byte_order(&mut self, budget: &mut Budget) -> Result<()> {
        if !self.has("byteorder") || self.entry("byteorder", 16, budget)? == b"little" {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            "entry 'byteorder' does not say 'little'; save the checkpoint on a little-endian machine",
        ))
    }

    /// The bytes of entry `name`, at most `limit`.
    fn entry(&mut self, name: &str, limit: u64, budget: &mut Budget) -> Result<Vec<u8>> {
        let path = format!("{}/{name}", self.folder);
        let damaged = |cause: &dyn std::fmt::Display| Error::format(format!("zip entry {}: {cause}", quoted(&path)));
        let file = self.zip.by_name(&path).map_err(|e| match e {
            ZipError::FileNotFound => damaged(&"missing; the checkpoint is incomplete"),
            other => damaged(&other),
        })?;
        let size = file.size();
        if size > limit {
            return Err(damaged(&format_args!("{size} bytes, more than the {limit} that are read")));
        }
        budget.take(size, 1)?;
        let len = usize::try_from(size).map_err(|_| damaged(&"larger than memory"))?;
        let mut bytes = with_capacity(len, "an entry of the checkpoint")?;
        // One byte more than declared, to notice an entry that inflates to more than it says.
        file.take(size.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| damaged(&e))?;
        if bytes.len() != len {
            return Err(damaged(&format_args!("{} bytes where {len} are declared; the file is damaged", bytes.len())));
        }
        Ok(bytes)
    }
}

/// Reads the state dict of `pickle`, taking the bytes of each storage it needs once from `load`.
pub(super) fn read_state_dict<'a>(
    pickle: &Pickle<'_>,
    budget: &mut Budget,
    mut load: impl FnMut(&str, &mut Budget) -> Result<Cow<'a, [u8]>>,
) -> Result<Collector> {
    let entries = state_dict(pickle)?;
    let mut collector = Collector::new(entries.keys().copied())?;
    let mut storages = BTreeMap::<&str, Vec<(&str, TensorReference<'_>)>>::new();
    for (&name, &id) in &entries {
        let tensor = TensorReference::new(pickle, id).map_err(|e| entry_error(name, e))?;
        match tensor.storage.element {
            Element::Integer(_) => collector.skip(name),
            _ => storages.entry(tensor.storage.key).or_default().push((name, tensor)),
        }
    }
    for (key, tensors) in storages {
        let bytes = load(key, budget)?;
        for (name, tensor) in tensors {
            let storage = tensor.storage;
            if storage.len.checked_mul(storage.element.width()) != Some(bytes.len()) {
                return Err(entry_error(
                    name,
                    Error::format(format!(
                        "storage {} has {} bytes where {} values of {} bytes are declared; the file is damaged",
                        quoted(key),
                        bytes.len(),
                        storage.len,
                        storage.element.width()
                    )),
                ));
            }
            let data = tensor.view.read(&bytes, storage.element, budget).map_err(|e| entry_error(name, e))?;
            collector.add(name, tensor.view.shape().to_vec(), data);
        }
    }
    Ok(collector)
}

/// The entries of the state dict, wherever in the checkpoint it is.
fn state_dict<'p>(pickle: &'p Pickle<'_>) -> Result<BTreeMap<&'p str, ValueId>> {
    let Some(entries) = pickle.entries(pickle.root) else {
        return Err(Error::format(format!(
            "a dict of tensors is expected, not {}; save model.state_dict() instead of the model",
            pickle.describe(pickle.root)
        )));
    };
    if let Some((key, id)) = STATE_DICT_KEYS.iter().find_map(|key| Some((key, pickle.lookup(pickle.root, key)?))) {
        let Some(entries) = pickle.entries(id) else {
            return Err(Error::format(format!(
                "'{key}' is {}, but a dict of tensors is expected; save model.state_dict()",
                pickle.describe(id)
            )));
        };
        return named(pickle, entries).map_err(|e| e.within(format!("'{key}'")));
    }
    if entries.iter().any(|&(_, value)| TensorReference::is_tensor(pickle, value)) {
        return named(pickle, entries);
    }
    Err(Error::format(format!(
        "neither 'state_dict', 'model_state_dict' nor 'model', nor tensors at the top; the keys seen are {}",
        first_few(entries.iter().filter_map(|&(key, _)| pickle.text(key)))
    )))
}

fn named<'p>(pickle: &'p Pickle<'_>, entries: &[(ValueId, ValueId)]) -> Result<BTreeMap<&'p str, ValueId>> {
    let name = |key| {
        pickle.text(key).ok_or_else(|| {
            Error::format(format!("a key is {}, but names of tensors are expected", pickle.describe(key)))
        })
    };
    entries.iter().map(|&(key, value)| Ok((name(key)?, value))).collect()
}
