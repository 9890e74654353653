//! A record as a picture: where the time goes, or, for clouds of several sizes, time against voxels.

use super::ceilings::Ceilings;
use super::record::{CloudInfo, Measurement, Record, Row};
use super::table::{cloud_text, milliseconds, threads_text};
use crate::picture::{self, Bar, BarChart, Curve, Plot, Stack, pale};
use openvocab3d::{Error, Result};
use std::path::Path;

/// Draws `record` and writes it as PNG.
pub(crate) fn save(path: &Path, record: &Record) -> Result<()> {
    let first = record.measurements.first().ok_or_else(|| Error::internal("nothing measured, nothing to draw"))?;
    let image = if record.measurements.iter().any(|m| m.cloud != first.cloud) {
        picture::draw_plot(&plot(record, &first.cloud))
    } else {
        picture::draw_bars(&chart(record, first))
    };
    picture::save(path, &image)
}

fn engine_text(record: &Record) -> String {
    let engine = &record.engine;
    format!("{} {} {}, {}", engine.device, engine.level, engine.precision, record.machine.cpu)
}

/// The stacks of all numbers of threads by group, and the stages of the last.
fn chart(record: &Record, first: &Measurement) -> BarChart {
    let last = record.measurements.last().unwrap_or(first);
    let parts: Vec<(String, [u8; 3])> =
        first.groups.iter().map(|group| (group.name.clone(), color(&group.name))).collect();
    let ceilings = record.ceilings_of(last.threads);
    let threads = threads_text(last.threads);
    let meaning = match ceilings {
        Some(ceilings) => {
            let peak = ceilings.fma_gflops.best;
            format!(
                "every stage with {threads}; dark: what its multiply-adds take at the {} peak of {peak:.0} GFLOP/s",
                ceilings.peak_name()
            )
        }
        None => format!("every stage with {threads}"),
    };
    let bar = |row: &Row| {
        let median = row.milliseconds.median;
        let ideal = ceilings.map_or(0.0, |c| row.gflop / c.fma_gflops.best * 1e3);
        let rate = row.gflops.map_or_else(|| " ".repeat(12), |rate| format!("{rate:>5.0} GFLOP/s"));
        let share = row.share_of_fma.map_or_else(|| " ".repeat(4), |share| format!("{:>3.0}%", 100.0 * share));
        Bar {
            name: row.name.clone(),
            color: color(&row.group),
            value: median,
            solid: ideal,
            note: format!("{:>8} ms {rate} {share}", milliseconds(median)),
        }
    };
    let network = &record.network;
    BarChart {
        title: format!("{} ({}): {}", network.name, network.source, cloud_text(first)),
        subtitle: engine_text(record),
        parts,
        stacks: record.measurements.iter().map(|m| stack(record, m, first)).collect(),
        bars_title: meaning,
        bars: last.stages.iter().map(bar).collect(),
    }
}

/// The groups of `measurement`, in the order of those of `first`.
fn stack(record: &Record, measurement: &Measurement, first: &Measurement) -> Stack {
    let peak = record.ceilings_of(measurement.threads).map_or("FMA", Ceilings::peak_name);
    let total = &measurement.total;
    let (median, convolutions) = (total.milliseconds.median, &measurement.convolutions);
    let mut name = format!("{}: {} ms", threads_text(measurement.threads), milliseconds(median));
    name += &format!(", {:.1} % in convolutions", convolutions.percent);
    if let (Some(rate), Some(share)) = (convolutions.gflops, convolutions.share_of_fma) {
        name += &format!(" at {rate:.0} GFLOP/s, {:.0} % of the {peak} peak", 100.0 * share);
    }
    let shares = total.share_of_fma.is_some();
    let of_peak = if shares { format!(", of {peak}") } else { String::new() };
    let head = format!("{}: ms, of time{of_peak}", threads_text(measurement.threads));
    let same = |name: &str| measurement.groups.iter().find(|group| group.name == name);
    let value = |group: &Row| same(&group.name).map_or(0.0, |row| row.milliseconds.median);
    let note = |group: &Row| {
        same(&group.name).map_or_else(String::new, |row| {
            let share = row.share_of_fma.map_or_else(|| " ".repeat(4), |share| format!("{:>3.0}%", 100.0 * share));
            format!("{} ms {:>5.1}% {share}", milliseconds(row.milliseconds.median), row.percent)
        })
    };
    let (values, notes) = (first.groups.iter().map(value).collect(), first.groups.iter().map(note).collect());
    Stack { name, head, values, notes }
}

/// Blues from the stem down the encoder, greens up the decoder, warm colours for all that is not convolution.
fn color(group: &str) -> [u8; 3] {
    let blend = |[from, to]: [[u8; 3]; 2], part: f64| {
        [0, 1, 2].map(|i| (f64::from(from[i]) + (f64::from(to[i]) - f64::from(from[i])) * part) as u8)
    };
    let depth = || group.bytes().last().map_or(0.0, |digit| f64::from(digit.wrapping_sub(b'1').min(3)) / 3.0);
    match group {
        "stem" => [168, 200, 232],
        "quantise" => [240, 180, 60],
        "levels" => [232, 140, 60],
        "kernel maps" => [206, 78, 60],
        "head" => [150, 90, 170],
        _ if group.starts_with("encoder") => blend([[120, 168, 216], [24, 62, 122]], depth()),
        _ if group.starts_with("decoder") => blend([[18, 96, 70], [130, 200, 130]], depth()),
        _ => [150, 150, 150],
    }
}

fn plot(record: &Record, cloud: &CloudInfo) -> Plot {
    let mut counts: Vec<usize> = record.measurements.iter().map(|m| m.threads).collect();
    counts.sort_unstable();
    counts.dedup();
    let colors = [[24, 62, 122], [206, 78, 60], [18, 116, 80], [150, 90, 170]];
    let mut curves = Vec::new();
    for (index, &threads) in counts.iter().enumerate() {
        let mut measured: Vec<&Measurement> = record.measurements.iter().filter(|m| m.threads == threads).collect();
        measured.sort_by_key(|m| m.cloud.voxels);
        let name = threads_text(threads);
        let color = colors.get(index).copied().unwrap_or_else(|| picture::label_colors(index + 1)[index]);
        let point = |m: &Measurement, y: f64| [m.cloud.voxels as f64, y];
        let bound = measured.iter().filter_map(|m| Some(point(m, m.total.bound_milliseconds?))).collect();
        let range = |m: &&Measurement| [m.total.milliseconds.min, m.total.milliseconds.max];
        let ranges = measured.iter().map(range).collect();
        let points = measured.iter().map(|m| point(m, m.total.milliseconds.median)).collect();
        let bound = Curve { name: format!("{name}, bound"), color: pale(color), points: bound, ranges: Vec::new() };
        curves.extend((!bound.points.is_empty()).then_some(bound));
        curves.push(Curve { name, color, points, ranges });
    }
    let network = &record.network;
    let metres = cloud.voxel_size;
    Plot {
        title: format!(
            "{} ({}): points to labels of {}, voxels of {metres} m",
            network.name, network.source, cloud.name
        ),
        subtitle: engine_text(record),
        axes: ["voxels".to_owned(), "ms, median and range".to_owned()],
        curves,
    }
}
