//! Two records side by side: ratios, marked where they are beyond the runs' own spread.

use super::ceilings::STEADY_PERCENT;
use super::record::{Measurement, Record, Row, Times};
use super::table::{cloud_text, milliseconds, name_width, threads_text};
use openvocab3d::{Error, ErrorKind, Result};

/// Prints the ratios of `old` to `new` for the measurements that both have.
pub(crate) fn print(old: &Record, new: &Record, names: [&str; 2], layers: bool) -> Result<()> {
    let pairs: Vec<(&Measurement, &Measurement)> =
        new.measurements.iter().filter_map(|n| Some((old.measurements.iter().find(|o| alike(o, n))?, n))).collect();
    if pairs.is_empty() {
        let list = |record: &Record| {
            let all = record.measurements.iter();
            let texts: Vec<String> = all.map(|m| format!("{}, {}", cloud_text(m), threads_text(m.threads))).collect();
            texts.join("; ")
        };
        let message = format!(
            "nothing to compare: no measurement has the same cloud and threads in both. '{}' has {}. '{}' has {}",
            names[0],
            list(old),
            names[1],
            list(new)
        );
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    say!("");
    say!("old: {}, new: {}; a ratio above 1 means that the new one is faster", names[0], names[1]);
    differences(old, new);
    for (o, n) in pairs {
        say!("");
        say!("{}, {}", cloud_text(n), threads_text(n.threads));
        machine_change(old, new, n.threads);
        let rows = |m: &Measurement| if layers { m.stages.clone() } else { m.groups.clone() };
        let (old_rows, new_rows) = (rows(o), rows(n));
        let width = name_width(&new_rows);
        say!("  {:<width$} {:>10} {:>10} {:>8}", "", "old ms", "new ms", "old/new");
        for row in &new_rows {
            line(old_rows.iter().find(|old| old.name == row.name), row, width);
        }
        for gone in old_rows.iter().filter(|old| !new_rows.iter().any(|new| new.name == old.name)) {
            say!("  {:<width$} {:>10}   only in the old one", gone.name, milliseconds(gone.milliseconds.median));
        }
        say!("  {}", "-".repeat(width + 31));
        line(Some(&o.convolutions), &n.convolutions, width);
        line(Some(&o.everything_else), &n.everything_else, width);
        line(Some(&o.total), &n.total, width);
    }
    Ok(())
}

/// Whether both ran on the same cloud with the same threads.
fn alike(a: &Measurement, b: &Measurement) -> bool {
    let key = |m: &Measurement| (m.threads, m.cloud.name.clone(), m.cloud.points, m.cloud.voxels);
    // Through JSON the last digit may change.
    key(a) == key(b) && (a.cloud.voxel_size / b.cloud.voxel_size - 1.0).abs() < 1e-9
}

fn line(old: Option<&Row>, new: &Row, width: usize) {
    let new_ms = milliseconds(new.milliseconds.median);
    let Some(old) = old else {
        say!("  {:<width$} {:>10} {new_ms:>10}   only in the new one", new.name, "");
        return;
    };
    let ratio = ratio(&old.milliseconds, &new.milliseconds).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    let line = format!("  {:<width$} {:>10} {new_ms:>10} {ratio:>8}", new.name, milliseconds(old.milliseconds.median));
    say!("{}", format!("{line}  {}", verdict(&old.milliseconds, &new.milliseconds)).trim_end());
}

fn ratio(old: &Times, new: &Times) -> Option<f64> {
    (old.median > 0.0 && new.median > 0.0).then(|| old.median / new.median)
}

/// What the ranges of the runs allow to say.
fn verdict(old: &Times, new: &Times) -> &'static str {
    if old.runs.len() < 2 || new.runs.len() < 2 {
        ""
    } else if new.max < old.min {
        "faster"
    } else if new.min > old.max {
        "SLOWER"
    } else {
        ""
    }
}

/// Whatever else differs and may be the reason.
fn differences(old: &Record, new: &Record) {
    let mut found = Vec::new();
    let mut compare = |what: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{what} ({old}, then {new})"));
        }
    };
    let network = |r: &Record| format!("{} {} with {} labels", r.network.name, r.network.source, r.network.labels);
    compare("ov3d", old.ov3d_version.clone(), new.ov3d_version.clone());
    compare("the device", old.engine.device.clone(), new.engine.device.clone());
    compare("the CPU", old.machine.cpu.clone(), new.machine.cpu.clone());
    compare("the level", old.engine.level.clone(), new.engine.level.clone());
    compare("the precision", old.engine.precision.clone(), new.engine.precision.clone());
    compare("the network", network(old), network(new));
    let build = |r: &Record| if r.release_build { "release" } else { "with debug checks" };
    compare("the build", build(old).to_owned(), build(new).to_owned());
    if !found.is_empty() {
        say!("what differs besides: {}", found.join(", "));
    }
    if old.runs < 2 || new.runs < 2 {
        say!("note: one run has no spread, so nothing is marked faster or slower; measure with --runs 5");
    } else {
        say!("marked where every new run was faster, or slower, than every old one");
    }
}

/// Says so if the machine's own ceilings were others.
fn machine_change(old: &Record, new: &Record, threads: usize) {
    let (Some(old), Some(new)) = (old.ceilings_of(threads), new.ceilings_of(threads)) else { return };
    let mut ratios = vec![
        (new.peak_name(), new.fma_gflops.best / old.fma_gflops.best),
        ("copy", new.copy_gigabytes_per_second.best / old.copy_gigabytes_per_second.best),
    ];
    ratios.extend(new.gemm_gflops.zip(old.gemm_gflops).map(|(new, old)| ("GEMM", new.best / old.best)));
    let texts: Vec<String> = ratios.iter().map(|(name, ratio)| format!("{name} {ratio:.2}")).collect();
    let steady = ratios.iter().all(|(_, ratio)| 100.0 * (ratio - 1.0).abs() <= STEADY_PERCENT);
    let warning = if steady { "" } else { "; the machine itself was not the same: measure both again" };
    say!("  ceilings, new/old: {}{warning}", texts.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_run_contradicts_is_marked() {
        let times = |runs: &[f64]| {
            let (min, max) = (runs[0], runs[runs.len() - 1]);
            Times { median: runs[runs.len() / 2], min, max, runs: runs.to_vec() }
        };
        let old = times(&[4.0, 5.0, 6.0]);
        assert_eq!(verdict(&old, &times(&[3.0, 3.5, 3.9])), "faster");
        assert_eq!(verdict(&old, &times(&[3.0, 3.5, 4.1])), "");
        assert_eq!(verdict(&old, &times(&[6.5, 7.0, 8.0])), "SLOWER");
        assert_eq!(verdict(&old, &times(&[1.0])), "");
        assert_eq!(ratio(&old, &times(&[2.0, 2.5, 3.0])), Some(2.0));
        assert_eq!(ratio(&times(&[0.0]), &old), None);
    }
}
