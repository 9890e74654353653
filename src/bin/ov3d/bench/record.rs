//! What a benchmark measured, as it is kept in JSON and compared later.
//!
//! Fields are only added within a version of the schema; one that changes its meaning makes a new version.

use super::ceilings::Ceilings;
use super::machine::Machine;
use super::parity::Parity;
use super::workload::Weights;
use openvocab3d::backend::cuda::KernelTime;
use openvocab3d::backend::{Stage, Work};
use openvocab3d::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

const SCHEMA: &str = "ov3d-bench";
const SCHEMA_VERSION: u32 = 1;

/// What is left of a run's time outside its stages: results handed out.
pub(crate) const OUTSIDE: &str = "outside stages";

/// All that one call of `ov3d bench` measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) schema: String,
    pub(crate) schema_version: u32,
    pub(crate) ov3d_version: String,
    /// When it was measured.
    pub(crate) unix_seconds: u64,
    /// Whether the tool was built without debug checks, which cost time.
    pub(crate) release_build: bool,
    pub(crate) machine: Machine,
    pub(crate) engine: Engine,
    pub(crate) network: Network,
    /// Runs per measurement before those that count.
    pub(crate) warmup: usize,
    /// Runs per measurement.
    pub(crate) runs: usize,
    /// One for each number of threads, or none.
    pub(crate) ceilings: Vec<Ceilings>,
    pub(crate) measurements: Vec<Measurement>,
}

/// What ran the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Engine {
    pub(crate) device: String,
    /// The vector instructions, or the architecture of the device.
    pub(crate) level: String,
    pub(crate) precision: String,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Network {
    /// Such as `"MinkUNet18A"`.
    pub(crate) name: String,
    /// The model file, or `"untrained"`.
    pub(crate) source: String,
    pub(crate) parameters: usize,
    pub(crate) labels: usize,
}

/// What a network ran on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CloudInfo {
    /// The scene or the file.
    pub(crate) name: String,
    pub(crate) points: usize,
    pub(crate) voxels: usize,
    /// The number that a generated cloud was asked to have.
    pub(crate) voxels_wanted: Option<usize>,
    /// Metres.
    pub(crate) voxel_size: f64,
}

/// Runs on one cloud with one number of threads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) cloud: CloudInfo,
    pub(crate) threads: usize,
    /// The session's first call with these threads, if there were any to warm up: it also packs the weights.
    pub(crate) first_call_milliseconds: Option<f64>,
    /// Points to labels.
    pub(crate) total: Row,
    /// All convolutions.
    pub(crate) convolutions: Row,
    /// All that is not convolution.
    pub(crate) everything_else: Row,
    /// Stages that belong together, in the order of their first.
    pub(crate) groups: Vec<Row>,
    /// Every stage in order, layers by their published names.
    pub(crate) stages: Vec<Row>,
    /// On a device every kernel, in the order of their first launches; from runs of their own.
    #[serde(default)]
    pub(crate) kernels: Vec<KernelRow>,
    /// How a device's results compare with the CPU's, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parity: Option<Parity>,
    pub(crate) memory: MemoryUse,
}

/// All launches of one kernel in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KernelRow {
    pub(crate) launches: usize,
    #[serde(flatten)]
    pub(crate) row: Row,
}

/// One stage, or several together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Where it is summed; its own name for sums.
    pub(crate) group: String,
    pub(crate) milliseconds: Times,
    /// Of the time of all runs.
    pub(crate) percent: f64,
    /// Useful multiply-adds times two.
    pub(crate) gflop: f64,
    pub(crate) gflops: Option<f64>,
    /// Of the ceilings of the same number of threads, 0 to 1.
    pub(crate) share_of_fma: Option<f64>,
    pub(crate) share_of_gemm: Option<f64>,
    /// Compulsory traffic: weights and rows, each once.
    pub(crate) bytes: u64,
    pub(crate) gigabytes_per_second: Option<f64>,
    pub(crate) share_of_copy: Option<f64>,
    /// Of `bytes` the weights.
    pub(crate) weight_bytes: u64,
    /// On the CPU FLOP at the rate of the dense product plus weights at that of the copy: what small clouds are judged by.
    /// On a device the larger of FLOP at the peak and bytes at the rate of the copy, stage by stage, in the total kernel by
    /// kernel.
    pub(crate) bound_milliseconds: Option<f64>,
    /// The median in multiples of the bound. Below 1 where caches still hold the weights of the run before.
    pub(crate) times_bound: Option<f64>,
}

/// Times of the runs; rates are by the median.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Every run, in order.
    pub(crate) runs: Vec<f64>,
}

/// Memory of the runs of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct MemoryUse {
    /// What a run needs beyond the model, by the library's own count.
    pub(crate) working_bytes: u64,
    /// What the session keeps for its next run.
    pub(crate) kept_bytes: u64,
    /// The process before the runs, with cloud and model.
    pub(crate) resident_before_bytes: Option<u64>,
    /// The most that the process took.
    pub(crate) peak_resident_bytes: Option<u64>,
    /// Whether that peak is of these runs; otherwise it is of the whole life of the process.
    pub(crate) peak_is_of_these_runs: bool,
}

/// What the runs of one measurement took, before it is compared with anything.
pub(crate) struct Sample {
    /// The first run's stages: names and work.
    pub(crate) stages: Vec<Stage>,
    /// `[stage][run]` milliseconds.
    pub(crate) times: Vec<Vec<f64>>,
    /// `[run]` milliseconds.
    pub(crate) totals: Vec<f64>,
    pub(crate) first_call: Option<f64>,
    /// Each kernel with its times, `[run]` milliseconds; none on the CPU.
    pub(crate) kernels: Vec<(KernelTime, Vec<f64>)>,
    pub(crate) parity: Option<Parity>,
    pub(crate) memory: MemoryUse,
}

impl Record {
    pub(crate) fn new(engine: Engine, network: Network, warmup: usize, runs: usize) -> Self {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            schema: SCHEMA.to_owned(),
            schema_version: SCHEMA_VERSION,
            ov3d_version: env!("CARGO_PKG_VERSION").to_owned(),
            unix_seconds: since_epoch.map_or(0, |d| d.as_secs()),
            release_build: !cfg!(debug_assertions),
            machine: Machine::here(),
            engine,
            network,
            warmup,
            runs,
            ceilings: Vec::new(),
            measurements: Vec::new(),
        }
    }

    /// Reads what [`Self::save`] wrote.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", &e))?;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if value["schema"] != SCHEMA {
            let cure = "give a file that `ov3d bench --json FILE` wrote";
            return Err(Error::format(format!("'{}' holds no benchmark; {cure}", path.display())));
        }
        if value["schema_version"] != SCHEMA_VERSION {
            let message = format!(
                "'{}' has version {} of its schema; this ov3d reads version {SCHEMA_VERSION}: measure anew",
                path.display(),
                value["schema_version"]
            );
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        serde_json::from_value(value)
            .map_err(|e| Error::format(format!("'{}' is a damaged benchmark: {e}", path.display())))
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::internal(e.to_string()))?;
        std::fs::write(path, text + "\n").map_err(|e| Error::io(path, "write the benchmark", &e))
    }

    /// The ceilings for `threads`.
    pub(crate) fn ceilings_of(&self, threads: usize) -> Option<&Ceilings> {
        self.ceilings.iter().find(|c| c.threads == threads)
    }
}

impl Times {
    fn new(runs: Vec<f64>) -> Self {
        let mut sorted = runs.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: (low + high) / 2.0, min: sorted[0], max: sorted[sorted.len() - 1], runs }
    }
}

/// Stages summed, run by run.
struct Sum {
    name: String,
    group: String,
    work: Work,
    weight_bytes: u64,
    /// Of a device: the floors of all stages, in milliseconds.
    floor: f64,
    runs: Vec<f64>,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.work.flop += other.work.flop;
        self.work.bytes += other.work.bytes;
        self.weight_bytes += other.weight_bytes;
        self.floor += other.floor;
        self.runs.iter_mut().zip(&other.runs).for_each(|(sum, run)| *sum += run);
    }

    fn row(&self, totals: &[f64], ceilings: Option<&Ceilings>) -> Row {
        let milliseconds = Times::new(self.runs.clone());
        let rate = |amount: u64| {
            let rate = amount as f64 / 1e6 / milliseconds.median;
            (amount > 0 && rate.is_finite()).then_some(rate)
        };
        let (gflops, gigabytes_per_second) = (rate(self.work.flop), rate(self.work.bytes));
        let share = |rate: Option<f64>, ceiling: Option<f64>| Some(rate? / ceiling?);
        let bound_milliseconds = ceilings.and_then(|c| match c.gemm_gflops {
            Some(gemm) => (self.work.flop > 0).then(|| {
                let products = self.work.flop as f64 / gemm.best;
                (products + self.weight_bytes as f64 / c.copy_gigabytes_per_second.best) / 1e6
            }),
            None => (self.floor > 0.0).then_some(self.floor),
        });
        Row {
            name: self.name.clone(),
            group: self.group.clone(),
            percent: 100.0 * self.runs.iter().sum::<f64>() / totals.iter().sum::<f64>().max(f64::MIN_POSITIVE),
            gflop: self.work.flop as f64 / 1e9,
            gflops,
            share_of_fma: share(gflops, ceilings.map(|c| c.fma_gflops.best)),
            share_of_gemm: share(gflops, ceilings.and_then(|c| c.gemm_gflops).map(|gemm| gemm.best)),
            bytes: self.work.bytes,
            gigabytes_per_second,
            share_of_copy: share(gigabytes_per_second, ceilings.map(|c| c.copy_gigabytes_per_second.best)),
            weight_bytes: self.weight_bytes,
            bound_milliseconds,
            times_bound: bound_milliseconds.map(|bound| milliseconds.median / bound),
            milliseconds,
        }
    }
}

impl Sample {
    /// The rows of the sample.
    pub(crate) fn measurement(
        self,
        cloud: CloudInfo,
        threads: usize,
        ceilings: Option<&Ceilings>,
        weights: &Weights,
    ) -> Measurement {
        let sum = |name: &str, group: &str, work: Work, runs: Vec<f64>| Sum {
            name: name.to_owned(),
            group: group.to_owned(),
            work,
            weight_bytes: weights.bytes(name),
            floor: ceilings.filter(|c| c.is_of_device()).map_or(0.0, |c| c.floor(work)),
            runs,
        };
        let mut stages: Vec<Sum> = Vec::new();
        for (stage, runs) in self.stages.iter().zip(&self.times) {
            stages.push(sum(&stage.name, &group_of(&stage.name), stage.work, runs.clone()));
        }
        let within = |run: usize| self.times.iter().map(|runs| runs[run]).sum::<f64>();
        let rest = self.totals.iter().enumerate().map(|(run, total)| total - within(run)).collect();
        stages.push(sum(OUTSIDE, OUTSIDE, Work::default(), rest));

        let nothing =
            |name: &str| Sum { weight_bytes: 0, ..sum(name, name, Work::default(), vec![0.0; self.totals.len()]) };
        let (mut convolutions, mut rest) = (nothing("all convolutions"), nothing("everything else"));
        let mut total = nothing("total");
        let mut groups: Vec<Sum> = Vec::new();
        for stage in &stages {
            if weights.is_layer(&stage.name) { &mut convolutions } else { &mut rest }.add(stage);
            total.add(stage);
            let at = groups.iter().position(|group| group.name == stage.group).unwrap_or_else(|| {
                groups.push(nothing(&stage.group));
                groups.len() - 1
            });
            groups[at].add(stage);
        }
        // The sum of the stages but for rounding.
        total.runs.clone_from(&self.totals);
        let of_kernels: Vec<Sum> =
            self.kernels.iter().map(|(kernel, runs)| sum(&kernel.name, "kernels", kernel.work, runs.clone())).collect();
        let mut all_kernels = nothing("all kernels");
        of_kernels.iter().for_each(|kernel| all_kernels.add(kernel));
        if !self.kernels.is_empty() {
            // Stages that only prepare say nothing of their bytes; kernels all do.
            (total.floor, rest.floor) = (all_kernels.floor, 0.0);
        }
        let row = |sum: &Sum| sum.row(&self.totals, ceilings);
        let kernel_rows = self.kernels.iter().zip(&of_kernels).map(|((kernel, _), sum)| KernelRow {
            launches: kernel.launches,
            row: sum.row(&all_kernels.runs, ceilings),
        });
        Measurement {
            cloud,
            threads,
            first_call_milliseconds: self.first_call,
            total: row(&total),
            convolutions: row(&convolutions),
            everything_else: row(&rest),
            groups: groups.iter().map(row).collect(),
            stages: stages.iter().map(row).collect(),
            kernels: kernel_rows.collect(),
            parity: self.parity,
            memory: self.memory,
        }
    }
}

/// The part of a MinkUNet that a layer belongs to; any other stage stands for itself.
fn group_of(stage: &str) -> String {
    let number = |prefix: &str| -> Option<usize> {
        let digits: String = stage.strip_prefix(prefix)?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    match (number("convtr"), number("conv"), number("block")) {
        (Some(stage), ..) if stage >= 4 => format!("decoder {}", stage - 3),
        (_, Some(0), _) => "stem".to_owned(),
        (_, Some(stage), _) => format!("encoder {stage}"),
        (.., Some(stage)) if stage > 4 => format!("decoder {}", stage - 4),
        (.., Some(stage)) => format!("encoder {stage}"),
        _ => stage.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ceilings::Ceiling;
    use super::*;
    use std::time::Duration;

    #[test]
    fn layers_belong_to_parts_of_the_network() {
        let groups = [
            ("conv0p1s1", "stem"),
            ("conv1p1s2", "encoder 1"),
            ("block4.1.conv2", "encoder 4"),
            ("convtr4p16s2", "decoder 1"),
            ("block5.0.conv1", "decoder 1"),
            ("convtr7p2s2", "decoder 4"),
            ("block8.1.conv2", "decoder 4"),
            ("kernel maps", "kernel maps"),
            ("head", "head"),
        ];
        for (stage, group) in groups {
            assert_eq!(group_of(stage), group);
        }
    }

    #[test]
    fn medians_and_sums_agree() {
        assert_eq!(Times::new(vec![3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(Times::new(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
        let stage =
            |name: &str, flop| Stage { name: name.into(), time: Duration::ZERO, work: Work { flop, bytes: 1_000_000 } };
        let memory = MemoryUse {
            working_bytes: 0,
            kept_bytes: 0,
            resident_before_bytes: None,
            peak_resident_bytes: None,
            peak_is_of_these_runs: false,
        };
        let sample = Sample {
            stages: vec![stage("levels", 0), stage("block1.0.conv1", 4_000_000), stage("block1.0.conv2", 0)],
            times: vec![vec![1.0, 1.0], vec![2.0, 6.0], vec![1.0, 0.0]],
            totals: vec![5.0, 7.0],
            first_call: None,
            kernels: Vec::new(),
            parity: None,
            memory,
        };
        let cloud = CloudInfo { name: String::new(), points: 1, voxels: 1, voxels_wanted: None, voxel_size: 1.0 };
        let layers = ["block1.0.conv1", "block1.0.conv2"].map(|name| (name.to_owned(), 1_000_000));
        let weights = Weights { layers: layers.into(), head: 0 };
        let ceiling = |best: f64| Ceiling { best, before: best, after: best, drift_percent: 0.0 };
        let ceilings = Ceilings {
            threads: 1,
            fma_gflops: ceiling(4.0),
            gemm_gflops: Some(ceiling(2.0)),
            gemm_crate: None,
            gemm_edge: None,
            copy_gigabytes_per_second: ceiling(1.0),
            copy_bytes: 1,
        };
        let got = sample.measurement(cloud, 1, Some(&ceilings), &weights);
        let runs = |row: &Row| row.milliseconds.runs.clone();
        assert_eq!((runs(&got.convolutions), runs(&got.everything_else)), (vec![3.0, 6.0], vec![2.0, 1.0]));
        assert_eq!(got.groups.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(), ["levels", "encoder 1", OUTSIDE]);
        assert_eq!((got.total.gflop, got.stages[1].gflops, got.stages[0].gflops), (0.004, Some(1.0), None));
        assert_eq!((got.convolutions.percent, got.everything_else.percent), (75.0, 25.0));
        assert_eq!(got.stages[3].milliseconds.runs, [1.0, 0.0]);
        // 4 MFLOP at 2 GFLOP/s, 1 MB at 1 GB/s; the other layer has no products here, and only its weights count.
        assert_eq!((got.stages[1].bound_milliseconds, got.stages[1].times_bound), (Some(3.0), Some(4.0 / 3.0)));
        assert_eq!((got.stages[0].bound_milliseconds, got.stages[2].bound_milliseconds), (None, None));
        assert_eq!((got.total.weight_bytes, got.total.bound_milliseconds), (2_000_000, Some(4.0)));
        assert_eq!(got.total.times_bound, Some(1.5));
    }
}
