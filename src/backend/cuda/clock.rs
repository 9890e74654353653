//! What each stage of a run took on the device, by events in its stream.

use super::context::{Event, Stream};
use crate::arena::{Arena, Buffer};
use crate::backend::{Control, Stage, Work};
use crate::error::Result;
use std::sync::Arc;
use std::time::Duration;

/// Voxels from which on the host waits for every stage before it queues the next, so that progress is true and a cancelled
/// run ends soon; below it a whole run takes a few milliseconds.
const WAIT_ABOVE: usize = 1 << 20;

/// Marks the ends of stages in a stream.
#[derive(Debug)]
pub(super) struct Clock<'a> {
    stream: &'a Stream,
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
        stream: &'a Stream,
        control: Control<'a>,
        events: &'a mut Vec<Event>,
        planned: usize,
    ) -> Result<Self> {
        let mut this = Self { stream, control, events, names: Vec::new(), planned, waits: false };
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
        if self.waits {
            self.stream.synchronize()?;
        }
        self.control.report(self.names.len() as f32 / self.planned as f32)
    }

    fn mark(&mut self, index: usize) -> Result<()> {
        if index == self.events.len() {
            self.events.push(Event::new(self.stream)?);
        }
        self.events[index].record(self.stream)
    }

    /// Every stage with its time, and the work that `work(stage)` tells. Waits for the device.
    pub(super) fn stages(self, arena: &Arena, work: impl Fn(usize) -> Work) -> Result<Buffer<Stage>> {
        self.stream.synchronize()?;
        let mut stages = arena.with_capacity(self.names.len(), "the stages")?;
        for (index, name) in self.names.into_iter().enumerate() {
            let milliseconds = self.events[index].until(&self.events[index + 1])?;
            let time = Duration::from_secs_f32(milliseconds.max(0.0) / 1000.0);
            stages.push(Stage { name, time, work: work(index) });
        }
        Ok(stages)
    }
}
