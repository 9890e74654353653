//! Backends execute plans: the only code that knows a device.

pub mod cpu;
mod job;
mod precision;

pub use job::{
    Backend, Control, FeatureSpace, HeadMatrix, Input, Job, Outcome, PreparedHead, Query, Representative, ScoreRequest,
    Scores, Stage, Trunk, Work,
};
pub use precision::Precision;
