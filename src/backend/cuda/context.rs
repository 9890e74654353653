//! The primary context of a device, current for as long as a call needs it; streams.
//!
//! The primary context is the one that the CUDA runtime and every framework on it use, so device pointers and streams of
//! the host program are valid in it.

use super::device::handle;
use super::driver::{Driver, check, failure};
use super::images::Capability;
use crate::error::Result;
use cudarc::driver::{result, sys};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A number that the driver tells of `device`.
fn attribute(device: sys::CUdevice, which: sys::CUdevice_attribute) -> Result<u32> {
    // SAFETY: callers have the handle from the driver.
    let value = unsafe { result::device::get_attribute(device, which) };
    value.map(|value| value as u32).map_err(|error| failure(error, "asking for an attribute of the device"))
}

/// A device's primary context, held for as long as anything of it lives.
#[derive(Debug)]
pub struct Context {
    device: sys::CUdevice,
    context: sys::CUcontext,
    capability: Capability,
    driver: u32,
}

// SAFETY: the handles are the driver's, which locks them itself; a context may be used from any thread.
unsafe impl Send for Context {}
// SAFETY: as above; nothing behind the handles is changed without the driver.
unsafe impl Sync for Context {}

impl Context {
    /// The primary context of CUDA device `ordinal`.
    pub fn new(ordinal: u32) -> Result<Arc<Self>> {
        use sys::CUdevice_attribute as Attribute;
        let driver = Driver::get()?.version();
        let device = handle(ordinal).map_err(|error| failure(error, "finding the device"))?;
        let major = attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(device, Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let mut context = std::ptr::null_mut();
        // SAFETY: a place for the handle; retained once here, released once when dropped.
        check(unsafe { sys::cuDevicePrimaryCtxRetain(&raw mut context, device) }, "opening the device")?;
        Ok(Arc::new(Self { device, context, capability: (major, minor), driver }))
    }

    /// The device's compute capability.
    pub fn capability(&self) -> Capability {
        self.capability
    }

    /// The device's number of multiprocessors.
    pub fn multiprocessors(&self) -> Result<u32> {
        attribute(self.device, sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
    }

    /// The version of the driver, as [`Driver::version`].
    pub fn driver(&self) -> u32 {
        self.driver
    }

    /// Makes the context the thread's current one until the guard is dropped, which puts back the one before.
    pub fn enter(&self) -> Result<Entered<'_>> {
        let mut before = std::ptr::null_mut();
        // SAFETY: a place for the handle of the current context, which may be none.
        check(unsafe { sys::cuCtxGetCurrent(&raw mut before) }, "asking for the current context")?;
        if before != self.context {
            // SAFETY: a live context: it is retained for as long as `self` lives.
            check(unsafe { sys::cuCtxSetCurrent(self.context) }, "making the context current")?;
        }
        Ok(Entered { context: self, before, _not_send: PhantomData })
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once when made. A failure (the driver shuts down with the process) has no cure.
        let _ = unsafe { sys::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// While this lives the context is current on this thread.
#[derive(Debug)]
pub struct Entered<'a> {
    context: &'a Context,
    before: sys::CUcontext,
    /// What is current belongs to the thread.
    _not_send: PhantomData<*const ()>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.before != self.context.context {
            // SAFETY: what the driver said was current on this very thread, none included.
            let _ = unsafe { sys::cuCtxSetCurrent(self.before) };
        }
    }
}

/// A stream of the library's own.
#[derive(Debug)]
pub struct Stream {
    context: Arc<Context>,
    stream: sys::CUstream,
}

// SAFETY: streams may be used from any thread; the driver locks them itself.
unsafe impl Send for Stream {}
// SAFETY: the driver locks streams itself, as said above.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream that does not wait for the default stream.
    pub fn new(context: &Arc<Context>) -> Result<Self> {
        let _entered = context.enter()?;
        let mut stream = std::ptr::null_mut();
        let flags = sys::CUstream_flags::CU_STREAM_NON_BLOCKING as u32;
        // SAFETY: a place for the handle, in the context that is current.
        check(unsafe { sys::cuStreamCreate(&raw mut stream, flags) }, "making a stream")?;
        Ok(Self { context: context.clone(), stream })
    }

    /// The context it belongs to.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    pub(super) fn raw(&self) -> sys::CUstream {
        self.stream
    }

    /// Waits until everything put into the stream has run; errors of kernels are seen here.
    pub fn synchronize(&self) -> Result<()> {
        let _entered = self.context.enter()?;
        // SAFETY: a live stream of the context that is current.
        check(unsafe { sys::cuStreamSynchronize(self.stream) }, "running the kernels")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ok(_entered) = self.context.enter() {
            // SAFETY: made once, destroyed once; the driver finishes what is in it first.
            let _ = unsafe { sys::cuStreamDestroy_v2(self.stream) };
        }
    }
}

/// A mark in a stream, with the time at which the device came to it.
#[derive(Debug)]
pub struct Event {
    context: Arc<Context>,
    event: sys::CUevent,
}

// SAFETY: events may be used from any thread; the driver locks them itself.
unsafe impl Send for Event {}
// SAFETY: the driver locks events itself, as said above.
unsafe impl Sync for Event {}

impl Event {
    /// An event for streams of the same context.
    pub fn new(stream: &Stream) -> Result<Self> {
        let context = stream.context.clone();
        let mut event = std::ptr::null_mut();
        {
            let _entered = context.enter()?;
            // SAFETY: a place for the handle, in the context that is current.
            check(unsafe { sys::cuEventCreate(&raw mut event, 0) }, "making an event")?;
        }
        Ok(Self { context, event })
    }

    /// Puts the mark after everything that `stream` holds.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        let _entered = self.context.enter()?;
        // SAFETY: a live event and a live stream of the context that is current.
        check(unsafe { sys::cuEventRecord(self.event, stream.stream) }, "marking a stage")
    }

    /// The time from this mark to `later`; both must have been reached.
    pub fn until(&self, later: &Self) -> Result<Duration> {
        let _entered = self.context.enter()?;
        let mut milliseconds = 0.0;
        // SAFETY: a place for the time and two live events of the context that is current.
        let measured = unsafe { sys::cuEventElapsedTime(&raw mut milliseconds, self.event, later.event) };
        check(measured, "reading a time")?;
        Ok(Duration::from_secs_f32(milliseconds.max(0.0) / 1000.0))
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if let Ok(_entered) = self.context.enter() {
            // SAFETY: made once by the driver, destroyed once, here.
            let _ = unsafe { sys::cuEventDestroy_v2(self.event) };
        }
    }
}
