//! What the integration tests share: a float64 statement of the network, generated inputs, and readers of fixtures.

// Every test binary compiles this module for itself and uses only a part of it.
#![allow(dead_code)]

pub mod generate;
pub mod library;
pub mod oracle;
pub mod pcl;
pub mod quality;
pub mod shared;
pub mod supervoxels;
