//! Builds the stand-in driver, and runs a test of this very program again with it in the loader's way.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Set for the inner run of a test.
const INNER: &str = "OV3D_TEST_INNER";

/// A folder with a stand-in `libcuda.so.1`, compiled with `flags`.
pub fn build(name: &str, flags: &[&str]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stand_in").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda/driver.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
    compiler.args(flags).arg(source).arg("-o").arg(folder.join("libcuda.so.1"));
    let output = compiler.output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

/// Whether this is the inner run: the code under test goes here.
pub fn is_inner() -> bool {
    std::env::var_os(INNER).is_some()
}

/// Runs test `name` of this program again, with the driver of `folder` and `variables`.
pub fn run_inner(name: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env("LD_LIBRARY_PATH", folder).env(INNER, "1");
    command.envs(variables.iter().copied()).output().unwrap()
}
