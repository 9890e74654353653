//! Text encoders: words to unit vectors, shared by any number of threads.

use super::descriptor::{self, Descriptor, choose};
use super::session::{OV3D_PRECISION_BF16, OV3D_PRECISION_DEFAULT, OV3D_PRECISION_F32};
use super::status::ov3d_status;
use super::{check_out, handle, out, text};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, with_capacity};
use crate::text::{EncoderOptions, Overflow, TextEncoder, WeightWidth};
use std::ffi::{CString, c_char};
use std::path::Path;
use std::sync::Arc;

/// Opaque.
pub struct ov3d_text_encoder_s {
    _private: [u8; 0],
}

/// CLIP's tokeniser and a text tower. Immutable; any thread may use it, several at once. Vocabularies made with it do not
/// need it any more.
pub type ov3d_text_encoder = *mut ov3d_text_encoder_s;

/// Weights in FP16: text encoders alone, whose sums are FP32.
pub const OV3D_PRECISION_F16: i32 = 3;

/// A text of more tokens than the tower reads (77 with start and end in CLIP) is `OV3D_ERROR_INVALID_ARGUMENT`.
pub const OV3D_OVERFLOW_REFUSE: i32 = 0;
/// Of such a text the last tokens are left out.
pub const OV3D_OVERFLOW_TRUNCATE: i32 = 1;

/// How a text encoder is loaded.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_text_encoder_desc {
    /// Set by `ov3d_text_encoder_desc_init`.
    pub struct_size: u32,
    /// Threads of the encoder's own pool; 0 (default) for all of the machine's.
    pub threads: u32,
    /// The width at which weights are kept: `OV3D_PRECISION_DEFAULT` (default) for that of the file, or
    /// `OV3D_PRECISION_F32`, `OV3D_PRECISION_BF16`, `OV3D_PRECISION_F16`. Sums are FP32.
    pub precision: i32,
    /// `OV3D_OVERFLOW_REFUSE` (default) or `OV3D_OVERFLOW_TRUNCATE`.
    pub overflow: i32,
    /// Name of the text space; NULL (default) for the one that the file's sizes and `config.json` tell.
    pub text_space: *const c_char,
    /// Must be 0.
    pub flags: u32,
    /// Zero.
    pub reserved: u32,
}

impl Default for ov3d_text_encoder_desc {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            threads: 0,
            precision: OV3D_PRECISION_DEFAULT,
            overflow: OV3D_OVERFLOW_REFUSE,
            text_space: std::ptr::null(),
            flags: 0,
            reserved: 0,
        }
    }
}

// SAFETY: repr(C), the size first; integers and a pointer.
unsafe impl Descriptor for ov3d_text_encoder_desc {
    const NAME: &'static str = "ov3d_text_encoder_desc";
}

/// What a text encoder is. The string lives until the encoder is freed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_text_encoder_info {
    /// Set by `ov3d_text_encoder_info_init`.
    pub struct_size: u32,
    /// Width of an embedding.
    pub dim: u32,
    /// Most tokens of a text, start and end included.
    pub context: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
    /// Name of the text space, such as `"clip-vit-l14-336"`.
    pub text_space: *const c_char,
}

impl Default for ov3d_text_encoder_info {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, dim: 0, context: 0, reserved: 0, weight_bytes: 0, text_space: std::ptr::null() }
    }
}

// SAFETY: repr(C), the size first; integers and a pointer.
unsafe impl Descriptor for ov3d_text_encoder_info {
    const NAME: &'static str = "ov3d_text_encoder_info";
}

/// What a text encoder handle stands for, with the string that `ov3d_text_encoder_info_get` lends out.
pub(super) struct TextEncoderObject {
    pub(super) encoder: TextEncoder,
    text_space: CString,
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_text_encoder_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_desc_init(desc: *mut ov3d_text_encoder_desc, size: usize) {
    guard!(ov3d_text_encoder_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_text_encoder_info)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_info_init(info: *mut ov3d_text_encoder_info, size: usize) {
    guard!(ov3d_text_encoder_info_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(info, size) }
    });
}

/// Reads a CLIP text model in Hugging Face's safetensors layout (`text_model.*`, `text_projection.weight`). `path` (UTF-8)
/// is the file, or the folder of `model.safetensors`; `config.json` beside it is read if there is one. `desc` NULL means
/// defaults. On success `*encoder` is a handle that the caller owns; on failure it is untouched. Statuses:
/// `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`, `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_load(
    path: *const c_char,
    desc: *const ov3d_text_encoder_desc,
    encoder: *mut ov3d_text_encoder,
) -> ov3d_status {
    guard!(ov3d_text_encoder_load, {
        // SAFETY: the caller gives NULL or a NUL-terminated string that lives through the call.
        let path = unsafe { text::borrow(path, "path") }?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        // SAFETY: the descriptor's string lives through the call.
        let options = unsafe { options(&desc) }?;
        check_out(encoder, "encoder")?;
        let loaded = TextEncoder::load(Path::new(path), &options)?;
        let object = TextEncoderObject { text_space: text::to_c(&loaded.space().name), encoder: loaded };
        let handle = handle::insert(Arc::new(object))?;
        // SAFETY: the caller gives a writable handle, checked not to be NULL.
        unsafe { out(encoder, "encoder", handle) }
    })
}

/// # Safety
/// The string of `desc` is NULL or NUL-terminated and lives through the call.
unsafe fn options(desc: &ov3d_text_encoder_desc) -> Result<EncoderOptions> {
    if desc.flags != 0 {
        return Err(Error::argument(format!("desc.flags is {:#x}; no flag is known, give 0", desc.flags)));
    }
    if desc.threads > 1024 {
        return Err(Error::argument(format!("desc.threads is {}; give at most 1024, or 0 for all", desc.threads)));
    }
    let widths = [
        (OV3D_PRECISION_DEFAULT, WeightWidth::Stored),
        (OV3D_PRECISION_F32, WeightWidth::F32),
        (OV3D_PRECISION_BF16, WeightWidth::Bf16),
        (OV3D_PRECISION_F16, WeightWidth::F16),
    ];
    let overflows = [(OV3D_OVERFLOW_REFUSE, Overflow::Refuse), (OV3D_OVERFLOW_TRUNCATE, Overflow::Truncate)];
    let text_space = match desc.text_space.is_null() {
        true => None,
        // SAFETY: not NULL; the rest is the caller's promise.
        false => Some(unsafe { text::borrow(desc.text_space, "desc.text_space") }?.to_owned()),
    };
    Ok(EncoderOptions {
        threads: (desc.threads > 0).then_some(desc.threads as usize),
        width: choose("desc.precision", desc.precision, &widths)?,
        overflow: choose("desc.overflow", desc.overflow, &overflows)?,
        text_space,
    })
}

/// Describes `encoder`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_info_get(
    encoder: ov3d_text_encoder,
    info: *mut ov3d_text_encoder_info,
) -> ov3d_status {
    guard!(ov3d_text_encoder_info_get, {
        let object = handle::get::<TextEncoderObject, _>(encoder, "encoder")?;
        let value = ov3d_text_encoder_info {
            dim: object.encoder.dim() as u32,
            context: object.encoder.context() as u32,
            weight_bytes: object.encoder.weight_bytes(),
            text_space: object.text_space.as_ptr(),
            ..ov3d_text_encoder_info::default()
        };
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(info, &value, "info") }
    })
}

/// Writes the embeddings of `count` UTF-8 texts, as they are, to `out[0..count * dim]`: rows of unit length. `capacity` is
/// what `out` holds, in floats; `OV3D_ERROR_CAPACITY` names what is needed. A text's embedding has the same bits whatever
/// texts are encoded beside it. Any thread, several at once.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_encode(
    encoder: ov3d_text_encoder,
    texts: *const *const c_char,
    count: usize,
    out: *mut f32,
    capacity: usize,
) -> ov3d_status {
    guard!(ov3d_text_encoder_encode, {
        let object = handle::get::<TextEncoderObject, _>(encoder, "encoder")?;
        // SAFETY: the caller gives `count` strings that live through the call.
        let texts = unsafe { borrow_all(texts, count, "texts") }?;
        let dim = object.encoder.dim();
        let needed = count.saturating_mul(dim);
        if capacity < needed {
            let message = format!("out holds {capacity} floats but {count} texts need {needed}; give {dim} per text");
            return Err(Error::new(ErrorKind::Capacity, message));
        }
        if count == 0 {
            return Ok(());
        }
        check_out(out, "out")?;
        let embeddings = object.encoder.encode(&texts, Cancel::default())?;
        // SAFETY: checked not to be NULL; the caller gives `capacity` writable floats, at least as many as are written, at
        // any alignment; they cannot overlap what was just made.
        unsafe { std::ptr::copy_nonoverlapping(embeddings.as_ptr().cast::<u8>(), out.cast(), embeddings.len() * 4) };
        Ok(())
    })
}

/// Frees `encoder`. NULL is fine; a stale handle is a line in the log. Vocabularies made with it go on working.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_text_encoder_free(encoder: ov3d_text_encoder) {
    guard!(ov3d_text_encoder_free, (), { drop(handle::remove::<TextEncoderObject, _>(encoder)) });
}

/// The `count` strings at `texts`.
///
/// # Safety
/// `texts` is NULL or points to `count` pointers, each NULL or NUL-terminated, that live for `'a`.
pub(super) unsafe fn borrow_all<'a>(texts: *const *const c_char, count: usize, name: &str) -> Result<Vec<&'a str>> {
    // SAFETY: the caller gives `count` readable pointers.
    let pointers = unsafe { super::slice(texts, count, name) }?;
    let mut borrowed = with_capacity(count, name)?;
    for (row, &pointer) in pointers.iter().enumerate() {
        // SAFETY: every text is NULL or a NUL-terminated string that lives through the call.
        borrowed.push(unsafe { text::borrow(pointer, &format!("{name}[{row}]")) }?);
    }
    Ok(borrowed)
}
