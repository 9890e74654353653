//! The CPU backend: weight-stationary sparse convolutions on its own threads.
//!
//! Every output row is summed by one thread in one order, so results are bit-identical for any number of threads.

mod ahead;
mod arithmetic;
mod convolution;
mod coordinates;
mod dense;
mod execute;
mod head;
mod input;
mod layout;
mod level;
mod linear;
mod memory;
mod packed;
mod prepared;
mod simd;
#[cfg(feature = "cli")]
pub mod simd_peak;
mod stem;
mod tensor;
mod tower;

pub use level::CpuLevel;
pub use tower::PreparedTower;

use super::pool::Pool;
use super::{Backend, HeadMatrix, Job, Outcome, Precision, PreparedHead, Query, Scores};
use crate::arena::Arena;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::plan::Tower;
use arithmetic::Arithmetic;
use execute::Means;
use parking_lot::Mutex;
use std::sync::Arc;
use tensor::{Scratch, Workers};

/// How a [`CpuBackend`] computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CpuOptions {
    /// Size of the backend's own thread pool; all the machine's threads when `None`.
    pub threads: Option<usize>,
    /// The CPU level, which the CPU must have; the best when `None`, or the one named by the environment variable
    /// `OV3D_CPU_LEVEL`.
    pub level: Option<CpuLevel>,
    /// What features and weights are kept and multiplied in.
    pub precision: Precision,
}

/// Runs plans on the CPU.
#[derive(Debug)]
pub struct CpuBackend {
    pool: Pool,
    arithmetic: Arithmetic,
    workers: Workers,
    /// Taken by a run and given back at its end; a run beside it starts with none.
    scratch: Mutex<Scratch>,
    arena: Arena,
}

impl CpuBackend {
    /// A backend with its own threads.
    pub fn new(options: CpuOptions) -> Result<Self> {
        let level = match options.level {
            Some(level) => level,
            None => CpuLevel::detect(options.precision)?,
        };
        level.require()?;
        let threads = match options.threads {
            Some(0) => return Err(Error::argument("threads is 0; give at least 1, or none for all of the machine's")),
            Some(threads) => threads,
            None => std::thread::available_parallelism().map_or(1, |n| n.get()),
        };
        Ok(Self {
            pool: Pool::new(threads)?,
            arithmetic: Arithmetic::new(level, options.precision),
            workers: Workers::new(threads),
            scratch: Mutex::default(),
            arena: Arena::keeping(),
        })
    }

    /// Packs a text tower, whose weights stay at their width.
    pub fn prepare_tower(&self, tower: Tower) -> Result<PreparedTower> {
        self.pool.threads.install(|| PreparedTower::new(self.arithmetic.full(), tower))
    }

    /// `[sequences, dim]` embeddings of unit length of token sequences, each with its end token. An embedding has the
    /// same bits whatever sequences are encoded beside it and however many threads there are.
    pub fn encode(&self, tower: &PreparedTower, sequences: &[Vec<u32>], cancel: Cancel<'_>) -> Result<Vec<f32>> {
        self.pool.threads.install(|| tower.encode(sequences, &self.workers, cancel))
    }
}

impl Backend for CpuBackend {
    fn prepare_head(&self, matrix: &HeadMatrix) -> Result<PreparedHead> {
        Ok(PreparedHead(Arc::new(head::PackedHead::new(self.arithmetic.full(), matrix)?)))
    }

    fn execute(&self, job: &Job<'_>) -> Result<Outcome> {
        let mut scratch = std::mem::take(&mut *self.scratch.lock());
        let means =
            Means { arithmetic: self.arithmetic, workers: &self.workers, scratch: &mut scratch, arena: &self.arena };
        self.arena.set_budget(job.memory_budget);
        let outcome = self.pool.threads.install(|| execute::execute(means, job));
        self.arena.set_budget(None);
        *self.scratch.lock() = scratch;
        self.arena.trim();
        outcome
    }

    fn query(&self, query: &Query<'_>) -> Result<Scores> {
        self.arena.set_budget(query.memory_budget);
        let scores = self.pool.threads.install(|| execute::query(query, &self.workers, &self.arena));
        self.arena.set_budget(None);
        scores
    }

    fn spawn(&self, task: Box<dyn FnOnce() + Send>) {
        self.pool.threads.spawn(task);
    }

    fn install(&self, task: &mut (dyn FnMut() + Send)) {
        self.pool.threads.install(task);
    }

    fn arena(&self) -> &Arena {
        &self.arena
    }

    fn held_bytes(&self) -> u64 {
        self.scratch.lock().bytes() + self.workers.bytes() + self.arena.held_bytes()
    }

    fn threads(&self) -> usize {
        self.pool.threads.current_num_threads()
    }

    fn describe(&self) -> String {
        format!("CPU, {} threads, {}", self.threads(), self.arithmetic)
    }
}
