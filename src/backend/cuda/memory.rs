//! A session's memory on the device, and the working memory of a run: what a budget is checked against, first for the
//! points, then, when voxels are counted, for the whole run before any layer is computed.

use super::buffer::{Region, RegionPlan};
use super::context::{Event, Stream};
use super::coordinates::Points;
use super::weights::stride_of;
use crate::backend::{Job, Stage};
use crate::error::{Result, over_budget};

/// A session's memory on the device, kept from run to run.
#[derive(Debug)]
pub(super) struct DeviceMemory {
    pub(super) regions: Regions,
    pub(super) events: Vec<Event>,
}

impl DeviceMemory {
    pub(super) fn new(stream: &Stream) -> Result<Self> {
        let region = || Region::new(stream.context());
        Ok(Self { regions: Regions { points: region()?, voxels: region()? }, events: Vec::new() })
    }
}

/// What is sized by the points, and what by the voxels.
#[derive(Debug)]
pub(super) struct Regions {
    points: Region,
    voxels: Region,
}

impl Regions {
    /// Bytes held.
    pub(super) fn bytes(&self) -> u64 {
        (self.points.bytes() + self.voxels.bytes()) as u64
    }

    /// Room for the points of a run that needs `host` bytes beside them.
    pub(super) fn hold_points(&mut self, plan: &RegionPlan, host: u64, budget: Option<u64>) -> Result<&Region> {
        let needed = plan.roomy() as u64 + host;
        if let Some(budget) = budget {
            over_budget(needed, budget)?;
            if needed + self.voxels.bytes() as u64 > budget {
                self.voxels.release()?;
            }
        }
        self.points.hold(plan, budget.map(|_| plan.roomy() as u64), "the points")?;
        Ok(&self.points)
    }

    /// Room for the voxels of a run whose points have theirs and that needs `elsewhere` bytes beside both.
    pub(super) fn hold_voxels(&mut self, plan: &RegionPlan, elsewhere: u64, budget: Option<u64>) -> Result<()> {
        let others = elsewhere + self.points.bytes() as u64;
        self.voxels.hold(plan, budget.map(|budget| budget.saturating_sub(others)), "the voxels")
    }

    /// Room for the scores of a query that needs `host` bytes beside them.
    pub(super) fn hold_scores(&mut self, plan: &RegionPlan, host: u64, budget: Option<u64>) -> Result<()> {
        let needed = plan.bytes() as u64 + host;
        if let Some(budget) = budget {
            over_budget(needed, budget)?;
            if needed + self.points.bytes() as u64 > budget {
                self.points.release()?;
            }
        }
        let others = host + self.points.bytes() as u64;
        self.voxels.hold(plan, budget.map(|budget| budget.saturating_sub(others)), "the scores")
    }

    /// Where the voxels of a run, or the scores of a query, lie.
    pub(super) fn voxels(&self) -> &Region {
        &self.voxels
    }
}

/// Bytes on the host that `job` needs at most at one time once its voxels are counted, for results of `stages` stages.
pub(super) fn host_bytes(job: &Job<'_>, points: &Points, stages: usize) -> u64 {
    let (voxels, count) = (points.voxels() as u64, points.count as u64);
    let input = job.plan.input.map_or(0, |input| job.plan.tensor(input).channels) as u64;
    let dim = job.feature_dim();
    // Rows are copied with the padding that they have on the device.
    let padding = 2 * voxels * (stride_of(dim) - dim) as u64;
    let results = job.result_bytes(voxels, count) + padding;
    let kept = points.origins.len() * size_of::<[i64; 3]>() + stages * size_of::<Stage>();
    results.max(4 * count * input) + kept as u64
}
