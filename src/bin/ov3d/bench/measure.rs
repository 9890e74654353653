//! The measurement: for each number of threads ceilings, runs on every cloud, ceilings again.

use super::ceilings::{Effort, Meter, Rates};
use super::parity::Parity;
use super::record::{Engine, MemoryUse, Record, Sample};
use super::workload::{self, Source, Weights, Workload};
use super::{Args, SceneArg, machine, table};
use crate::engine::device_index;
use crate::progress::Progress;
use openvocab3d::backend::cpu::{CpuBackend, CpuLevel, CpuOptions};
use openvocab3d::backend::cuda::{CudaBackend, KernelTime};
use openvocab3d::backend::{Backend, Control, Device, Precision, Stage, devices, open};
use openvocab3d::cloud::Scene;
use openvocab3d::session::Session;
use openvocab3d::{Error, Result};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

/// What runs the network.
enum EngineChoice {
    Cpu { level: CpuLevel, precision: Precision },
    Cuda { ordinal: u32, device: &'static Device },
}

/// A backend, also as what it is if it is one of a device.
struct Opened {
    backend: Arc<dyn Backend>,
    cuda: Option<Arc<CudaBackend>>,
}

impl EngineChoice {
    fn new(args: &Args) -> Result<Self> {
        let index = device_index(&args.device)?;
        if index == 0 {
            let precision = args.precision.unwrap_or_default();
            let level = args.level.map_or_else(|| CpuLevel::detect(precision), Ok)?;
            level.require()?;
            return Ok(Self::Cpu { level, precision });
        }
        let device = devices().get(index as usize).and_then(|device| Some((device.cuda_ordinal?, device)));
        let Some((ordinal, device)) = device.filter(|(_, device)| device.obstacle.is_none()) else {
            // The error says why.
            return Err(open("--device", index, None, None)
                .err()
                .unwrap_or_else(|| Error::internal("a device without name")));
        };
        if args.level.is_some() || args.precision.is_some() || !args.threads.is_empty() {
            let message = "--level, --precision and --threads are the CPU's; leave them out with a CUDA device";
            return Err(Error::argument(message));
        }
        Ok(Self::Cuda { ordinal, device })
    }

    fn open(&self, threads: usize) -> Result<Opened> {
        match *self {
            Self::Cpu { level, precision } => {
                let options = CpuOptions { threads: Some(threads), level: Some(level), precision };
                Ok(Opened { backend: Arc::new(CpuBackend::new(options)?), cuda: None })
            }
            Self::Cuda { ordinal, .. } => {
                let backend = Arc::new(CudaBackend::new(ordinal)?);
                Ok(Opened { backend: backend.clone(), cuda: Some(backend) })
            }
        }
    }

    fn meter(&self, threads: usize, effort: Effort) -> Result<Option<Meter>> {
        match *self {
            Self::Cpu { level, .. } => Meter::of_cpu(threads, level, effort),
            Self::Cuda { ordinal, .. } => Meter::of_cuda(ordinal, effort),
        }
    }

    /// The numbers of threads asked for, each once; a device is driven by one.
    fn thread_counts(&self, args: &Args) -> Vec<usize> {
        match self {
            Self::Cuda { .. } => vec![1],
            Self::Cpu { .. } if args.threads.is_empty() => distinct(&[1, machine::logical_cpus()]),
            Self::Cpu { .. } => distinct(&args.threads),
        }
    }

    fn weight_size(&self) -> u64 {
        match self {
            Self::Cpu { precision: Precision::F32, .. } => 4,
            Self::Cpu { precision: Precision::Bf16, .. } | Self::Cuda { .. } => 2,
        }
    }

    fn describe(&self) -> Engine {
        match self {
            Self::Cpu { level, precision } => {
                Engine { device: "CPU".to_owned(), level: level.to_string(), precision: precision.to_string() }
            }
            Self::Cuda { ordinal, device } => {
                let (major, minor) = device.capability.unwrap_or_default();
                let name = format!("CUDA device {ordinal}, {}", device.name);
                Engine { device: name, level: format!("sm_{major}{minor}"), precision: "f16".to_owned() }
            }
        }
    }
}

/// Each of `numbers` where it stands first.
fn distinct(numbers: &[usize]) -> Vec<usize> {
    let mut seen = Vec::new();
    numbers.iter().for_each(|number| {
        if !seen.contains(number) {
            seen.push(*number);
        }
    });
    seen
}

fn workloads(args: &Args, model_voxel_size: Option<f64>) -> Result<Vec<Workload>> {
    let (scene, usual) = match args.scene {
        SceneArg::Room => (Scene::Room, 0.02),
        SceneArg::Sphere => (Scene::Sphere, 0.02),
        SceneArg::Lidar => (Scene::Lidar, 0.05),
    };
    let voxel_size = args.voxel_size.or(model_voxel_size).unwrap_or(usual);
    if let Some(path) = &args.cloud {
        return Ok(vec![Workload::read(path, voxel_size)?]);
    }
    let sizes = if args.scaling { &args.sizes[..] } else { &[args.voxels] };
    let progress = Progress::new("generating clouds");
    let whole: usize = sizes.iter().sum();
    let mut done = 0;
    let made = sizes.iter().map(|&voxels| {
        progress.report(done as f32 / whole as f32);
        done += voxels;
        Workload::generated(scene, voxels, voxel_size, args.seed)
    });
    made.collect()
}

pub(super) fn measure(args: &Args) -> Result<Record> {
    let engine = EngineChoice::new(args)?;
    let source = match &args.model {
        Some(path) => Source::File(path.clone()),
        None => Source::untrained(&args.arch)?,
    };
    // The file's errors, and its voxel size, before clouds are made.
    let loaded = args.model.as_ref().map(|_| source.model(0.02)).transpose()?;
    let workloads = workloads(args, loaded.map(|model| model.voxel_size()))?;
    let Some(voxel_size) = workloads.first().map(|w| w.voxel_size) else {
        return Err(Error::argument("sizes is empty; give at least one, such as 100k"));
    };
    let counts = engine.thread_counts(args);
    let progress = Progress::new("measuring");
    let mut bench = Bench {
        args,
        engine,
        source,
        voxel_size,
        progress,
        done: Cell::new(0.0),
        whole: whole_weight(args, &workloads, &counts),
    };
    bench.run(&workloads, &counts)
}

/// Points per thread that take about as long as the ceilings once.
const CEILINGS_WEIGHT: f64 = 1e5;

fn weight(workload: &Workload, threads: usize) -> f64 {
    workload.points() as f64 / threads as f64
}

fn whole_weight(args: &Args, workloads: &[Workload], counts: &[usize]) -> f64 {
    let runs = (args.warmup + args.runs) as f64;
    let all = |&threads: &usize| -> f64 { workloads.iter().map(|w| runs * weight(w, threads)).sum() };
    counts.iter().map(all).sum::<f64>() + 2.0 * CEILINGS_WEIGHT * counts.len() as f64
}

/// A benchmark in progress.
struct Bench<'a> {
    args: &'a Args,
    engine: EngineChoice,
    source: Source,
    voxel_size: f64,
    progress: Progress,
    /// Weight of what is done, of `whole`.
    done: Cell<f64>,
    whole: f64,
}

impl Bench<'_> {
    fn run(&mut self, workloads: &[Workload], counts: &[usize]) -> Result<Record> {
        let Args { warmup, runs, labels, .. } = *self.args;
        let mut record: Option<Record> = None;
        for &threads in counts {
            let model = self.source.model(self.voxel_size)?;
            let record = record.get_or_insert_with(|| {
                Record::new(self.engine.describe(), self.source.describe(&model, labels), warmup, runs)
            });
            let meter = self.engine.meter(threads, self.args.ceilings)?;
            let before = self.ceilings(meter.as_ref(), threads)?;
            let opened = self.engine.open(threads)?;
            let mut session = Session::on(model.clone(), opened.backend);
            let vocabulary = workload::vocabulary(&model, labels)?;
            session.set_vocabulary(vocabulary.clone())?;
            let mut samples = Vec::new();
            for (index, workload) in workloads.iter().enumerate() {
                workload::check_colors(&model, workload)?;
                let (mut sample, voxels) = self.sample(&mut session, workload, threads)?;
                // Only the session's first call finds its weights not packed yet.
                sample.first_call = sample.first_call.filter(|_| index == 0);
                if let Some(cuda) = &opened.cuda {
                    sample.kernels = self.kernels(cuda, &mut session, workload)?;
                    if !self.args.no_parity {
                        self.progress.doing(format!("{}: comparing with the CPU", workload.name));
                        sample.parity = Some(Parity::of(&model, &vocabulary, &mut session, workload)?);
                    }
                }
                samples.push((sample, workload.info(voxels)));
            }
            let after = self.ceilings(meter.as_ref(), threads)?;
            if let (Some(meter), Some(before), Some(after)) = (&meter, before, after) {
                record.ceilings.push(meter.ceilings(before, after));
            }
            let ceilings = record.ceilings_of(threads).cloned();
            let weights = Weights::new(&model, labels, self.engine.weight_size());
            let measured = samples
                .into_iter()
                .map(|(sample, cloud)| sample.measurement(cloud, threads, ceilings.as_ref(), &weights));
            record.measurements.extend(measured);
        }
        record.ok_or_else(|| Error::internal("no number of threads to measure with"))
    }

    fn ceilings(&self, meter: Option<&Meter>, threads: usize) -> Result<Option<Rates>> {
        self.progress.doing(format!("ceilings with {}", table::threads_text(threads)));
        let rates = meter.map(Meter::measure).transpose();
        self.advance(CEILINGS_WEIGHT);
        rates
    }

    fn advance(&self, weight: f64) {
        self.done.set(self.done.get() + weight);
        self.progress.report((self.done.get() / self.whole) as f32);
    }

    /// All runs on one cloud; also its number of voxels.
    fn sample(&self, session: &mut Session, workload: &Workload, threads: usize) -> Result<(Sample, usize)> {
        let (clouds, options) = (workload.clouds(), workload.options());
        let Args { warmup, runs, .. } = *self.args;
        let weight = weight(workload, threads);
        let (mut first_call, mut totals) = (None, Vec::new());
        let (mut stages, mut times): (Vec<Stage>, Vec<Vec<f64>>) = (Vec::new(), Vec::new());
        let (mut voxels, mut forgotten, mut resident) = (0, false, None);
        for run in 0..warmup + runs {
            let (what, at, of) = if run < warmup { ("warming up", run, warmup) } else { ("run", run - warmup, runs) };
            let named = format!("{}, {}: {what} {} of {of}", workload.name, table::threads_text(threads), at + 1);
            self.progress.doing(named);
            if run == 0 {
                resident = machine::resident_bytes();
                forgotten = machine::forget_peak();
            }
            let base = self.done.get();
            let (progress, whole) = (&self.progress, self.whole);
            let report = |fraction: f32| progress.report(((base + weight * f64::from(fraction)) / whole) as f32);
            let control = Control { progress: Some(&report), ..Control::default() };
            let start = Instant::now();
            let results = session.segment(&clouds, &options, control)?;
            let total = start.elapsed().as_secs_f64() * 1e3;
            self.advance(weight);
            voxels = results.clouds.iter().map(|result| result.coordinates.len()).sum();
            if run == 0 && warmup > 0 {
                first_call = Some(total);
            }
            if run < warmup {
                continue;
            }
            let of_run = &results.stages;
            if run == warmup {
                stages = of_run.to_vec();
                times = vec![Vec::new(); stages.len()];
            }
            if of_run.len() != stages.len() || of_run.iter().zip(&stages).any(|(a, b)| a.name != b.name) {
                return Err(Error::internal("two runs on one cloud had different stages"));
            }
            times.iter_mut().zip(of_run).for_each(|(times, stage)| times.push(stage.time.as_secs_f64() * 1e3));
            totals.push(total);
        }
        let memory = MemoryUse {
            working_bytes: session.memory().last_bytes,
            kept_bytes: session.backend().held_bytes(),
            resident_before_bytes: resident,
            peak_resident_bytes: machine::peak_bytes(),
            peak_is_of_these_runs: forgotten,
        };
        Ok((Sample { stages, times, totals, first_call, kernels: Vec::new(), parity: None, memory }, voxels))
    }

    /// Every kernel with its milliseconds, `[run]`, from runs of their own.
    fn kernels(
        &self,
        cuda: &CudaBackend,
        session: &mut Session,
        workload: &Workload,
    ) -> Result<Vec<(KernelTime, Vec<f64>)>> {
        self.progress.doing(format!("{}: every kernel", workload.name));
        let (clouds, options) = (workload.clouds(), workload.options());
        let mut kernels: Vec<(KernelTime, Vec<f64>)> = Vec::new();
        cuda.set_profiling(true);
        for run in 0..self.args.runs {
            session.segment(&clouds, &options, Control::default())?;
            let times = cuda.kernel_times();
            if run == 0 {
                kernels = times.iter().map(|kernel| (kernel.clone(), Vec::new())).collect();
            }
            if kernels.len() != times.len() {
                return Err(Error::internal("two runs on one cloud had different kernels"));
            }
            kernels.iter_mut().zip(times).for_each(|((_, runs), kernel)| runs.push(kernel.time.as_secs_f64() * 1e3));
        }
        cuda.set_profiling(false);
        Ok(kernels)
    }
}
