//! The log sink: the library prints nothing, it tells the sink.

use super::descriptor::{self, Descriptor};
use super::status::ov3d_status;
use super::text;
use crate::error::{Error, ErrorKind};
use parking_lot::Mutex;
use std::cell::Cell;
use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::time::Duration;

/// Something went wrong; the call's status says so too.
pub const OV3D_LOG_ERROR: i32 = 1;
/// Something a developer should look at, such as a handle freed twice.
pub const OV3D_LOG_WARNING: i32 = 2;

/// A log callback: the level, a NUL-terminated UTF-8 message that lives until it returns, and the sink's user data. It may
/// be called from any thread, several at once; it must not call `ov3d_log_set` and must not throw.
pub type ov3d_log_fn = Option<unsafe extern "C" fn(level: i32, message: *const c_char, user_data: *mut c_void)>;

/// A log sink.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_log_desc {
    /// Set by `ov3d_log_desc_init`.
    pub struct_size: u32,
    /// Highest level to report: `OV3D_LOG_ERROR` or `OV3D_LOG_WARNING` (default).
    pub level: i32,
    /// The callback; NULL is silent.
    pub callback: ov3d_log_fn,
    /// Handed to the callback.
    pub user_data: *mut c_void,
}

impl Default for ov3d_log_desc {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, level: OV3D_LOG_WARNING, callback: None, user_data: std::ptr::null_mut() }
    }
}

// SAFETY: repr(C), the size first; integers, a pointer and an optional function pointer.
unsafe impl Descriptor for ov3d_log_desc {
    const NAME: &'static str = "ov3d_log_desc";
}

struct Sink(ov3d_log_desc);

// SAFETY: the header says that the callback may be called from any thread with the user data.
unsafe impl Send for Sink {}
// SAFETY: as above, several at once.
unsafe impl Sync for Sink {}

static SINK: Mutex<Option<Arc<Sink>>> = Mutex::new(None);

thread_local! {
    /// Whether this thread is inside a log callback, where setting the sink would wait for itself.
    static IN_CALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_log_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_log_desc_init(desc: *mut ov3d_log_desc, size: usize) {
    guard!(ov3d_log_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// Sets where messages go; `desc` NULL is silent (the default). After it returns no callback set before is running or will
/// be called. Any thread, but not from within a log callback (`OV3D_ERROR_INVALID_STATE`).
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_log_set(desc: *const ov3d_log_desc) -> ov3d_status {
    guard!(ov3d_log_set, {
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let sink = unsafe { descriptor::read(desc) }?;
        if !(OV3D_LOG_ERROR..=OV3D_LOG_WARNING).contains(&sink.level) {
            let (low, high) = (OV3D_LOG_ERROR, OV3D_LOG_WARNING);
            return Err(Error::argument(format!("desc.level is {}; it must lie in {low}..={high}", sink.level)));
        }
        if IN_CALLBACK.with(Cell::get) {
            let message = "ov3d_log_set was called from within a log callback; set the sink elsewhere";
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        let before = std::mem::replace(&mut *SINK.lock(), sink.callback.is_some().then(|| Arc::new(Sink(sink))));
        // Whoever holds the old sink is in its callback; no lock is held meanwhile, so a callback may wait for anything
        // but this call.
        while before.as_ref().is_some_and(|before| Arc::strong_count(before) > 1) {
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    })
}

fn send(level: i32, message: &str) {
    if IN_CALLBACK.with(Cell::get) {
        return;
    }
    let held = SINK.lock().clone();
    let Some(Sink(sink)) = held.as_deref().filter(|sink| level <= sink.0.level) else { return };
    let Some(callback) = sink.callback else { return };
    let message = text::to_c(message);
    IN_CALLBACK.with(|inside| inside.set(true));
    // SAFETY: the sink's owner promised a callable function until ov3d_log_set returns, which waits for `held`.
    unsafe { callback(level, message.as_ptr(), sink.user_data) };
    IN_CALLBACK.with(|inside| inside.set(false));
}

/// Reports a failed call.
pub(super) fn error(function: &str, error: &Error) {
    send(OV3D_LOG_ERROR, &format!("{function}: {error}"));
}

/// Reports something odd that is not an error.
pub(super) fn warning(message: &str) {
    send(OV3D_LOG_WARNING, message);
}

/// Reports a panic, with its place, as it happens.
pub(super) fn panic(message: &str) {
    send(OV3D_LOG_ERROR, message);
}
