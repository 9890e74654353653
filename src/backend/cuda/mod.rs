//! The CUDA backend, over the driver's interface alone: the library loads and works where there is no driver.
//!
//! Kernels are compiled when the library is built (`build/device_code.rs`) and embedded in it.

#![allow(unsafe_code, reason = "calls of the driver, each with its reason")]

mod buffer;
mod context;
mod device;
mod driver;
mod images;
mod module;

pub use buffer::{Buffer, Element};
pub use context::{Context, Stream};
pub use device::{device_code, devices};
pub use driver::Driver;
pub use images::{Capability, Image, ImageKind, Images};
pub use module::{Argument, Function, Module};
