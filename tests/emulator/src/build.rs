//! From PTX files to the stand-in library: translation, compilation with a cache of objects, linking.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The runtime's sources travel inside the program.
macro_rules! runtime {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("../runtime/", $name)))),*] };
}
const RUNTIME: [(&str, &str); 19] = runtime!(
    "api.h",
    "collectives.cpp",
    "control.cpp",
    "device.cpp",
    "device.h",
    "driver.cpp",
    "driver_memory.cpp",
    "driver_module.cpp",
    "driver_stream.cpp",
    "emulator.h",
    "initial.cpp",
    "matrix.cpp",
    "memory.h",
    "race.cpp",
    "scalar.h",
    "settings.h",
    "stream.h",
    "worker.cpp",
    "worker.h",
);

/// What is built, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where `libcuda.so.1` goes.
    pub out: PathBuf,
    pub ptx: Vec<PathBuf>,
    /// A C++20 compiler, g++ or clang++.
    pub compiler: String,
    /// For `-fsanitize=`; empty for none.
    pub sanitize: String,
    /// Objects of earlier builds, by their content; beside the library unless given.
    pub cache: Option<PathBuf>,
    pub jobs: usize,
}

impl Options {
    pub fn new(out: impl Into<PathBuf>) -> Options {
        Options {
            out: out.into(),
            ptx: Vec::new(),
            compiler: std::env::var("CXX").ok().filter(|name| !name.is_empty()).unwrap_or("g++".into()),
            sanitize: String::new(),
            cache: None,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn flags(&self) -> Vec<String> {
        // No contraction: what PTX does not fuse is not fused here. A NaN's bits survive moves either way.
        let mut flags: Vec<String> = "-std=c++20 -O2 -g1 -fPIC -march=x86-64-v3 -fvisibility=hidden -ffp-contract=off \
                                      -fno-strict-aliasing -fno-math-errno -fno-exceptions -pthread -Wall -Wextra"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        if !self.sanitize.is_empty() {
            flags.extend([format!("-fsanitize={}", self.sanitize), "-fno-omit-frame-pointer".into()]);
            flags.extend(["-fno-sanitize-recover=all".into(), "-fno-sanitize=alignment,vptr".into()]);
        }
        flags
    }
}

/// One C++ file to be compiled.
struct Unit {
    name: String,
    text: String,
    extra: &'static [&'static str],
}

/// Builds the library and returns its path.
pub fn build(options: &Options) -> Result<PathBuf, String> {
    let cache = options.cache.clone().unwrap_or(options.out.join("objects"));
    let sources = options.out.join("sources");
    for folder in [&cache, &sources] {
        fs::create_dir_all(folder).map_err(|e| format!("cannot make '{}': {e}", folder.display()))?;
    }
    let mut headers = DefaultHasher::new();
    let mut units = Vec::new();
    for (name, text) in RUNTIME {
        if name.ends_with(".h") {
            text.hash(&mut headers);
            write(&sources.join(name), text)?;
        } else {
            units.push(Unit { name: name.into(), text: text.into(), extra: &[] });
        }
    }
    units.extend(translated(&options.ptx)?);
    let objects = compile(options, units, &sources, &cache, headers.finish())?;
    let library = options.out.join("libcuda.so.1");
    let partial = options.out.join("libcuda.so.1.partial");
    let mut link = Command::new(&options.compiler);
    // Only what programs ask for is visible: the C++ library's templates must not take the place of theirs.
    let exports = sources.join("exports.map");
    write(&exports, "{ global: cu*; ovEmu*; local: *; };\n")?;
    link.arg(format!("-Wl,--version-script={}", exports.display()));
    link.args(["-shared", "-Wl,-soname,libcuda.so.1", "-Wl,-z,nodelete", "-pthread", "-o"]).arg(&partial);
    if !options.sanitize.is_empty() {
        link.arg(format!("-fsanitize={}", options.sanitize));
    }
    run(link.args(&objects))?;
    fs::rename(&partial, &library).map_err(|e| format!("cannot write '{}': {e}", library.display()))?;
    // Loaders ask for the name without a version first.
    let plain = options.out.join("libcuda.so");
    let _ = fs::remove_file(&plain);
    std::os::unix::fs::symlink("libcuda.so.1", &plain)
        .map_err(|e| format!("cannot link '{}': {e}", plain.display()))?;
    Ok(library)
}

/// Every PTX file as C++; all errors together, as one change of the kernels may ask for several new instructions.
fn translated(files: &[PathBuf]) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).map_err(|e| format!("cannot read '{}': {e}", path.display()))?;
        match crate::translate::translate(&text, &name) {
            // Labels, registers and device functions that nobody uses are no mistake of this file's.
            Ok(text) => units.push(Unit { name: format!("{name}.cpp"), text, extra: &["-w"] }),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(units) } else { Err(errors.join("\n")) }
}

fn compile(
    options: &Options,
    units: Vec<Unit>,
    sources: &Path,
    cache: &Path,
    headers: u64,
) -> Result<Vec<PathBuf>, String> {
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let flags = options.flags();
    let object = |unit: &Unit| {
        let mut hasher = DefaultHasher::new();
        (headers, &options.compiler, &flags, &unit.text, unit.extra).hash(&mut hasher);
        cache.join(format!("{}.{:016x}.o", unit.name, hasher.finish()))
    };
    let one = |unit: &Unit| -> Result<(), String> {
        let object = object(unit);
        if object.exists() {
            return Ok(());
        }
        let source = sources.join(&unit.name);
        write(&source, &unit.text)?;
        let partial = object.with_extension(format!("{}.partial", std::process::id()));
        let mut command = Command::new(&options.compiler);
        command.args(&flags).args(unit.extra).arg("-I").arg(sources).arg("-c").arg(&source).arg("-o").arg(&partial);
        run(&mut command)?;
        fs::rename(&partial, &object).map_err(|e| format!("cannot write '{}': {e}", object.display()))
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let (Err(error), Ok(mut failed)) = (one(unit), failed.lock()) {
                        failed.push(error);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    if failed.is_empty() { Ok(units.iter().map(object).collect()) } else { Err(failed.join("\n")) }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("cannot run '{program}': {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let shown: Vec<&str> = text.lines().take(40).collect();
    Err(format!("{program}: {}\n{}", output.status, shown.join("\n")))
}
