//! Vocabularies: labels with text embeddings.

use super::descriptor::{self, Descriptor};
use super::status::ov3d_status;
use super::{handle, text};
use crate::error::{Error, Result, collected, filled, with_capacity};
use crate::model::{Embeddings, Label, Vocabulary};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Arc;

/// Opaque.
pub struct ov3d_vocabulary_s {
    _private: [u8; 0],
}

/// Labels with text embeddings. Immutable; any thread may use it; sessions and results keep what they use.
pub type ov3d_vocabulary = *mut ov3d_vocabulary_s;

/// How embeddings make a vocabulary.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_vocabulary_desc {
    /// Set by `ov3d_vocabulary_desc_init`.
    pub struct_size: u32,
    /// Must be 0.
    pub flags: u32,
    /// Name of the text space, to be compared with the model's; NULL (default) fits any model of the same width.
    pub text_space: *const c_char,
    /// `[count]` the label each row stands for, from 0 without gaps: rows of one label are its prompts, and the best of
    /// them is its score. NULL (default): every row is a label of its own. The label's name is that of its first row.
    pub label_of_row: *const u32,
}

impl Default for ov3d_vocabulary_desc {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, flags: 0, text_space: std::ptr::null(), label_of_row: std::ptr::null() }
    }
}

// SAFETY: repr(C), the size first; integers and pointers.
unsafe impl Descriptor for ov3d_vocabulary_desc {
    const NAME: &'static str = "ov3d_vocabulary_desc";
}

/// What a vocabulary handle stands for, with the names that `ov3d_vocabulary_name` lends out.
pub(super) struct VocabularyObject {
    pub(super) vocabulary: Arc<Vocabulary>,
    names: Vec<CString>,
}

impl VocabularyObject {
    fn new(vocabulary: Vocabulary) -> Result<Self> {
        let names = collected(vocabulary.labels().iter().map(|label| text::to_c(&label.name)), "the names")?;
        Ok(Self { vocabulary: Arc::new(vocabulary), names })
    }
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_vocabulary_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_desc_init(desc: *mut ov3d_vocabulary_desc, size: usize) {
    guard!(ov3d_vocabulary_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// A vocabulary of `count` rows of `dim` floats with `count` UTF-8 names. Everything is copied; rows are brought to unit
/// length. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a NULL, a
/// row of zero length or not finite), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_from_embeddings(
    embeddings: *const f32,
    count: usize,
    dim: usize,
    names: *const *const c_char,
    desc: *const ov3d_vocabulary_desc,
    vocabulary: *mut ov3d_vocabulary,
) -> ov3d_status {
    guard!(ov3d_vocabulary_from_embeddings, {
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        if desc.flags != 0 {
            return Err(Error::argument(format!("desc.flags is {:#x}; no flag is known, give 0", desc.flags)));
        }
        let values = count
            .checked_mul(dim)
            .ok_or_else(|| Error::argument(format!("{count} rows of {dim} floats overflow the address space")))?;
        // SAFETY: the caller gives `count * dim` readable floats, `count` names and, if any, `count` labels.
        let (rows, names, labels) = unsafe {
            let names = super::slice(names, count, "names")?;
            let labels =
                (!desc.label_of_row.is_null()).then(|| super::slice(desc.label_of_row, count, "desc.label_of_row"));
            (super::slice(embeddings, values, "embeddings")?, names, labels.transpose()?)
        };
        let mut texts = with_capacity(count, "the names")?;
        for (row, &name) in names.iter().enumerate() {
            // SAFETY: every name is a NUL-terminated string that lives through the call.
            texts.push(unsafe { text::borrow(name, &format!("names[{row}]")) }?);
        }
        let space = match desc.text_space.is_null() {
            true => "",
            // SAFETY: the caller gives a NUL-terminated string that lives through the call.
            false => unsafe { text::borrow(desc.text_space, "desc.text_space") }?,
        };
        let made = grouped(&texts, rows, dim, space, labels)?;
        store(made, vocabulary)
    })
}

/// One label per row, or as `label_of_row` says.
fn grouped(names: &[&str], rows: &[f32], dim: usize, space: &str, label_of_row: Option<&[u32]>) -> Result<Vocabulary> {
    let Some(label_of_row) = label_of_row else { return Vocabulary::from_embeddings(names, rows, dim, space) };
    let labels = label_of_row.iter().copied().max().map_or(0, |label| label as usize + 1);
    if labels > names.len() {
        let message = format!(
            "desc.label_of_row names label {} of {} rows; number labels from 0 without gaps",
            labels - 1,
            names.len()
        );
        return Err(Error::argument(message));
    }
    // Rows by label: a counting sort, so that a label's prompts keep their order.
    let mut starts = filled(labels + 1, 0_usize, "the labels")?;
    label_of_row.iter().for_each(|&label| starts[label as usize + 1] += 1);
    if let Some(label) = starts[1..].iter().position(|&rows| rows == 0) {
        let message = format!("desc.label_of_row leaves out label {label}; number labels from 0 without gaps");
        return Err(Error::argument(message));
    }
    for label in 0..labels {
        starts[label + 1] += starts[label];
    }
    let mut next = collected(starts.iter().copied(), "the labels")?;
    let mut by_label = filled(names.len(), 0_usize, "the labels")?;
    for (row, &label) in label_of_row.iter().enumerate() {
        by_label[next[label as usize]] = row;
        next[label as usize] += 1;
    }
    let mut sorted = with_capacity(rows.len(), "the embeddings")?;
    by_label.iter().for_each(|&row| sorted.extend_from_slice(&rows[row * dim..][..dim]));
    let label = |label: usize| {
        let members = &by_label[starts[label]..starts[label + 1]];
        let prompts = members.iter().map(|&row| names[row].to_owned()).collect();
        Label { name: names[members[0]].to_owned(), prompts }
    };
    let list = collected((0..labels).map(label), "the labels")?;
    Vocabulary::new(list, vec![Embeddings { space: space.to_owned(), dim, rows: sorted }])
}

fn store(made: Vocabulary, vocabulary: *mut ov3d_vocabulary) -> Result<()> {
    super::check_out(vocabulary, "vocabulary")?;
    let handle = handle::insert(Arc::new(VocabularyObject::new(made)?))?;
    // SAFETY: the caller gives a writable handle, checked not to be NULL.
    unsafe { super::out(vocabulary, "vocabulary", handle) }
}

/// Reads the vocabulary file at `path` (UTF-8). On success `*vocabulary` is a handle that the caller owns. Statuses:
/// `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`, `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_load(path: *const c_char, vocabulary: *mut ov3d_vocabulary) -> ov3d_status {
    guard!(ov3d_vocabulary_load, {
        // SAFETY: the caller gives NULL or a NUL-terminated string that lives through the call.
        let path = unsafe { text::borrow(path, "path") }?;
        super::check_out(vocabulary, "vocabulary")?;
        store(Vocabulary::load(Path::new(path))?, vocabulary)
    })
}

/// Reads a vocabulary file of `size` bytes from memory; the bytes are copied. Otherwise as `ov3d_vocabulary_load`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_load_memory(
    bytes: *const c_void,
    size: usize,
    vocabulary: *mut ov3d_vocabulary,
) -> ov3d_status {
    guard!(ov3d_vocabulary_load_memory, {
        // SAFETY: the caller gives NULL or `size` readable bytes that live through the call.
        let bytes = unsafe { super::slice(bytes.cast::<u8>(), size, "bytes") }?;
        super::check_out(vocabulary, "vocabulary")?;
        store(Vocabulary::from_bytes(bytes)?, vocabulary)
    })
}

/// Writes `vocabulary` to a file at `path` (UTF-8), which `ov3d_vocabulary_load` reads. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_save(vocabulary: ov3d_vocabulary, path: *const c_char) -> ov3d_status {
    guard!(ov3d_vocabulary_save, {
        let object = handle::get::<VocabularyObject, _>(vocabulary, "vocabulary")?;
        // SAFETY: the caller gives NULL or a NUL-terminated string that lives through the call.
        let path = unsafe { text::borrow(path, "path") }?;
        object.vocabulary.save(Path::new(path))
    })
}

/// Number of labels; 0 for a handle that is not live. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_size(vocabulary: ov3d_vocabulary) -> usize {
    guard!(ov3d_vocabulary_size, 0, {
        handle::get::<VocabularyObject, _>(vocabulary, "vocabulary").map_or(0, |object| object.names.len())
    })
}

/// Name of label `label` as UTF-8; NULL if there is no such label or the handle is not live. Lives until the vocabulary is
/// freed. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_name(vocabulary: ov3d_vocabulary, label: usize) -> *const c_char {
    guard!(ov3d_vocabulary_name, std::ptr::null(), {
        let object = handle::get::<VocabularyObject, _>(vocabulary, "vocabulary");
        object.ok().and_then(|object| object.names.get(label).map(|name| name.as_ptr())).unwrap_or(std::ptr::null())
    })
}

/// Frees `vocabulary`. NULL is fine; a stale handle is a line in the log. Sessions that use it go on working.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_free(vocabulary: ov3d_vocabulary) {
    guard!(ov3d_vocabulary_free, (), { drop(handle::remove::<VocabularyObject, _>(vocabulary)) });
}
