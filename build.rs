//! Names the shared object and keeps it loaded: thread-locals make unloading a Rust library unsafe.

fn main() {
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
