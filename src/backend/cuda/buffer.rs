//! Device memory: spans of it, buffers that are freed when dropped, and regions that many spans share.

use super::context::{Context, Stream};
use super::driver::check;
use crate::arena::{self, Arena};
use crate::error::{Error, ErrorKind, Result, zeroed};
use bytemuck::Pod;
use cudarc::driver::sys;
use std::marker::PhantomData;
use std::sync::Arc;

/// A value that host and device hold alike.
pub trait Element: Pod + Send + Sync {}

impl<T: Pod + Send + Sync> Element for T {}

/// Where `len` values lie on a device: a part of a [`Buffer`], which must outlive what is done with it.
#[derive(Debug)]
pub struct Span<T> {
    address: sys::CUdeviceptr,
    len: usize,
    _values: PhantomData<fn() -> T>,
}

impl<T> Clone for Span<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<T> {}

impl<T> Default for Span<T> {
    fn default() -> Self {
        Self { address: 0, len: 0, _values: PhantomData }
    }
}

impl<T: Element> Span<T> {
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

    /// The values from `first` on, `len` of them.
    pub fn part(&self, first: usize, len: usize) -> Result<Self> {
        match first.checked_add(len) {
            Some(end) if end <= self.len => {
                Ok(Self { address: self.address + (first * size_of::<T>()) as u64, len, _values: PhantomData })
            }
            _ => Err(Error::internal(format!("{len} values from {first} on of a span of {}", self.len))),
        }
    }

    /// Copies `values` to the front; returns when they have been read.
    pub fn upload(&self, values: &[T], stream: &Stream) -> Result<()> {
        self.fits(values.len())?;
        if values.is_empty() {
            return Ok(());
        }
        let _entered = stream.context().enter()?;
        // SAFETY: both sides have the bytes (checked above); the source lives until the wait below.
        let copied = unsafe {
            sys::cuMemcpyHtoDAsync_v2(self.address, values.as_ptr().cast(), size_of_val(values), stream.raw())
        };
        check(copied, "copying to the device")?;
        stream.synchronize()
    }

    /// The first `len` values, once everything before in `stream` has run.
    pub fn download(&self, len: usize, stream: &Stream) -> Result<Vec<T>> {
        let mut values = zeroed(len, "the values of a device buffer")?;
        self.download_into(&mut values, stream)?;
        Ok(values)
    }

    /// The same in `arena`.
    pub fn download_to(&self, arena: &Arena, len: usize, stream: &Stream, what: &str) -> Result<arena::Buffer<T>> {
        let mut values = arena.filled(len, T::zeroed(), what)?;
        self.download_into(&mut values, stream)?;
        Ok(values)
    }

    /// Fills `values` from the front, once everything before in `stream` has run.
    pub fn download_into(&self, values: &mut [T], stream: &Stream) -> Result<()> {
        self.fits(values.len())?;
        if !values.is_empty() {
            let _entered = stream.context().enter()?;
            let bytes = size_of_val(values);
            // SAFETY: both sides have the bytes (checked above); the target lives until the wait below.
            let copied =
                unsafe { sys::cuMemcpyDtoHAsync_v2(values.as_mut_ptr().cast(), self.address, bytes, stream.raw()) };
            check(copied, "copying from the device")?;
        }
        stream.synchronize()
    }

    /// Sets every byte to `byte`, in the order of `stream`.
    pub fn fill_bytes(&self, byte: u8, stream: &Stream) -> Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let _entered = stream.context().enter()?;
        // SAFETY: the span has as many bytes; any bytes are values of a Pod.
        check(unsafe { sys::cuMemsetD8Async(self.address, byte, self.bytes(), stream.raw()) }, "setting device memory")
    }

    fn fits(&self, len: usize) -> Result<()> {
        if len <= self.len {
            return Ok(());
        }
        Err(Error::internal(format!("a device buffer of {} values was to hold {len}", self.len)))
    }
}

/// `len` values on a device.
#[derive(Debug)]
pub struct Buffer<T> {
    context: Arc<Context>,
    span: Span<T>,
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
        Ok(Self { context: context.clone(), span: Span { address, len, _values: PhantomData } })
    }

    /// A buffer of these values.
    pub fn of(values: &[T], stream: &Stream, what: &str) -> Result<Self> {
        let buffer = Self::new(stream.context(), values.len(), what)?;
        buffer.upload(values, stream)?;
        Ok(buffer)
    }
}

impl<T> std::ops::Deref for Buffer<T> {
    type Target = Span<T>;

    fn deref(&self) -> &Span<T> {
        &self.span
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.span.address != 0
            && let Ok(_entered) = self.context.enter()
        {
            // SAFETY: allocated once, freed once. The driver waits for what still uses it.
            let _ = unsafe { sys::cuMemFree_v2(self.span.address) };
        }
    }
}

/// Bytes every span of a region begins at a multiple of: whole sectors, and more than any vector load asks for.
const ALIGNMENT: usize = 256;

/// A place in a region that is being planned.
#[derive(Debug)]
pub(super) struct Slot<T> {
    offset: usize,
    len: usize,
    _values: PhantomData<fn() -> T>,
}

impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slot<T> {}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { offset: 0, len: 0, _values: PhantomData }
    }
}

impl<T> Slot<T> {
    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

/// The spans of a region before there is memory for them.
#[derive(Debug, Default)]
pub(super) struct RegionPlan {
    bytes: usize,
}

impl RegionPlan {
    /// Room for `len` values.
    pub(super) fn reserve<T>(&mut self, len: usize) -> Result<Slot<T>> {
        let end = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(self.bytes));
        let padded = end.and_then(|end| end.checked_next_multiple_of(ALIGNMENT)).ok_or_else(|| {
            Error::new(ErrorKind::OutOfMemory, "the run needs more device memory than there are addresses")
        })?;
        Ok(Slot { offset: std::mem::replace(&mut self.bytes, padded), len, _values: PhantomData })
    }

    /// Bytes of everything so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// An eighth more, so that frames which differ a little need no new memory.
    pub(super) fn roomy(&self) -> usize {
        self.bytes.saturating_add(self.bytes / 8)
    }
}

/// Memory of a session that is kept from run to run and, without a budget, grows only.
#[derive(Debug)]
pub(super) struct Region {
    memory: Buffer<u8>,
}

impl Region {
    pub(super) fn new(context: &Arc<Context>) -> Result<Self> {
        Ok(Self { memory: Buffer::new(context, 0, "no memory yet")? })
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// Makes room for `plan`: [`RegionPlan::roomy`] where that can be had, but no more than `most` bytes unless the plan
    /// itself has more; what was held beyond `most` goes back. Nothing of what the region held before is kept then.
    pub(super) fn hold(&mut self, plan: &RegionPlan, most: Option<u64>, what: &str) -> Result<()> {
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX)).max(plan.bytes);
        if plan.bytes > self.memory.len() || self.memory.len() > most {
            let context = self.memory.context.clone();
            // First away with the old: both together may not fit.
            self.release()?;
            let roomy = plan.roomy().min(most);
            self.memory = Buffer::new(&context, roomy, what).or_else(|_| Buffer::new(&context, plan.bytes, what))?;
        }
        Ok(())
    }

    /// Gives everything back.
    pub(super) fn release(&mut self) -> Result<()> {
        self.memory = Buffer::new(&self.memory.context, 0, "no memory")?;
        Ok(())
    }

    /// Where the values of `slot` lie.
    pub(super) fn span<T: Element>(&self, slot: Slot<T>) -> Result<Span<T>> {
        let bytes = self.memory.part(slot.offset, slot.len * size_of::<T>())?;
        Ok(Span { address: bytes.address, len: slot.len, _values: PhantomData })
    }
}
