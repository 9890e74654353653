//! `ov3d devices`: what the library can compute on, and why not on the rest.

use openvocab3d::backend::cuda::device_code;
use openvocab3d::backend::{Device, DeviceKind, devices};
use openvocab3d::{Error, Result};
use serde::Serialize;

/// List the devices, and for those that cannot be used the reason
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d devices
  ov3d devices --json")]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct List<'a> {
    device_code: &'static str,
    devices: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    index: usize,
    kind: &'static str,
    name: &'a str,
    usable: bool,
    reason: Option<&'a str>,
    memory: u64,
    cuda_ordinal: Option<u32>,
    uuid: Option<String>,
    compute_capability: Option<String>,
}

impl<'a> Entry<'a> {
    fn new(index: usize, device: &'a Device) -> Self {
        Self {
            index,
            kind: match device.kind {
                DeviceKind::Cpu => "cpu",
                DeviceKind::Cuda => "cuda",
            },
            name: &device.name,
            usable: device.obstacle.is_none(),
            reason: device.obstacle.as_deref(),
            memory: device.memory,
            cuda_ordinal: device.cuda_ordinal,
            uuid: device.cuda_ordinal.map(|_| uuid(&device.uuid)),
            compute_capability: device.capability.map(|(major, minor)| format!("{major}.{minor}")),
        }
    }
}

/// As the driver's own tools write it: `GPU-` and five groups.
fn uuid(bytes: &[u8; 16]) -> String {
    let groups = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
    let hex = |group: &[u8]| group.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("GPU-{}", groups.map(hex).join("-"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let entries: Vec<Entry<'_>> =
        devices().iter().enumerate().map(|(index, device)| Entry::new(index, device)).collect();
    if args.json {
        let list = List { device_code: device_code(), devices: entries };
        let text = serde_json::to_string_pretty(&list).map_err(|e| Error::internal(e.to_string()))?;
        say!("{text}");
    } else {
        print(&entries);
    }
    Ok(())
}

/// Prints the list for people.
fn print(entries: &[Entry<'_>]) {
    let memory = |entry: &Entry<'_>| match entry.memory {
        0 => "-".to_owned(),
        bytes => format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
    };
    let state = |entry: &Entry<'_>| entry.reason.map_or("usable".to_owned(), |reason| format!("not usable: {reason}"));
    let heading = ["index", "kind", "name", "capability", "memory", "state"].map(str::to_owned);
    let row = |entry: &Entry<'_>| {
        let capability = entry.compute_capability.clone().unwrap_or("-".to_owned());
        let (kind, name) = (entry.kind.to_owned(), entry.name.to_owned());
        [entry.index.to_string(), kind, name, capability, memory(entry), state(entry)]
    };
    let table: Vec<[String; 6]> = std::iter::once(heading).chain(entries.iter().map(row)).collect();
    let widths: Vec<usize> =
        (0..6).map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in &table {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        say!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    say!("device code: {}", device_code());
}
