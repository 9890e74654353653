//! The same programs under valgrind and the compiler's sanitizers.

use super::kit::{Program, has_tool, in_ci, loud, root, run, scratch, target, text_of};
use super::{BEHAVIOUR, MISUSE, THREADS, files};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn memory_is_used_rightly() {
    if !has_tool("valgrind", "the check of memory") {
        return;
    }
    let _loud = loud();
    let folder = scratch("valgrind");
    for (name, sources, arguments) in [
        ("misuse", &MISUSE[..], &["structs", "clouds", "sessions", "vocabularies"][..]),
        ("behaviour", &BEHAVIOUR[..], &["reduced"][..]),
    ] {
        let program = Program::new(sources, folder.join(name)).build();
        let mut command = Command::new("valgrind");
        command.args(["--error-exitcode=99", "--quiet", "--leak-check=full"]);
        command.args(["--errors-for-leak-kinds=definite", "--show-leak-kinds=definite"]).arg(program.get_program());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        // Valgrind knows no 512-bit vectors.
        print!("{}", run(command.env("OV3D_CPU_LEVEL", "avx2").arg(files::folder()).args(arguments)));
    }
}

/// What the sanitizers are set up for.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// A sanitizer of the compiler's.
struct Sanitizer {
    /// As the compilers' flags name it.
    name: &'static str,
    /// What programs must bring along for the library.
    runtime: PathBuf,
    library: PathBuf,
}

/// The folder where the compiler keeps its own libraries.
fn compiler_folder() -> PathBuf {
    let sysroot = run(Command::new("rustc").args(["--print", "sysroot"]));
    Path::new(sysroot.trim()).join("lib/rustlib")
}

/// `missing` is not there: a failure under CI, else a line.
fn skip<T>(missing: &str) -> Option<T> {
    assert!(!in_ci(), "{missing}");
    println!("skipped: {missing}");
    None
}

impl Sanitizer {
    /// Builds the library with the sanitizer `name`, whose runtime is called `short`; `flags` are cargo's.
    fn new(name: &'static str, short: &str, flags: &[&str]) -> Option<Self> {
        if !cfg!(all(target_arch = "x86_64", target_env = "gnu")) {
            println!("skipped: the sanitizers are set up for {HOST}");
            return None;
        }
        let folder = compiler_folder().join(HOST).join("lib");
        let ending = format!("_rt.{short}.a");
        let runtimes = folder.read_dir().ok()?.map(|entry| entry.unwrap().path());
        let ends = |path: &PathBuf| path.to_str().is_some_and(|path| path.ends_with(&ending));
        let Some(runtime) = runtimes.filter(ends).max() else {
            return skip(&format!("the compiler comes without *{ending}"));
        };
        let target = target().join(name);
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).args(["build", "--quiet", "--lib", "--target", HOST]).args(flags);
        // The compiler's own switch for flags that only its nightly builds take.
        build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", format!("-Zsanitizer={name}"));
        run(build.arg("--target-dir").arg(&target));
        Some(Self { name, runtime, library: target.join(HOST).join("debug/libopenvocab3d.so") })
    }

    /// Builds a program with the sanitizer on both sides and returns the command that runs it.
    fn build(&self, name: &str, sources: &[&str]) -> Command {
        let mut program = Program::new(sources, scratch(&format!("{}-{name}", self.name)).join(name));
        let flag = format!("-fsanitize={}", self.name);
        let flags = [flag.as_str(), "-fno-omit-frame-pointer"];
        program.flags = &flags;
        let whole = ["-Wl,--whole-archive", self.runtime.to_str().unwrap(), "-Wl,--no-whole-archive"];
        let link = [&whole[..], &["-Wl,--export-dynamic"]].concat();
        program.link = &link;
        program.library = &self.library;
        let mut command = program.build();
        command.env("ASAN_OPTIONS", "detect_leaks=1:allocator_may_return_null=1").arg(files::folder());
        command
    }

    /// Runs a program with a mistake, which must be reported as `what` with `place`, a line of the library.
    fn must_report(&self, name: &str, what: &str, place: &str) {
        let source = format!("{name}.c");
        let output = self.build(name, &["check.c", &source]).output().unwrap();
        let text = text_of(&output);
        assert!(text.contains(what) && text.contains(place) && !output.status.success(), "{text}");
    }
}

#[test]
fn addresses_are_used_rightly() {
    let _loud = loud();
    let Some(sanitizer) = Sanitizer::new("address", "asan", &[]) else { return };
    print!("{}", run(&mut sanitizer.build("misuse", &MISUSE)));
    print!("{}", run(sanitizer.build("behaviour", &BEHAVIOUR).arg("reduced")));
    // The proof that it sees into the library: a caller whose cloud is a point too short.
    sanitizer.must_report("short_cloud", "heap-buffer-overflow", "src/cloud/view.rs");
}

#[test]
fn threads_do_not_race() {
    // Locks of the standard library count only if it is built with the sanitizer too.
    if !compiler_folder().join("src/rust/library").is_dir() {
        // Also in CI: where rustup's server is out of reach, there is no way to get it.
        println!("skipped: the check of threads needs the standard library's source: rustup component add rust-src");
        return;
    }
    let _loud = loud();
    let Some(sanitizer) = Sanitizer::new("thread", "tsan", &["-Zbuild-std"]) else { return };
    print!("{}", run(sanitizer.build("threads", &THREADS).arg("3")));
    print!("{}", run(sanitizer.build("behaviour", &BEHAVIOUR).arg("reduced")));
    // The proof that it sees into the library: a caller that changes a cloud while it is segmented.
    sanitizer.must_report("racing_cloud", "data race", "src/cloud/");
}
