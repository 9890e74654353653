//! What each kernel of a run took on the device, and the least that it had to move and multiply.
//!
//! Two events stand around every launch. They take some microseconds themselves, and a stream that the host does not fill
//! fast enough waits between them: for kernels of less than about ten microseconds the times are upper bounds.

use super::context::{Event, Stream};
use super::module::Function;
use crate::backend::{Stage, Work};
use crate::error::Result;
use parking_lot::Mutex;
use std::time::Duration;

/// One kernel's part of a run.
#[derive(Debug, Clone)]
pub struct KernelTime {
    /// Its name without `ov3d_`.
    pub name: String,
    /// How often it was launched.
    pub launches: usize,
    /// All launches together.
    pub time: Duration,
    /// All launches together. What a sort moves, each item read and written once, stands with its scatter.
    pub work: Work,
}

/// A launch with the events before and after it.
#[derive(Debug)]
struct Launch {
    kernel: String,
    stage: usize,
    bytes: u64,
    events: [Event; 2],
}

#[derive(Debug, Default)]
struct Launches {
    all: Vec<Launch>,
    /// Stages that have ended.
    stage: usize,
}

/// The launches of one run.
#[derive(Debug, Default)]
pub(super) struct Profile(Mutex<Launches>);

impl Profile {
    /// Notes the launch of `kernel` that `launch` puts into `stream`, and that it must move `bytes`.
    pub(super) fn around(
        &self,
        kernel: &Function,
        stream: &Stream,
        bytes: usize,
        launch: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let events = [Event::new(stream)?, Event::new(stream)?];
        events[0].record(stream)?;
        launch()?;
        events[1].record(stream)?;
        let mut launches = self.0.lock();
        let stage = launches.stage;
        let kernel = kernel.name().trim_start_matches("ov3d_").to_owned();
        launches.all.push(Launch { kernel, stage, bytes: bytes as u64, events });
        Ok(())
    }

    pub(super) fn end_stage(&self) {
        self.0.lock().stage += 1;
    }

    /// Every kernel in the order of its first launch. All launches must have run. A stage has its FLOP from its first.
    pub(super) fn kernels(self, stages: &[Stage]) -> Result<Vec<KernelTime>> {
        let mut kernels: Vec<KernelTime> = Vec::new();
        let mut counted = 0;
        for launch in self.0.into_inner().all {
            let first_of_stage = launch.stage >= counted;
            counted = counted.max(launch.stage + 1);
            let flop = stages.get(launch.stage).filter(|_| first_of_stage).map_or(0, |stage| stage.work.flop);
            let time = launch.events[0].until(&launch.events[1])?;
            match kernels.iter_mut().find(|kernel| kernel.name == launch.kernel) {
                Some(kernel) => {
                    kernel.launches += 1;
                    kernel.time += time;
                    kernel.work.flop += flop;
                    kernel.work.bytes += launch.bytes;
                }
                None => {
                    let work = Work { flop, bytes: launch.bytes };
                    kernels.push(KernelTime { name: launch.kernel, launches: 1, time, work });
                }
            }
        }
        Ok(kernels)
    }
}
