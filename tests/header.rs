//! The committed header is what cbindgen makes of `src/ffi`, and the export list is what the header declares.
//!
//! After a change of the interface: `OV3D_UPDATE=1 cargo test --test header` rewrites both.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Compares with the committed file, or rewrites it where asked to.
fn check(path: &str, want: &str) {
    let path = root().join(path);
    if std::env::var_os("OV3D_UPDATE").is_some() {
        std::fs::write(&path, want).unwrap();
    }
    let have = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(have == want, "'{}' is out of date: run OV3D_UPDATE=1 cargo test --test header", path.display());
}

fn header() -> String {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    // The interface's files in the order of the manual, and no other: what else is public is Rust's own.
    let nouns = [
        "status",
        "last_error",
        "log",
        "device",
        "model",
        "text_encoder",
        "vocabulary",
        "cloud",
        "superpoint",
        "segment",
        "session",
        "result",
    ];
    let builder = nouns.iter().fold(cbindgen::Builder::new().with_config(config), |builder, noun| {
        builder.with_src(root().join(format!("src/ffi/{noun}.rs")))
    });
    let bindings = builder.generate().unwrap();
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).unwrap()
}

/// The functions that the header declares and the library must export.
fn declared(header: &str) -> Vec<String> {
    let mut names: Vec<String> = header
        .lines()
        .filter(|line| line.contains('(') && !line.starts_with([' ', '/', '#']) && !line.contains("static inline"))
        .filter_map(|line| line.split('(').next()?.rsplit([' ', '*']).next().map(str::to_owned))
        .filter(|name| name.starts_with("ov3d_"))
        .collect();
    names.sort();
    names
}

#[test]
fn the_header_and_the_export_list_are_up_to_date() {
    let header = header();
    check("include/openvocab3d.h", &header);
    check("include/exports.txt", &(declared(&header).join("\n") + "\n"));
}

#[test]
fn every_name_has_the_prefix() {
    let header = header();
    let words = header.lines().filter(|line| !line.starts_with("//") && !line.trim_start().starts_with("//"));
    for line in words {
        let defined = line.strip_prefix("#define ").or_else(|| line.strip_prefix("typedef struct "));
        if let Some(name) = defined.and_then(|rest| rest.split([' ', '(']).next()) {
            let known = ["ov3d_", "OV3D_", "OPENVOCAB3D_"].iter().any(|prefix| name.starts_with(prefix));
            assert!(known, "the header defines '{name}'");
        }
    }
}

#[test]
fn every_export_runs_inside_the_guard() {
    let mut exports = Vec::new();
    for entry in root().join("src/ffi").read_dir().unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for part in text.split("pub extern \"C\" fn ").skip(1) {
            let name = part.split('(').next().unwrap();
            let body = part.split_once("{\n").unwrap().1.trim_start();
            assert!(body.starts_with(&format!("guard!({name},")), "{name} does not begin with its guard");
            exports.push(name.to_owned());
        }
    }
    exports.sort();
    assert_eq!(exports, declared(&header()));
}
