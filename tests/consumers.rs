//! Programs in C, C++, Python and C# against the installed library: built, run, and compared with Rust.
//!
//! A missing tool prints what is skipped; where the environment variable `CI` is `true` it is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

#[allow(dead_code, reason = "the consumers need one small tower")]
#[path = "text/towers.rs"]
mod towers;

use openvocab3d::backend::cpu::CpuOptions;
use openvocab3d::backend::{Control, FeatureSpace};
use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, GridOrigin};
use openvocab3d::model::{Graph, Model, Variant, Vocabulary, WeightDtype};
use openvocab3d::pipeline::{SegmentOptions, Segmentation};
use openvocab3d::session::Session;
use openvocab3d::text::{EncoderOptions, PromptedLabel, Templates, TextEncoder};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, OnceLock};

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
const NO_EXCEPTIONS: [&str; 2] = ["-fno-exceptions", "-fno-rtti"];

/// What one session may cost in statements of C, and what a stream of frames may grow by.
const MOST_STATEMENTS: usize = 15;
const MOST_GROWTH_KB: u64 = 1024;

/// The library in a prefix of its own, a model and a vocabulary, and room for what is built.
struct Installed {
    prefix: PathBuf,
    model: PathBuf,
    vocabulary: PathBuf,
    work: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source(path: &str) -> PathBuf {
    root().join(path)
}

fn installed() -> &'static Installed {
    static INSTALLED: OnceLock<Installed> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("consumers");
        if work.exists() {
            std::fs::remove_dir_all(&work).unwrap();
        }
        std::fs::create_dir_all(&work).unwrap();
        let installed = Installed {
            prefix: work.join("prefix"),
            model: work.join("model.safetensors"),
            vocabulary: work.join("vocabulary.safetensors"),
            work,
        };
        model().save(&installed.model, WeightDtype::F32).unwrap();
        vocabulary(model()).save(&installed.vocabulary).unwrap();
        // A text tower into the model's space, beside the vocabulary.
        let tower = towers::Shape { name: "", width: 32, heads: 2, layers: 1, inner: 32, dim: 32, activation: "gelu" };
        tower.save(&installed.work.join("tower"), "BF16");
        run(install().arg(&installed.prefix));
        installed
    })
}

fn model() -> Model {
    let variant = Variant::ALL.into_iter().find(|variant| variant.name == "MinkUNet14A").unwrap();
    Model::untrained(Graph::published(variant, 32, 8), 0.05, 1).unwrap()
}

/// Four labels whose embeddings are features of four voxels less the mean of all: untrained features spread over them.
fn vocabulary(model: Model) -> Vocabulary {
    let options = SegmentOptions { features: Some(FeatureSpace::Text), ..SegmentOptions::default() };
    let mut session = Session::new(Arc::new(model), CpuOptions::default()).unwrap();
    let any = Vocabulary::from_embeddings(&["any"], &[1.0; 32], 32, "custom-32").unwrap();
    session.set_vocabulary(Arc::new(any)).unwrap();
    let points = corner(6000, [1024, 1021], 0.0);
    let features = segment(&mut session, &points, &options).features;
    let voxels = features.len() / 32;
    let mean = |i: usize| features.iter().skip(i).step_by(32).sum::<f32>() / voxels as f32;
    let row = |label: usize| {
        (0..32).map(move |i| ((2 * label + 1) * voxels / 8 * 32 + i, i)).map(|(at, i)| features[at] - mean(i))
    };
    let rows: Vec<f32> = (0..4).flat_map(row).collect();
    Vocabulary::from_embeddings(&["floor", "wall", "chair", "café table"], &rows, 32, "custom-32").unwrap()
}

/// The installer with the library that cargo built for these tests.
fn install() -> Command {
    let mut command = Command::new("sh");
    command.arg(source("include/install.sh")).arg("--library").arg(library());
    command
}

/// The shared object lies with the test's own program, in `target/<profile>/deps`, or one folder above.
fn library() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let found = program.ancestors().skip(1).take(2).map(|folder| folder.join("libopenvocab3d.so")).find(|f| f.exists());
    found.expect("libopenvocab3d.so beside the test's program")
}

/// Whether a tool is there; says what is skipped if not.
fn present(tool: &str, arguments: &[&str]) -> bool {
    let there = Command::new(tool).args(arguments).output().is_ok_and(|output| output.status.success());
    if !there {
        println!("skipped: no {tool} ('{}' does not run)", [&[tool], arguments].concat().join(" "));
    }
    there
}

/// The same for what must not be missing in CI.
fn available(tool: &str, arguments: &[&str]) -> bool {
    let there = present(tool, arguments);
    assert!(there || std::env::var("CI").as_deref() != Ok("true"), "no {tool}, and in CI nothing is skipped");
    there
}

/// The C++ compilers: the system's, and clang++ where it is installed.
fn cpp_compilers() -> impl Iterator<Item = &'static str> {
    ["c++", "clang++"].into_iter().filter(|compiler| present(compiler, &["--version"]))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Runs a command that must succeed and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out
}

/// Compiles and links a program with the installed headers and library alone.
fn compile(compiler: &str, standard: &str, options: &[&str], from: &Path, name: &str) -> PathBuf {
    let Installed { prefix, work, .. } = installed();
    let to = work.join(name);
    let mut command = Command::new(compiler);
    command.arg(standard).args(STRICT).args(options).arg(from).arg("-o").arg(&to);
    run(command.arg("-I").arg(prefix.join("include")).arg("-L").arg(prefix.join("lib")).arg("-lopenvocab3d"));
    to
}

/// A program, with the installed library in the loader's path.
fn program(path: impl AsRef<Path>) -> Command {
    let mut command = Command::new(path.as_ref());
    command.env("LD_LIBRARY_PATH", installed().prefix.join("lib"));
    command
}

/// Runs a program on the model and the vocabulary.
fn label(command: &mut Command) -> String {
    run(command.arg(&installed().model).arg(&installed().vocabulary))
}

/// A program given a model that does not exist prints the library's message and fails.
fn reports_its_error(command: &mut Command) {
    let missing = installed().work.join("missing.safetensors");
    let Output { status, stdout, stderr } = command.arg(&missing).arg(&installed().vocabulary).output().unwrap();
    let want = Model::load(&missing).unwrap_err().to_string();
    assert_eq!(status.code(), Some(1), "{command:?}");
    assert!(text(&stderr).contains(&want), "{command:?} printed '{}', not '{want}'", text(&stderr));
    assert_eq!(text(&stdout), "", "{command:?}");
}

fn lines_with<'a>(output: &'a str, word: &str) -> Vec<&'a str> {
    output.lines().filter(|line| line.contains(word)).collect()
}

/// What the examples print of labels: a number that is equal where all labels are.
fn checksum(labels: &[i32]) -> u64 {
    labels.iter().zip(1..).map(|(&label, position): (_, u64)| position * (label + 2) as u64).sum()
}

/// The cloud of every hello program: the same arithmetic once more.
fn corner(count: usize, modulus: [usize; 2], shift: f32) -> Vec<[f32; 3]> {
    let point = |i: usize| {
        let mut xyz = [0.0; 3];
        xyz[i % 3] = (i * 37 % modulus[0]) as f32 / 256.0;
        xyz[(i + 1) % 3] = (i * 101 % modulus[1]) as f32 / 256.0;
        xyz[0] += shift;
        xyz
    };
    (0..count).map(point).collect()
}

fn session() -> Session {
    let Installed { model, vocabulary, .. } = installed();
    let mut session = Session::new(Arc::new(Model::load(model).unwrap()), CpuOptions::default()).unwrap();
    session.set_vocabulary(Arc::new(Vocabulary::load(vocabulary).unwrap())).unwrap();
    session
}

fn segment(session: &mut Session, points: &[[f32; 3]], options: &SegmentOptions) -> Segmentation {
    let result = session.segment(&[Cloud::from_xyz(points)], options, Control::default()).unwrap();
    result.clouds.into_iter().next().unwrap()
}

/// What every hello program must print: the names with their numbers of points, and the checksum.
fn hello() -> &'static str {
    static HELLO: OnceLock<String> = OnceLock::new();
    HELLO.get_or_init(|| {
        let points = corner(6000, [1024, 1021], 0.0);
        let labels = segment(&mut session(), &points, &SegmentOptions::default()).labels;
        let mut expected = String::new();
        let vocabulary = Vocabulary::load(&installed().vocabulary).unwrap();
        for (label, name) in vocabulary.labels().iter().map(|label| &label.name).enumerate() {
            let count = labels.iter().filter(|&&l| l == label as i32).count();
            assert!((100..4500).contains(&count), "{count} of 6000 points are '{name}': such labels prove little");
            expected += &format!("{name}: {count} points\n");
        }
        expected + &format!("checksum {}\n", checksum(&labels))
    })
}

#[test]
fn the_installed_tree_is_whole_and_moves() {
    let Installed { prefix, work, .. } = installed();
    let version = env!("CARGO_PKG_VERSION");
    let short = version.rsplit_once('.').unwrap().0;
    let read_link = |name: &str| prefix.join("lib").join(name).read_link().unwrap();
    assert_eq!(read_link("libopenvocab3d.so"), Path::new(&format!("libopenvocab3d.so.{short}")));
    assert_eq!(read_link(&format!("libopenvocab3d.so.{short}")), Path::new(&format!("libopenvocab3d.so.{version}")));
    let size = |path: &Path| path.metadata().unwrap().len();
    assert!(
        size(&prefix.join("lib/libopenvocab3d.so")) < size(&library()) / 2,
        "the installed library is not stripped"
    );
    for file in ["LICENSE", "LICENSE-MIT", "LICENSE-APACHE", "LICENSE-CLIP"] {
        assert!(prefix.join("share/doc/openvocab3d").join(file).exists(), "{file}");
    }
    assert!(prefix.join("share/doc/openvocab3d/vit-b-32.md").exists());
    assert_eq!(Vocabulary::load(&prefix.join("share/openvocab3d/vit-b-32.safetensors")).unwrap().len(), 1412);
    for file in ["include/openvocab3d.h", "include/openvocab3d.hpp"] {
        assert_eq!(std::fs::read(prefix.join(file)).unwrap(), std::fs::read(source(file)).unwrap(), "{file}");
    }
    let stage = work.join("stage");
    run(install().env("DESTDIR", &stage).arg("/usr"));
    assert!(stage.join("usr/lib/libopenvocab3d.so").exists() && stage.join("usr/include/openvocab3d.h").exists());
    for path in ["lib/pkgconfig/openvocab3d.pc", "lib/cmake/openvocab3d/openvocab3d-config.cmake"] {
        let (here, there) = (prefix.join(path), stage.join("usr").join(path));
        let text = std::fs::read_to_string(&here).unwrap();
        assert!(!text.contains('@') && text.contains(version), "{path}: {text}");
        assert_eq!(text, std::fs::read_to_string(&there).unwrap(), "{path} depends on the prefix");
    }
}

#[test]
fn the_installer_explains_itself_and_its_errors() {
    let script = source("include/install.sh");
    let installer = |arguments: &[&str]| Command::new("sh").arg(&script).args(arguments).output().unwrap();
    let help = installer(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("examples:"));
    for (arguments, status, word) in [
        (&[][..], 2, "usage:"),
        (&["--library"][..], 1, "needs a file"),
        (&["--library", "/nowhere.so", "/tmp"], 1, "/nowhere.so"),
        (&["--frobnicate"], 1, "--frobnicate"),
        (&["/a", "/b"], 1, "more than one PREFIX"),
    ] {
        let output = installer(arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
    if present("shellcheck", &["--version"]) {
        run(Command::new("shellcheck").arg(&script));
    }
}

#[test]
fn headers_stand_alone_and_twice() {
    let Installed { work, .. } = installed();
    let twice = work.join("twice.c");
    std::fs::write(&twice, "#include <openvocab3d.h>\n#include <openvocab3d.h>\nint main(void) { return 0; }\n")
        .unwrap();
    compile("cc", "-std=c11", &["-Wstrict-prototypes"], &twice, "twice_c");
    let (one, other) = (work.join("one.cpp"), work.join("other.cpp"));
    let include = "#include <openvocab3d.hpp>\n#include <openvocab3d.hpp>\n";
    std::fs::write(&one, format!("{include}ov3d::Status other() {{ return ov3d::compatible(); }}\n")).unwrap();
    std::fs::write(&other, format!("{include}ov3d::Status other();\nint main() {{ return !other(); }}\n")).unwrap();
    for compiler in cpp_compilers() {
        let name = format!("twice_{compiler}");
        let built = compile(compiler, "-std=c++17", &[one.to_str().unwrap(), "-Wshadow"], &other, &name);
        run(&mut program(built));
    }
}

#[test]
fn hello_in_c_is_short() {
    let text = std::fs::read_to_string(source("examples/c/hello.c")).unwrap();
    let main = text.split_once("int main(").unwrap().1;
    let statements: usize =
        main.lines().filter(|line| !line.contains("print")).map(|line| line.matches(';').count()).sum();
    assert!(
        (5..=MOST_STATEMENTS).contains(&statements),
        "{statements} statements in hello.c's main, printing excluded"
    );
}

#[test]
fn c_programs_label_as_rust_does() {
    for name in ["hello", "carla_lidar"] {
        let built = compile("cc", "-std=c11", &["-Wconversion"], &source(&format!("examples/c/{name}.c")), name);
        let output = label(&mut program(&built));
        assert_eq!(lines_with(&output, "checksum"), lines_with(hello(), "checksum"), "{name}: {output}");
        reports_its_error(&mut program(&built));
        assert_eq!(program(&built).output().unwrap().status.code(), Some(2), "{name} without arguments");
        if name == "hello" {
            assert_eq!(output, hello());
        }
    }
}

/// What programs print of plain words: from a vocabulary file, then from a text encoder; and of a word that is not there.
fn label_with_words(program: impl Fn() -> Command) -> [String; 2] {
    let Installed { model, vocabulary, work, .. } = installed();
    let tower = work.join("tower");
    let sources =
        [(vocabulary, ["floor", "wall", "chair", "café table"]), (&tower, ["sofa", "a red lamp", "été", "x"])];
    let printed = sources.map(|(source, words)| run(program().arg(model).arg(source).args(words)));
    for (printed, (_, words)) in printed.iter().zip(sources) {
        let labels: Vec<&str> = printed.lines().map(|line| line.split_once(": ").unwrap().0).collect();
        assert_eq!(labels, words, "{printed}");
    }
    let output = program().arg(model).arg(vocabulary).arg("chairs").output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("'chair'"), "{}", text(&output.stderr));
    printed
}

#[test]
fn c_takes_plain_words() {
    let built = compile("cc", "-std=c11", &["-Wconversion"], &source("examples/c/words.c"), "words");
    let [named, encoded] = label_with_words(|| program(&built));
    assert_eq!(lines_with(&named, "points"), lines_with(hello(), "points"));
    let tower = TextEncoder::load(&installed().work.join("tower"), &EncoderOptions::default()).unwrap();
    let words = ["sofa", "a red lamp", "été", "x"].map(PromptedLabel::named);
    let vocabulary = tower.vocabulary(&words, &Templates::default(), Cancel::default()).unwrap();
    let mut session = session();
    session.set_vocabulary(Arc::new(vocabulary)).unwrap();
    let labels = segment(&mut session, &corner(6000, [1024, 1021], 0.0), &SegmentOptions::default()).labels;
    for (label, line) in encoded.lines().enumerate() {
        let count = labels.iter().filter(|own| **own == label as i32).count();
        assert!(line.ends_with(&format!(": {count} points")), "{line}, not {count}");
    }
}

#[test]
fn a_stream_of_frames_keeps_its_memory() {
    let built = compile("cc", "-std=c11", &[], &source("examples/c/stream.c"), "stream");
    reports_its_error(&mut program(&built));
    let Installed { model, vocabulary, .. } = installed();
    let stream = |frames: &str| run(program(&built).arg(model).arg(vocabulary).arg(frames));

    let options = SegmentOptions { grid_origin: GridOrigin::World, ..SegmentOptions::default() };
    let mut session = session();
    let frame = |frame: u8| corner(2000, [512, 509], f32::from(frame) / 64.0);
    let want: u64 = (0..6).map(|i| checksum(&segment(&mut session, &frame(i), &options).labels)).sum();
    assert_eq!(lines_with(&stream("6"), "checksum"), [format!("checksum {want}")]);

    let output = stream("300");
    let resident: Vec<u64> = lines_with(&output, "resident after")
        .iter()
        .map(|line| line.split_whitespace().rev().nth(1).unwrap().parse().unwrap())
        .collect();
    let [after_50, after_300] = resident[..] else { panic!("{output}") };
    println!("resident after 50 frames: {after_50} kB, after 300: {after_300} kB");
    assert!(after_50 > 0 && after_300 < after_50 + MOST_GROWTH_KB, "{output}");
}

#[test]
fn cpp_programs_label_as_rust_does() {
    let built = |compiler: &str, options: &[&str], path: &str| {
        let stem = source(path).file_stem().unwrap().to_str().unwrap().to_owned();
        compile(compiler, "-std=c++17", options, &source(path), &format!("{stem}_{compiler}_{}", options.len()))
    };
    for compiler in cpp_compilers() {
        for (path, options) in [
            ("examples/cpp/hello.cpp", &[][..]),
            ("examples/cpp/hello.cpp", &NO_EXCEPTIONS),
            ("examples/cpp/hello_throwing.cpp", &[]),
        ] {
            let hello_cpp = built(compiler, options, path);
            assert_eq!(label(&mut program(&hello_cpp)), hello(), "{path} {options:?}");
            reports_its_error(&mut program(&hello_cpp));
        }
        for options in [&[][..], &NO_EXCEPTIONS] {
            label(&mut program(built(compiler, options, "tests/consumers/layer.cpp")));
        }
    }
}

#[test]
fn pkg_config_finds_the_library() {
    if !available("pkg-config", &["--version"]) {
        return;
    }
    let Installed { prefix, work, .. } = installed();
    let search = prefix.join("lib/pkgconfig");
    let pkg_config =
        |arguments: &[&str]| run(Command::new("pkg-config").args(arguments).env("PKG_CONFIG_PATH", &search));
    assert_eq!(pkg_config(&["--modversion", "openvocab3d"]).trim(), env!("CARGO_PKG_VERSION"));
    let flags = pkg_config(&["--cflags", "--libs", "openvocab3d"]);
    let to = work.join("hello_pkg_config");
    run(Command::new("cc").arg(source("examples/c/hello.c")).arg("-o").arg(&to).args(flags.split_whitespace()));
    assert_eq!(label(&mut program(&to)), hello());
}

#[test]
fn cmake_finds_the_library() {
    if !available("cmake", &["--version"]) || !available("pkg-config", &["--version"]) {
        return;
    }
    let Installed { prefix, work, .. } = installed();
    for pkg_config in ["OFF", "ON"] {
        let build = work.join(format!("cmake_{pkg_config}"));
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(source("examples/cmake-consumer")).arg("-B").arg(&build);
        configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()));
        run(configure.arg(format!("-DUSE_PKG_CONFIG={pkg_config}")));
        run(Command::new("cmake").arg("--build").arg(&build));
        for name in ["hello_c", "hello_cpp"] {
            // Without the loader's path: CMake gives what it builds a path to the library.
            assert_eq!(label(&mut Command::new(build.join(name))), hello(), "{name}");
        }
    }
    let wrong = work.join("wrong_version");
    std::fs::create_dir_all(&wrong).unwrap();
    let lists = "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfind_package(openvocab3d VERSION_HERE CONFIG)\n\
                 message(\"found ${openvocab3d_FOUND}\")\n";
    for (version, found) in [("0.1", true), (env!("CARGO_PKG_VERSION"), true), ("0.0.9", false), ("9.9", false)] {
        std::fs::write(wrong.join("CMakeLists.txt"), lists.replace("VERSION_HERE", version)).unwrap();
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(&wrong).arg("-B").arg(wrong.join(format!("build-{version}")));
        let output = configure.arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display())).output().unwrap();
        assert_eq!(text(&output.stderr).contains("found 1"), found, "{version}: {}", text(&output.stderr));
    }
}

/// A Python with numpy: the one named by `OV3D_PYTHON`, the first in the path, or the system's.
fn python() -> Option<String> {
    let named = std::env::var("OV3D_PYTHON").ok();
    let candidates = named.into_iter().chain(["python3", "/usr/bin/python3"].map(str::to_owned));
    let has_numpy =
        |python: &String| Command::new(python).args(["-c", "import numpy"]).output().is_ok_and(|o| o.status.success());
    let found = candidates.into_iter().find(has_numpy);
    if found.is_none() {
        available("python3", &["-c", "import numpy"]);
    }
    found
}

#[test]
fn python_labels_as_rust_does() {
    let Some(python) = python() else { return };
    let Installed { model, vocabulary, work, .. } = installed();
    let script = |path: &str| {
        let mut command = program(&python);
        command.env("PYTHONPATH", source("examples/python")).env("PYTHONDONTWRITEBYTECODE", "1").arg(source(path));
        command
    };
    assert_eq!(label(&mut script("examples/python/hello.py")), hello());
    reports_its_error(&mut script("examples/python/hello.py"));
    let assertions = work.join("python_structs.c");
    run(script("tests/consumers/layer.py").arg(model).arg(vocabulary).arg(&assertions));
    hold(&assertions);
}

/// Compiles C that asserts what another language says of the header's structs.
fn hold(assertions: &Path) {
    assert!(std::fs::read_to_string(assertions).unwrap().lines().count() > 20);
    let include = installed().prefix.join("include");
    run(Command::new("cc").args(["-std=c11", "-fsyntax-only", "-I"]).arg(include).arg(assertions));
}

#[test]
fn csharp_labels_as_rust_does() {
    if !available("mcs", &["--version"]) || !available("mono", &["--version"]) {
        return;
    }
    let Installed { work, .. } = installed();
    let bindings = ["examples/csharp/OpenVocab3D.cs", "examples/csharp/Native.cs"].map(source);
    let built = |main: &str, name: &str| {
        let to = work.join(name);
        let mut mcs = Command::new("mcs");
        mcs.args(["-unsafe", "-warn:4", "-warnaserror"]).arg(format!("-out:{}", to.display()));
        run(mcs.args(&bindings).arg(source(main)));
        to
    };
    let hello_cs = built("examples/csharp/Hello.cs", "Hello.exe");
    assert_eq!(label(program("mono").arg(&hello_cs)), hello());
    reports_its_error(program("mono").arg(&hello_cs));
    let words_cs = built("examples/csharp/Words.cs", "Words.exe");
    label_with_words(|| {
        let mut mono = program("mono");
        mono.arg(&words_cs);
        mono
    });
    let assertions = work.join("csharp_structs.c");
    let layout = built("tests/consumers/layout.cs", "layout.exe");
    std::fs::write(&assertions, run(program("mono").arg(layout))).unwrap();
    hold(&assertions);
}

/// The commands of a README: its blocks for the shell.
fn commands(readme: &Path) -> String {
    let text = std::fs::read_to_string(readme).unwrap();
    text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect()
}

#[test]
fn the_readmes_commands_work() {
    let Installed { prefix, model, vocabulary, work } = installed();
    let copies = work.join("readmes");
    run(Command::new("cp").arg("-r").arg(source("examples")).arg(&copies));
    for (folder, tools, programs) in [
        ("c", &["cc", "pkg-config"][..], 2),
        ("cpp", &["c++", "pkg-config"], 2),
        ("cmake-consumer", &["cmake", "pkg-config"], 3),
        ("csharp", &["mcs", "mono"], 1),
        ("python", &[], 1),
    ] {
        if !tools.iter().all(|tool| available(tool, &["--version"])) || (folder == "python" && python().is_none()) {
            continue;
        }
        let folder = copies.join(folder);
        let mut shell = Command::new("sh");
        let commands = commands(&folder.join("README.md")).replace("python3", &python().unwrap_or_default());
        shell.arg("-euc").arg(commands).current_dir(&folder);
        shell.env("MODEL", model).env("VOCABULARY", vocabulary).env("CMAKE_PREFIX_PATH", prefix);
        shell.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).env("LD_LIBRARY_PATH", prefix.join("lib"));
        let output = run(&mut shell);
        let checksum = lines_with(hello(), "checksum")[0];
        assert_eq!(lines_with(&output, checksum).len(), programs, "{}: {output}", folder.display());
    }
}
