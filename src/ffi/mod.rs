//! The C interface: one file per C noun, thin: check, convert, call, report.
//!
//! `include/openvocab3d.h` is made from the documentation of these items; `tests/header.rs` verifies it.

#![allow(non_camel_case_types, reason = "the names of C types, which the header takes over")]
#![allow(unsafe_code, reason = "the pointers of C callers; every export says what they must be")]
#![allow(
    clippy::not_unsafe_ptr_arg_deref,
    reason = "exports are called from C, where every call is unsafe; this module is private, so Rust cannot reach them"
)]

#[macro_use]
mod guard;

mod cloud;
mod descriptor;
mod device;
mod floating_point;
mod gate;
mod handle;
mod last_error;
#[cfg(test)]
mod layout;
mod log;
mod model;
mod result;
mod segment;
mod session;
mod status;
mod superpoint;
mod text;
mod text_encoder;
mod vocabulary;

#[cfg(feature = "fault-injection")]
mod fault;

#[cfg(feature = "fault-injection")]
pub use fault::allocations;

use crate::error::{Error, Result};

/// An error if the out-parameter `pointer` is NULL.
fn check_out<T>(pointer: *mut T, argument: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::argument(format!("{argument} is NULL; give a place for the result")));
    }
    Ok(())
}

/// Writes an out-parameter.
///
/// # Safety
/// `pointer` is NULL or writable.
unsafe fn out<T>(pointer: *mut T, argument: &str, value: T) -> Result<()> {
    check_out(pointer, argument)?;
    // SAFETY: not NULL, writable by the caller's promise; C callers may hold it at any alignment.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// The `count` values at `pointer`, which may be anything when there are none.
///
/// # Safety
/// `pointer` is NULL or points to `count` readable values that live for `'a`.
unsafe fn slice<'a, T>(pointer: *const T, count: usize, argument: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Error::argument(format!("{argument} is NULL for {count} elements; give them")));
    }
    if !pointer.is_aligned() {
        let align = align_of::<T>();
        return Err(Error::argument(format!("{argument} is at {pointer:p}; it must be aligned to {align} bytes")));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Error::argument(format!("{argument} has {count} elements, more than memory can hold")));
    }
    // SAFETY: not NULL, aligned, within the address space; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, count) })
}
