//! The build script's units, and what the assembler says of the kernels in this build.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![allow(dead_code, reason = "the build script runs what its units here do not")]

#[path = "../build/device_code.rs"]
mod device_code;

use openvocab3d::backend::cuda::{Images, block_sizes, device_code as compiled_by};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One line of the report: a kernel on an architecture.
struct Kernel {
    module: String,
    name: String,
    sm: u32,
    threads: u32,
    registers: u32,
    shared: u32,
    stack: u32,
    spilled: u32,
}

/// What one multiprocessor has: "Technical Specifications per Compute Capability" of the CUDA C++ Programming Guide.
struct Multiprocessor {
    warps: u32,
    blocks: u32,
    shared: u32,
    /// What every block takes of it beside its own.
    reserved: u32,
}

fn multiprocessor(sm: u32) -> Multiprocessor {
    let of =
        |warps, blocks, kilobytes: u32, reserved| Multiprocessor { warps, blocks, shared: kilobytes << 10, reserved };
    match sm {
        75 => of(32, 16, 64, 0),
        80 => of(64, 32, 164, 1 << 10),
        86 => of(48, 16, 100, 1 << 10),
        89 => of(48, 24, 100, 1 << 10),
        90 | 100 => of(64, 32, 228, 1 << 10),
        120 => of(48, 24, 100, 1 << 10),
        _ => panic!("sm_{sm} is not in this table"),
    }
}

impl Kernel {
    fn parse(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| fields[index].parse::<u32>().unwrap();
        let (module, name) = (fields[0].to_owned(), fields[1].to_owned());
        let [sm, threads, registers, shared, stack] = [2, 3, 4, 5, 6].map(number);
        let launched = block_sizes().into_iter().find(|block| block.kernel == name);
        if let Some(block) = launched {
            assert_eq!(block.threads, threads, "{name} is launched with other threads than its __launch_bounds__");
        }
        // Those that are not of a run, but of a benchmark, are given none beside what they declare.
        let shared = shared + launched.map_or(0, |block| block.shared);
        Self { module, name, sm, threads, registers, shared, stack, spilled: number(7) + number(8) }
    }

    fn label(&self) -> String {
        format!("{}/{}", self.module, self.name.trim_start_matches("ov3d_"))
    }

    /// Warps in flight over the most there can be: registers are given out in 256 per warp, 65,536 in all.
    fn occupancy(&self) -> f64 {
        let own = multiprocessor(self.sm);
        let warps = self.threads.div_ceil(32);
        let by_registers = 65_536 / (self.registers * 32).next_multiple_of(256) / warps;
        let by_shared = own.shared / (self.shared + own.reserved).max(1);
        let blocks = (own.warps / warps).min(own.blocks).min(by_registers).min(by_shared);
        f64::from(blocks * warps) / f64::from(own.warps)
    }
}

/// All kernels on all architectures of this build; `None` without device code.
fn kernels() -> Option<Vec<Kernel>> {
    let report = Path::new(env!("OV3D_KERNELS")).join("report.tsv");
    if Images::embedded().unwrap().is_empty() {
        assert!(!report.exists());
        println!("skipped: {}", compiled_by());
        return None;
    }
    let text = std::fs::read_to_string(report).unwrap();
    Some(text.lines().skip(1).map(Kernel::parse).collect())
}

#[test]
fn no_kernel_spills() {
    let Some(kernels) = kernels() else { return };
    let mut architectures = BTreeMap::<u32, usize>::new();
    for kernel in &kernels {
        let label = kernel.label();
        assert!(kernel.name.starts_with("ov3d_"), "{label}: kernels are named ov3d_");
        assert!(kernel.threads > 0, "{label} has no __launch_bounds__");
        assert!(kernel.registers > 0, "{label}: no registers in the report");
        assert_eq!((kernel.stack, kernel.spilled), (0, 0), "{label} on sm_{} spills to memory", kernel.sm);
        assert!(kernel.occupancy() > 0.0, "{label} cannot run on sm_{}", kernel.sm);
        *architectures.entry(kernel.sm).or_default() += 1;
    }
    for sm in [75, 80, 86, 89, 90] {
        assert_eq!(architectures.get(&sm), architectures.get(&75), "kernels of sm_{sm}");
    }
}

/// A line per kernel: its blocks, then per architecture registers of a thread and occupancy.
fn table(kernels: &[Kernel]) -> String {
    let mut lines = BTreeMap::<String, BTreeMap<u32, &Kernel>>::new();
    kernels.iter().for_each(|kernel| {
        lines.entry(kernel.label()).or_default().insert(kernel.sm, kernel);
    });
    let architectures: BTreeSet<u32> = kernels.iter().map(|kernel| kernel.sm).collect();
    let heads: String = architectures.iter().map(|sm| format!(" sm_{sm} |")).collect();
    let mut text =
        format!("| kernel | threads | shared |{heads}\n|---|---|---|{}\n", "---|".repeat(architectures.len()));
    for (label, of) in &lines {
        let first = of.values().next().unwrap();
        let alike = of.values().all(|kernel| (kernel.threads, kernel.shared) == (first.threads, first.shared));
        assert!(alike, "{label} has other blocks on some architectures");
        let cell = |kernel: &&Kernel| format!(" {}, {:.0} % |", kernel.registers, 100.0 * kernel.occupancy());
        let cells: String = of.values().map(cell).collect();
        text += &format!("| `{label}` | {} | {} |{cells}\n", first.threads, first.shared);
    }
    text
}

#[test]
fn the_documentation_has_the_registers_of_this_build() {
    let Some(kernels) = kernels() else { return };
    let table = table(&kernels);
    println!("{}\n{table}", compiled_by());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cuda.md");
    let text = std::fs::read_to_string(path).unwrap();
    // Other compilers give out registers otherwise.
    if text.contains(&format!("<!-- registers: {} -->", compiled_by())) {
        assert!(text.contains(&table), "docs/cuda.md has another table than this build:\n{table}");
    }
}

#[test]
fn every_kernel_file_has_its_images_and_its_ptx() {
    let images = Images::embedded().unwrap();
    if images.is_empty() {
        println!("skipped: {}", compiled_by());
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in root.join("kernels").read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "cu") {
            continue;
        }
        let module = path.file_stem().unwrap().to_str().unwrap();
        for capability in [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)] {
            assert!(images.pick(module, capability, 13000).is_some(), "{module} for {capability:?}");
        }
        for target in ["compute_75", "compute_80"] {
            let text = std::fs::read_to_string(Path::new(env!("OV3D_KERNELS")).join(format!("{module}.{target}.ptx")));
            assert!(text.unwrap().contains("\n.version 8.0\n"));
        }
    }
}
