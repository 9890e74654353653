//! A record as tables for people.

use super::ceilings::{Ceilings, STEADY_PERCENT};
use super::record::{KernelRow, Measurement, Record, Row};

/// Prints `record`, its layers rather than their groups if asked for, and for clouds of several sizes one line each.
pub(crate) fn print(record: &Record, layers: bool, scaling: bool) {
    header(record);
    if scaling {
        print_scaling(record);
    }
    // With sizes side by side, their stages are wanted only when asked for.
    for measurement in record.measurements.iter().filter(|_| !scaling || layers) {
        say!("");
        print_measurement(record, measurement, layers);
    }
}

pub(crate) fn threads_text(threads: usize) -> String {
    if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }
}

/// `12,345`.
pub(crate) fn grouped(number: usize) -> String {
    crate::picture::grouped(number)
}

fn header(record: &Record) {
    let (network, engine, machine) = (&record.network, &record.engine, &record.machine);
    let parameters = grouped(network.parameters);
    say!("{} ({}), {parameters} parameters, {} labels", network.name, network.source, network.labels);
    say!(
        "{}, {}, {}: {}, {} logical CPUs",
        engine.device,
        engine.level,
        engine.precision,
        machine.cpu,
        machine.logical_cpus
    );
    let runs = if record.runs == 1 { "run".to_owned() } else { format!("{} runs", record.runs) };
    say!("median and range of {runs} after {} to warm up", record.warmup);
    if !record.release_build {
        say!("note: this ov3d was built with debug checks; for times that count build it with --release");
    }
    let most = record.measurements.iter().map(|m| m.threads).max().unwrap_or(1);
    if most > machine.logical_cpus {
        say!("note: {most} threads share {} logical CPUs", machine.logical_cpus);
    }
    for c in &record.ceilings {
        say!("ceilings with {}, in brackets the change from before the runs to after:", threads_text(c.threads));
        let (fma, copy, peak) = (c.fma_gflops, c.copy_gigabytes_per_second, c.peak_name());
        say!("  {peak}   {:>8.1} GFLOP/s ({:+.1} %), in registers at {}", fma.best, fma.drift_percent, engine.level);
        if let (Some(gemm), Some(edge), Some(by)) = (c.gemm_gflops, c.gemm_edge, &c.gemm_crate) {
            say!("  GEMM  {:>8.1} GFLOP/s ({:+.1} %), {edge}-cubed by {by}", gemm.best, gemm.drift_percent);
        }
        let mebibytes = c.copy_bytes >> 20;
        say!("  copy  {:>8.1} GB/s    ({:+.1} %), read and write of {mebibytes} MiB", copy.best, copy.drift_percent);
        if [Some(fma), c.gemm_gflops, Some(copy)].iter().flatten().any(|c| c.drift_percent.abs() > STEADY_PERCENT) {
            say!(
                "  note: these changed by more than {STEADY_PERCENT} %: something else used the machine; measure again"
            );
        }
    }
    match record.ceilings.first() {
        Some(ceilings) if ceilings.is_of_device() => {
            say!(
                "bound: the larger of GFLOP at the MMA rate and MB at the copy rate, in ms; /bound: ms in multiples of it"
            );
        }
        Some(_) => {
            say!(
                "bound: GFLOP at the GEMM rate + bytes of weights at the copy rate, in ms; /bound: ms in multiples of it"
            );
        }
        None => (),
    }
}

pub(crate) fn cloud_text(measurement: &Measurement) -> String {
    let cloud = &measurement.cloud;
    let wanted = cloud.voxels_wanted.map_or_else(String::new, |wanted| format!(" ({} wanted)", grouped(wanted)));
    let (voxels, points) = (grouped(cloud.voxels), grouped(cloud.points));
    format!("{}: {voxels} voxels{wanted} of {} m from {points} points", cloud.name, cloud.voxel_size)
}

fn print_measurement(record: &Record, measurement: &Measurement, layers: bool) {
    let total = &measurement.total;
    say!("{}, {}", cloud_text(measurement), threads_text(measurement.threads));
    let rows = if layers { &measurement.stages } else { &measurement.groups };
    let width = name_width(rows);
    let shares = Shares::of(record.ceilings_of(measurement.threads));
    print_heads(width, shares);
    let print = |row: &Row| say!("  {}", line(row, width, shares));
    rows.iter().for_each(print);
    say!("  {}", "-".repeat(width + shares.width()));
    [&measurement.convolutions, &measurement.everything_else, total].into_iter().for_each(print);
    if let Some(first) = measurement.first_call_milliseconds {
        say!("  first call, which also packs the weights: {first:.1} ms");
    }
    say!("  memory: {}", memory_text(measurement));
    print_kernels(measurement, shares);
    if let Some(parity) = &measurement.parity {
        parity.lines().iter().for_each(|line| say!("  {line}"));
    }
}

/// Which columns of shares a table has.
#[derive(Clone, Copy, PartialEq)]
enum Shares {
    None,
    Cpu,
    Device,
}

impl Shares {
    fn of(ceilings: Option<&Ceilings>) -> Self {
        match ceilings {
            None => Self::None,
            Some(ceilings) if ceilings.is_of_device() => Self::Device,
            Some(_) => Self::Cpu,
        }
    }

    /// Of the peak, of the dense product, of the copy, and the bound.
    fn heads(self) -> [&'static str; 4] {
        match self {
            Self::None => [""; 4],
            Self::Cpu => ["  %FMA", " %GEMM", " %copy", "    bound  /bound"],
            Self::Device => ["  %MMA", "", " %copy", "    bound  /bound"],
        }
    }

    /// Of a table beside its names.
    fn width(self) -> usize {
        74 + self.heads().iter().map(|head| head.len()).sum::<usize>()
    }
}

fn print_heads(width: usize, shares: Shares) {
    let [peak, dense, copy, bound] = shares.heads();
    let (ms, range, flop, bytes) = ("ms", "min..max", "GFLOP", "MB");
    let (blank, percent, rate, traffic) = ("", "%", "GFLOP/s", "GB/s");
    say!(
        "  {blank:<width$} {ms:>10} {range:>19} {percent:>6} {flop:>9} {rate:>8}{peak}{dense} {bytes:>9} {traffic:>7}{copy}{bound}"
    );
}

/// Every kernel with its launches.
fn print_kernels(measurement: &Measurement, shares: Shares) {
    if measurement.kernels.is_empty() {
        return;
    }
    let row = |kernel: &KernelRow| {
        let name = format!("{} x {}", kernel.launches, kernel.row.name);
        Row { name, ..kernel.row.clone() }
    };
    let rows: Vec<Row> = measurement.kernels.iter().map(row).collect();
    let width = name_width(&rows);
    say!("  kernels, by events around every launch, which are coarse below 0.01 ms:");
    print_heads(width, shares);
    rows.iter().for_each(|row| say!("  {}", line(row, width, shares)));
}

pub(crate) fn name_width(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max("all convolutions".len())
}

fn line(row: &Row, width: usize, shares: Shares) -> String {
    let ms = &row.milliseconds;
    let range = format!("{}..{}", milliseconds(ms.min), milliseconds(ms.max));
    let number = |value: Option<f64>, width: usize, digits: usize| match value {
        Some(value) => format!(" {value:>width$.digits$}"),
        None => " ".repeat(width + 1),
    };
    let share = |head: usize, value: Option<f64>| match shares.heads()[head] {
        "" => String::new(),
        _ => number(value.map(|v| 100.0 * v), 5, 1),
    };
    let some = |value: f64| (value > 0.0).then_some(value);
    let mut line = format!("{:<width$} {:>10} {range:>19} {:>6.1}", row.name, milliseconds(ms.median), row.percent);
    line += &(number(some(row.gflop), 9, 2) + &number(row.gflops, 8, 1));
    line += &(share(0, row.share_of_fma) + &share(1, row.share_of_gemm));
    line += &(number(some(row.bytes as f64 / 1e6), 9, 2) + &number(row.gigabytes_per_second, 7, 2));
    line += &share(2, row.share_of_copy);
    if shares != Shares::None {
        let bound = row.bound_milliseconds.map_or_else(String::new, milliseconds);
        line += &format!(" {bound:>8}{}", number(row.times_bound, 7, 2));
    }
    line.trim_end().to_owned()
}

/// Three digits that count, or tenths.
pub(crate) fn milliseconds(value: f64) -> String {
    match value.abs() {
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn memory_text(measurement: &Measurement) -> String {
    let memory = &measurement.memory;
    let mebibytes = |bytes: u64| format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20));
    let (working, kept) = (mebibytes(memory.working_bytes), mebibytes(memory.kept_bytes));
    let own = format!("a run needs {working} beyond the model and the session keeps {kept}, by the library's count");
    let (Some(peak), Some(before)) = (memory.peak_resident_bytes, memory.resident_before_bytes) else {
        return own;
    };
    let of = if memory.peak_is_of_these_runs { "in these runs" } else { "since its start" };
    format!("{own}\n          the process held {} before and at most {} {of}", mebibytes(before), mebibytes(peak))
}

/// One line per cloud, its times side by side for the numbers of threads.
fn print_scaling(record: &Record) {
    let mut counts: Vec<usize> = Vec::new();
    record.measurements.iter().map(|m| m.threads).for_each(|t| {
        if !counts.contains(&t) {
            counts.push(t)
        }
    });
    let Some((&first, others)) = counts.split_first() else { return };
    say!("");
    let mut heads = format!("{:>11} {:>11} {:>12}", "voxels", "points", "peak MiB");
    let bounds = !record.ceilings.is_empty();
    for &threads in &counts {
        heads += &format!(" | {:>12} {:>9} {:>7}", threads_text(threads), "us/voxel", "GFLOP/s");
        heads += if bounds { "  /bound" } else { "" };
        heads += if threads == first { "" } else { " speed-up" };
    }
    say!("{heads}");
    for one in record.measurements.iter().filter(|m| m.threads == first) {
        let same = |threads: usize| record.measurements.iter().find(|m| m.threads == threads && m.cloud == one.cloud);
        let peak = one.memory.peak_resident_bytes.filter(|_| one.memory.peak_is_of_these_runs);
        let peak = peak.map_or_else(String::new, |bytes| grouped((bytes >> 20) as usize));
        let mut line = format!("{:>11} {:>11} {peak:>12}", grouped(one.cloud.voxels), grouped(one.cloud.points));
        let columns = |m: &Measurement| {
            let median = m.total.milliseconds.median;
            let per_voxel = median * 1e3 / m.cloud.voxels.max(1) as f64;
            let rate = m.total.gflops.unwrap_or(0.0);
            let bound = m.total.times_bound.map_or_else(String::new, |times| format!(" {times:>7.2}"));
            format!(" | {:>9} ms {per_voxel:>9.2} {rate:>7.1}{bound}", milliseconds(median))
        };
        line += &columns(one);
        for m in others.iter().filter_map(|&threads| same(threads)) {
            let speed_up = one.total.milliseconds.median / m.total.milliseconds.median;
            line += &format!("{} {speed_up:>8.2}", columns(m));
        }
        say!("{line}");
    }
}
