//! What the machine can do at most, with a number of threads or on a device, measured beside the runs.

use clap::ValueEnum;
use openvocab3d::Result;
use openvocab3d::backend::Work;
use openvocab3d::backend::cpu::{CpuLevel, simd_peak};
use openvocab3d::backend::cuda::Peak;
use openvocab3d::error::{Error, ErrorKind, filled};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The ceilings of one number of threads, or of a device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ceilings {
    pub(crate) threads: usize,
    /// Multiply-adds that stay in registers, at the level of the runs; on a device those of its tensor cores.
    pub(crate) fma_gflops: Ceiling,
    /// A dense product at the best level of the CPU.
    pub(crate) gemm_gflops: Option<Ceiling>,
    pub(crate) gemm_crate: Option<String>,
    pub(crate) gemm_edge: Option<usize>,
    /// Bytes read and bytes written.
    pub(crate) copy_gigabytes_per_second: Ceiling,
    /// Bytes from which and to which is copied, together.
    pub(crate) copy_bytes: usize,
}

/// Change of a ceiling in percent up to which the machine counts as having been the same.
pub(crate) const STEADY_PERCENT: f64 = 5.0;

/// A rate measured before and after the runs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ceiling {
    /// The larger of both: noise only slows down.
    pub(crate) best: f64,
    pub(crate) before: f64,
    pub(crate) after: f64,
    /// How much more it was after than before, in percent.
    pub(crate) drift_percent: f64,
}

/// How much time the ceilings may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Effort {
    /// A 2048-cubed product, copies of 128 MiB, on a device of 512 MiB: some seconds
    Full,
    /// A 512-cubed product, copies of 16 MiB, on a device of 1 MiB: too little for figures to be quoted
    Brief,
    /// No ceilings, no shares of them
    None,
}

impl Ceilings {
    /// What the products of registers are called.
    pub(crate) fn peak_name(&self) -> &'static str {
        if self.is_of_device() { "MMA" } else { "FMA" }
    }

    /// Whether they are those of a device.
    pub(crate) fn is_of_device(&self) -> bool {
        self.gemm_gflops.is_none()
    }

    /// The least milliseconds in which a device can do `work`.
    pub(crate) fn floor(&self, work: Work) -> f64 {
        let products = work.flop as f64 / self.fma_gflops.best;
        products.max(work.bytes as f64 / self.copy_gigabytes_per_second.best) / 1e6
    }
}

/// What a meter measures.
enum Subject {
    /// On threads of its own.
    Cpu {
        threads: rayon::ThreadPool,
        level: CpuLevel,
        gemm_edge: usize,
    },
    Cuda(Peak),
}

/// Measures ceilings.
pub(crate) struct Meter {
    subject: Subject,
    /// Bytes of each of the two buffers.
    copy_bytes: usize,
    tries: usize,
}

/// One measurement of all three.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    fma: f64,
    gemm: Option<f64>,
    copy: f64,
}

const GEMM_CRATE: &str = "gemm-f32 0.19";
/// How long one burst of multiply-adds takes.
const BURST: Duration = Duration::from_millis(10);
/// Rounds of a burst at most: what a kernel can be given.
const MAX_ROUNDS: u64 = 1 << 30;
/// Bytes that a thread copies at a time.
const CHUNK: usize = 1 << 20;

impl Meter {
    /// Of `threads` threads of the CPU; none if `effort` asks for none.
    pub(crate) fn of_cpu(threads: usize, level: CpuLevel, effort: Effort) -> Result<Option<Self>> {
        let (gemm_edge, copy_bytes, tries) = match effort {
            Effort::Full => (2048, 128 << 20, 4),
            Effort::Brief => (512, 16 << 20, 2),
            Effort::None => return Ok(None),
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let threads = pool.map_err(|e| {
            Error::new(ErrorKind::OutOfMemory, format!("cannot start {threads} threads: {e}; give fewer threads"))
        })?;
        Ok(Some(Self { subject: Subject::Cpu { threads, level, gemm_edge }, copy_bytes, tries }))
    }

    /// Of CUDA device `ordinal`; none if `effort` asks for none.
    pub(crate) fn of_cuda(ordinal: u32, effort: Effort) -> Result<Option<Self>> {
        // More than any cache of a device holds.
        let (copy_bytes, tries) = match effort {
            Effort::Full => (512 << 20, 8),
            Effort::Brief => (1 << 20, 1),
            Effort::None => return Ok(None),
        };
        Ok(Some(Self { subject: Subject::Cuda(Peak::new(ordinal)?), copy_bytes, tries }))
    }

    pub(crate) fn measure(&self) -> Result<Rates> {
        Ok(Rates { fma: self.fma()?, gemm: self.gemm()?, copy: self.copy()? })
    }

    /// Both measurements together.
    pub(crate) fn ceilings(&self, before: Rates, after: Rates) -> Ceilings {
        let ceiling = |before: f64, after: f64| Ceiling {
            best: before.max(after),
            before,
            after,
            drift_percent: 100.0 * (after / before - 1.0),
        };
        let (threads, gemm_edge) = match &self.subject {
            Subject::Cpu { threads, gemm_edge, .. } => (threads.current_num_threads(), Some(*gemm_edge)),
            Subject::Cuda(_) => (1, None),
        };
        Ceilings {
            threads,
            fma_gflops: ceiling(before.fma, after.fma),
            gemm_gflops: before.gemm.zip(after.gemm).map(|(before, after)| ceiling(before, after)),
            gemm_crate: gemm_edge.map(|_| GEMM_CRATE.to_owned()),
            gemm_edge,
            copy_gigabytes_per_second: ceiling(before.copy, after.copy),
            copy_bytes: 2 * self.copy_bytes,
        }
    }

    /// GFLOP/s of the best of some bursts.
    fn fma(&self) -> Result<f64> {
        let mut rounds = match self.subject {
            Subject::Cpu { .. } => 10_000,
            Subject::Cuda(_) => 16,
        };
        let mut best = 0.0_f64;
        for _ in 0..8 * self.tries {
            let (flop, elapsed) = match &self.subject {
                Subject::Cpu { threads, level, .. } => {
                    let start = Instant::now();
                    let flop: Result<u64> = threads.broadcast(|_| simd_peak::spin(*level, rounds)).into_iter().sum();
                    (flop?, start.elapsed())
                }
                Subject::Cuda(peak) => peak.products(rounds as u32)?,
            };
            best = best.max(flop as f64 / nanoseconds(elapsed));
            // The first bursts are short, and find out how many rounds fill one.
            let factor = BURST.as_secs_f64() / elapsed.as_secs_f64().max(1e-6);
            rounds = ((rounds as f64 * factor.clamp(0.5, 20.0)) as u64).clamp(1, MAX_ROUNDS);
        }
        Ok(best)
    }

    /// GFLOP/s of the best of some dense products.
    fn gemm(&self) -> Result<Option<f64>> {
        let Subject::Cpu { threads, gemm_edge: edge, .. } = &self.subject else { return Ok(None) };
        let (edge, len) = (*edge, edge * edge);
        let left = filled(len, 0.75_f32, "a matrix to multiply")?;
        let right = filled(len, 1.25_f32, "a matrix to multiply")?;
        let mut product = filled(len, 0.0_f32, "a matrix to multiply")?;
        self.best_of(|| threads.install(|| simd_peak::dense_product(edge, &left, &right, &mut product))).map(Some)
    }

    /// GB/s of the best of some copies, reading and writing counted.
    fn copy(&self) -> Result<f64> {
        let threads = match &self.subject {
            Subject::Cpu { threads, .. } => threads,
            Subject::Cuda(peak) => {
                let (bytes, times) = peak.copies(self.copy_bytes, 1 + self.tries)?;
                return Ok(times[1..].iter().map(|&time| bytes as f64 / nanoseconds(time)).fold(0.0, f64::max));
            }
        };
        let from = filled(self.copy_bytes, 1_u8, "a buffer to copy")?;
        let mut to = filled(self.copy_bytes, 0_u8, "a buffer to copy")?;
        self.best_of(|| {
            threads.install(|| {
                to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| to.copy_from_slice(from));
            });
            Ok(2 * self.copy_bytes as u64)
        })
    }

    /// The best rate per nanosecond of what `run` says that it did, after one run that does not count.
    fn best_of(&self, mut run: impl FnMut() -> Result<u64>) -> Result<f64> {
        run()?;
        let mut best = 0.0_f64;
        for _ in 0..self.tries {
            let start = Instant::now();
            let amount = run()?;
            best = best.max(amount as f64 / nanoseconds(start.elapsed()));
        }
        Ok(best)
    }
}

fn nanoseconds(time: Duration) -> f64 {
    (time.as_nanos() as f64).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceilings_are_rates_of_this_machine() {
        let meter = Meter::of_cpu(1, CpuLevel::Portable, Effort::Brief).unwrap().unwrap();
        let (before, after) = (meter.measure().unwrap(), meter.measure().unwrap());
        let ceilings = meter.ceilings(before, after);
        for ceiling in [ceilings.fma_gflops, ceilings.gemm_gflops.unwrap(), ceilings.copy_gigabytes_per_second] {
            assert!(ceiling.before > 0.05 && ceiling.after > 0.05 && ceiling.before < 1e5, "{ceilings:?}");
            assert_eq!(ceiling.best, ceiling.before.max(ceiling.after));
        }
        assert!(Meter::of_cpu(1, CpuLevel::Portable, Effort::None).unwrap().is_none());
    }
}
