//! What ptxas says about each kernel: registers, memory, spills. One line per kernel and architecture.

use super::ptx::Entry;
use super::target::Target;
use std::collections::BTreeMap;

/// All kernels of all images.
#[derive(Default)]
pub struct Report {
    lines: Vec<Line>,
    threads: BTreeMap<String, u32>,
}

#[derive(Default)]
struct Line {
    module: String,
    kernel: String,
    capability: u32,
    registers: u32,
    shared: u32,
    stack: u32,
    spill_stores: u32,
    spill_loads: u32,
}

/// The number right before `unit` in a line such as `Used 80 registers, used 1 barriers, 8192 bytes smem`.
fn before(line: &str, unit: &str) -> Option<u32> {
    line[..line.find(unit)?].trim_end().rsplit(' ').next()?.parse().ok()
}

impl Report {
    /// Reads ptxas's report in the log of one cubin: first the kernel's name, then its stack and spills, then its registers.
    pub fn note_log(&mut self, module: &str, target: Target, log: &str) {
        for line in log.lines() {
            if let Some(kernel) =
                line.split("Compiling entry function '").nth(1).and_then(|rest| rest.split('\'').next())
            {
                let (module, kernel) = (module.to_owned(), kernel.to_owned());
                self.lines.push(Line { module, kernel, capability: target.capability(), ..Line::default() });
            }
            let Some(last) = self.lines.last_mut() else { continue };
            if line.contains("bytes stack frame") {
                last.stack = before(line, " bytes stack frame").unwrap_or(0);
                last.spill_stores = before(line, " bytes spill stores").unwrap_or(0);
                last.spill_loads = before(line, " bytes spill loads").unwrap_or(0);
            } else if line.contains("Used ") {
                last.registers = before(line, " registers").unwrap_or(0);
                last.shared = before(line, " bytes smem").unwrap_or(0);
            }
        }
    }

    /// Takes the block sizes that the kernels of one PTX promise.
    pub fn note_entries(&mut self, entries: &[Entry]) {
        self.threads.extend(entries.iter().map(|entry| (entry.name.clone(), entry.threads)));
    }

    /// Tab-separated, with a heading.
    pub fn to_tsv(&self) -> String {
        let mut text = "module\tkernel\tsm\tthreads\tregisters\tshared\tstack\tspill_stores\tspill_loads\n".to_owned();
        for line in &self.lines {
            let threads = self.threads.get(&line.kernel).copied().unwrap_or(0);
            let numbers = [
                line.capability,
                threads,
                line.registers,
                line.shared,
                line.stack,
                line.spill_stores,
                line.spill_loads,
            ];
            let numbers = numbers.map(|number| number.to_string()).join("\t");
            text += &format!("{}\t{}\t{numbers}\n", line.module, line.kernel);
        }
        text
    }
}
