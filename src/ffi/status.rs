//! Statuses and versions.

#![allow(dead_code, reason = "constants for the header; the tests compare them with the error kinds")]

use crate::error::ErrorKind;
use std::ffi::{CStr, c_char};

/// The result of a call: `OV3D_OK` or one of the negative `OV3D_ERROR_*`, in hundreds by cause. A number is never
/// reused. `ov3d_last_error` gives the sentence that goes with it.
pub type ov3d_status = i32;

/// The call succeeded.
pub const OV3D_OK: ov3d_status = 0;
/// An argument's value is outside what the function accepts.
pub const OV3D_ERROR_INVALID_ARGUMENT: ov3d_status = -100;
/// Two arguments that must agree in size or kind do not.
pub const OV3D_ERROR_MISMATCH: ov3d_status = -101;
/// A coordinate lies outside the range that voxel keys can hold.
pub const OV3D_ERROR_OUT_OF_RANGE: ov3d_status = -102;
/// The object lacks something the call needs, such as a vocabulary.
pub const OV3D_ERROR_INVALID_STATE: ov3d_status = -103;
/// A handle is stale, foreign or of another kind.
pub const OV3D_ERROR_INVALID_HANDLE: ov3d_status = -104;
/// A descriptor's `struct_size` is not one this library can read: call the descriptor's `_init` function first.
pub const OV3D_ERROR_STRUCT_SIZE: ov3d_status = -105;
/// An output buffer is too small; the message names the size needed.
pub const OV3D_ERROR_CAPACITY: ov3d_status = -106;
/// A file could not be opened, read or written.
pub const OV3D_ERROR_IO: ov3d_status = -200;
/// A file is damaged or is not of the expected format.
pub const OV3D_ERROR_FORMAT: ov3d_status = -201;
/// A file, or a request, is well-formed but of a kind this library does not know.
pub const OV3D_ERROR_UNSUPPORTED: ov3d_status = -202;
/// Memory for a buffer whose size depends on the input could not be had.
pub const OV3D_ERROR_OUT_OF_MEMORY: ov3d_status = -300;
/// The run needs more memory than the session's budget.
pub const OV3D_ERROR_BUDGET: ov3d_status = -301;
/// The caller asked to stop.
pub const OV3D_ERROR_CANCELLED: ov3d_status = -400;
/// Another call on the same session is in flight.
pub const OV3D_ERROR_BUSY: ov3d_status = -401;
/// The result was not ready in time.
pub const OV3D_ERROR_TIMEOUT: ov3d_status = -402;
/// A defect of this library; free the object concerned and report the message.
pub const OV3D_ERROR_INTERNAL: ov3d_status = -900;

/// Major version of the library this header belongs to.
pub const OV3D_VERSION_MAJOR: u32 = 0;
/// Minor version of the library this header belongs to.
pub const OV3D_VERSION_MINOR: u32 = 1;
/// Patch version of the library this header belongs to.
pub const OV3D_VERSION_PATCH: u32 = 0;
/// Number of the binary interface this header describes. It grows when functions or fields are added; a library of a
/// higher number serves clients of a lower one.
pub const OV3D_ABI_VERSION: u32 = 2;

/// Number of the binary interface of the loaded library; compare with `OV3D_ABI_VERSION`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_abi_version() -> u32 {
    guard!(ov3d_abi_version, 0, { OV3D_ABI_VERSION })
}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// Version of the loaded library, such as `"0.1.0"`. Static, never NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_version() -> *const c_char {
    guard!(ov3d_version, VERSION.as_ptr(), { VERSION.as_ptr() })
}

/// Name of a status, such as `"OV3D_ERROR_BUSY"`; `"OV3D_ERROR_UNKNOWN"` for numbers that are none. Static, never
/// NULL. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_status_name(status: ov3d_status) -> *const c_char {
    guard!(ov3d_status_name, UNKNOWN.as_ptr(), {
        match ErrorKind::ALL.into_iter().find(|kind| *kind as i32 == status) {
            Some(kind) => name(kind).as_ptr(),
            None if status == OV3D_OK => c"OV3D_OK".as_ptr(),
            None => UNKNOWN.as_ptr(),
        }
    })
}

const UNKNOWN: &CStr = c"OV3D_ERROR_UNKNOWN";

fn name(kind: ErrorKind) -> &'static CStr {
    match kind {
        ErrorKind::InvalidArgument => c"OV3D_ERROR_INVALID_ARGUMENT",
        ErrorKind::Mismatch => c"OV3D_ERROR_MISMATCH",
        ErrorKind::OutOfRange => c"OV3D_ERROR_OUT_OF_RANGE",
        ErrorKind::InvalidState => c"OV3D_ERROR_INVALID_STATE",
        ErrorKind::InvalidHandle => c"OV3D_ERROR_INVALID_HANDLE",
        ErrorKind::StructSize => c"OV3D_ERROR_STRUCT_SIZE",
        ErrorKind::Capacity => c"OV3D_ERROR_CAPACITY",
        ErrorKind::Io => c"OV3D_ERROR_IO",
        ErrorKind::Format => c"OV3D_ERROR_FORMAT",
        ErrorKind::Unsupported => c"OV3D_ERROR_UNSUPPORTED",
        ErrorKind::OutOfMemory => c"OV3D_ERROR_OUT_OF_MEMORY",
        ErrorKind::Budget => c"OV3D_ERROR_BUDGET",
        ErrorKind::Cancelled => c"OV3D_ERROR_CANCELLED",
        ErrorKind::Busy => c"OV3D_ERROR_BUSY",
        ErrorKind::Timeout => c"OV3D_ERROR_TIMEOUT",
        ErrorKind::Internal => c"OV3D_ERROR_INTERNAL",
    }
}

/// 1 if the objects concerned can go on being used after `status`, 0 after `OV3D_ERROR_INTERNAL` (free the object) or an
/// unknown number. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_status_is_recoverable(status: ov3d_status) -> i32 {
    guard!(ov3d_status_is_recoverable, 0, {
        let known = ErrorKind::ALL.into_iter().find(|kind| *kind as i32 == status);
        i32::from(status == OV3D_OK || known.is_some_and(ErrorKind::is_recoverable))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_the_numbers_of_the_error_kinds() {
        let constants = [
            OV3D_ERROR_INVALID_ARGUMENT,
            OV3D_ERROR_MISMATCH,
            OV3D_ERROR_OUT_OF_RANGE,
            OV3D_ERROR_INVALID_STATE,
            OV3D_ERROR_INVALID_HANDLE,
            OV3D_ERROR_STRUCT_SIZE,
            OV3D_ERROR_CAPACITY,
            OV3D_ERROR_IO,
            OV3D_ERROR_FORMAT,
            OV3D_ERROR_UNSUPPORTED,
            OV3D_ERROR_OUT_OF_MEMORY,
            OV3D_ERROR_BUDGET,
            OV3D_ERROR_CANCELLED,
            OV3D_ERROR_BUSY,
            OV3D_ERROR_TIMEOUT,
            OV3D_ERROR_INTERNAL,
        ];
        assert_eq!(constants, ErrorKind::ALL.map(|kind| kind as i32));
    }

    #[test]
    fn versions_are_those_of_the_package() {
        let package =
            [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
        assert_eq!(
            package.map(|v| v.parse::<u32>().unwrap()),
            [OV3D_VERSION_MAJOR, OV3D_VERSION_MINOR, OV3D_VERSION_PATCH]
        );
    }
}
