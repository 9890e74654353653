//! The C interface as C sees it: programs built with the system's compiler against the shared library of this build.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "c/files.rs"]
mod files;
#[path = "c/instruments.rs"]
mod instruments;
#[path = "c/kit.rs"]
mod kit;

use kit::{Program, WARNINGS, has_tool, library, number_after, number_before, root, run, scratch};
use std::fs;
use std::path::Path;
use std::process::Command;

const MISUSE: [&str; 10] = [
    "check.c",
    "misuse.c",
    "misuse_clouds.c",
    "misuse_files.c",
    "misuse_handles.c",
    "misuse_requests.c",
    "misuse_sessions.c",
    "misuse_structs.c",
    "misuse_superpoints.c",
    "misuse_vocabularies.c",
];
const BEHAVIOUR: [&str; 5] =
    ["check.c", "behaviour.c", "behaviour_runs.c", "behaviour_superpoints.c", "behaviour_timing.c"];
const THREADS: [&str; 2] = ["check.c", "threads.c"];
const TEXTS: [&str; 2] = ["check.c", "texts.c"];
const FAULTS: [&str; 3] = ["check.c", "faults.c", "panics.c"];

/// Noisy machines may take longer than the promised 20 ms.
const LONGEST_CANCEL_MS: f64 = 100.0;
/// How much the resident set may grow from 100 to 1,000 rounds.
const MOST_GROWTH_KB: f64 = 600.0;
/// What Debian 12 has.
const NEWEST_GLIBC: [u32; 2] = [2, 36];

#[test]
fn misuse_is_an_error_and_breaks_nothing() {
    let _loud = kit::loud();
    let text = run(Program::new(&MISUSE, scratch("misuse").join("misuse")).build().arg(files::folder()));
    print!("{text}");
    assert!(number_before(&text, " cases") >= 100.0, "{text}");
}

#[test]
fn the_interface_behaves() {
    let _quiet = kit::quiet();
    let text = run(Program::new(&BEHAVIOUR, scratch("behaviour").join("behaviour")).build().arg(files::folder()));
    print!("{text}");
    let worst = number_after(&text, "worst ");
    assert!(worst <= LONGEST_CANCEL_MS, "a cancel took {worst} ms");
    let growth = number_before(&text, " kB more after 1000 rounds");
    assert!(growth <= MOST_GROWTH_KB, "{growth} kB more after 1000 rounds");
}

#[test]
fn words_become_vocabularies() {
    let _loud = kit::loud();
    let text = run(Program::new(&TEXTS, scratch("texts").join("texts")).build().arg(files::folder()));
    print!("{text}");
    assert!(number_before(&text, " cases") >= 100.0, "{text}");
}

#[test]
fn sessions_run_side_by_side() {
    let _loud = kit::loud();
    print!("{}", run(Program::new(&THREADS, scratch("threads").join("threads")).build().arg(files::folder())));
}

/// Compiles `source` as every language the header promises to be, with `extra` arguments last.
fn in_every_language(source: &[&str], extra: &[&str]) {
    for (compiler, language) in [("cc", "c99"), ("cc", "c11"), ("c++", "c++11"), ("c++", "c++17")] {
        let mut command = Command::new(compiler);
        command.args(WARNINGS).arg(format!("-std={language}")).arg("-I").arg(root().join("include"));
        if compiler == "c++" {
            command.args(["-x", "c++"]);
        }
        command.args(source).args(["-x", "none"]).args(extra);
        run(&mut command);
    }
}

#[test]
fn the_header_is_every_c_and_cpp() {
    let _loud = kit::loud();
    let folder = scratch("header");
    let alone = folder.join("alone.c");
    fs::write(&alone, "#include \"openvocab3d.h\"\n#include \"openvocab3d.h\"\n").unwrap();
    in_every_language(&[alone.to_str().unwrap()], &["-fsyntax-only"]);

    let units = ["two_units.c", "two_units_main.c"].map(|name| root().join("tests/c").join(name));
    let units = units.each_ref().map(|path| path.to_str().unwrap());
    let program = folder.join("two_units");
    in_every_language(&units, &["-o", program.to_str().unwrap(), library().to_str().unwrap()]);
    run(Command::new(&program).env("LD_LIBRARY_PATH", kit::loader_folder(library(), "header-libraries")));
}

#[test]
fn structs_keep_their_layout() {
    for header in [root().join("include"), frozen_header()] {
        let mut command = Command::new("cc");
        command.args(WARNINGS).args(["-std=c11", "-fsyntax-only", "-I"]).arg(header);
        run(command.arg(root().join("tests/c/offsets.c")));
    }
}

/// A folder where the header of interface 1 is `openvocab3d.h`.
fn frozen_header() -> std::path::PathBuf {
    let folder = scratch(&format!("abi-{:?}", std::thread::current().id()).replace(['(', ')'], ""));
    fs::copy(root().join("tests/abi/openvocab3d_v1.h"), folder.join("openvocab3d.h")).unwrap();
    folder
}

#[test]
fn programs_of_interface_1_run_with_todays_library() {
    let _loud = kit::loud();
    let folder = scratch("interface_1");
    for (name, sources) in [("behaviour", &BEHAVIOUR[..]), ("misuse", &MISUSE[..])] {
        let mut program = Program::new(sources, folder.join(name));
        program.headers = frozen_header();
        let mut command = program.build();
        command.arg(files::folder());
        print!("{}", run(if name == "behaviour" { command.arg("reduced") } else { &mut command }));
    }
}

#[test]
fn exports_names_and_needs() {
    if !has_tool("nm", "the list of exports") || !has_tool("readelf", "the names in the library") {
        return;
    }
    let symbols = run(Command::new("nm").args(["-D", "--defined-only"]).arg(library()));
    let mut exported: Vec<&str> = symbols.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    exported.sort_unstable();
    let wanted = fs::read_to_string(root().join("include/exports.txt")).unwrap();
    assert_eq!(exported, wanted.lines().collect::<Vec<_>>());
    assert!(exported.iter().all(|name| name.starts_with("ov3d_")));

    let dynamic = run(Command::new("readelf").arg("-d").arg(library()));
    assert!(dynamic.contains(&format!("Library soname: [{}]", kit::SONAME)), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    let versions = run(Command::new("readelf").arg("--version-info").arg(library()));
    let newest = versions
        .split("GLIBC_")
        .skip(1)
        .filter_map(|rest| {
            let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
            let mut numbers = rest[..end].split('.').map(|number| number.parse::<u32>().ok());
            Some([numbers.next()??, numbers.next()??])
        })
        .max();
    println!("newest symbol of the C library: {newest:?}");
    assert!(newest.is_some_and(|newest| newest <= NEWEST_GLIBC), "{newest:?}");
}

/// The library with the feature `fault-injection`, built once more in a folder of its own.
fn library_with_faults() -> std::path::PathBuf {
    let folder = kit::target().join("fault");
    let mut build = Command::new(env!("CARGO"));
    build.current_dir(root()).args(["build", "--quiet", "--lib", "--features", "fault-injection", "--target-dir"]);
    run(build.arg(&folder).env_remove("RUSTFLAGS"));
    folder.join("debug/libopenvocab3d.so")
}

#[test]
fn no_panic_and_no_failed_allocation_leaves_the_library() {
    let _loud = kit::loud();
    let library = library_with_faults();
    let folder = scratch("faults");
    let mut program = Program::new(&FAULTS, folder.join("faults"));
    program.library = &library;
    let executable = program.build();
    let run_with = |arguments: &[&Path]| {
        let mut command = Command::new(executable.get_program());
        command.envs(executable.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let text = run(command.arg(files::folder()).args(arguments));
        let told = |line: &&str| line.contains("failed");
        text.lines().filter(told).for_each(|line| println!("{line}"));
    };
    run_with(&[Path::new("panics"), &root().join("include/exports.txt")]);
    run_with(&[Path::new("allocations")]);
}
