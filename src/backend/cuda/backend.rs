//! The backend of one session on one CUDA device.

use super::context::{Context, Stream};
use super::execute::{self, Target};
use super::head::DeviceHead;
use super::kernels::Kernels;
use super::memory::DeviceMemory;
use super::profile::{KernelTime, Profile};
use crate::arena::Arena;
use crate::backend::pool::Pool;
use crate::backend::{Backend, HeadMatrix, Job, Outcome, PreparedHead, Query, Scores, devices};
use crate::error::{Error, ErrorKind, Result};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs plans on a CUDA device: FP16 features and weights, FP32 sums.
#[derive(Debug)]
pub struct CudaBackend {
    ordinal: u32,
    name: String,
    kernels: Kernels,
    /// Taken by a run and given back at its end; a run beside it starts with none.
    memory: Mutex<Option<DeviceMemory>>,
    arena: Arena,
    stream: Stream,
    /// The thread that tasks of the session run on.
    pool: Pool,
    profiling: AtomicBool,
    /// Of the last run that was profiled.
    kernel_times: Mutex<Vec<KernelTime>>,
}

impl CudaBackend {
    /// A backend on CUDA device `ordinal`; an error is the reason why the device cannot be used.
    pub fn new(ordinal: u32) -> Result<Self> {
        let device = devices().iter().find(|device| device.cuda_ordinal == Some(ordinal));
        let device = device.ok_or_else(|| Error::argument(format!("there is no CUDA device {ordinal}")))?;
        if let Some(reason) = &device.obstacle {
            return Err(Error::new(ErrorKind::Unsupported, format!("'{}' cannot be used: {reason}", device.name)));
        }
        let context = Context::new(ordinal)?;
        let kernels = Kernels::load(&context)?;
        let stream = Stream::new(&context)?;
        let name = device.name.clone();
        let (memory, arena) = (Mutex::default(), Arena::keeping());
        Ok(Self {
            ordinal,
            name,
            kernels,
            memory,
            arena,
            stream,
            pool: Pool::new(1)?,
            profiling: AtomicBool::new(false),
            kernel_times: Mutex::default(),
        })
    }

    /// Whether runs from now on note what each of their kernels takes, which makes them slower.
    pub fn set_profiling(&self, on: bool) {
        self.profiling.store(on, Ordering::Relaxed);
    }

    /// What the kernels of the last such run took.
    pub fn kernel_times(&self) -> Vec<KernelTime> {
        self.kernel_times.lock().clone()
    }

    fn target<'a>(&'a self, profile: Option<&'a Profile>) -> Target<'a> {
        let Self { ordinal, kernels, stream, arena, .. } = self;
        Target { ordinal: *ordinal, kernels, stream, arena, profile }
    }

    /// Calls `run` with the session's memory and `budget` for it.
    fn with_memory<T>(&self, budget: Option<u64>, run: impl FnOnce(&mut DeviceMemory) -> Result<T>) -> Result<T> {
        // Once for the whole run: the calls within find the context current.
        let _entered = self.stream.context().enter()?;
        let kept = self.memory.lock().take();
        let mut memory = match kept {
            Some(memory) => memory,
            None => DeviceMemory::new(&self.stream)?,
        };
        self.arena.set_budget(budget);
        let result = run(&mut memory);
        self.arena.set_budget(None);
        if result.is_err() {
            // Launches may still be queued; their kernels and memory must outlive them. The first error is the one to tell.
            let _ = self.stream.synchronize();
        }
        *self.memory.lock() = Some(memory);
        self.arena.trim();
        result
    }
}

impl Backend for CudaBackend {
    fn prepare_head(&self, matrix: &HeadMatrix) -> Result<PreparedHead> {
        Ok(PreparedHead(Arc::new(DeviceHead::new(&self.stream, self.ordinal, matrix)?)))
    }

    fn execute(&self, job: &Job<'_>) -> Result<Outcome> {
        let profile = self.profiling.load(Ordering::Relaxed).then(Profile::default);
        let outcome =
            self.with_memory(job.memory_budget, |memory| execute::execute(self.target(profile.as_ref()), job, memory))?;
        if let Some(profile) = profile {
            *self.kernel_times.lock() = profile.kernels(&outcome.stages)?;
        }
        Ok(outcome)
    }

    fn query(&self, query: &Query<'_>) -> Result<Scores> {
        self.with_memory(query.memory_budget, |memory| execute::query(self.target(None), query, memory))
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
        self.memory.lock().as_ref().map_or(0, |memory| memory.regions.bytes()) + self.arena.held_bytes()
    }

    fn threads(&self) -> usize {
        self.pool.threads.current_num_threads()
    }

    fn describe(&self) -> String {
        format!("CUDA device {}, {}, f16", self.ordinal, self.name)
    }
}
