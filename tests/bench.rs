//! `ov3d bench` as a person uses it: what it measures, what it writes, what it says when it cannot.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

#[cfg(target_os = "linux")]
#[path = "cuda/emulated.rs"]
mod emulated;
#[cfg(target_os = "linux")]
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;
mod support;

use openvocab3d::model::{InputFeatures, WeightDtype};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::generate::random_params;
use support::library;

/// A folder with a small network.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let params = random_params([8, 8, 16, 16, 16, 16, 8, 8], 4, [1; 8], 3, 24, false, 5);
        library::model(&params, InputFeatures::Ones).save(&folder.path().join("model"), WeightDtype::F32).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `ov3d bench` in the folder; whether it succeeded, and all that it printed.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_ov3d"))
            .arg("bench")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        (output.status.success(), out + &err)
    }

    fn good(&self, arguments: &[&str]) -> String {
        let (success, printed) = self.run(arguments);
        assert!(success, "{arguments:?}\n{printed}");
        printed
    }

    fn bad(&self, arguments: &[&str]) -> String {
        let (success, printed) = self.run(arguments);
        assert!(!success, "{arguments:?} succeeded\n{printed}");
        printed
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_reader(std::fs::File::open(self.path(name)).unwrap()).unwrap()
    }

    fn is_picture(&self, name: &str) -> bool {
        let bytes = std::fs::read(self.path(name)).unwrap();
        bytes.starts_with(b"\x89PNG") && bytes.len() > 4000
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn runs(row: &Value) -> Vec<f64> {
    row["milliseconds"]["runs"].as_array().unwrap().iter().map(number).collect()
}

/// The sums of the rows' times, run by run.
fn sums<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Vec<f64> {
    let mut all = rows.into_iter().map(runs);
    let first = all.next().unwrap();
    all.fold(first, |sums, runs| sums.iter().zip(runs).map(|(a, b)| a + b).collect())
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
}

/// Where JSON has null, and no field that may be absent has this path: what became of a number that is not finite.
fn nulls(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Null => found.push(path.to_owned()),
        Value::Array(values) => values.iter().for_each(|v| nulls(v, path, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, v)| nulls(v, &format!("{path}/{name}"), found)),
        _ => {}
    }
}

#[test]
fn every_stage_is_measured_and_sums_agree() {
    let bench = Bench::new();
    let common = ["-m", "model", "--voxels", "1500", "--runs", "3", "--labels", "5", "--ceilings", "brief"];
    let files = ["--threads", "1,2", "--json", "a.json", "--picture", "a.png", "--layers"];
    let printed = bench.good(&[&common[..], &files].concat());
    for word in ["FMA", "GEMM", "/bound", "block8.0.conv2", "kernel maps", "all convolutions", "first call", "memory"] {
        assert!(printed.contains(word), "{word}\n{printed}");
    }
    assert!(bench.is_picture("a.png"));

    let json = bench.json("a.json");
    assert_eq!((&json["schema"], &json["schema_version"]), (&"ov3d-bench".into(), &1.into()));
    assert_eq!(
        (&json["engine"]["precision"], &json["runs"], &json["network"]["labels"]),
        (&"f32".into(), &3.into(), &5.into())
    );
    assert!(number(&json["machine"]["logical_cpus"]) >= 1.0 && json["machine"]["cpu"].is_string());
    let measurements = json["measurements"].as_array().unwrap();
    assert_eq!(measurements.iter().map(|m| number(&m["threads"])).collect::<Vec<_>>(), [1.0, 2.0]);
    for (measurement, ceilings) in measurements.iter().zip(json["ceilings"].as_array().unwrap()) {
        assert_eq!(measurement["threads"], ceilings["threads"]);
        let stages = measurement["stages"].as_array().unwrap();
        let names: Vec<&str> = stages.iter().map(|s| s["name"].as_str().unwrap()).collect();
        // Three before the network, its stem, four ways down, four up, two convolutions in each of eight blocks.
        assert_eq!(names.len(), 3 + 1 + 4 + 4 + 16 + 2, "{names:?}");
        assert_eq!((names[0], names[3], names[29]), ("quantise", "conv0p1s1", "outside stages"));
        assert!(["levels", "convtr7p2s2", "block5.0.conv1", "head"].iter().all(|name| names.contains(name)));
        let groups = measurement["groups"].as_array().unwrap();
        assert_eq!(groups.len(), 3 + 1 + 8 + 2);

        let total = runs(&measurement["total"]);
        let parts = [&measurement["convolutions"], &measurement["everything_else"]];
        assert!(close(&sums(stages), &total) && close(&sums(groups), &total) && close(&sums(parts), &total));
        let convolutions = stages.iter().filter(|s| s["name"].as_str().unwrap().contains("conv"));
        assert!(close(&sums(convolutions.clone()), &runs(&measurement["convolutions"])));
        let percent: f64 = stages.iter().map(|s| number(&s["percent"])).sum();
        assert!((percent - 100.0).abs() < 1e-6);
        let all = |field: &str, rows: &[Value]| rows.iter().map(|row| row[field].as_f64().unwrap_or(0.0)).sum::<f64>();
        for field in ["gflop", "bytes", "weight_bytes", "bound_milliseconds"] {
            let whole = number(&measurement["total"][field]);
            assert!((all(field, stages) - whole).abs() < 1e-9 * whole && whole > 0.0, "{field}");
            assert!((all(field, groups) - whole).abs() < 1e-9 * whole, "{field}");
        }
        for layer in convolutions {
            let fma = number(&ceilings["fma_gflops"]["best"]);
            let rate = number(&layer["gflop"]) * 1e3 / number(&layer["milliseconds"]["median"]);
            assert!((number(&layer["gflops"]) / rate - 1.0).abs() < 1e-6, "{layer}");
            assert!((number(&layer["share_of_fma"]) * fma / rate - 1.0).abs() < 1e-6, "{layer}");
            // Products at the dense rate, weights at the copy's.
            let dense = number(&layer["gflop"]) * 1e3 / number(&ceilings["gemm_gflops"]["best"]);
            let copy = number(&ceilings["copy_gigabytes_per_second"]["best"]);
            let bound = dense + number(&layer["weight_bytes"]) / 1e6 / copy;
            assert!((number(&layer["bound_milliseconds"]) / bound - 1.0).abs() < 1e-6, "{layer}");
            let times = number(&layer["milliseconds"]["median"]) / bound;
            assert!((number(&layer["times_bound"]) / times - 1.0).abs() < 1e-6, "{layer}");
            assert!(0.0 < number(&layer["weight_bytes"]), "{layer}");
            assert!(number(&layer["share_of_gemm"]) > 0.0 && number(&layer["share_of_copy"]) > 0.0, "{layer}");
        }
        let cloud = &measurement["cloud"];
        assert_eq!((&cloud["name"], &cloud["voxels_wanted"]), (&"room".into(), &1500.into()));
        assert!((number(&cloud["voxels"]) / 1500.0 - 1.0).abs() < 0.03);
        assert!(number(&measurement["memory"]["working_bytes"]) > 1500.0 * 12.0);
    }
    let mut found = Vec::new();
    nulls(&json, "", &mut found);
    // What is no product has no rate, and the system need not tell its memory.
    found.retain(|path| {
        !["gflops", "_per_second", "/share_of", "bound", "resident_bytes", "memory_bytes"]
            .iter()
            .any(|name| path.contains(name))
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_file_compared_with_itself_is_no_faster() {
    let bench = Bench::new();
    let common = ["-m", "model", "--voxels", "800", "--threads", "1", "--runs", "2", "--ceilings", "none"];
    bench.good(&[&common[..], &["--json", "a.json"]].concat());
    assert_eq!(bench.json("a.json")["ceilings"], Value::Array(Vec::new()));
    for layers in [&[][..], &["--layers"]] {
        let printed = bench.good(&[&["--compare", "a.json", "a.json"], layers].concat());
        let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with("  ") && line.contains("1.00")).collect();
        let wanted = if layers.is_empty() { 14 } else { 30 };
        // A stage too short for the clock has no ratio.
        assert!((wanted..=wanted + 3).contains(&rows.len()), "{printed}");
        assert!(
            !printed.contains("  faster") && !printed.contains("SLOWER") && !printed.contains("differs"),
            "{printed}"
        );
    }
    // With one file it measures, on the same terms.
    let printed = bench.good(&[&common[..], &["--compare", "a.json"]].concat());
    assert!(printed.contains("old/new") && printed.contains("this run"), "{printed}");
    let printed = bench.bad(
        &[
            &common[..4],
            &["--runs", "1", "--threads", "1", "--scene", "sphere", "--ceilings", "none", "--compare", "a.json"],
        ]
        .concat(),
    );
    assert!(printed.contains("nothing to compare") && printed.contains("sphere"), "{printed}");
    // Files of other kinds and versions.
    let mut json = bench.json("a.json");
    json["schema_version"] = 99.into();
    std::fs::write(bench.path("later.json"), json.to_string()).unwrap();
    assert!(bench.bad(&["--compare", "a.json", "later.json"]).contains("version 99"));
    std::fs::write(bench.path("other.json"), "{\"schema\": 1}").unwrap();
    assert!(bench.bad(&["--compare", "other.json"]).contains("ov3d bench --json"));
    assert!(bench.bad(&["--compare", "missing.json"]).contains("missing.json"));
}

#[test]
fn sizes_are_measured_side_by_side() {
    let bench = Bench::new();
    let printed = bench.good(&[
        "-m",
        "model",
        "--scaling",
        "--sizes",
        "500,1k,2k",
        "--scene",
        "lidar",
        "--voxel-size",
        "0.1",
        "--threads",
        "1,2",
        "--runs",
        "2",
        "--warmup",
        "0",
        "--ceilings",
        "none",
        "--json",
        "s.json",
        "--picture",
        "s.png",
    ]);
    assert!(printed.contains("speed-up") && printed.contains("2,000"), "{printed}");
    assert!(bench.is_picture("s.png"));
    let json = bench.json("s.json");
    let measurements = json["measurements"].as_array().unwrap();
    assert_eq!(measurements.len(), 6);
    assert!(measurements.iter().all(|m| m["first_call_milliseconds"].is_null() && m["cloud"]["voxel_size"] == 0.1));
}

/// The times mean nothing on an emulated device; that everything is there and adds up does.
#[test]
#[cfg(target_os = "linux")]
fn a_device_is_compared_with_the_cpu_and_with_its_own_limits() {
    emulated::on_one_emulator("a_device_is_compared_with_the_cpu_and_with_its_own_limits", &[], || {
        let bench = Bench::new();
        let common = ["--device", "cuda:0", "-m", "model", "--voxels", "400", "--labels", "5", "--runs", "2"];
        let files = ["--layers", "--ceilings", "brief", "--json", "a.json", "--picture", "a.png"];
        let printed = bench.good(&[&common[..], &files].concat());
        for word in
            ["parity with the CPU in f32 holds", "same bits", "MMA", "/bound", "x convolution_32", "head_best_32"]
        {
            assert!(printed.contains(word), "{word}\n{printed}");
        }
        assert!(bench.is_picture("a.png"));
        let json = bench.json("a.json");
        assert_eq!((&json["engine"]["level"], &json["engine"]["precision"]), (&"sm_80".into(), &"f16".into()));
        let (ceilings, measurement) = (&json["ceilings"][0], &json["measurements"][0]);
        assert!(ceilings["gemm_gflops"].is_null());
        let [peak, copy] = ["fma_gflops", "copy_gigabytes_per_second"].map(|name| number(&ceilings[name]["best"]));
        assert!(peak > 0.0 && copy > 0.0);
        let parity = &measurement["parity"];
        assert!(number(&parity["relative_l2"]) < 1e-2 && number(&parity["mean_cosine"]) > 0.9995, "{parity}");
        assert!(number(&parity["sure_points"]) > 0.0 && parity["sure_points_wrong"] == 0, "{parity}");

        let kernels = measurement["kernels"].as_array().unwrap();
        let of = |name: &str| kernels.iter().find(|kernel| kernel["name"] == name).unwrap();
        for name in ["point_keys", "sort_scatter", "level_write", "map_tables", "stem_ones", "head_labels", "head_lift"]
        {
            assert!(number(&of(name)["bytes"]) > 0.0 && runs(of(name)).len() == 2, "{name}");
        }
        let launches: f64 = kernels.iter().map(|kernel| number(&kernel["launches"])).sum();
        // Two sorts of 9 passes of 3 launches, and the network's 25 steps.
        assert!(launches > 79.0, "{launches}");
        let flop = |rows: &[Value]| rows.iter().map(|row| number(&row["gflop"])).sum::<f64>();
        let whole = number(&measurement["total"]["gflop"]);
        assert!((flop(kernels) / whole - 1.0).abs() < 1e-9 && whole > 0.0, "kernels and stages do the same work");
        let stages = measurement["stages"].as_array().unwrap();
        for row in kernels.iter().chain(stages).filter(|row| number(&row["bytes"]) > 0.0) {
            let floor = f64::max(number(&row["gflop"]) * 1e3 / peak, number(&row["bytes"]) / 1e6 / copy);
            assert!((number(&row["bound_milliseconds"]) / floor - 1.0).abs() < 1e-6, "{row}");
        }

        assert!(bench.bad(&[&common[..], &["--threads", "2"]].concat()).contains("leave them out"));
        assert!(bench.bad(&["--device", "cuda:7", "-m", "model"]).contains("cuda:7"));
    });
}

fn write_npy<T: npyz::AutoSerialize + Copy>(path: &Path, shape: &[u64], values: &[T]) {
    use npyz::WriterBuilder;
    let file = std::fs::File::create(path).unwrap();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd().unwrap();
    writer.extend(values.iter().copied()).unwrap();
    writer.finish().unwrap();
}

#[test]
fn coordinates_and_points_are_read() {
    let bench = Bench::new();
    // Two batches on one lattice; the second has a repeated row and a negative one.
    let rows = [0_i32, 1, 2, 3, 0, 2, 2, 3, 0, 40, 2, 3, 1, 1, 2, 3, 1, 1, 2, 3, 1, -7, 2, 3];
    write_npy(&bench.path("coordinates.npy"), &[6, 4], &rows);
    write_npy(&bench.path("short.npy"), &[2, 3], &[1_i16, 2, 3, 4, 5, 6]);
    write_npy(&bench.path("points.npy"), &[3, 3], &[0.01_f32, 0.0, 0.0, 0.012, 0.0, 0.0, 5.0, 0.0, 0.0]);
    write_npy(&bench.path("pairs.npy"), &[3, 2], &[1_i16, 2, 3, 4, 5, 6]);
    let measured = |file: &str, voxels: u64, points: u64| {
        let options = ["-m", "model", "--threads", "1", "--runs", "1", "--ceilings", "none", "--json", "c.json"];
        bench.good(&[&[file], &options[..]].concat());
        let cloud = &bench.json("c.json")["measurements"][0]["cloud"];
        assert_eq!((&cloud["voxels"], &cloud["points"]), (&voxels.into(), &points.into()), "{file}");
        assert_eq!((&cloud["name"], &cloud["voxels_wanted"]), (&file.into(), &Value::Null));
    };
    measured("coordinates.npy", 5, 6);
    measured("short.npy", 2, 2);
    measured("points.npy", 2, 3);
    let message = bench.bad(&["pairs.npy", "-m", "model"]);
    assert!(message.contains("pairs.npy") && message.contains("[3, 2]") && message.contains("[n, 4]"), "{message}");
}

#[test]
fn wrong_inputs_are_named_with_their_cure() {
    let bench = Bench::new();
    std::fs::write(bench.path("a.txt"), "1 2 3\n").unwrap();
    for (arguments, words) in [
        (&["--runs", "0"][..], ["runs is 0", "at least 1"]),
        (&["--labels", "0"], ["labels is 0", "at least 1"]),
        (&["--threads", "1,0"], ["threads names 0", "--threads 1,4"]),
        (&["--arch", "ResNet50"], ["ResNet50", "MinkUNet18A"]),
        (&["--voxels", "many"], ["many", "100k"]),
        (&["--voxels", "100M", "-m", "model"], ["100000000", "20000000"]),
        (&["--voxel-size", "7", "-m", "model"], ["7 m", "0.001"]),
        (&["--level", "sse"], ["sse", "portable"]),
        (&["-m", "missing"], ["missing", "cannot"]),
        (&["-m", "model", "missing.ply"], ["missing.ply", "cannot"]),
        (&["-m", "model", "a.txt"], ["a.txt", "PLY"]),
        (&["-m", "model", "--json", "no/such/a.json"], ["no/such", "no folder"]),
        (&["-m", "model", "--arch", "MinkUNet14A"], ["--model", "--arch"]),
        (&["--compare", "a.json", "b.json", "--json", "c.json"], ["two files", "--json"]),
        (&["--sizes", "1k"], ["--scaling", "required"]),
    ] {
        let message = bench.bad(arguments);
        assert!(words.iter().all(|word| message.contains(word)), "{arguments:?}: {message}");
    }
    let help = bench.good(&["--help"]);
    assert!(help.contains("Examples") && help.contains("ov3d bench --compare before.json"), "{help}");
}
