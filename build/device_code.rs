//! From `kernels/*.cu` to one container of cubins and PTX in the library, or to none with the reason.
//!
//! NVRTC compiles one program at a time per process, so the build script starts itself once per core as a worker. What
//! was compiled before from the same text with the same compiler is taken from the cache.

mod compiler;
mod container;
mod find;
mod nvcc;
mod nvrtc;
mod ptx;
mod report;
mod target;
#[cfg(test)]
mod tests;

use compiler::Compiler;
use container::Image;
use find::{Found, Surroundings};
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use target::Target;

/// Everything that changes what is built, beside the files.
const VARIABLES: [&str; 9] = [
    "OV3D_NVRTC",
    "OV3D_CUDA_INCLUDE",
    "OV3D_NVCC",
    "OV3D_NO_DEVICE_CODE",
    "OV3D_REQUIRE_CUDA",
    "OV3D_KERNEL_CACHE",
    "CUDA_HOME",
    "CUDA_PATH",
    "VIRTUAL_ENV",
];

/// The first argument of a worker.
const WORKER: &str = "compile";

/// One image to be compiled.
struct Job {
    source: PathBuf,
    target: Target,
    /// Where the image goes; its log is put beside it with the extension `log`.
    destination: PathBuf,
}

impl Job {
    /// The source's name without its extension: the name of the module.
    fn module(&self) -> String {
        self.source.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// The build proper, or one worker's share of it.
pub fn run(arguments: &[String]) -> Result<(), String> {
    match arguments {
        [] => build(),
        [command, compiler, jobs @ ..] if command == WORKER => work(compiler, jobs),
        _ => Err(format!("unknown arguments {arguments:?}")),
    }
}

fn build() -> Result<(), String> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).ok_or_else(|| format!("{name} is not set"));
    let (root, out) = (folder("CARGO_MANIFEST_DIR")?, folder("OUT_DIR")?);
    for path in ["build", "kernels"] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    for variable in VARIABLES {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let kernels = fresh_folder(&out.join("kernels"))?;
    println!("cargo:rustc-env=OV3D_KERNELS={}", kernels.display());
    let (required, refused) = (is_set("OV3D_REQUIRE_CUDA"), is_set("OV3D_NO_DEVICE_CODE"));
    if required && refused {
        return Err("OV3D_REQUIRE_CUDA and OV3D_NO_DEVICE_CODE contradict each other: set one of them".to_owned());
    }
    if refused {
        return without_device_code(&out, "this library was built for the CPU alone (OV3D_NO_DEVICE_CODE)");
    }
    match find::find(&Surroundings::of_this_process(root.clone()))? {
        Found::Compiler(compiler) => {
            if compiler.program().is_absolute() {
                println!("cargo:rerun-if-changed={}", compiler.program().display());
            }
            with_device_code(&root, &out, &kernels, &compiler)
        }
        Found::Nothing(looked_for) => {
            println!("cargo:rerun-if-env-changed=PATH");
            let message = format!("no CUDA compiler was found: {looked_for}");
            if required {
                return Err(format!("{message}, and OV3D_REQUIRE_CUDA is set"));
            }
            println!(
                "cargo:warning={message}. The library will run on the CPU alone; OV3D_NO_DEVICE_CODE=1 says that it shall"
            );
            without_device_code(&out, "this library was built without a CUDA compiler")
        }
    }
}

/// The PTX of `source` for `target` at `destination`, made by the compiler that the build would take.
#[cfg(test)]
pub fn compile_ptx(source: &Path, target: &str, destination: &Path) -> Result<(), String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let Found::Compiler(compiler) = find::find(&Surroundings::of_this_process(root))? else {
        return Err("no CUDA compiler was found".to_owned());
    };
    let compiled = compiler.open()?.compile(source, Target::parse(target)?)?;
    let text = String::from_utf8(compiled.image).map_err(|e| format!("PTX is not text: {e}"))?;
    write(destination, ptx::for_old_drivers(&text)?.as_bytes())
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0")
}

fn without_device_code(out: &Path, reason: &str) -> Result<(), String> {
    println!("cargo:rustc-env=OV3D_DEVICE_CODE={reason}");
    write(&out.join("device_code.bin"), &container::pack(0, &[])?)
}

fn with_device_code(root: &Path, out: &Path, kernels: &Path, compiler: &Compiler) -> Result<(), String> {
    let cache = std::env::var_os("OV3D_KERNEL_CACHE").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let shared = cache.is_some();
    let cache = cache.unwrap_or_else(|| out.join("cache"));
    fs::create_dir_all(&cache).map_err(|e| format!("cannot make '{}': {e}", cache.display()))?;
    let jobs = jobs(&root.join("kernels"), compiler, &cache)?;
    compile(compiler, jobs.iter().filter(|job| !job.destination.exists()))?;
    let mut images = Vec::new();
    let mut report = report::Report::default();
    for job in &jobs {
        let mut bytes = read(&job.destination)?;
        if job.target.is_ptx() {
            let text = String::from_utf8(bytes).map_err(|e| format!("{}: PTX is not text: {e}", job.module()))?;
            let text = ptx::for_old_drivers(&text).map_err(|e| format!("kernels/{}.cu: {e}", job.module()))?;
            write(&kernels.join(format!("{}.{}.ptx", job.module(), job.target)), text.as_bytes())?;
            report.note_entries(&ptx::entries(&text));
            // The driver reads PTX up to a NUL.
            bytes = [text.as_bytes(), &[0]].concat();
        } else {
            let log = String::from_utf8_lossy(&read(&job.destination.with_extension("log"))?).into_owned();
            report.note_log(&job.module(), job.target, &log);
        }
        images.push(Image { module: job.module(), target: job.target, bytes });
    }
    if !shared {
        prune(&cache, &jobs)?;
    }
    write(&kernels.join("report.tsv"), report.to_tsv().as_bytes())?;
    write(&out.join("device_code.bin"), &container::pack(compiler.driver_needed(), &images)?)?;
    let names: Vec<String> = compiler.targets().iter().map(Target::to_string).collect();
    println!("cargo:rustc-env=OV3D_DEVICE_CODE={} for {}", compiler.describe(), names.join(" "));
    Ok(())
}

/// Every image of every kernel file, in the order of their names.
fn jobs(folder: &Path, compiler: &Compiler, cache: &Path) -> Result<Vec<Job>, String> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| entry.map(|e| e.path())).collect())
        .map_err(|e| format!("cannot list '{}': {e}", folder.display()))?;
    files.sort();
    let has = |path: &Path, extension: &str| path.extension().is_some_and(|e| e == extension);
    let mut common = DefaultHasher::new();
    (compiler.describe(), compiler.program(), compiler::OPTIONS).hash(&mut common);
    for header in files.iter().filter(|path| has(path, "cuh")) {
        read(header)?.hash(&mut common);
    }
    let mut jobs = Vec::new();
    for source in files.iter().filter(|path| has(path, "cu")) {
        let text = read(source)?;
        for &target in compiler.targets() {
            let mut hasher = common.clone();
            (&text, target.to_string()).hash(&mut hasher);
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            let name = format!("{stem}.{target}.{:016x}.image", hasher.finish());
            jobs.push(Job { source: source.clone(), target, destination: cache.join(name) });
        }
    }
    Ok(jobs)
}

/// Shares the jobs out to one worker per core and waits for all of them.
fn compile<'a>(compiler: &Compiler, jobs: impl Iterator<Item = &'a Job>) -> Result<(), String> {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let mut shares: Vec<Vec<&Job>> = vec![Vec::new(); workers];
    for (index, job) in jobs.enumerate() {
        shares[index % workers].push(job);
    }
    let this = std::env::current_exe().map_err(|e| format!("cannot find the build script: {e}"))?;
    let mut running = Vec::new();
    for share in shares.iter().filter(|share| !share.is_empty()) {
        let mut command = Command::new(&this);
        command
            .arg(WORKER)
            .arg(compiler.to_argument())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        for job in share {
            command.arg(&job.source).arg(job.target.to_string()).arg(&job.destination);
        }
        running.push(command.spawn().map_err(|e| format!("cannot start a compiler process: {e}"))?);
    }
    let mut failed = String::new();
    for child in running {
        let output = child.wait_with_output().map_err(|e| format!("a compiler process was lost: {e}"))?;
        if !output.status.success() {
            failed += &format!("{}\n{}", String::from_utf8_lossy(&output.stderr).trim_end(), output.status);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed) }
}

/// A worker: compiles its jobs one after the other.
fn work(compiler: &str, jobs: &[String]) -> Result<(), String> {
    let compiler = Compiler::from_argument(compiler)?;
    let session = compiler.open()?;
    for job in jobs.chunks_exact(3) {
        let (source, destination) = (Path::new(&job[0]), Path::new(&job[2]));
        let compiled = session.compile(source, Target::parse(&job[1])?)?;
        write(&destination.with_extension("log"), compiled.log.as_bytes())?;
        // Last and at once: another build with the same cache takes a file that exists for a whole one.
        let partial = destination.with_extension(format!("{}.partial", std::process::id()));
        write(&partial, &compiled.image)?;
        fs::rename(&partial, destination).map_err(|e| format!("cannot write '{}': {e}", destination.display()))?;
    }
    Ok(())
}

/// Deletes what earlier texts left in the cache.
fn prune(cache: &Path, jobs: &[Job]) -> Result<(), String> {
    let entries = fs::read_dir(cache).map_err(|e| format!("cannot list '{}': {e}", cache.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        if !jobs.iter().any(|job| job.destination == path || job.destination.with_extension("log") == path) {
            // Another process may have deleted it; a file left over does no harm.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

fn fresh_folder(path: &Path) -> Result<PathBuf, String> {
    // It may not exist yet.
    let _ = fs::remove_dir_all(path);
    fs::create_dir_all(path).map_err(|e| format!("cannot make '{}': {e}", path.display()))?;
    Ok(path.to_owned())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("cannot read '{}': {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), String> {
    fs::write(path, bytes).map_err(|e| format!("cannot write '{}': {e}", path.display()))
}
