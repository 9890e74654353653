//! The CUDA backend, over the driver's interface alone: the library loads and works where there is no driver.
//!
//! Kernels are compiled when the library is built (`build/device_code.rs`) and embedded in it.

#![allow(unsafe_code, reason = "calls of the driver, each with its reason")]

mod buffer;
mod context;
mod coordinates;
mod device;
mod driver;
mod images;
mod inspect;
mod kernels;
mod maps;
mod module;
mod placement;
mod sort;

pub use buffer::{Buffer, Element, Span};
pub use context::{Context, Stream};
pub use device::{device_code, devices};
pub use driver::Driver;
pub use images::{Capability, Image, ImageKind, Images};
pub use inspect::{CoordinateTables, MapTable, coordinate_tables};
pub use module::{Argument, Function, Grid, Module};
