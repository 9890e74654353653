//! Open-vocabulary 3D point-cloud segmentation.
//!
//! A trained sparse 3D network and a vocabulary of plain words label every point of a cloud: the systems of GGSD
//! and Diff2Scene (both ECCV 2024) as one library without Python, PyTorch or MinkowskiEngine.
//!
//! The floors of the house, top to bottom; a file imports only from its own floor or from those below it:
//! `ffi` (the C interface), [`session`], [`pipeline`], [`text`], [`model`], [`backend`], [`plan`], [`superpoint`],
//! [`sparse`], [`cloud`], [`random`], [`cancel`], [`arena`] and [`error`].

mod ffi;

pub mod arena;
pub mod backend;
pub mod cancel;
pub mod cloud;
pub mod error;
pub mod model;
pub mod pipeline;
pub mod plan;
pub mod random;
pub mod session;
pub mod sparse;
pub mod superpoint;
pub mod text;

pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "fault-injection")]
pub use ffi::allocations;

/// The README's example compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
