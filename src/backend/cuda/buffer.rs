//! Device memory that is freed when dropped.

use super::context::{Context, Stream};
use super::driver::check;
use crate::error::{Error, ErrorKind, Result, filled};
use bytemuck::Pod;
use cudarc::driver::sys;
use std::marker::PhantomData;
use std::sync::Arc;

/// A value that host and device hold alike.
pub trait Element: Pod + Send + Sync {}

impl<T: Pod + Send + Sync> Element for T {}

/// `len` values on a device.
#[derive(Debug)]
pub struct Buffer<T> {
    context: Arc<Context>,
    address: sys::CUdeviceptr,
    len: usize,
    _values: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Room for `len` values, not yet set. `what` names it in messages.
    pub fn new(context: &Arc<Context>, len: usize, what: &str) -> Result<Self> {
        let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, format!("{what}: {len} values exceed the address space"))
        })?;
        let mut address = 0;
        if bytes > 0 {
            let _entered = context.enter()?;
            // SAFETY: a place for the address, in the context that is current.
            check(unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) }, what)
                .map_err(|error| error.within(format!("{bytes} bytes of device memory")))?;
        }
        Ok(Self { context: context.clone(), address, len, _values: PhantomData })
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is room for none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }

    /// Where the values lie on the device; 0 if there are none.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Copies `values` to the front; returns when they have been read.
    pub fn upload(&mut self, values: &[T], stream: &Stream) -> Result<()> {
        self.fits(values.len())?;
        if values.is_empty() {
            return Ok(());
        }
        let _entered = self.context.enter()?;
        // SAFETY: both sides have the bytes (checked above); the source lives until the wait below.
        let copied = unsafe {
            sys::cuMemcpyHtoDAsync_v2(self.address, values.as_ptr().cast(), size_of_val(values), stream.raw())
        };
        check(copied, "copying to the device")?;
        stream.synchronize()
    }

    /// The first `len` values, once everything before in `stream` has run.
    pub fn download(&self, len: usize, stream: &Stream) -> Result<Vec<T>> {
        self.fits(len)?;
        let mut values = filled(len, T::zeroed(), "the values of a device buffer")?;
        if len > 0 {
            let _entered = self.context.enter()?;
            let bytes = size_of_val(&values[..]);
            // SAFETY: both sides have the bytes (checked above); the target lives until the wait below.
            let copied =
                unsafe { sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), self.address, bytes, stream.raw()) };
            check(copied, "copying from the device")?;
        }
        stream.synchronize()?;
        Ok(values)
    }

    /// Sets every byte to `byte`, in the order of `stream`.
    pub fn fill_bytes(&mut self, byte: u8, stream: &Stream) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let _entered = self.context.enter()?;
        // SAFETY: the buffer has as many bytes; any bytes are values of a Pod.
        check(unsafe { sys::cuMemsetD8Async(self.address, byte, self.bytes(), stream.raw()) }, "setting device memory")
    }

    fn fits(&self, len: usize) -> Result<()> {
        if len <= self.len {
            return Ok(());
        }
        Err(Error::internal(format!("a device buffer of {} values was to hold {len}", self.len)))
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.address != 0
            && let Ok(_entered) = self.context.enter()
        {
            // SAFETY: allocated once, freed once. The driver waits for what still uses it.
            let _ = unsafe { sys::cuMemFree_v2(self.address) };
        }
    }
}
