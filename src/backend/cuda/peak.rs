//! What a CUDA device can do at most: ceilings that a benchmark compares the kernels with.

use super::buffer::{Buffer, Element};
use super::context::{Context, Event, Stream};
use super::images::Images;
use super::kernels::{THREADS, tiles_for};
use super::module::{Argument, Function, Module};
use crate::error::Result;
use std::time::Duration;

/// Blocks of the products per multiprocessor: more than are in flight at once where 45 registers allow five.
const BLOCKS: u32 = 8;
/// FLOP of a block per round: 8 warps of 8 sums, 16 x 8 x 16 multiply-adds each.
const FLOP: u64 = 8 * 8 * 2 * 16 * 8 * 16;
/// Bytes that a block copies.
const COPIED: usize = THREADS as usize * 4 * size_of::<Chunk>();

/// What a thread moves at a time.
type Chunk = [u32; 4];

/// The kernels of `peak.cu` on one device.
#[derive(Debug)]
pub struct Peak {
    stream: Stream,
    products: Function,
    copy: Function,
    multiprocessors: u32,
}

impl Peak {
    /// Those of CUDA device `ordinal`.
    pub fn new(ordinal: u32) -> Result<Self> {
        let context = Context::new(ordinal)?;
        let module = Module::load(&context, &Images::embedded()?, "peak")?;
        Ok(Self {
            stream: Stream::new(&context)?,
            products: module.function("ov3d_peak_products", THREADS)?,
            copy: module.function("ov3d_peak_copy", THREADS)?,
            multiprocessors: context.multiprocessors()?,
        })
    }

    /// Products on the tensor cores as the convolutions make them, of values in registers, `rounds` times; the number of
    /// FLOP, multiply-adds times two, and the time on the device.
    pub fn products(&self, rounds: u32) -> Result<(u64, Duration)> {
        let blocks = BLOCKS * self.multiprocessors;
        let sums = self.buffer::<f32>(blocks as usize * THREADS as usize)?;
        let address = sums.address();
        let time = self.timed(|| {
            let arguments = [Argument::of(&rounds), Argument::of(&address)];
            // SAFETY: `sums` has a float for every thread of all blocks.
            unsafe { self.products.launch((blocks, 1, 1), &self.stream, &arguments) }
        })?;
        Ok((u64::from(blocks) * u64::from(rounds) * FLOP, time))
    }

    /// Copies about `bytes` from one buffer to another `times` times; the bytes read and written by each, and the times.
    pub fn copies(&self, bytes: usize, times: usize) -> Result<(u64, Vec<Duration>)> {
        let blocks = tiles_for(bytes.div_ceil(size_of::<Chunk>()), COPIED / size_of::<Chunk>())?;
        let chunks = blocks as usize * COPIED / size_of::<Chunk>();
        let (from, to) = (self.buffer::<Chunk>(chunks)?, self.buffer::<Chunk>(chunks)?);
        from.fill_bytes(1, &self.stream)?;
        let (source, target, count) = (from.address(), to.address(), chunks as u64);
        let copy = || {
            let arguments = [Argument::of(&source), Argument::of(&target), Argument::of(&count)];
            // SAFETY: both buffers have `count` chunks.
            unsafe { self.copy.launch((blocks, 1, 1), &self.stream, &arguments) }
        };
        let all = (0..times).map(|_| self.timed(copy)).collect::<Result<_>>()?;
        Ok(((from.bytes() + to.bytes()) as u64, all))
    }

    fn buffer<T: Element>(&self, len: usize) -> Result<Buffer<T>> {
        Buffer::new(self.stream.context(), len, "measuring the device")
    }

    /// The time on the device of what `launch` puts into the stream.
    fn timed(&self, launch: impl FnOnce() -> Result<()>) -> Result<Duration> {
        let (start, end) = (Event::new(&self.stream)?, Event::new(&self.stream)?);
        start.record(&self.stream)?;
        launch()?;
        end.record(&self.stream)?;
        self.stream.synchronize()?;
        start.until(&end)
    }
}
