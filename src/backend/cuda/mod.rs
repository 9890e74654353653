//! The CUDA backend, over the driver's interface alone: the library loads and works where there is no driver.
//!
//! Kernels are compiled when the library is built (`build/device_code.rs`) and embedded in it.

#![allow(unsafe_code, reason = "calls of the driver, each with its reason")]

mod backend;
mod buffer;
mod clock;
mod context;
mod convolution;
mod coordinates;
mod device;
mod driver;
mod execute;
mod head;
mod images;
mod inspect;
mod kernels;
mod maps;
mod memory;
mod module;
mod peak;
mod placement;
mod prepared;
mod profile;
mod sort;
mod stem;
mod weights;

pub use backend::CudaBackend;
pub use buffer::{Buffer, Element, Span};
pub use context::{Context, Event, Stream};
pub use device::{device_code, devices};
pub use driver::Driver;
pub use images::{Capability, Image, ImageKind, Images};
pub use inspect::{CoordinateTables, MapTable, coordinate_tables};
pub use kernels::{BlockSize, block_sizes};
pub use module::{Argument, Function, Grid, Module};
pub use peak::Peak;
pub use profile::KernelTime;
