//! Finds the shared library of this build, builds C programs against it and runs them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

/// Flags that every C file must pass.
pub const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// The name that programs ask the loader for.
pub const SONAME: &str = "libopenvocab3d.so.0.1";

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The target folder.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned()
}

/// A fresh folder for one test's files; it stays behind for a look at what failed.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("c_harness").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

static LOAD: RwLock<()> = RwLock::new(());

/// Held by a test that measures time: those that load the machine wait.
pub fn quiet() -> RwLockWriteGuard<'static, ()> {
    LOAD.write().unwrap_or_else(PoisonError::into_inner)
}

/// Held by a test that loads the machine.
pub fn loud() -> RwLockReadGuard<'static, ()> {
    LOAD.read().unwrap_or_else(PoisonError::into_inner)
}

/// Whether this is a continuous integration run, where nothing may be skipped.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// Whether `tool` runs; without it a test is skipped with a line, or fails under CI.
pub fn has_tool(tool: &str, what: &str) -> bool {
    let there = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        assert!(!in_ci(), "{what} needs {tool}, which is not installed");
        println!("skipped: {what} needs {tool}, which is not installed");
    }
    there
}

/// The shared library that cargo built together with this test, which lies next to it.
pub fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let path = folder.join("libopenvocab3d.so");
        let built = modified(&path)
            .unwrap_or_else(|| panic!("'{}' is missing: `cargo test` builds it, `cargo build` too", path.display()));
        // Cargo lists there what the library was made from, relative to the package.
        let dependencies = fs::read_to_string(folder.join("openvocab3d.d")).unwrap_or_default();
        let sources = dependencies.lines().find_map(|line| line.split_once("libopenvocab3d.so: "));
        for source in sources.map_or("", |(_, sources)| sources).split_whitespace() {
            let newer = modified(&root().join(source)).is_some_and(|time| time > built);
            assert!(!newer, "'{}' is older than '{source}': build anew", path.display());
        }
        path
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

/// A folder with `library` under the name the loader asks for.
pub fn loader_folder(library: &Path, name: &str) -> PathBuf {
    let folder = scratch(name);
    std::os::unix::fs::symlink(library, folder.join(SONAME)).unwrap();
    folder
}

/// A program to be built.
pub struct Program<'a> {
    pub sources: &'a [&'a str],
    /// Flags of the compiler, beyond the warnings.
    pub flags: &'a [&'a str],
    /// Flags of the linker.
    pub link: &'a [&'a str],
    /// Where `openvocab3d.h` is taken from.
    pub headers: PathBuf,
    pub library: &'a Path,
    /// Where the program is put.
    pub output: PathBuf,
}

impl<'a> Program<'a> {
    /// A C11 program over the present header and the library of this build.
    pub fn new(sources: &'a [&'a str], output: PathBuf) -> Self {
        Self { sources, flags: &[], link: &[], headers: root().join("include"), library: library(), output }
    }

    /// Builds it and returns the command that runs it.
    pub fn build(&self) -> Command {
        let name = self.output.file_name().and_then(OsStr::to_str).unwrap();
        let mut link = Command::new("cc");
        for source in self.sources {
            let object = self.output.with_file_name(format!("{name}.{source}.o"));
            let mut compile = Command::new("cc");
            compile.args(["-std=c11", "-D_POSIX_C_SOURCE=200809L", "-g", "-O1"]).args(WARNINGS).args(self.flags);
            compile.arg("-I").arg(&self.headers).arg("-I").arg(root().join("tests/c"));
            run(compile.arg("-c").arg(root().join("tests/c").join(source)).arg("-o").arg(&object));
            link.arg(object);
        }
        run(link.args(self.link).arg(self.library).args(["-pthread", "-lm", "-o"]).arg(&self.output));
        let parent = self.output.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap();
        let mut command = Command::new(&self.output);
        command.env("LD_LIBRARY_PATH", loader_folder(self.library, &format!("{parent}-{name}-libraries")));
        command
    }
}

/// Runs a command that must succeed and returns what it wrote to stdout.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = text_of(&output);
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Both streams, for messages.
pub fn text_of(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned()).concat()
}

/// The number before `word` in the last line of `text` that has one, such as the cases of a summary.
pub fn number_before(text: &str, word: &str) -> f64 {
    let line = text.lines().rev().find(|line| line.contains(word)).unwrap_or_else(|| panic!("no '{word}' in:\n{text}"));
    let before = line.split(word).next().unwrap().trim_end();
    before.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number before '{word}' in: {line}"))
}

/// The number right after the last `word` in `text`.
pub fn number_after(text: &str, word: &str) -> f64 {
    let rest = text.rsplit_once(word).unwrap_or_else(|| panic!("no '{word}' in:\n{text}")).1;
    rest.split(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("no number after '{word}' in:\n{text}"))
}
