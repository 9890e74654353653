//! What each stage of a run took on the device, by events in its stream.

use super::context::Event;
use super::kernels::Queue;
use crate::arena::{Arena, Buffer};
use crate::backend::{Control, Stage, Work};
use crate::error::Result;
use std::sync::Arc;

/// Voxels from which on the host waits for every stage before it queues the next, so that progress is true and a cancelled
/// run ends soon; below it a whole run takes a few milliseconds.
const WAIT_ABOVE: usize = 1 << 20;

/// Marks the ends of stages in a stream.
#[derive(Debug)]
pub(super) struct Clock<'a> {
    queue: Queue<'a>,
    control: Control<'a>,
    /// Kept from run to run; the first marks the beginning.
    events: &'a mut Vec<Event>,
    names: Vec<Arc<str>>,
    planned: usize,
    /// Whether the host waits for each stage.
    waits: bool,
}

impl<'a> Clock<'a> {
    pub(super) fn start(
        queue: Queue<'a>,
        control: Control<'a>,
        events: &'a mut Vec<Event>,
        planned: usize,
    ) -> Result<Self> {
        let mut this = Self { queue, control, events, names: Vec::new(), planned, waits: false };
        control.report(0.0)?;
        this.mark(0)?;
        Ok(this)
    }

    /// How many voxels the run has.
    pub(super) fn note_voxels(&mut self, voxels: usize) {
        self.waits = voxels > WAIT_ABOVE;
    }

    /// Ends the stage `name`.
    pub(super) fn lap(&mut self, name: &Arc<str>) -> Result<()> {
        self.names.push(name.clone());
        self.mark(self.names.len())?;
        if let Some(profile) = self.queue.profile {
            profile.end_stage();
        }
        if self.waits {
            self.queue.stream.synchronize()?;
        }
        self.control.report(self.names.len() as f32 / self.planned as f32)
    }

    fn mark(&mut self, index: usize) -> Result<()> {
        if index == self.events.len() {
            self.events.push(Event::new(self.queue.stream)?);
        }
        self.events[index].record(self.queue.stream)
    }

    /// Every stage with its time, and the work that `work(stage)` tells. Waits for the device.
    pub(super) fn stages(self, arena: &Arena, work: impl Fn(usize) -> Work) -> Result<Buffer<Stage>> {
        self.queue.stream.synchronize()?;
        let mut stages = arena.with_capacity(self.names.len(), "the stages")?;
        for (index, name) in self.names.into_iter().enumerate() {
            let time = self.events[index].until(&self.events[index + 1])?;
            stages.push(Stage { name, time, work: work(index) });
        }
        Ok(stages)
    }
}
