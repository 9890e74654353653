//! The emulator's tests: kernels compiled by NVRTC, run through the driver API by programs that find the stand-in.
//!
//! The emulator reads its settings once per process, so every case with its settings is a process of its own: this
//! program without arguments builds the emulator and starts itself for each; an argument picks cases by name.

mod arithmetic;
mod driver;
mod gemm;
mod gpu;
mod nvrtc;
mod planted;
mod random;
mod warp;

use gpu::{Gpu, Result, report};
use ptx_emulator::build::{Options, build};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

/// What a case must come to.
#[derive(Clone, Copy, PartialEq)]
pub enum Expect {
    Success,
    /// A fault whose report has all of these words in this order, with `*` for anything between.
    Report(&'static str),
}

pub struct Case {
    pub name: &'static str,
    pub run: fn(&Gpu) -> Result<()>,
    pub expect: Expect,
    /// Compute capabilities; empty for all that are tested.
    pub archs: &'static [u32],
    /// Lists of settings, each a run: `OV_EMU_ORDER=rev OV_EMU_CPASYNC=lazy`.
    pub settings: &'static [&'static str],
}

const ARCHS: [u32; 2] = [75, 80];
const FILES: [&str; 4] = ["arithmetic", "gemm", "planted", "warp"];
/// For kernels whose result must not depend on who runs first.
pub const SCHEDULES: &[&str] = &[
    "OV_EMU_ORDER=fwd",
    "OV_EMU_ORDER=rev OV_EMU_CPASYNC=lazy",
    "OV_EMU_ORDER=rand:1 OV_EMU_CPASYNC=eager",
    "OV_EMU_ORDER=rand:2 OV_EMU_CPASYNC=mix OV_EMU_THREADS=1",
    "OV_EMU_RACECHECK=1 OV_EMU_INITCHECK=1",
    "OV_EMU_RACECHECK=1 OV_EMU_ORDER=rand:3",
];

fn cases() -> Vec<Case> {
    [arithmetic::cases(), warp::cases(), gemm::cases(), planted::cases(), driver::cases()]
        .into_iter()
        .flatten()
        .collect()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match std::env::var("OV_TEST_CASE").as_deref() {
        Ok("all") => return on_device(),
        Ok(name) => return child(name),
        Err(_) => (),
    }
    match parent(arguments.first().map_or("", String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one case and compares what it came to with what it must.
fn child(name: &str) -> ExitCode {
    let cases = cases();
    let case = cases.iter().find(|case| case.name == name).expect("a case of this name");
    let outcome = Gpu::open().and_then(|gpu| (case.run)(&gpu));
    let verdict = match (case.expect, outcome) {
        (Expect::Success, outcome) => outcome.map_err(|error| format!("{error}\n{}", report())),
        (Expect::Report(_), Ok(())) => Err("no fault was found".into()),
        (Expect::Report(words), Err(error)) => {
            let text = report();
            if matches_words(&text, words) {
                Ok(())
            } else {
                Err(format!("{error}; reported: '{text}', wanted: '{words}'"))
            }
        }
    };
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Every case that asks nothing of the emulator itself, on whatever driver the loader finds: what the emulator takes for
/// the rules of the hardware.
fn on_device() -> ExitCode {
    let of_hardware = [arithmetic::cases(), warp::cases(), gemm::cases()];
    let gpu = match Gpu::open() {
        Ok(gpu) => gpu,
        Err(message) => {
            println!("{message}");
            return ExitCode::FAILURE;
        }
    };
    let asked = |case: &Case| {
        // Kernels that are wrong under one order of copies prove something of the emulator alone.
        let any_order = !case.settings.iter().any(|settings| settings.starts_with("OV_EMU_CPASYNC"));
        case.expect == Expect::Success && any_order && (case.archs.is_empty() || case.archs.contains(&gpu.arch))
    };
    let mut failed = 0;
    for case in of_hardware.into_iter().flatten().filter(asked) {
        let outcome = (case.run)(&gpu);
        failed += usize::from(outcome.is_err());
        println!("{:<28} {}", case.name, outcome.err().map_or("ok".into(), |error| format!("FAILED\n{error}")));
    }
    ExitCode::from(u8::from(failed > 0))
}

fn matches_words(text: &str, words: &str) -> bool {
    let mut rest = text;
    words.split('*').all(|part| match rest.find(part) {
        Some(at) => {
            rest = &rest[at + part.len()..];
            true
        }
        None => false,
    })
}

fn parent(wanted: &str) -> Result<()> {
    let Some(nvrtc) = nvrtc::Nvrtc::find()? else {
        let required = std::env::var("OV3D_REQUIRE_CUDA").is_ok_and(|v| v == "1");
        let message = "no NVRTC (OV3D_NVRTC, .venv): the kernels of these tests cannot be compiled";
        if required {
            return Err(message.into());
        }
        println!("skipped: {message}");
        return Ok(());
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let kernels = out.join("kernels");
    std::fs::create_dir_all(&kernels).map_err(|e| e.to_string())?;
    let mut ptx = Vec::new();
    for file in FILES {
        for arch in ARCHS {
            let source = root.join(format!("tests/kernels/{file}.cu"));
            let bytes = nvrtc.compile(&source, &format!("compute_{arch}"))?;
            let path = kernels.join(format!("{file}.compute_{arch}.ptx"));
            std::fs::write(&path, bytes).map_err(|e| e.to_string())?;
            ptx.push(path);
        }
    }
    for (file, arch) in [("warp", 80), ("warp", 86), ("warp", 75)] {
        let cubin = nvrtc.compile(&root.join(format!("tests/kernels/{file}.cu")), &format!("sm_{arch}"))?;
        std::fs::write(kernels.join(format!("{file}.sm_{arch}.cubin")), cubin).map_err(|e| e.to_string())?;
    }
    let start = Instant::now();
    let plain = emulator(&out, "plain", "", &ptx)?;
    println!("built in {:.1} s", start.elapsed().as_secs_f32());
    let start = Instant::now();
    let checked: Vec<PathBuf> = ptx.iter().filter(|path| sanitizes(&path.to_string_lossy())).cloned().collect();
    let sanitized = emulator(&out, "sanitized", "address,undefined", &checked)?;
    println!("built with sanitizers in {:.1} s", start.elapsed().as_secs_f32());
    let (mut count, mut failed) = (0, 0);
    for case in cases().iter().filter(|case| case.name.contains(wanted)) {
        let archs = if case.archs.is_empty() { &ARCHS } else { case.archs };
        for arch in archs {
            for settings in case.settings {
                let sanitizers =
                    if sanitizes(&format!("{} _80", case.name)) && *arch == 80 { &[false, true][..] } else { &[false] };
                for &sanitize in sanitizers {
                    let folder = if sanitize { &sanitized } else { &plain };
                    let start = Instant::now();
                    let outcome = run(case, *arch, settings, &kernels, folder, sanitize);
                    count += 1;
                    failed += usize::from(outcome.is_err());
                    let label = if sanitize { " sanitized" } else { "" };
                    let verdict = outcome.err().map_or("ok".into(), |e| format!("FAILED\n{e}"));
                    let seconds = start.elapsed().as_secs_f32();
                    println!("{:<28} sm_{arch}{label} {settings}: {verdict} ({seconds:.2} s)", case.name);
                }
            }
        }
    }
    if count == 0 {
        return Err(format!("no case has '{wanted}' in its name"));
    }
    println!("{count} runs, {failed} failed");
    if failed == 0 { Ok(()) } else { Err("FAILED".into()) }
}

/// What is also run with sanitizers: it is the runtime that they check, and compiling takes long.
fn sanitizes(name: &str) -> bool {
    !name.contains("arithmetic") && (name.contains("_80") || name.contains("warp."))
}

fn emulator(out: &Path, name: &str, sanitize: &str, ptx: &[PathBuf]) -> Result<PathBuf> {
    let mut options = Options::new(out.join(name));
    options.sanitize = sanitize.into();
    options.ptx = ptx.to_vec();
    build(&options)?;
    Ok(options.out)
}

fn run(case: &Case, arch: u32, settings: &str, kernels: &Path, folder: &Path, sanitize: bool) -> Result<()> {
    let mut command = Command::new(std::env::current_exe().map_err(|e| e.to_string())?);
    command.env("LD_LIBRARY_PATH", folder).env("OV_TEST_CASE", case.name).env("OV_TEST_KERNELS", kernels);
    command.env("OV_EMU_CC", arch.to_string()).env("OV_EMU_TIMEOUT", "10").env("OV_EMU_QUIET", "1");
    for setting in settings.split_whitespace() {
        let (name, value) = setting.split_once('=').expect("NAME=VALUE");
        command.env(name, value);
    }
    if sanitize {
        // The program itself is not built with it, so the library comes first by hand.
        let asan = Command::new("g++").arg("-print-file-name=libasan.so").output().map_err(|e| e.to_string())?;
        command.env("LD_PRELOAD", String::from_utf8_lossy(&asan.stdout).trim());
        command.env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0");
    }
    let output = command.output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let shown: Vec<&str> = text.lines().take(12).collect();
    Err(format!("{}\n{}", output.status, shown.join("\n")))
}
