//! Backends execute plans: the only code that knows a device.

pub mod cpu;
pub mod cuda;
mod device;
mod job;
mod pool;
mod precision;

pub use device::{Device, DeviceKind, devices, open};
pub use job::{
    Backend, Control, FeatureSpace, HeadMatrix, Input, Job, Outcome, PreparedHead, Query, Representative, ScoreRequest,
    Scores, Stage, Trunk, Work,
};
pub use precision::Precision;

use job::STAGES;
