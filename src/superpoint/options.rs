//! What to compute: the method, its parameters, and their checks.

use super::feature::Weights;
use super::graph::Graph;
use super::pcl::VccsPcl;
use super::vccs::Vccs;
use crate::error::{Error, Result};

/// How superpoints are found.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Even, compact superpoints that grow from seeds.
    Vccs(Vccs),
    /// The same as the point cloud library computes it, its defects included: for comparisons.
    VccsPcl(VccsPcl),
    /// Regions merged along the weakest borders: the best borders for a given number of superpoints.
    Graph(Graph),
}

impl Method {
    /// Whether further features of the points change the result.
    pub fn reads_features(&self) -> bool {
        matches!(self, Self::Graph(graph) if graph.features > 0.0)
    }
}

impl Default for Method {
    fn default() -> Self {
        Self::Vccs(Vccs::default())
    }
}

/// Options of a partition into superpoints.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SuperpointOptions {
    /// Edge of a voxel in metres; twice the median distance between nearest points when `None`.
    pub voxel_size: Option<f64>,
    /// The method and its parameters.
    pub method: Method,
}

impl SuperpointOptions {
    /// Checks every parameter.
    pub fn validate(&self) -> Result<()> {
        if let Some(size) = self.voxel_size {
            check_positive("voxel_size", size, "m", "0.05")?;
        }
        match &self.method {
            Method::Vccs(vccs) => vccs.validate(),
            Method::VccsPcl(vccs) => vccs.validate(),
            Method::Graph(graph) => graph.validate(),
        }
    }
}

impl Weights {
    pub(super) fn validate(&self) -> Result<()> {
        check_weight("the weight spatial", f64::from(self.spatial))?;
        check_weight("the weight color", f64::from(self.color))?;
        check_weight("the weight normal", f64::from(self.normal))
    }
}

/// An error unless `value` is positive and finite.
pub(super) fn check_positive(name: &str, value: f64, unit: &str, example: &str) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::argument(format!("{name} is {value} {unit}; it must be positive and finite, such as {example}")))
}

/// An error unless `value`, in metres, is positive and finite in float32 too, in which the point cloud library computes.
pub(super) fn check_single(name: &str, value: f64, example: &str) -> Result<()> {
    check_positive(name, value, "m", example)?;
    let single = value as f32;
    if single.is_finite() && single > 0.0 {
        return Ok(());
    }
    let cause = "the point cloud library's float32 takes that for 0 or infinite";
    Err(Error::argument(format!("{name} is {value:e} m; {cause}: give a size such as {example}, or use vccs")))
}

/// An error unless `value` is finite and not negative.
pub(super) fn check_weight(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::argument(format!("{name} is {value}; it must be finite and at least 0, which switches it off")))
}

/// The most rounds of growing: what has not settled by then swings to and fro.
pub(super) const MOST_ROUNDS: u32 = 1000;

/// The most refinements.
const MOST_REFINEMENTS: u32 = 100;

/// An error unless both numbers are sensible.
pub(super) fn check_rounds(rounds: Option<u32>, refinements: u32) -> Result<()> {
    if let Some(rounds) = rounds.filter(|rounds| !(1..=MOST_ROUNDS).contains(rounds)) {
        let cure = "or none for the published number";
        return Err(Error::argument(format!("rounds is {rounds}; give 1 to {MOST_ROUNDS}, {cure}")));
    }
    if refinements > MOST_REFINEMENTS {
        return Err(Error::argument(format!("refinements is {refinements}; give at most {MOST_REFINEMENTS}")));
    }
    Ok(())
}
