//! The tool `ov3d` as a person uses it: the demo, the whole path from checkpoint to labels, and first errors.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;
#[allow(dead_code, reason = "the tool needs one small tower")]
#[path = "text/towers.rs"]
mod towers;

use openvocab3d::model::{InputFeatures, Model, Vocabulary, WeightDtype};
use openvocab3d::text::Preset;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::generate::{random_params, surface_coordinates};
use support::library::{self, ones};
use support::oracle::{Coordinate, Params};
use support::shared::minkunet;

fn ov3d<A: AsRef<std::ffi::OsStr>>(arguments: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ov3d")).args(arguments).output().unwrap()
}

/// Runs a command that must succeed; returns what it printed.
fn good<A: AsRef<std::ffi::OsStr> + std::fmt::Debug>(arguments: &[A]) -> String {
    let output = ov3d(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\n{out}{err}");
    out.into_owned()
}

/// Runs a command that must fail; returns its message.
fn bad<A: AsRef<std::ffi::OsStr> + std::fmt::Debug>(arguments: &[A]) -> String {
    let output = ov3d(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8(output.stderr).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn write_npy<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: impl IntoIterator<Item = T>) {
    use npyz::WriterBuilder;
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    writer.extend(values).unwrap();
    writer.finish().unwrap();
}

/// A state dict as safetensors, under a training script's prefix.
fn write_state_dict(path: &Path, params: &Params) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = params
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
            (format!("module.net3d.{name}"), shape.clone(), bytes)
        })
        .collect();
    let view = |shape: &Vec<usize>, bytes| {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap()
    };
    let views = bytes.iter().map(|(name, shape, bytes)| (name.as_str(), view(shape, bytes)));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

#[test]
fn the_demo_needs_no_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let printed = good(&["demo", "-o", text(&out)]);
    assert!(printed.contains("untrained") && printed.contains("kernel maps"), "{printed}");
    for file in ["model.safetensors", "vocabulary.safetensors", "labelled.ply", "labelled.png", "summary.json"] {
        assert!(out.join(file).metadata().unwrap().len() > 100, "{file}");
    }
    let summary: serde_json::Value =
        serde_json::from_reader(std::fs::File::open(out.join("summary.json")).unwrap()).unwrap();
    let points: u64 = summary["labels"].as_array().unwrap().iter().map(|l| l["points"].as_u64().unwrap()).sum();
    assert_eq!(points, summary["points"].as_u64().unwrap());
    assert!(points > 50_000 && summary["working_bytes"].as_u64().unwrap() > 1 << 20);
    // What it wrote is what `segment` reads; the demo's own output is a cloud too.
    let (cloud, model) = (out.join("labelled.ply"), out.join("model.safetensors"));
    let (vocabulary, labels) = (out.join("vocabulary.safetensors"), out.join("labels.npy"));
    good(&["segment", text(&cloud), "-m", text(&model), "--vocab", text(&vocabulary), "--labels", text(&labels)]);
    assert_eq!(std::fs::read(&labels).unwrap().len() % 4, 0);
}

#[test]
fn from_checkpoint_to_verified_features() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let params = random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, 24, false, 5);
    write_state_dict(&path("checkpoint"), &params);
    let convert = |dtype: &str, output: &str| {
        good(&[
            "convert",
            text(&path("checkpoint")),
            "-o",
            text(&path(output)),
            "--dtype",
            dtype,
            "--voxel-size",
            "0.05",
        ])
    };
    let printed = convert("f32", "model");
    assert!(printed.contains("module.net3d."), "{printed}");
    let info: serde_json::Value = serde_json::from_str(&good(&["info", text(&path("model")), "--json"])).unwrap();
    assert_eq!((&info["voxel_size"], &info["graph"]["stem_kernel"]), (&0.05.into(), &5.into()));
    assert_eq!(info["source_sha256"].as_str().unwrap().len(), 64);
    assert!(good(&["info", text(&path("model"))]).contains("24 wide"));

    let rows = surface_coordinates(6, 300);
    let model = library::model(&params, InputFeatures::Ones);
    let want = library::oracle(&params, &model).forward(&rows, &ones(rows.len())).output;
    write_npy(&path("coords.npy"), &[300, 4], rows.iter().copied().flatten());
    write_npy(&path("out.npy"), &[300, 24], want.to_f32());
    let verify = |model: &str| {
        let files = [path(model), path("coords.npy"), path("out.npy")];
        ["verify", "-m", text(&files[0]), "--coordinates", text(&files[1]), "--expected", text(&files[2])]
            .map(str::to_owned)
    };
    assert!(good(&verify("model")).contains("equal within the tolerance"));
    // Half-precision weights are exact here; other weights are not these.
    convert("f16", "half");
    good(&verify("half"));
    let other =
        library::model(&random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, 24, false, 6), InputFeatures::Ones);
    other.save(&path("other"), WeightDtype::F32).unwrap();
    assert!(bad(&verify("other")).contains("differ"));
}

#[test]
fn from_words_to_labels() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let params = random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, 24, false, 7);
    library::model(&params, InputFeatures::Ones).save(&path("model"), WeightDtype::F32).unwrap();
    std::fs::write(path("names.txt"), "sofa\nred fire extinguisher\n\nlamp\n").unwrap();
    write_npy(&path("text.npy"), &[3, 24], (0..72).map(|i| (i as f32 * 0.7).sin()));
    let (names, embeddings, vocabulary) = (path("names.txt"), path("text.npy"), path("vocabulary"));
    let make = |space: &str| {
        let files = [text(&names), text(&embeddings), text(&vocabulary)];
        good(&["vocab", "make", "--names", files[0], "--embeddings", files[1], "--space", space, "-o", files[2]])
    };
    make("custom-24");
    assert!(good(&["vocab", "list", text(&vocabulary)]).contains("red fire extinguisher"));
    let points: Vec<Coordinate> = surface_coordinates(8, 200);
    let metres = points.iter().flat_map(|c| [c[1], c[2], c[3]]).map(|v| (f64::from(v) + 0.5) * 20.0);
    write_npy(&path("millimetres.npy"), &[200, 3], metres);
    let segment = |model: &Path, cloud: &str| {
        let (cloud, out, picture) = (path(cloud), path("out.ply"), path("out.png"));
        let files = ["segment", text(&cloud), "--model", text(model), "--vocab", text(&vocabulary), "-o", text(&out)];
        let options =
            ["--unit", "0.001", "--similarity", "cosine", "--temperature", "0.1", "--repeats", "2", "--picture"];
        files.iter().chain(&options).chain(&[text(&picture)]).map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let printed = good(&segment(&path("model"), "millimetres.npy"));
    assert!(printed.contains("200 points") && printed.contains('%'), "{printed}");
    assert!(std::fs::read(path("out.ply")).unwrap().starts_with(b"ply\nformat binary_little_endian 1.0\n"));

    make("clip-of-another-kind");
    let message = bad(&segment(&path("model"), "millimetres.npy"));
    assert!(message.contains("clip-of-another-kind") && message.contains("custom-24"), "{message}");
    assert!(bad(&segment(&path("nowhere"), "millimetres.npy")).contains("nowhere"));
    assert!(bad(&segment(&path("names.txt"), "millimetres.npy")).contains("names.txt"));
    assert!(bad(&segment(&path("model"), "missing.ply")).contains("missing.ply"));
    assert!(bad(&segment(&path("model"), "names.txt")).contains("PLY"));
}

/// A tower into the space of a small network, a cloud, and the tool's commands about words.
#[test]
fn from_words_to_labels_and_heat() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let params = random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, 24, false, 5);
    write_state_dict(&path("checkpoint"), &params);
    good(&["convert", text(&path("checkpoint")), "-o", text(&path("model")), "--voxel-size", "0.05"]);
    let shape = towers::Shape { name: "", width: 32, heads: 2, layers: 2, inner: 48, dim: 24, activation: "gelu" };
    shape.save(&path("tower"), "F16");
    let (tower, model, cloud) = (path("tower"), path("model"), path("cloud.npy"));
    let points = surface_coordinates(8, 200);
    write_npy(&cloud, &[200, 3], points.iter().flat_map(|c| [c[1], c[2], c[3]]).map(|v| f64::from(v) * 0.02));

    // Vocabularies of words and presets, joined, listed, compared.
    let (words, preset, both) = (path("words"), path("preset"), path("both"));
    std::fs::write(path("names.txt"), "sofa\n\nvehicle = car; pick-up truck\n").unwrap();
    let make = ["vocab", "make", "--encoder", text(&tower)];
    let with = |more: &[&str]| good(&[&make[..], more].concat());
    let other = ["--other", "nothing", "--threshold", "-0.5", "--text", "lamp", "--notice", "mine"];
    with(&[&["--names", text(&path("names.txt")), "-o", text(&words)], &other[..]].concat());
    let listed = good(&["vocab", "list", text(&words)]);
    for part in [
        "lamp  (a lamp in a scene)",
        "a car in a scene; a pick-up truck in a scene",
        "nothing  for scores below -0.5",
        "mine",
    ] {
        assert!(listed.contains(part), "{part} in {listed}");
    }
    with(&["--preset", "nuscenes16", "--template", "a {}", "--template", "the {}", "--half", "-o", text(&preset)]);
    assert!(good(&["vocab", "list", text(&preset)]).contains("a barricade | the barricade"));
    good(&["vocab", "merge", text(&words), text(&preset), "-o", text(&both)]);
    assert_eq!(good(&["vocab", "list", text(&both)]).lines().filter(|line| line.contains("  ")).count(), 20);
    assert!(good(&["vocab", "nearest", text(&both), "Sofa", "-c", "1"]).contains("1.000  sofa"));
    assert!(good(&["vocab", "nearest", text(&both), "a car", "--encoder", text(&tower)]).lines().count() == 10);
    good(&["vocab", "similarity", text(&both), "-o", text(&path("similarity.png"))]);

    // Words on the command line, encoded or looked up; the same labels either way.
    let segment = |more: &[&str]| {
        let files =
            ["segment", text(&cloud), "-m", text(&model), "--labels", text(&path("labels.npy"))].map(str::to_owned);
        let more: Vec<String> = files.into_iter().chain(more.iter().map(|a| (*a).to_owned())).collect();
        good(&more);
        std::fs::read(path("labels.npy")).unwrap()
    };
    let encoded = segment(&["--encoder", text(&tower), "--text", "sofa", "--text", "lamp"]);
    assert_eq!(segment(&["--vocab", text(&words), "--text", "sofa", "--text", "lamp"]), encoded);
    let message = bad(&["segment", text(&cloud), "-m", text(&model), "--vocab", text(&words), "--text", "sofa bed"]);
    assert!(message.contains("sofa bed") && message.contains("'sofa'") && message.contains("--encoder"), "{message}");
    assert!(bad(&["segment", text(&cloud), "-m", text(&model), "--text", "sofa"]).contains("--vocab"));

    // Heat maps, one a text.
    let (heat, picture) = (path("heat.ply"), path("heat.png"));
    let query = ["query", text(&cloud), "-m", text(&model), "-o", text(&heat), "--picture", text(&picture)];
    let printed = good(&[&query[..], &["--encoder", text(&tower), "--text", "sofa"]].concat());
    assert!(printed.contains("above 50 %") && heat.exists() && picture.exists(), "{printed}");
    let texts = ["--vocab", text(&both), "--text", "lamp", "--text", "car", "--against", "sofa"];
    good(&[&query[..], &texts[..]].concat());
    let second = std::fs::read(path("heat-1.ply")).unwrap();
    assert!(String::from_utf8_lossy(&second[..120]).contains("relevance of car"));
    assert!(bad(&query).contains("--text"));
    let space = ["vocab", "make", "--encoder", text(&tower), "--text", "sofa", "--space", "s", "-o", text(&preset)];
    assert!(bad(&space).contains("--embeddings"));
    let two = ["--encoder", text(&tower), "--vocab", text(&words), "--text", "sofa"];
    assert!(bad(&[&query[..], &two].concat()).contains("--vocab"));
    // Published colours stay where labels are added.
    with(&["--preset", "scannet20", "--text", "lamp", "--other", "rest", "--threshold", "0", "-o", text(&preset)]);
    let colors = Vocabulary::load(&preset).unwrap().colors().to_vec();
    assert_eq!((colors.len(), colors[0]), (22, [174, 199, 232]));

    // What was predicted, against itself and against the truth of another.
    let labels = path("labels.npy");
    let eval = ["eval", "--predicted", text(&labels), "--truth", text(&labels), "--vocab", text(&words)];
    let printed = good(&[&eval[..], &["--json", text(&path("eval.json"))]].concat());
    assert!(printed.contains("mean of all (4)") && printed.contains("200 points"), "{printed}");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(path("eval.json")).unwrap()).unwrap();
    assert_eq!(summary["means"][0]["iou_of_present"], 1.0);
    std::fs::write(path("truth.txt"), "7\n".repeat(200)).unwrap();
    let truth = path("truth.txt");
    let both_rules = ["--preset", "scannet20", "--truth-ids", "--ignore", "3"];
    assert!(bad(&[&eval[..5], &both_rules].concat()).contains("--ignore"));
    assert!(bad(&[&eval[..4], &[text(&truth), "--vocab", text(&words)]].concat()).contains("label 7 of 4"));
}

/// Words of the names that ship with the tool, for a network of their space; another network needs an encoder.
#[test]
fn words_without_a_text_tower() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (model, other, cloud) = (path("model"), path("other"), path("cloud.npy"));
    for (width, file) in [(512, &model), (24, &other)] {
        let params = random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, width, false, 5);
        library::model(&params, InputFeatures::Ones).save(file, WeightDtype::F32).unwrap();
    }
    let points = surface_coordinates(8, 200);
    write_npy(&cloud, &[200, 3], points.iter().flat_map(|c| [c[1], c[2], c[3]]).map(|v| f64::from(v) * 0.02));
    let segment = |model: &Path, more: &[&str]| {
        let out = path("labels.npy");
        let files = ["segment", text(&cloud), "-m", text(model), "--labels", text(&out)];
        [&files[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let labels = |more: &[&str]| {
        let printed = good(&segment(&model, more));
        (printed, std::fs::read(path("labels.npy")).unwrap())
    };
    let words = ["--text", "Sofa", "--text", "vehicle=bus;truck", "--text", "wall"];
    let (printed, short) = labels(&words);
    assert!(printed.contains("200 points") && printed.contains("vehicle"), "{printed}");
    assert_eq!(labels(&[&["--vocab", "names:vit-b-32"][..], &words].concat()).1, short);
    good(&[&["vocab", "make", "-o", text(&path("words")), "--vocab", "names:vit-b-32"][..], &words].concat());
    assert_eq!(labels(&["--vocab", text(&path("words"))]).1, short);
    labels(&["--preset", "scannet20", "--picture", text(&path("picture.png"))]);
    let message = bad(&segment(&model, &["--text", "soffa"]));
    assert!(message.contains("'soffa'") && message.contains("'sofa'") && message.contains("--encoder"), "{message}");
    assert!(bad(&segment(&model, &[])).contains("--text"));
    let message = bad(&segment(&other, &words));
    assert!(message.contains("custom-24") && message.contains("clip-vit-b32") && message.contains("--encoder"));
    let query = ["query", text(&cloud), "-m", text(&model), "--text", "lamp", "--text", "Chair"];
    assert_eq!(good(&query).matches("above 50 %").count(), 2);
    assert!(bad(&[&query[..], &["--against", "nothing of the kind"]].concat()).contains("nothing of the kind"));
    assert!(bad(&[&query[..], &["--against", "Lamp"]].concat()).contains("than 'lamp' to compare"));
    // A text is not compared with its own words, and two of one name are not told apart.
    let seat = ["--text", "seat=chair;sofa", "--against", "Chair", "--against", "sofa"];
    assert!(bad(&[&query[..4], &seat].concat()).contains("than 'seat' to compare"));
    good(&[&query[..4], &seat, &["--against", "lamp"]].concat());
    assert!(
        bad(&[&query[..4], &["--text", "a=lamp", "--text", "A=chair"]].concat()).contains("two texts are named 'A'")
    );
    // What a query has no use for.
    for useless in [
        &["--preset", "scannet20"][..],
        &["--other", "lamp", "--threshold", "0"],
        &["--temperature", "0.1"],
        &["--repeats", "2"],
        &["--similarity", "cosine"],
        &["--seed", "3"],
        &["--template", "a {}"],
        &["--bare"],
    ] {
        assert!(bad(&[&query[..], useless].concat()).contains(useless[0]), "{useless:?}");
    }
    assert!(bad(&[&query[..4], &["--text", "lamp", "-o", text(&cloud)]].concat()).contains("an input of this command"));
    let more = path("more");
    good(&["vocab", "make", "--vocab", "names:vit-b-32", "--preset", "scannet20", "--text", "lamp", "-o", text(&more)]);
    let colors = Vocabulary::load(&more).unwrap().colors().to_vec();
    assert_eq!((colors.len(), colors[0]), (21, [174, 199, 232]));
    let nowhere = path("nowhere/out.ply");
    assert!(bad(&[&query[..], &["-o", text(&nowhere)]].concat()).contains("there is no folder"));
    assert!(bad(&segment(&model, &["--text", "lamp", "--picture", text(&nowhere)])).contains("there is no folder"));

    assert!(good(&["vocab", "list"]).contains("names:vit-b-32") && good(&["vocab", "list"]).contains("matterport160"));
    let listed = good(&["vocab", "list", "names:vit-b-32"]);
    assert!(listed.contains("Apache-2.0") && listed.lines().count() == 1414, "{}", listed.lines().count());
    assert!(good(&["vocab", "nearest", "names:vit-b-32", "sofa"]).contains("couch"));
    assert!(bad(&["vocab", "list", "names:vit-b-16"]).contains("names:vit-b-32"));
}

/// Eight points of ScanNet200, counted by hand: one label of each part of the set, and an id that is no label.
#[test]
fn evaluation_by_parts_of_a_label_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let preset = Preset::find("scannet200").unwrap();
    let [head, common, tail] =
        ["head", "common", "tail"].map(|part| preset.subsets.iter().position(|subset| *subset == part).unwrap());
    let lines = |labels: &[usize], name: fn(usize, &Preset) -> u32| -> String {
        labels.iter().map(|&label| format!("{}\n", name(label, &preset))).collect()
    };
    let truth = lines(&[head, head, head, head, common, common, tail], |label, preset| preset.ids[label][0]);
    let predicted = lines(&[head, head, head, common, common, common, head, tail], |label, _| label as u32);
    std::fs::write(path("truth.txt"), truth + "0\n").unwrap();
    std::fs::write(path("predicted.txt"), predicted).unwrap();
    let (predicted, truth, json) = (path("predicted.txt"), path("truth.txt"), path("eval.json"));
    let files = ["--predicted", text(&predicted), "--truth", text(&truth), "--json", text(&json)];
    good(&[&["eval", "--preset", "scannet200", "--truth-ids"][..], &files].concat());
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(summary["points"], 7);
    // Of the head label 3 of 4 points are found and 1 too many, of the common one 2 of 2 and 1 too many, of the tail none.
    let (iou, accuracy) = ([3.0 / 5.0, 2.0 / 3.0, 0.0], [3.0 / 4.0, 1.0, 0.0]);
    let sums = |parts: [f64; 3]| [parts.iter().sum(), parts[0], parts[1], parts[2]];
    let means = summary["means"].as_array().unwrap();
    for (index, (name, labels)) in [("all", 200), ("head", 66), ("common", 68), ("tail", 66)].into_iter().enumerate() {
        let mean = &means[index];
        assert!(mean["name"] == name && mean["labels"] == labels, "{mean}");
        for (key, parts) in [("iou", iou), ("accuracy", accuracy)] {
            let want: f64 = sums(parts)[index] / f64::from(labels);
            assert!((mean[key].as_f64().unwrap() - want).abs() < 1e-12, "{name} {key}: {mean}, not {want}");
        }
    }
}

#[test]
fn superpoints_and_votes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let positions: Vec<[f32; 3]> =
        (0..3000).map(|i| [i % 60, i / 60, i % 60 / 30 * 20].map(|v| v as f32 * 0.03)).collect();
    let (cloud, ids, ply) = (path("cloud.npy"), path("ids.npy"), path("found.ply"));
    write_npy(&cloud, &[3000, 3], positions.into_iter().flatten());
    let (picture, borders, json) = (path("found.png"), path("borders.png"), path("found.json"));
    let files = ["-o", text(&ply), "--picture", text(&picture), "--borders", text(&borders)];
    let printed =
        good(&[&["superpoints", text(&cloud), "--ids", text(&ids), "--json", text(&json)], &files[..]].concat());
    assert!(printed.contains("3000 points") && printed.contains("voxels of 0.0600 m"), "{printed}");
    for file in [&ply, &picture, &borders] {
        assert!(file.metadata().unwrap().len() > 1000);
    }
    let summary: serde_json::Value = serde_json::from_reader(std::fs::File::open(&json).unwrap()).unwrap();
    let count = summary["superpoints"].as_u64().unwrap();
    assert!((10..200).contains(&count) && summary["without"] == 0 && summary["pairs"].as_u64().unwrap() >= count);
    let given = good(&["superpoints", text(&cloud), "--given", text(&ids), "--borders", text(&borders)]);
    assert!(given.contains(&format!("{count} superpoints")), "{given}");
    let merged = good(&["superpoints", text(&cloud), "--method", "graph", "--count", "5"]);
    assert!(merged.contains(" 5 superpoints"), "{merged}");
    assert!(bad(&["superpoints", text(&cloud), "--count", "5"]).contains("graph"));
    assert!(bad(&["superpoints", text(&cloud), "--seed-size=-1"]).contains("seed_size"));
    assert!(bad(&["superpoints", text(&cloud), "--method", "graph", "--refinements", "1"]).contains("--refinements"));
    assert!(bad(&["superpoints", text(&cloud), "--given", text(&cloud)]).contains("cloud.npy"));

    // The points of each superpoint agree, unless no vote is wanted.
    let demo = path("demo");
    good(&["demo", "-o", text(&demo)]);
    let (model, words) = (demo.join("model.safetensors"), demo.join("vocabulary.safetensors"));
    let (labels, json) = (path("labels.npy"), path("summary.json"));
    let segment = ["segment", text(&cloud), "-m", text(&model), "--vocab", text(&words), "--labels", text(&labels)];
    let with = |options: &[&str]| {
        good(&[&segment[..], &["--json", text(&json)], options].concat());
        let summary: serde_json::Value = serde_json::from_reader(std::fs::File::open(&json).unwrap()).unwrap();
        let bytes = std::fs::read(&labels).unwrap();
        (summary["superpoints"].as_u64(), bytes[bytes.len() - 4 * 3000..].as_chunks::<4>().0.to_vec())
    };
    let (none, own) = with(&["--vote", "none"]);
    let (voted, agreed) = with(&["--superpoint-ids", text(&ids)]);
    assert_eq!((none, voted), (None, Some(count)));
    let ids = std::fs::read(&ids).unwrap();
    let ids: Vec<i32> = ids[ids.len() - 4 * 3000..].as_chunks().0.iter().map(|id| i32::from_le_bytes(*id)).collect();
    let label_of: std::collections::BTreeMap<i32, [u8; 4]> = ids.iter().copied().zip(agreed.iter().copied()).collect();
    assert!(ids.iter().zip(&agreed).all(|(id, label)| label_of[id] == *label) && own != agreed);
    let options = ["--vote", "scores", "--by-margin", "--superpoints", "graph", "--count", "4"];
    assert_eq!(with(&options).0, Some(4));
}

#[test]
fn help_has_examples() {
    for command in ["demo", "segment", "superpoints", "query", "eval", "convert", "info", "verify"] {
        let help = good(&[command, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("ov3d {command}")), "{help}");
    }
    assert!(good(&["vocab", "make", "--help"]).contains("ov3d vocab make"));
    assert!(bad(&["convert", "nothing.pth", "-o", "x"]).contains("nothing.pth"));
}

/// Every form of the fixtures' checkpoints through `convert` and `verify`.
#[test]
fn reference_checkpoints() {
    let Some(root) = minkunet() else {
        println!("reference checkpoints: OV3D_SHARED is not set, nothing to compare with");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let convert = |checkpoint: &PathBuf, input: &str| {
        good(&["convert", text(checkpoint), "-o", text(&model), "--dtype", "f32", "--input", input])
    };
    for (file, tag) in [("ddp.pth.tar", "fp32"), ("fp32.safetensors", "fp32"), ("fp16.safetensors", "fp16")] {
        for (case, input) in [("indoor_scannet_2cm", "colors"), ("outdoor_kitti_5cm", "ones")] {
            convert(&root.join("nets/narrow512").join(file), input);
            let at = |name: &str| root.join("cases").join(case).join(name);
            let files = [
                at("coords.npy"),
                at(&format!("out_narrow512_{tag}_sel.npy")),
                at(&format!("out_narrow512_{tag}_rows.npy")),
            ];
            let mut arguments = vec!["verify", "-m", text(&model), "--coordinates", text(&files[0]), "--expected"];
            arguments.extend([text(&files[1]), "--rows", text(&files[2])]);
            let features = at("feats.npy");
            if input == "colors" {
                arguments.extend(["--features", text(&features)]);
            }
            let printed = good(&arguments);
            println!("{file} on {case}: {}", printed.lines().nth(1).unwrap());
        }
    }
    let files = ["ddp_with_optimizer.pth.tar", "single.pth.tar", "ddp_legacy_format.pth.tar", "fp32.safetensors"];
    let models = files.map(|file| {
        convert(&root.join("nets/tiny512").join(file), "ones");
        Model::load(&model).unwrap()
    });
    assert!(models.iter().all(|m| m.weights().eq(models[0].weights())), "all forms hold the same weights");
}
