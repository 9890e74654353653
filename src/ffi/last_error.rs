//! The message of a thread's last error.

use super::text;
use crate::error::Error;
use std::cell::RefCell;
use std::ffi::c_char;

thread_local! {
    static MESSAGE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Forgets the message: the call succeeded.
pub(super) fn clear() {
    // A thread that is being torn down has no message any more; nothing to do then.
    let _ = MESSAGE.try_with(|message| message.borrow_mut().clear());
}

/// Keeps the message of `error`.
pub(super) fn set(error: &Error) {
    let _ = MESSAGE.try_with(|message| *message.borrow_mut() = error.to_string());
}

/// Copies the message of this thread's last error to `buffer`, cut to `capacity` bytes at a character's end and always
/// NUL-terminated when `capacity` is not 0. Returns the bytes that the whole message needs, with its NUL: 1 after a call
/// that succeeded. `buffer` may be NULL when `capacity` is 0. The message names the argument, its value, the limit and
/// the cure. Functions that return no status leave the message alone. Thread-local.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_last_error(buffer: *mut c_char, capacity: usize) -> usize {
    guard!(ov3d_last_error, 0, {
        let message = MESSAGE.try_with(|message| message.borrow().clone()).unwrap_or_default();
        // SAFETY: the caller gives `capacity` writable bytes at `buffer`, as documented.
        unsafe { text::copy_out(&message, buffer, capacity) }
    })
}
