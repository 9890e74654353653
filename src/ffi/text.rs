//! Strings across the boundary: UTF-8, NUL-terminated.

use crate::error::{Error, Result};
use std::ffi::{CStr, CString, c_char};

/// The string at `pointer`; `name` is the argument for messages.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated string that lives for `'a`.
pub(super) unsafe fn borrow<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(Error::argument(format!("{name} is NULL; give a NUL-terminated UTF-8 string")));
    }
    // SAFETY: not NULL, and the caller vouches for the terminator and the lifetime.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|e| Error::argument(format!("{name} is not UTF-8 (byte {}); give UTF-8 text", e.valid_up_to())))
}

/// Copies as much of `text` as fits, NUL-terminated; returns the bytes that all of it needs, NUL included.
///
/// # Safety
/// `buffer` is NULL or has `capacity` writable bytes.
pub(super) unsafe fn copy_out(text: &str, buffer: *mut c_char, capacity: usize) -> usize {
    if !buffer.is_null() && capacity > 0 {
        let kept = &text.as_bytes()[..text.floor_char_boundary(text.len().min(capacity - 1))];
        // SAFETY: kept.len() + 1 <= capacity bytes are written to the caller's buffer, which cannot overlap `text`.
        unsafe {
            std::ptr::copy_nonoverlapping(kept.as_ptr().cast(), buffer, kept.len());
            *buffer.add(kept.len()) = 0;
        }
    }
    text.len() + 1
}

/// `text` for C; a NUL within it becomes a space.
pub(super) fn to_c(text: &str) -> CString {
    let bytes: Vec<u8> = text.bytes().map(|byte| if byte == 0 { b' ' } else { byte }).collect();
    CString::new(bytes).unwrap_or_default()
}

/// Fills a fixed array with as much of `text` as fits, NUL-terminated.
pub(super) fn fill<const N: usize>(text: &str) -> [c_char; N] {
    let mut array = [0; N];
    // SAFETY: the array has N writable bytes.
    unsafe { copy_out(text, array.as_mut_ptr(), N) };
    array
}
