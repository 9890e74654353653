//! The rules of the house that the compiler does not know: floors, unsafe code, sizes of files, words.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "house/source.rs"]
mod source;

use source::Source;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, top to bottom; those on one line may import each other.
const FLOORS: [&[&str]; 12] = [
    &["ffi"],
    &["train"],
    &["session", "pipeline"],
    &["text"],
    &["model"],
    &["backend"],
    &["plan"],
    &["superpoint", "fusion", "mask"],
    &["sparse"],
    &["cloud"],
    &["random", "cancel", "arena"],
    &["error"],
];

/// Where unsafe code may stand: beginnings of paths.
const UNSAFE_PLACES: [&str; 6] = [
    "src/ffi/",
    "src/backend/cuda/",
    "src/backend/cpu/simd",
    "src/arena.rs",
    "build/nvrtc.rs",
    "tests/emulator/tests/run/",
];

const MOST_LINES: usize = 600;

/// How far above unsafe code its reason may begin.
const SAFETY_LINES: usize = 6;

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|names| names.contains(&name))
}

/// The first module of a file of the library: `src/model/graph.rs` is of `model`; none for `src/lib.rs` and the tool.
fn module(path: &str) -> Option<&str> {
    let inner = path.strip_prefix("src/")?;
    let first = inner.split('/').next()?.trim_end_matches(".rs");
    (inner != "lib.rs" && first != "bin").then_some(first)
}

/// How many `super`s lead from the file's own module to the crate's root.
fn depth(path: &str) -> usize {
    path.split('/').count() - if path.ends_with("/mod.rs") { 2 } else { 1 }
}

/// The first segments, with their lines, of all paths that start at the crate's root.
fn root_segments(path: &str, source: &Source) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let (mut braces, mut inline_modules) = (0, Vec::new());
    let mut at = 0;
    while at < source.tokens.len() {
        match source.texts::<4>(at) {
            ["mod", _, "{", _] => inline_modules.push(braces),
            ["{", ..] => braces += 1,
            ["}", ..] => {
                braces -= 1;
                if inline_modules.last() == Some(&braces) {
                    inline_modules.pop();
                }
            }
            ["crate", ":", ":", _] => segments_at(source, at + 3, &mut found),
            ["super", ":", ":", _] => {
                let mut supers = 1;
                while source.texts::<3>(at + 3) == ["super", ":", ":"] {
                    supers += 1;
                    at += 3;
                }
                if supers >= depth(path) + inline_modules.len() {
                    segments_at(source, at + 3, &mut found);
                }
                at += 2;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The first segment at `at`, or those of every branch of a braced list.
fn segments_at(source: &Source, at: usize, found: &mut Vec<(String, usize)>) {
    let first = &source.tokens[at];
    if first.text != "{" {
        found.push((first.text.clone(), first.line));
        return;
    }
    let (mut depth, mut starts) = (0, false);
    for token in &source.tokens[at..] {
        match token.text.as_str() {
            "{" => (depth, starts) = (depth + 1, depth == 0),
            "}" => depth -= 1,
            "," => starts = depth == 1,
            name if starts => {
                found.push((name.to_owned(), token.line));
                starts = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
}

/// Imports from a floor above, or from no floor.
fn upward_imports(path: &str, text: &str) -> Vec<String> {
    let source = Source::parse(text);
    let Some(own) = module(path) else {
        let includes = |at: &usize| source.texts::<3>(*at) == ["#", "[", "path"];
        let found = path.starts_with("src/bin/") && (0..source.tokens.len()).any(|at| includes(&at));
        return found.then(|| format!("{path}: the tool includes a file by path")).into_iter().collect();
    };
    let Some(own_floor) = floor(own) else {
        return vec![format!("{path}: '{own}' is on no floor; give it one here and in CONTRIBUTING.md")];
    };
    let wrong = |(name, line): (String, usize)| {
        // What the crate's root exports itself is the error type.
        let re_exported = ["Error", "ErrorKind", "Result"].contains(&name.as_str());
        match floor(if re_exported { "error" } else { &name }) {
            Some(floor) if floor >= own_floor => None,
            Some(_) => Some(format!("{path}:{line}: {own} imports {name}, which is above it")),
            None => Some(format!("{path}:{line}: {own} imports {name}, which is on no floor")),
        }
    };
    root_segments(path, &source).into_iter().filter_map(wrong).collect()
}

/// The words after `SAFETY:` in the comments from [`SAFETY_LINES`] above `line` down to it.
fn safety_words(source: &Source, line: usize) -> usize {
    let near = source.comments.iter().filter(|c| (line.saturating_sub(SAFETY_LINES)..=line).contains(&c.line));
    let text: Vec<&str> = near.map(|c| c.text.trim_start_matches(['/', '*', '!'])).collect();
    text.join(" ").rsplit_once("SAFETY:").map_or(0, |(_, reason)| reason.split_whitespace().count())
}

/// Whether the comments and attributes right above `line` have a `# Safety` section.
fn has_safety_section(text: &str, line: usize) -> bool {
    let above: Vec<&str> = text.lines().take(line - 1).map(str::trim).collect();
    let documents = |l: &&&str| l.starts_with("//") || l.trim_start_matches("$(").starts_with("#[");
    above.iter().rev().take_while(documents).any(|l| l.starts_with("///") && l.contains("# Safety"))
}

/// Whether `line` is inside an `unsafe trait` or `unsafe impl`: the trait's documentation speaks for its methods.
fn has_unsafe_trait(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().take(line).collect();
    let indent = |l: &str| l.len() - l.trim_start().len();
    let opener = lines.iter().rev().find(|l| !l.trim().is_empty() && indent(l) < indent(lines[line - 1]));
    opener.is_some_and(|l| l.contains("unsafe trait ") || l.contains("unsafe impl"))
}

/// Unsafe code outside its places, or without its reason.
fn unexplained_unsafe(path: &str, text: &str) -> Vec<String> {
    let source = Source::parse(text);
    let mut wrong = Vec::new();
    for (at, token) in source.tokens.iter().enumerate().filter(|(_, t)| t.text == "unsafe") {
        let line = token.line;
        if !UNSAFE_PLACES.iter().any(|place| path.starts_with(place)) {
            wrong.push(format!("{path}:{line}: unsafe code has no place here"));
        }
        // The string of `extern "C"` is no token.
        let next = match source.texts::<4>(at + 1) {
            ["extern", a, b, _] => [a, b],
            [a, b, ..] => [a, b],
        };
        match next {
            ["{" | "impl", _] if safety_words(&source, line) < 5 => {
                wrong.push(format!("{path}:{line}: no SAFETY comment of five words or more above"));
            }
            ["fn", name] if name != "(" && !has_safety_section(text, line) && !has_unsafe_trait(text, line) => {
                wrong.push(format!("{path}:{line}: the documentation of {name} lacks its '# Safety' section"));
            }
            _ => {}
        }
    }
    wrong
}

/// Too long, or without its first line; kernels also without what they were predicted to take and took.
fn misshapen(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let mut wrong = Vec::new();
    if lines > MOST_LINES {
        wrong.push(format!("{path}: {lines} lines, at most {MOST_LINES}"));
    }
    let rust = ["src/", "build"].iter().any(|folder| path.starts_with(folder)) && path.ends_with(".rs");
    if (rust && !text.starts_with("//!")) || (path.starts_with("kernels/") && !text.starts_with("//")) {
        wrong.push(format!("{path}: the first line does not say what the file is"));
    }
    let says = |words: &str| text.lines().any(|line| line.starts_with(words));
    if path.ends_with(".cu") && !(says("// Predicted") && says("// History")) {
        wrong.push(format!("{path}: no prediction of what it takes, or no history of what it took"));
    }
    wrong
}

/// Words that have no place in any file, put together here so that this file holds none of them.
fn forbidden_words() -> [String; 6] {
    [["rule", "book"], ["to", "do!"], ["unimple", "mented!"], ["TO", "DO"], ["FIX", "ME"], ["#[ig", "nore"]]
        .map(|halves| halves.concat())
}

fn unwanted_words(path: &str, text: &str) -> Vec<String> {
    let [synonym, others @ ..] = forbidden_words();
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let found = others.iter().find(|word| line.contains(word.as_str()));
        if let Some(word) = found.or(Some(&synonym).filter(|word| line.to_lowercase().contains(word.as_str()))) {
            wrong.push(format!("{path}:{}: '{word}'", number + 1));
        }
    }
    wrong
}

/// Lints that `[lints.rust]` must deny and does not.
fn missing_lints(manifest: &str) -> Vec<String> {
    let section = manifest.split_once("[lints.rust]").map_or("", |(_, rest)| rest);
    let section = section.split("\n[").next().unwrap_or("");
    let denied = |lint: &&str| !section.lines().any(|l| l.replace(' ', "") == format!("{lint}=\"deny\""));
    let names = ["missing_docs", "unsafe_code"].into_iter().filter(denied);
    names.map(|lint| format!("Cargo.toml: [lints.rust] does not deny {lint}")).collect()
}

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}

/// Every text file of the repository by its path from the root, but for git's own and the ignored ones.
fn files() -> Vec<(String, String)> {
    let root = root();
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap_or_default();
    let skip: Vec<PathBuf> =
        ignored.lines().chain([".git", "target"]).map(|l| root.join(l.trim_start_matches('/'))).collect();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if skip.contains(&path) || path.is_symlink() {
                continue;
            } else if path.is_dir() {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.push((name(&root, &path), text));
            }
        }
    }
    found.sort();
    assert!(found.iter().any(|(name, _)| name == "src/lib.rs"), "no src/lib.rs under '{}'", root.display());
    found
}

fn name(root: &Path, path: &Path) -> String {
    let parts: Vec<_> = path.strip_prefix(root).unwrap().iter().map(|p| p.to_string_lossy()).collect();
    parts.join("/")
}

/// Applies `check` to the files whose path and text `wanted` takes, and fails with all that is wrong.
fn hold(wanted: impl Fn(&str) -> bool, check: impl Fn(&str, &str) -> Vec<String>) {
    let wrong: Vec<String> =
        files().iter().filter(|(name, _)| wanted(name)).flat_map(|(name, text)| check(name, text)).collect();
    assert!(wrong.is_empty(), "{} broken rules:\n{}", wrong.len(), wrong.join("\n"));
}

fn is_source(name: &str) -> bool {
    name.starts_with("src/") && name.ends_with(".rs")
}

#[test]
fn no_file_imports_from_a_floor_above() {
    hold(is_source, upward_imports);
}

#[test]
fn unsafe_code_stands_in_its_places_with_reasons() {
    hold(|name| name.ends_with(".rs"), unexplained_unsafe);
}

#[test]
fn files_are_short_and_say_what_they_are() {
    let folders = ["build", "src/", "tests/"];
    let rust = |name: &str| name.ends_with(".rs") && folders.iter().any(|folder| name.starts_with(folder));
    let own_kernels = |name: &str| name.starts_with("kernels/");
    hold(|name| rust(name) || own_kernels(name), misshapen);
}

#[test]
fn no_file_holds_an_unwanted_word() {
    hold(|_| true, unwanted_words);
}

#[test]
fn the_compiler_keeps_its_share() {
    hold(|name| name == "Cargo.toml", |_, text| missing_lints(text));
    let allowed = |name: &str, text: &str| {
        let lifted = Source::parse(text).tokens.into_iter().find(|t| t.text == "missing_docs");
        lifted.map(|t| format!("{name}:{}: every public item is documented", t.line)).into_iter().collect()
    };
    hold(is_source, allowed);
}

mod samples {
    //! Each check on a sample that breaks its rule, and on one next to it that does not.

    use super::*;

    fn imports(path: &str, text: &str) -> usize {
        upward_imports(path, text).len()
    }

    #[test]
    fn imports_are_found_wherever_they_stand() {
        assert_eq!(imports("src/plan/step.rs", "use crate::model::Graph;"), 1);
        assert_eq!(imports("src/plan/step.rs", "use crate::sparse::Key;\nuse crate::plan::X;\nuse crate::Error;"), 0);
        assert_eq!(imports("src/cloud/mod.rs", "use crate::{error::Error, plan::{A, model::B}, session};"), 2);
        assert_eq!(imports("src/cloud/mod.rs", "fn f() -> crate::backend::Job { $crate::ffi::guard() }"), 2);
        assert_eq!(imports("src/session.rs", "use crate::pipeline::fold;"), 0);
        assert_eq!(imports("src/pipeline/fold.rs", "use crate::session::Session;"), 0);
        assert_eq!(imports("src/fusion/view.rs", "use crate::{mask, superpoint};"), 0);
        assert_eq!(imports("src/error.rs", "pub(crate) use crate::cloud::View;"), 1);
        assert_eq!(imports("src/backend/mod.rs", "use crate::bin::main; use crate::nowhere::X;"), 2);
        assert_eq!(imports("src/attic/mod.rs", ""), 1);
        assert_eq!(imports("src/lib.rs", "pub use crate::session::Session;"), 0);
    }

    #[test]
    fn imports_through_super_are_followed_to_the_root() {
        assert_eq!(imports("src/sparse/mod.rs", "use super::model::Graph;"), 1);
        assert_eq!(imports("src/sparse/key.rs", "use super::model::Graph;"), 0, "a module of sparse");
        assert_eq!(imports("src/sparse/key.rs", "use super::super::model::Graph;"), 1);
        assert_eq!(imports("src/sparse/mod.rs", "mod tests { use super::plan; }"), 0, "a module of sparse");
        assert_eq!(imports("src/sparse/mod.rs", "mod tests { use super::super::plan; }\nuse super::plan;"), 2);
    }

    #[test]
    fn comments_and_literals_are_no_imports() {
        let text = "//! [`crate::ffi`]\n/* crate::ffi /* crate::ffi */ crate::ffi */\n\
             const A: &str = \"crate::ffi \\\" crate::ffi\"; const B: &str = r#\"crate::ffi \" crate::ffi\"#;\n\
             const C: char = '\"'; fn f<'a>(x: &'a u8) {} const D: u8 = b'\\'';";
        assert_eq!(imports("src/error.rs", text), 0);
        assert_eq!(imports("src/error.rs", &format!("{text}\nuse crate::ffi::F;")), 1);
    }

    #[test]
    fn the_tool_includes_nothing_by_path() {
        assert_eq!(imports("src/bin/ov3d/main.rs", "#[path = \"../../model/mod.rs\"]\nmod model;"), 1);
        assert_eq!(imports("src/bin/ov3d/main.rs", "use openvocab3d::model;\nuse crate::convert;"), 0);
    }

    #[test]
    fn unsafe_code_is_found() {
        let wrong = |path: &str, text: &str| unexplained_unsafe(path, text).len();
        let reason = "// SAFETY: the caller checked the length above.\n";
        let block = "unsafe { f() }";
        assert_eq!(wrong("src/backend/cpu/head.rs", &format!("{reason}{block}")), 1);
        assert_eq!(wrong("tests/c.rs", &format!("{reason}{block}")), 1);
        let simd = "src/backend/cpu/simd/avx2.rs";
        assert_eq!(wrong(simd, &format!("{reason}{block}")), 0);
        assert_eq!(wrong(simd, &format!("{reason}{}{block}", "\n".repeat(SAFETY_LINES))), 1);
        assert_eq!(wrong(simd, &format!("// SAFETY: fine, really fine.\n{block}")), 1);
        assert_eq!(wrong(simd, &format!("// SAFETY: the caller\n// checked the length.\n{block}")), 0);
        assert_eq!(wrong(simd, &format!("const R: &str = \"{reason}\";\n{block}")), 1);
        assert_eq!(wrong("src/ffi/cloud.rs", "unsafe impl Send for X {}\nunsafe extern \"C\" { fn g(); }"), 2);
        assert_eq!(
            wrong("src/ffi/cloud.rs", "/// F.\n///\n/// # Safety\n/// Live.\n#[inline]\npub unsafe fn f() {}"),
            0
        );
        assert_eq!(wrong("src/ffi/cloud.rs", "/// F.\npub unsafe extern \"C\" fn f() {}"), 1);
        assert_eq!(
            wrong("src/ffi/cloud.rs", "type F = unsafe extern \"C\" fn(u32);\n#[unsafe(no_mangle)]\nfn f() {}"),
            0
        );
        let method = |header: &str| format!("{reason}{header} {{\n    /// F.\n    unsafe fn f() {{}}\n}}");
        assert_eq!(wrong(simd, &method("unsafe impl A for B")), 0);
        assert_eq!(wrong(simd, &method("impl B")), 1);
        assert_eq!(wrong("src/error.rs", "// unsafe\nconst A: &str = \"unsafe\";"), 0);
    }

    #[test]
    fn shapes_words_and_lints_are_found() {
        assert_eq!(misshapen("src/a.rs", "//! A.\nuse b;").len(), 0);
        assert_eq!(misshapen("src/a.rs", "use b;\n//! A.").len(), 1);
        assert_eq!(misshapen("kernels/a.cuh", &"// x\n".repeat(MOST_LINES)).len(), 0);
        assert_eq!(misshapen("kernels/a.cuh", &"// x\n".repeat(MOST_LINES + 1)).len(), 1);
        assert_eq!(misshapen("kernels/a.cuh", "x\n").len(), 1);
        assert_eq!(misshapen("kernels/a.cu", "// A.\n// Predicted: 1 us.\n// History:\n").len(), 0);
        assert_eq!(misshapen("kernels/a.cu", "// A.\n// Predicted: 1 us.\n").len(), 1);
        for word in forbidden_words() {
            assert_eq!(unwanted_words("a", &format!("fine\nnot {word} here")), [format!("a:2: '{word}'")]);
        }
        assert_eq!(unwanted_words("a", &forbidden_words()[0].to_uppercase()).len(), 1);
        assert_eq!(unwanted_words("a", "a rule, a book, and what is to do").len(), 0);
        assert_eq!(missing_lints("[lints.rust]\nmissing_docs = \"deny\"\nunsafe_code = \"deny\"\n[x]").len(), 0);
        assert_eq!(missing_lints("[lints.rust]\nmissing_docs = \"warn\"\n[x]\nunsafe_code = \"deny\"").len(), 2);
    }
}
