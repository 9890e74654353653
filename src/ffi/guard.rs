//! The guard around every export: no panic leaves it, the caller's floating-point mode comes back, errors are kept.

use super::floating_point::FloatingPointMode;
use super::status::{OV3D_OK, ov3d_status};
use super::{last_error, log};
use crate::error::{Error, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// `guard!(name, { body })` for exports that return a status: the body is a `Result<()>`.
/// `guard!(name, default, { body })` for the others: `default` is returned after a panic.
macro_rules! guard {
    ($name:ident, $body:block) => {
        $crate::ffi::guard::with_status(stringify!($name), || $body)
    };
    ($name:ident, $default:expr, $body:block) => {
        $crate::ffi::guard::with_default(stringify!($name), $default, || $body)
    };
}

thread_local! {
    /// How many guarded calls this thread is in (callbacks may call back in).
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Marks the thread as being inside a call.
struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

/// Runs `body`, keeps its error's message for `ov3d_last_error` and returns its status.
pub(super) fn with_status(name: &'static str, body: impl FnOnce() -> Result<()>) -> ov3d_status {
    match run(name, body).and_then(|result| result) {
        Ok(()) => {
            last_error::clear();
            OV3D_OK
        }
        Err(error) => {
            log::error(name, &error);
            last_error::set(&error);
            error.status()
        }
    }
}

/// Runs `body`; after a panic returns `default` and keeps the message.
pub(super) fn with_default<T>(name: &'static str, default: T, body: impl FnOnce() -> T) -> T {
    run(name, body).unwrap_or_else(|error| {
        log::error(name, &error);
        last_error::set(&error);
        default
    })
}

fn run<T>(name: &'static str, body: impl FnOnce() -> T) -> Result<T> {
    install_hook();
    let _mode = FloatingPointMode::standard();
    let _inside = Inside::enter();
    catch(name, || {
        #[cfg(feature = "fault-injection")]
        super::fault::before(name);
        body()
    })
}

/// `body`'s value, or an internal error that holds its panic's message.
pub(super) fn catch<T>(name: &str, body: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let text = text.unwrap_or("no message");
        Error::internal(format!("{name}: a defect of the library ({text}); free the object concerned and report this"))
    })
}

/// Sends the message of a panic inside a call, or on a thread of the library's own, to the log sink instead of stderr.
fn install_hook() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let own_thread = std::thread::current().name().is_some_and(|name| name.starts_with("ov3d-"));
            if own_thread || DEPTH.with(|depth| depth.get() > 0) {
                log::panic(&panic.to_string());
            } else {
                before(panic);
            }
        }));
    });
}
