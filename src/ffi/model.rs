//! Models: immutable networks, shared by any number of sessions.

use super::descriptor::{self, Descriptor};
use super::status::ov3d_status;
use super::{handle, text};
use crate::error::{Error, Result};
use crate::model::{InputFeatures, Model};
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Arc;

/// Opaque.
pub struct ov3d_model_s {
    _private: [u8; 0],
}

/// A trained network. Immutable; any thread may use it. Free it with `ov3d_model_free` as soon as the last session that
/// needs it is created: sessions keep what they use.
pub type ov3d_model = *mut ov3d_model_s;

/// The network reads constant ones: colours have no effect.
pub const OV3D_INPUT_ONES: i32 = 0;
/// The network reads colours.
pub const OV3D_INPUT_COLORS: i32 = 1;

/// How to load a model.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_model_desc {
    /// Set by `ov3d_model_desc_init`.
    pub struct_size: u32,
    /// Must be 0.
    pub flags: u32,
}

impl Default for ov3d_model_desc {
    fn default() -> Self {
        Self { struct_size: size_of::<Self>() as u32, flags: 0 }
    }
}

// SAFETY: repr(C), the size first, integers only.
unsafe impl Descriptor for ov3d_model_desc {
    const NAME: &'static str = "ov3d_model_desc";
}

/// What a model is. The strings live until the model is freed.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_model_info {
    /// Set by `ov3d_model_info_init`.
    pub struct_size: u32,
    /// `OV3D_INPUT_ONES` or `OV3D_INPUT_COLORS`.
    pub input: i32,
    /// Edge of a voxel in metres.
    pub voxel_size: f64,
    /// Width of the text space, which a vocabulary's embeddings must have.
    pub text_dim: u32,
    /// Width of the trunk features.
    pub trunk_dim: u32,
    /// Number of weights.
    pub parameters: u64,
    /// Bytes of the weights as stored.
    pub weight_bytes: u64,
    /// Name of the text space, such as `"clip-vit-l14-336"`.
    pub text_space: *const c_char,
    /// What names are put into before encoding, `{}` standing for the name.
    pub prompt_template: *const c_char,
    /// Name of the network, such as `"MinkUNet18A"`; NULL for widths of its own.
    pub variant: *const c_char,
    /// Licence of the weights; NULL if not stated.
    pub license: *const c_char,
}

impl Default for ov3d_model_info {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            input: OV3D_INPUT_ONES,
            voxel_size: 0.0,
            text_dim: 0,
            trunk_dim: 0,
            parameters: 0,
            weight_bytes: 0,
            text_space: std::ptr::null(),
            prompt_template: std::ptr::null(),
            variant: std::ptr::null(),
            license: std::ptr::null(),
        }
    }
}

// SAFETY: repr(C), the size first; integers, floats and pointers.
unsafe impl Descriptor for ov3d_model_info {
    const NAME: &'static str = "ov3d_model_info";
}

/// What a model handle stands for, with the strings that `ov3d_model_info_get` lends out.
pub(super) struct ModelObject {
    pub(super) model: Arc<Model>,
    text_space: CString,
    prompt_template: CString,
    variant: Option<CString>,
    license: Option<CString>,
}

impl ModelObject {
    fn new(model: Model) -> Self {
        Self {
            text_space: text::to_c(&model.text_space().name),
            prompt_template: text::to_c(&model.text_space().prompt_template),
            variant: model.graph().variant().map(|v| text::to_c(v.name)),
            license: model.provenance().license.as_deref().map(text::to_c),
            model: Arc::new(model),
        }
    }
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_model_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_desc_init(desc: *mut ov3d_model_desc, size: usize) {
    guard!(ov3d_model_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_model_info)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_info_init(info: *mut ov3d_model_info, size: usize) {
    guard!(ov3d_model_info_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(info, size) }
    });
}

/// Reads the model file at `path` (UTF-8). `desc` NULL means defaults. On success `*model` is a handle that the caller
/// owns; on failure it is untouched. Statuses: `OV3D_ERROR_IO`, `OV3D_ERROR_FORMAT`, `OV3D_ERROR_UNSUPPORTED`,
/// `OV3D_ERROR_OUT_OF_MEMORY`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_load(
    path: *const c_char,
    desc: *const ov3d_model_desc,
    model: *mut ov3d_model,
) -> ov3d_status {
    guard!(ov3d_model_load, {
        // SAFETY: the caller gives NULL or a NUL-terminated string that lives through the call.
        let path = unsafe { text::borrow(path, "path") }?;
        load(desc, model, || Model::load(Path::new(path)))
    })
}

/// Reads a model file of `size` bytes from memory; the bytes are copied. Otherwise as `ov3d_model_load`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_load_memory(
    bytes: *const c_void,
    size: usize,
    desc: *const ov3d_model_desc,
    model: *mut ov3d_model,
) -> ov3d_status {
    guard!(ov3d_model_load_memory, {
        // SAFETY: the caller gives NULL or `size` readable bytes that live through the call.
        let bytes = unsafe { super::slice(bytes.cast::<u8>(), size, "bytes") }?;
        load(desc, model, || Model::from_bytes(bytes))
    })
}

fn load(desc: *const ov3d_model_desc, model: *mut ov3d_model, read: impl FnOnce() -> Result<Model>) -> Result<()> {
    // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
    let desc = unsafe { descriptor::read(desc) }?;
    if desc.flags != 0 {
        return Err(Error::argument(format!("desc.flags is {:#x}; no flag is known, give 0", desc.flags)));
    }
    super::check_out(model, "model")?;
    let handle = handle::insert(Arc::new(ModelObject::new(read()?)))?;
    // SAFETY: the caller gives a writable handle, checked not to be NULL.
    unsafe { super::out(model, "model", handle) }
}

/// Describes `model`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_info_get(model: ov3d_model, info: *mut ov3d_model_info) -> ov3d_status {
    guard!(ov3d_model_info_get, {
        let object = handle::get::<ModelObject, _>(model, "model")?;
        let (graph, lent) =
            (object.model.graph(), |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr()));
        let value = ov3d_model_info {
            struct_size: 0,
            input: match graph.input {
                InputFeatures::Ones => OV3D_INPUT_ONES,
                InputFeatures::Colors => OV3D_INPUT_COLORS,
            },
            voxel_size: object.model.voxel_size(),
            text_dim: graph.head_channels as u32,
            trunk_dim: graph.trunk_channels() as u32,
            parameters: object.model.parameter_count() as u64,
            weight_bytes: object.model.plan().weight_bytes() as u64,
            text_space: object.text_space.as_ptr(),
            prompt_template: object.prompt_template.as_ptr(),
            variant: lent(&object.variant),
            license: lent(&object.license),
        };
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(info, &value, "info") }
    })
}

/// Frees `model`. NULL is fine; a stale handle is a line in the log. Sessions made from it go on working.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_model_free(model: ov3d_model) {
    guard!(ov3d_model_free, (), { drop(handle::remove::<ModelObject, _>(model)) });
}
