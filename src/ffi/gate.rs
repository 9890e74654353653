//! The gate of a session: one call at a time, a cancel token per call, closed for good when the session is freed.

use super::session::SessionObject;
use crate::error::{Error, ErrorKind, Result};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Lets one call at a time through.
#[derive(Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    idle: Condvar,
}

#[derive(Default)]
struct State {
    /// The cancel token of the call in flight.
    running: Option<Arc<AtomicBool>>,
    closed: bool,
}

/// The right to use a session, given back on drop.
pub(super) struct Lease {
    gate: Arc<Gate>,
    /// Stops this call, and no other.
    pub(super) cancel: Arc<AtomicBool>,
    /// Keeps the session alive for a call that outlives its caller's reference.
    pub(super) object: Option<Arc<SessionObject>>,
}

impl Lease {
    /// Passes the gate, or `OV3D_ERROR_BUSY`.
    pub(super) fn take(gate: &Arc<Gate>, object: Option<&Arc<SessionObject>>) -> Result<Self> {
        let mut state = gate.state.lock();
        if state.closed {
            return Err(Error::new(ErrorKind::InvalidHandle, "session was freed while the call began; create another"));
        }
        if state.running.is_some() {
            let message = "the session is in another call; wait for it, or use a session per thread";
            return Err(Error::new(ErrorKind::Busy, message));
        }
        let cancel = Arc::new(AtomicBool::new(false));
        state.running = Some(cancel.clone());
        Ok(Self { gate: gate.clone(), cancel, object: object.cloned() })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // First the session, then the gate: whoever waits at the gate holds the session too, so the last reference is
        // never dropped on one of the session's own threads, which could not wait for themselves.
        self.object = None;
        self.gate.state.lock().running = None;
        self.gate.idle.notify_all();
    }
}

impl Gate {
    /// Asks the call in flight, if any, to stop.
    pub(super) fn cancel(&self) {
        if let Some(running) = &self.state.lock().running {
            running.store(true, Ordering::Relaxed);
        }
    }

    /// Lets nobody through any more, stops the call in flight and waits for its end.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        if let Some(running) = &state.running {
            running.store(true, Ordering::Relaxed);
        }
        while state.running.is_some() {
            self.idle.wait(&mut state);
        }
    }
}
