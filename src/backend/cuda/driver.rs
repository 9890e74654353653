//! The NVIDIA driver: looked for once, at run time, and never missed.

use super::images::OLDEST_DRIVER;
use crate::error::{Error, ErrorKind, Result};
use cudarc::driver::{DriverError, result, sys};
use once_cell::sync::OnceCell;

/// The driver of this machine, initialised.
#[derive(Debug, Clone, Copy)]
pub struct Driver {
    version: u32,
    _private: (),
}

/// Every function of the driver that this backend calls. cudarc finds each at its first call and panics on a missing one.
const FUNCTIONS: [&str; 31] = [
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetUuid",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventElapsedTime",
    "cuEventRecord",
    "cuFuncSetAttribute",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
];

impl Driver {
    /// The machine's driver, or why there is none that this library can use. What was found once is kept; a driver that
    /// was missing is looked for anew.
    pub fn get() -> Result<&'static Self> {
        static DRIVER: OnceCell<Driver> = OnceCell::new();
        DRIVER.get_or_try_init(Self::start)
    }

    fn start() -> Result<Self> {
        // SAFETY: loads the driver's library, whose initialisers have no preconditions, and lets go of it again.
        if !unsafe { sys::is_culib_present() } {
            return Err(unusable("there is no NVIDIA driver (libcuda.so.1 was not found)"));
        }
        // SAFETY: the library is there, so this does not panic; from here on it stays loaded.
        let library = unsafe { sys::culib() };
        let missing = FUNCTIONS.into_iter().find(|name| {
            // SAFETY: the symbol is only looked up; its type is that of a pointer and it is never called.
            unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err()
        });
        if let Some(name) = missing {
            return Err(unusable(format!("the NVIDIA driver lacks {name}: it is damaged or older than CUDA 12.0")));
        }
        let mut version = 0;
        // SAFETY: writes to a live integer; allowed before cuInit.
        check(unsafe { sys::cuDriverGetVersion(&raw mut version) }, "reading its version")?;
        if (version as u32) < OLDEST_DRIVER {
            return Err(unusable(format!(
                "the NVIDIA driver is for CUDA {}.{}; this library needs one for 12.0, which is 525 or newer",
                version / 1000,
                version % 1000 / 10
            )));
        }
        match result::init() {
            Ok(()) => Ok(Self { version: version as u32, _private: () }),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Err(unusable("the NVIDIA driver finds no device")),
            Err(DriverError(sys::CUresult::CUDA_ERROR_STUB_LIBRARY)) => {
                Err(unusable("there is no NVIDIA driver: the libcuda found is the stub of a CUDA toolkit"))
            }
            Err(error) => Err(unusable(format!("the NVIDIA driver does not start: {}", describe(error)))),
        }
    }

    /// 1000 times the major version of the CUDA it supports plus ten times the minor.
    pub fn version(&self) -> u32 {
        self.version
    }
}

fn unusable(reason: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unsupported, reason)
}

/// Name and text of a driver's error.
pub(super) fn describe(error: DriverError) -> String {
    let text = |found: std::result::Result<&std::ffi::CStr, DriverError>| {
        found.map_or_else(|_| "unknown".to_owned(), |text| text.to_string_lossy().into_owned())
    };
    format!("{} ({})", text(error.error_name()), text(error.error_string()))
}

/// A driver's status as a result; `doing` says during what, for the message.
pub(super) fn check(status: sys::CUresult, doing: &str) -> Result<()> {
    status.result().map_err(|error| failure(error, doing))
}

/// The library's error for a driver's.
pub(super) fn failure(error: DriverError, doing: &str) -> Error {
    let kind = match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => ErrorKind::OutOfMemory,
        _ => ErrorKind::Device,
    };
    Error::new(kind, format!("CUDA: {doing}: {}", describe(error)))
}
