//! Vocabularies: labels with text embeddings.

use super::descriptor::{self, Descriptor};
use super::segment::OV3D_LABEL_NONE;
use super::status::ov3d_status;
use super::text_encoder::{TextEncoderObject, borrow_all, ov3d_text_encoder};
use super::{handle, text};
use crate::cancel::Cancel;
use crate::error::{Error, Result, collected, filled, with_capacity};
use crate::model::{Embeddings, Label, Other, Vocabulary};
use crate::text::{Preset, PromptedLabel, Templates};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Arc;

/// Opaque.
pub struct ov3d_vocabulary_s {
    _private: [u8; 0],
}

/// Labels with text embeddings. Immutable; any thread may use it; sessions and results keep what they use.
pub type ov3d_vocabulary = *mut ov3d_vocabulary_s;

/// Texts are encoded as they are, without a template.
pub const OV3D_VOCABULARY_BARE: u32 = 1;

/// How embeddings or texts make a vocabulary.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_vocabulary_desc {
    /// Set by `ov3d_vocabulary_desc_init`.
    pub struct_size: u32,
    /// `OV3D_VOCABULARY_BARE` or 0.
    pub flags: u32,
    /// Name of the text space of embeddings, to be compared with the model's; NULL (default) fits any model of the same
    /// width. Texts have that of their encoder.
    pub text_space: *const c_char,
    /// `[count]` the label each row stands for, from 0 without gaps: rows of one label are its prompts, and the best of
    /// them is its score. NULL (default): every row is a label of its own. The label's name is that of its first row.
    pub label_of_row: *const u32,
    /// What texts are put into before they are encoded, `{}` standing for the text; the embeddings of several templates are
    /// averaged. NULL (default): `a {} in a scene`, as published.
    pub templates: *const *const c_char,
    /// Number of templates.
    pub template_count: u64,
    /// The label that points get whose best score is below `other_threshold`; `OV3D_LABEL_NONE` (default) for none. It is
    /// a label like the others besides.
    pub other_label: i32,
    /// In the unit of the scores asked for: dot products, cosines, or shares of a softmax.
    pub other_threshold: f32,
}

impl Default for ov3d_vocabulary_desc {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            flags: 0,
            text_space: std::ptr::null(),
            label_of_row: std::ptr::null(),
            templates: std::ptr::null(),
            template_count: 0,
            other_label: OV3D_LABEL_NONE,
            other_threshold: 0.0,
        }
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
            return Err(Error::argument(format!("desc.flags is {:#x}; none is for embeddings, give 0", desc.flags)));
        }
        let values = count
            .checked_mul(dim)
            .ok_or_else(|| Error::argument(format!("{count} rows of {dim} floats overflow the address space")))?;
        // SAFETY: the caller gives `count` names, `count * dim` readable floats and, if any, `count` labels.
        let (names, labels, rows) = unsafe {
            let names = borrow_all(names, count, "names")?;
            (names, label_of_row(&desc, count)?, super::slice(embeddings, values, "embeddings")?)
        };
        let space = match desc.text_space.is_null() {
            true => "",
            // SAFETY: the caller gives a NUL-terminated string that lives through the call.
            false => unsafe { text::borrow(desc.text_space, "desc.text_space") }?,
        };
        let made = match labels {
            None => Vocabulary::from_embeddings(&names, rows, dim, space)?,
            Some(labels) => grouped(&names, rows, dim, space, &Groups::new(labels)?)?,
        };
        store(made.with_other(other(&desc)?)?, vocabulary)
    })
}

/// A vocabulary of `count` UTF-8 texts in the encoder's text space: names that go into the published template, or what
/// `desc` says. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a
/// NULL, a text of too many tokens, a template without `{}`), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_from_texts(
    encoder: ov3d_text_encoder,
    texts: *const *const c_char,
    count: usize,
    desc: *const ov3d_vocabulary_desc,
    vocabulary: *mut ov3d_vocabulary,
) -> ov3d_status {
    guard!(ov3d_vocabulary_from_texts, {
        let object = handle::get::<TextEncoderObject, _>(encoder, "encoder")?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        // SAFETY: the caller gives `count` texts, the descriptor's templates and, if any, `count` labels.
        let (texts, labels, templates) =
            unsafe { (borrow_all(texts, count, "texts")?, label_of_row(&desc, count)?, templates(&desc)?) };
        super::check_out(vocabulary, "vocabulary")?;
        let made = object.encoder.vocabulary(&prompted(&texts, labels)?, &templates, Cancel::default())?;
        store(made.with_other(other(&desc)?)?, vocabulary)
    })
}

/// A vocabulary of the published label set `name` with its prompts, in the encoder's text space: `"scannet20"`,
/// `"scannet200"`, `"matterport21"`, `"matterport40"`, `"matterport80"`, `"matterport160"`, `"nuscenes16"` or `"replica"`.
/// Of `desc` the templates, the flags and the label of other points count. Otherwise as `ov3d_vocabulary_from_texts`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_from_preset(
    encoder: ov3d_text_encoder,
    name: *const c_char,
    desc: *const ov3d_vocabulary_desc,
    vocabulary: *mut ov3d_vocabulary,
) -> ov3d_status {
    guard!(ov3d_vocabulary_from_preset, {
        let object = handle::get::<TextEncoderObject, _>(encoder, "encoder")?;
        // SAFETY: the caller gives NULL or a NUL-terminated string that lives through the call.
        let name = unsafe { text::borrow(name, "name") }?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        // SAFETY: the caller gives the descriptor's templates.
        let templates = unsafe { templates(&desc) }?;
        super::check_out(vocabulary, "vocabulary")?;
        let made = object.encoder.preset(&Preset::find(name)?, &templates, Cancel::default())?;
        store(made.with_other(other(&desc)?)?, vocabulary)
    })
}

/// A vocabulary of `count` UTF-8 names of labels of `source`, with their embeddings: words without a text encoder, such as
/// some of the 1,412 of `share/openvocab3d/vit-b-32.safetensors`, which is installed with the library for models whose text
/// space is `"clip-vit-b32"`. Letters of either case count as equal. Of `desc` `label_of_row` and the label of other points
/// count. On success `*vocabulary` is a handle that the caller owns. Statuses: `OV3D_ERROR_INVALID_ARGUMENT` (a NULL; a
/// name that `source` does not have: the message has the names most like it), `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_vocabulary_from_names(
    source: ov3d_vocabulary,
    names: *const *const c_char,
    count: usize,
    desc: *const ov3d_vocabulary_desc,
    vocabulary: *mut ov3d_vocabulary,
) -> ov3d_status {
    guard!(ov3d_vocabulary_from_names, {
        let object = handle::get::<VocabularyObject, _>(source, "source")?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        if desc.flags != 0 || desc.template_count != 0 {
            let message = format!(
                "desc.flags is {:#x} and desc.template_count {}; both are for text encoders, give 0",
                desc.flags, desc.template_count
            );
            return Err(Error::argument(message));
        }
        // SAFETY: the caller gives `count` names and, if any, `count` labels.
        let (names, labels) = unsafe { (borrow_all(names, count, "names")?, label_of_row(&desc, count)?) };
        super::check_out(vocabulary, "vocabulary")?;
        let made = object.vocabulary.look_up(&prompted(&names, labels)?)?;
        store(made.with_other(other(&desc)?)?, vocabulary)
    })
}

/// The labels that `texts` stand for.
fn prompted(texts: &[&str], label_of_row: Option<&[u32]>) -> Result<Vec<PromptedLabel>> {
    let Some(labels) = label_of_row else {
        return collected(texts.iter().map(|text| PromptedLabel::named(text)), "the labels");
    };
    Groups::new(labels)?.each(|members| {
        let words: Vec<&str> = members.iter().map(|&row| texts[row]).collect();
        PromptedLabel::grouped(words[0], &words)
    })
}

/// The descriptor's labels of `count` rows, if it has any.
///
/// # Safety
/// `desc.label_of_row` is NULL or points to `count` labels that live for `'a`.
unsafe fn label_of_row<'a>(desc: &ov3d_vocabulary_desc, count: usize) -> Result<Option<&'a [u32]>> {
    // SAFETY: NULL is not looked at; otherwise the caller gives `count` labels that live for 'a.
    let labels = || unsafe { super::slice(desc.label_of_row, count, "desc.label_of_row") };
    (!desc.label_of_row.is_null()).then(labels).transpose()
}

/// The templates that the descriptor asks for.
///
/// # Safety
/// `desc.templates` is NULL or points to as many strings as `desc` says.
unsafe fn templates(desc: &ov3d_vocabulary_desc) -> Result<Templates> {
    if desc.flags & !OV3D_VOCABULARY_BARE != 0 {
        let message = format!("desc.flags is {:#x}; OV3D_VOCABULARY_BARE is the one that is known", desc.flags);
        return Err(Error::argument(message));
    }
    let count = usize::try_from(desc.template_count).unwrap_or(usize::MAX);
    let bare = desc.flags & OV3D_VOCABULARY_BARE != 0;
    if bare && count > 0 {
        let message = format!("desc has OV3D_VOCABULARY_BARE and template_count {count}; choose one of them");
        return Err(Error::argument(message));
    }
    if count == 0 {
        return Ok(if bare { Templates::none() } else { Templates::default() });
    }
    // SAFETY: the caller gives that many strings, which live through the call.
    let templates = unsafe { borrow_all(desc.templates, count, "desc.templates") }?;
    Templates::new(collected(templates.into_iter().map(str::to_owned), "the templates")?)
}

fn other(desc: &ov3d_vocabulary_desc) -> Result<Option<Other>> {
    match desc.other_label {
        OV3D_LABEL_NONE => Ok(None),
        label => {
            let label = usize::try_from(label)
                .map_err(|_| Error::argument(format!("desc.other_label is {label}; give a label or -1")))?;
            Ok(Some(Other { label, threshold: desc.other_threshold }))
        }
    }
}

/// Which rows belong to each label.
struct Groups {
    /// `[labels + 1]` where each label's rows begin.
    starts: Vec<usize>,
    /// Rows by label, in their own order.
    rows: Vec<usize>,
}

impl Groups {
    fn new(label_of_row: &[u32]) -> Result<Self> {
        let labels = label_of_row.iter().copied().max().map_or(0, |label| label as usize + 1);
        if labels > label_of_row.len() {
            let message = format!(
                "desc.label_of_row names label {} of {} rows; number labels from 0 without gaps",
                labels - 1,
                label_of_row.len()
            );
            return Err(Error::argument(message));
        }
        // A counting sort, so that a label's prompts keep their order.
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
        let mut rows = filled(label_of_row.len(), 0_usize, "the labels")?;
        for (row, &label) in label_of_row.iter().enumerate() {
            rows[next[label as usize]] = row;
            next[label as usize] += 1;
        }
        Ok(Self { starts, rows })
    }

    /// What `make` makes of each label's rows, of which there is at least one.
    fn each<T>(&self, make: impl Fn(&[usize]) -> T) -> Result<Vec<T>> {
        collected(self.starts.windows(2).map(|ends| make(&self.rows[ends[0]..ends[1]])), "the labels")
    }
}

/// Labels of several rows.
fn grouped(names: &[&str], rows: &[f32], dim: usize, space: &str, groups: &Groups) -> Result<Vocabulary> {
    let mut sorted = with_capacity(rows.len(), "the embeddings")?;
    groups.rows.iter().for_each(|&row| sorted.extend_from_slice(&rows[row * dim..][..dim]));
    let list = groups.each(|members| Label {
        name: names[members[0]].to_owned(),
        prompts: members.iter().map(|&row| names[row].to_owned()).collect(),
    })?;
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
