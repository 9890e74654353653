//! What backends prepared from a plan's weights (packed panels, device buffers), shared by all its sessions.

use crate::cancel::Cancel;
use crate::error::Result;
use parking_lot::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What tells one preparation of a plan from another: a name and whatever number the backend derives from how it computes.
pub type PreparedKey = (&'static str, u64);

/// Prepared weights by the backend's own key.
#[derive(Default)]
pub struct PreparedCache {
    entries: Mutex<HashMap<PreparedKey, Arc<dyn Any + Send + Sync>>>,
}

impl PreparedCache {
    /// The entry under `key`, made by `prepare` if there is none yet. Concurrent callers wait for the first, until they
    /// are cancelled: `prepare` must not share work out on a thread pool, whose threads could wait here for one another.
    pub fn get_or_prepare<T: Any + Send + Sync>(
        &self,
        key: PreparedKey,
        cancel: Cancel<'_>,
        prepare: impl FnOnce() -> Result<T>,
    ) -> Result<Arc<T>> {
        let mut entries = loop {
            match self.entries.try_lock_for(Duration::from_millis(5)) {
                Some(entries) => break entries,
                None => cancel.check()?,
            }
        };
        if let Some(Ok(entry)) = entries.get(&key).cloned().map(Arc::downcast) {
            return Ok(entry);
        }
        let entry = Arc::new(prepare()?);
        entries.insert(key, entry.clone());
        Ok(entry)
    }
}

impl fmt::Debug for PreparedCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.lock().keys()).finish()
    }
}
