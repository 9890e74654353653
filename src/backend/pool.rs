//! A session's own threads, which have ended when the pool is gone.

use crate::error::{Error, ErrorKind, Result};
use std::thread::JoinHandle;

/// A thread pool; fields drop in order, so the threads are told to end before they are waited for.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) threads: rayon::ThreadPool,
    _ended: JoinOnDrop,
}

#[derive(Debug, Default)]
struct JoinOnDrop(Vec<JoinHandle<()>>);

impl Pool {
    pub(super) fn new(count: usize) -> Result<Self> {
        let mut ended = JoinOnDrop::default();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .spawn_handler(|thread| {
                let builder = std::thread::Builder::new().name(format!("ov3d-{}", thread.index()));
                ended.0.push(builder.spawn(|| thread.run())?);
                Ok(())
            })
            .build()
            .map_err(|e| Error::new(ErrorKind::OutOfMemory, format!("cannot start {count} threads: {e}")))?;
        Ok(Self { threads, _ended: ended })
    }
}

impl Drop for JoinOnDrop {
    fn drop(&mut self) {
        let own = std::thread::current().id();
        // The pool's last user may be a task on one of its own threads, which cannot wait for itself.
        for thread in self.0.drain(..).filter(|thread| thread.thread().id() != own) {
            // A panic of the thread was reported when it happened.
            let _ = thread.join();
        }
    }
}
