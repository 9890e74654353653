//! The CPU backend: weight-stationary sparse convolutions in FP32 on its own threads.
//!
//! Every output row is summed by one thread in one order, so results are bit-identical for any number of threads.

mod ahead;
mod convolution;
mod coordinates;
mod execute;
mod head;
mod input;
mod level;
mod linear;
mod memory;
mod packed;
mod prepared;
mod simd;
mod stem;
mod tensor;

pub use level::CpuLevel;

use tensor::Scratch;

use super::pool::Pool;
use super::{Backend, HeadMatrix, Job, Outcome, PreparedHead, Query, Scores};
use crate::error::{Error, Result};
use parking_lot::Mutex;
use std::sync::Arc;

/// Runs plans on the CPU.
#[derive(Debug)]
pub struct CpuBackend {
    pool: Pool,
    level: CpuLevel,
    /// Taken by a run and given back at its end; a run beside it starts with none.
    scratch: Mutex<Scratch>,
}

impl CpuBackend {
    /// A backend with its own `threads` (all the machine's when `None`) at the best level the CPU has, or the one
    /// named by the environment variable `OV3D_CPU_LEVEL`.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::with_level(threads, CpuLevel::detect()?)
    }

    /// The same at a chosen level, which the CPU must have.
    pub fn with_level(threads: Option<usize>, level: CpuLevel) -> Result<Self> {
        level.require()?;
        let threads = match threads {
            Some(0) => return Err(Error::argument("threads is 0; give at least 1, or none for all of the machine's")),
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Ok(Self { pool: Pool::new(threads)?, level, scratch: Mutex::default() })
    }
}

impl Backend for CpuBackend {
    fn prepare_head(&self, matrix: &HeadMatrix) -> Result<PreparedHead> {
        Ok(PreparedHead(Arc::new(head::PackedHead::new(self.level, matrix)?)))
    }

    fn execute(&self, job: &Job<'_>) -> Result<Outcome> {
        let mut scratch = std::mem::take(&mut *self.scratch.lock());
        let outcome = self.pool.threads.install(|| execute::execute(self.level, job, &mut scratch));
        *self.scratch.lock() = scratch;
        outcome
    }

    fn query(&self, query: &Query<'_>) -> Result<Scores> {
        self.pool.threads.install(|| execute::query(query))
    }

    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        self.pool.threads.spawn(task);
    }

    fn held_bytes(&self) -> u64 {
        self.scratch.lock().bytes()
    }

    fn threads(&self) -> usize {
        self.pool.threads.current_num_threads()
    }

    fn describe(&self) -> String {
        format!("CPU, {} threads, {}, f32", self.threads(), self.level)
    }
}
