//! Checkpoints of the OpenScene family: PyTorch files and safetensors, read without running anything in them.

mod legacy;
mod literals;
mod machine;
mod names;
mod opcodes;
mod pickle;
mod reference;
mod safetensors;
mod torch;
mod values;

#[cfg(test)]
mod pickle_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use crate::error::{Error, ErrorKind, Result};
use crate::model::weights::StateDict;
use names::Collector;
use sha2::{Digest, Sha256};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest file, entry or sum of tensors that is read, in bytes.
const MAX_BYTES: u64 = 8 << 30;

/// What a checkpoint file holds once prefixes are stripped.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The floating tensors under their bare names (`conv0p1s1.kernel` ...).
    pub tensors: StateDict,
    /// The prefix that was stripped: `""`, `"net3d."`, `"module."` or `"module.net3d."`.
    pub prefix: String,
    /// The container the tensors came in.
    pub format: CheckpointFormat,
    /// SHA-256 of the whole source file, in lower-case hex.
    pub sha256: String,
    /// Bare names of the integer tensors that were left out (`num_batches_tracked`).
    pub skipped: Vec<String>,
}

/// The container of a checkpoint, told by its content and never by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckpointFormat {
    /// The zip archive that PyTorch writes since 1.6.
    TorchZip,
    /// The chain of pickles that PyTorch wrote before 1.6.
    TorchLegacy,
    /// A safetensors file.
    Safetensors,
}

impl fmt::Display for CheckpointFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TorchZip => "PyTorch zip",
            Self::TorchLegacy => "PyTorch legacy",
            Self::Safetensors => "safetensors",
        })
    }
}

/// Reads the state dict of the checkpoint at `path`; epoch, optimizer and the like are passed over.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let bytes = read_file(path)?;
    let (format, read) = decode(&bytes).map_err(|e| e.within(format!("checkpoint '{}'", path.display())))?;
    let sha256 = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Checkpoint { tensors: read.tensors, prefix: read.prefix.to_owned(), format, sha256, skipped: read.skipped })
}

fn decode(bytes: &[u8]) -> Result<(CheckpointFormat, Collector)> {
    let format = detect(bytes)?;
    let read = match format {
        CheckpointFormat::TorchZip => torch::read(bytes),
        CheckpointFormat::TorchLegacy => legacy::read(bytes),
        CheckpointFormat::Safetensors => safetensors::read(bytes),
    }?;
    Ok((format, read))
}

/// The whole file, so that the hash and the tensors are of the same bytes.
fn read_file(path: &Path) -> Result<Vec<u8>> {
    let open_error = |e| Error::io(path, "open checkpoint", &e);
    let file = File::open(path).map_err(open_error)?;
    let meta = file.metadata().map_err(open_error)?;
    if !meta.is_file() {
        return Err(Error::argument(format!(
            "checkpoint '{}' is not a file; name the checkpoint itself",
            path.display()
        )));
    }
    if meta.len() > MAX_BYTES {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "checkpoint '{}' has {} bytes, more than the {MAX_BYTES} that are read; save the state dict alone",
                path.display(),
                meta.len()
            ),
        ));
    }
    let size = usize::try_from(meta.len()).map_err(|_| Error::internal("a file size does not fit in memory"))?;
    let mut bytes = crate::error::with_capacity(size, "the checkpoint file")?;
    file.take(meta.len()).read_to_end(&mut bytes).map_err(|e| Error::io(path, "read checkpoint", &e))?;
    Ok(bytes)
}

fn detect(bytes: &[u8]) -> Result<CheckpointFormat> {
    // Safetensors first: its leading length may look like another format's magic, but never with '{' at byte 8.
    if safetensors::is_header(bytes) {
        return Ok(CheckpointFormat::Safetensors);
    }
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return Ok(CheckpointFormat::TorchZip);
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the file is a tar archive, as PyTorch wrote before 0.1.10; load and save it with a newer PyTorch, or \
             unpack it if a checkpoint was packed into it",
        ));
    }
    if legacy::is_magic(bytes)? {
        return Ok(CheckpointFormat::TorchLegacy);
    }
    let start = bytes.get(..bytes.len().min(16)).unwrap_or_default();
    Err(Error::format(format!(
        "neither a PyTorch checkpoint (zip since 1.6, or the earlier legacy form) nor a safetensors file: it has {} \
         bytes and begins with \"{}\"; check that the download is complete and not a web page or a pointer file",
        bytes.len(),
        start.escape_ascii()
    )))
}

/// `text` from a file, fit for an error message: in quotes, shortened, control characters escaped.
fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let more = if text.chars().nth(SHOWN).is_some() { "..." } else { "" };
    format!("'{shown}{more}'")
}

/// The first few of `names`, for an error message.
fn first_few<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let mut names = names.into_iter();
    let mut shown: Vec<String> = names.by_ref().take(SHOWN).map(quoted).collect();
    let more = names.count();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}
