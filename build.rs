//! Names the shared object, keeps it loaded (thread-locals make unloading a Rust library unsafe), and compiles the
//! CUDA kernels into it.

#![allow(clippy::print_stderr, reason = "how a build script tells cargo why it failed")]

#[path = "build/device_code.rs"]
mod device_code;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        name_shared_object();
    }
    match device_code::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn name_shared_object() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let version = |part: &str| std::env::var(format!("CARGO_PKG_VERSION_{part}")).unwrap_or_default();
        let (major, minor) = (version("MAJOR"), version("MINOR"));
        // Before 1.0 every minor version may break the interface.
        let suffix = if major == "0" { format!("0.{minor}") } else { major };
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libopenvocab3d.so.{suffix}");
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
