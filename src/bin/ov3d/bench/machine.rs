//! What the machine is, and how much memory the process takes of it; what the system does not tell is left out.

use serde::{Deserialize, Serialize};

/// What a measurement was made on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// The CPU's name for itself.
    pub(crate) cpu: String,
    pub(crate) logical_cpus: usize,
    pub(crate) memory_bytes: Option<u64>,
    /// Such as `"linux x86_64"`.
    pub(crate) system: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).ok()?;
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
        Self {
            cpu,
            logical_cpus: logical_cpus(),
            memory_bytes: field("/proc/meminfo", "MemTotal").as_deref().and_then(bytes),
            system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        }
    }
}

pub(crate) fn logical_cpus() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Bytes of the process that are in memory now.
pub(crate) fn resident_bytes() -> Option<u64> {
    status("VmRSS")
}

/// The most bytes of the process that were in memory at one time, since it started or since [`forget_peak`].
pub(crate) fn peak_bytes() -> Option<u64> {
    status("VmHWM")
}

/// Lets [`peak_bytes`] begin anew; false where the system does not permit it.
pub(crate) fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    bytes(text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?)
}

/// The bytes of the system's `12 kB`, by which it means KiB.
fn bytes(text: &str) -> Option<u64> {
    text.trim().strip_suffix("kB")?.trim().parse().ok().map(|kibibytes: u64| kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_has_memory() {
        let buffer = vec![1_u8; 32 << 20];
        let (now, peak) = (resident_bytes().unwrap(), peak_bytes().unwrap());
        assert!(now > buffer.len() as u64 && peak >= now, "{now} {peak}");
        assert!(Machine::here().memory_bytes.unwrap() > peak);
        assert_eq!((bytes(" 12 kB"), bytes("12 MB")), (Some(12 << 10), None));
    }
}
