//! Parity with MinkowskiEngine: every case of the optional reference fixtures (env `OV3D_SHARED`).
//!
//! Without that folder these tests say so and pass; `tests/network.rs` covers the same ground on generated input.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use openvocab3d::arena::Arena;
use openvocab3d::backend::cpu::{CpuBackend, CpuLevel, CpuOptions};
use openvocab3d::backend::{Control, FeatureSpace};
use openvocab3d::cancel::Cancel;
use openvocab3d::cloud::{Cloud, GridOrigin, StridedView, quantise};
use openvocab3d::model::weights::Weight;
use openvocab3d::model::{InputFeatures, Model, Vocabulary};
use openvocab3d::pipeline::SegmentOptions;
use openvocab3d::plan::{
    Affine, Convolution, Geometry, Head, Plan, PreparedCache, Product, Step, TensorId, TensorSpec,
};
use openvocab3d::sparse::{Voxel, Voxels, decode, encode};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::generate::{hash_kernel, kernel_shapes};
use support::library::{best, forward, levels, model, session, trunk};
use support::oracle::{Coordinate, Matrix, Params};
use support::shared::{
    bare, minkunet, projection, read_case, read_coordinates, read_f32, read_i32, read_matrix, read_params, read_rows,
    read_u8, relative_l2_f64, worst_row_relative_error,
};

/// The bar of the f32 path: worst row against the reference.
const BAR: f64 = 1e-4;

/// The fixtures' folder, or a note that the test has nothing to compare with.
fn fixtures(test: &str) -> Option<PathBuf> {
    let folder = minkunet();
    if folder.is_none() {
        println!("{test}: OV3D_SHARED is not set, nothing to compare with");
    }
    folder
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> =
        std::fs::read_dir(parent).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()).collect();
    all.sort();
    assert!(!all.is_empty(), "'{}' is empty", parent.display());
    all
}

/// The parameters of a net as the fixtures name it: `narrow512_fp16`, `full768`.
fn net_params(root: &Path, name: &str) -> Params {
    let (base, precision) = name.split_once('_').unwrap_or((name, "fp32"));
    let Some(width) = base.strip_prefix("full") else {
        return read_params(&root.join(format!("nets/{base}/{precision}.safetensors")));
    };
    let mut params = read_params(&root.join("nets/full/bn.safetensors"));
    let shape = support::generate::Shape {
        planes: [32, 64, 128, 256, 128, 128, 96, 96],
        stem: 32,
        stem_kernel: 5,
        blocks: [2; 8],
        input_channels: 3,
        out_channels: width.parse().unwrap(),
        bias: false,
    };
    params.extend(kernel_shapes(&shape).into_iter().map(|(name, shape)| (name.clone(), hash_kernel(&name, &shape))));
    params
}

/// The model of a net, for the input a case has.
fn net(root: &Path, name: &str, with_colors: bool) -> Arc<Model> {
    let input = if with_colors { InputFeatures::Colors } else { InputFeatures::Ones };
    model(&net_params(root, name), input)
}

/// Compares features with a case's stored rows and digest; returns the worst errors.
fn compare(folder: &Path, tag: &str, features: &[f32], channels: usize) -> (f64, f64) {
    let rows = read_rows(&folder.join(format!("out{tag}_rows.npy")));
    let want = read_matrix(&folder.join(format!("out{tag}_sel.npy")));
    let got: Vec<f32> = rows.iter().flat_map(|&r| features[r * channels..][..channels].iter().copied()).collect();
    let worst = worst_row_relative_error(&got, &want.to_f32(), channels);
    let digest = Matrix::from_f32(channels, features).product(&projection(channels));
    let want = read_matrix(&folder.join(format!("out{tag}_proj.npy")));
    check_labels(&digest, &want);
    (worst, relative_l2_f64(&digest.data, &want.data))
}

/// Equal best columns wherever the reference's lead exceeds 3 % of the spread of its scores.
fn check_labels(got: &Matrix, want: &Matrix) {
    let best = |row: &[f64]| (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    for row in 0..want.rows {
        let mut sorted = want.row(row).to_vec();
        sorted.sort_by(f64::total_cmp);
        let [low, .., second, first] = sorted[..] else { panic!("four columns") };
        if first - second > 0.03 * (first - low) {
            assert_eq!(best(got.row(row)), best(want.row(row)), "row {row}");
        }
    }
}

#[test]
fn whole_networks_on_real_clouds() {
    let Some(root) = fixtures("whole networks") else { return };
    for folder in folders(&root.join("cases")) {
        let rows = read_coordinates(&folder.join("coords.npy"));
        let feats = folder.join("feats.npy");
        let colors = feats.exists().then(|| read_f32(&feats).1);
        for net_name in read_case(&folder)["outputs"].as_object().unwrap().keys() {
            let model = net(&root, net_name, colors.is_some());
            let channels = model.graph().head_channels;
            let features = forward(&mut session(&model, best(), 2), &rows, colors.as_deref(), FeatureSpace::Text);
            let (worst, digest) = compare(&folder, &format!("_{net_name}"), &features, channels);
            println!(
                "{} {net_name}: worst row {worst:.1e}, digest {digest:.1e}",
                folder.file_name().unwrap().display()
            );
            assert!(worst <= 1e-5 && digest <= 1e-5);
        }
    }
}

/// The plan of `model` cut after step `index`, whose output becomes the trunk.
fn cut(model: &Model, index: usize) -> Plan {
    let plan = model.plan();
    let steps: Vec<Step> = plan.steps[..=index].to_vec();
    let trunk = steps[index].writes();
    let head = Head { weight: plan.head.weight.clone(), bias: None };
    Plan {
        tensors: plan.tensors.clone(),
        steps,
        levels: 5,
        input: plan.input,
        trunk,
        head,
        prepared: PreparedCache::default(),
    }
}

fn run(plan: &Plan, rows: &[Coordinate], features: &[f32], level: CpuLevel) -> Vec<f32> {
    let options = CpuOptions { threads: Some(2), level: Some(level), ..CpuOptions::default() };
    let backend = CpuBackend::new(options).unwrap();
    trunk(&backend, plan, rows, Some(features))
}

/// For each of `wanted` at tensor stride 2^level, its row among the library's voxels of that level.
fn library_rows(fine: &[Coordinate], wanted: &[Coordinate], stride: i32) -> Vec<usize> {
    let batches = fine.iter().map(|c| c[0] as usize).max().unwrap() + 1;
    let mut low = vec![[i32::MAX; 3]; batches];
    for c in fine {
        for axis in 0..3 {
            low[c[0] as usize][axis] = low[c[0] as usize][axis].min(c[axis + 1]);
        }
    }
    let key = |c: &Coordinate| {
        let origin = low[c[0] as usize].map(|v| v.div_euclid(16) * 16);
        let cell = [0, 1, 2].map(|axis| ((c[axis + 1] - origin[axis]) / stride) as u32);
        encode(Voxel { batch: c[0] as u32, cell })
    };
    let mut keys: Vec<u64> = wanted.iter().map(key).collect();
    keys.sort_unstable();
    wanted.iter().map(|c| keys.binary_search(&key(c)).unwrap()).collect()
}

fn reorder(features: &[f32], rows: &[usize], channels: usize) -> Vec<f32> {
    rows.iter().flat_map(|&r| features[r * channels..][..channels].iter().copied()).collect()
}

/// The fixture that holds what a fused step computes, and whether ReLU must be added.
fn stage_file(step: &str) -> (String, bool) {
    if let Some(block) = step.strip_suffix(".conv2") {
        (block.to_owned(), false)
    } else if let Some(block) = step.strip_suffix(".conv1") {
        (format!("{block}.norm1"), true)
    } else {
        let norm = match step.split_once('p').unwrap() {
            ("conv0", _) => "bn0".to_owned(),
            (name, _) => name.replace("convtr", "bntr").replace("conv", "bn"),
        };
        (norm, true)
    }
}

#[test]
fn every_stage_of_the_network() {
    let Some(root) = fixtures("stages") else { return };
    let stages = root.join("stages");
    let rows = read_coordinates(&stages.join("coords.npy"));
    let feats = read_f32(&stages.join("feats.npy")).1;
    for (name, at_least) in [("narrow512", 41), ("full512", 8)] {
        let folder = stages.join(name);
        let model = net(&root, name, true);
        let mut compared = 0;
        for (index, step) in model.plan().steps.iter().enumerate() {
            let (file, relu) = stage_file(step.name());
            let path = folder.join(format!("{file}.npy"));
            if !path.exists() {
                continue;
            }
            let mut want = read_matrix(&path);
            if relu {
                want = want.relu();
            }
            let spec = model.plan().tensor(step.writes());
            let stride = 1 << spec.level;
            let coordinates = match spec.level {
                0 => rows.clone(),
                _ => read_coordinates(&folder.join(format!("coords_stride{stride}.npy"))),
            };
            let order = library_rows(&rows, &coordinates, stride);
            let got = reorder(&run(&cut(&model, index), &rows, &feats, best()), &order, spec.channels);
            let error = worst_row_relative_error(&got, &want.to_f32(), spec.channels);
            assert!(error <= BAR, "{name} {}: worst row {error:.1e}", step.name());
            compared += 1;
        }
        assert!(compared >= at_least, "{name}: only {compared} stages were compared");
        let features = forward(&mut session(&model, best(), 2), &rows, Some(&feats), FeatureSpace::Text);
        let (worst, digest) = compare(&folder, "", &features, 512);
        assert!(worst <= BAR && digest <= 1e-5, "{name}: worst row {worst:.1e}, digest {digest:.1e}");
    }
}

/// A plan whose trunk is one convolution without batch norm or ReLU. An upsampling layer needs its input on the
/// coarse level: there a strided convolution with identity slices carries the rows of the first children up.
fn layer_plan(kind: &str, kernel: usize, weight: Weight) -> Plan {
    let (c_in, c_out) = (weight.shape[weight.shape.len() - 2], weight.shape[weight.shape.len() - 1]);
    let plain = |name: &str, geometry, source: usize, weight: Weight, channels: usize, output: usize| {
        let affine = Affine { scale: vec![1.0; channels], shift: vec![0.0; channels] };
        let main = Product { geometry, sources: vec![TensorId(source)], weight: Arc::new(weight), affine };
        let output = TensorId(output);
        Step::Convolution(Convolution { name: name.into(), main, shortcut: None, residual: None, relu: false, output })
    };
    let tensor = |level, channels| TensorSpec { level, channels };
    let (tensors, steps, trunk) = match kind {
        "conv" => {
            let step = plain("layer", Geometry::Submanifold { level: 0, size: kernel }, 0, weight, c_out, 1);
            (vec![tensor(0, c_in), tensor(0, c_out)], vec![step], 1)
        }
        "down" => {
            let step = plain("layer", Geometry::Strided { to: 1 }, 0, weight, c_out, 1);
            (vec![tensor(0, c_in), tensor(1, c_out)], vec![step], 1)
        }
        "up" => {
            let identity = (0..8 * c_in * c_in).map(|i| f32::from(i / c_in % c_in == i % c_in)).collect();
            let carry = plain("carry", Geometry::Strided { to: 1 }, 0, Weight::f32([8, c_in, c_in], identity), c_in, 1);
            let step = plain("layer", Geometry::Transposed { to: 0 }, 1, weight, c_out, 2);
            (vec![tensor(0, c_in), tensor(1, c_in), tensor(0, c_out)], vec![carry, step], 2)
        }
        other => panic!("unknown kind '{other}'"),
    };
    let head = Head { weight: Arc::new(Weight::f32([c_out, 1], vec![0.0; c_out])), bias: None };
    let (input, trunk) = (Some(TensorId(0)), TensorId(trunk));
    Plan { tensors, steps, levels: 2, input, trunk, head, prepared: PreparedCache::default() }
}

#[test]
fn single_layers() {
    let Some(root) = fixtures("single layers") else { return };
    for folder in folders(&root.join("layers")) {
        let case = read_case(&folder);
        let number = |key: &str| case[key].as_i64().unwrap() as i32;
        let kind = case["kind"].as_str().unwrap();
        let (shape, weight) = read_f32(&folder.join("weight.npy"));
        let coordinates = |file: &str| read_coordinates(&folder.join(file));
        let (coords_in, coords_out) = match folder.join("coords_out.npy") {
            path if path.exists() => (coordinates("coords_in.npy"), read_coordinates(&path)),
            _ => (coordinates("coords_in.npy"), coordinates("coords_in.npy")),
        };
        let (feats, want) = (read_matrix(&folder.join("feats_in.npy")), read_matrix(&folder.join("feats_out.npy")));
        // The library counts strides from the input's: divide them out.
        let unit = number("in_tensor_stride").min(number("out_tensor_stride"));
        let divide = |rows: &[Coordinate]| -> Vec<Coordinate> {
            rows.iter().map(|c| [c[0], c[1] / unit, c[2] / unit, c[3] / unit]).collect()
        };
        let (coords_in, coords_out) = (divide(&coords_in), divide(&coords_out));
        let (fine, features, stride) = match kind {
            "up" => (coords_out.clone(), on_first_children(&coords_in, &feats, &coords_out), 1),
            "down" => (coords_in, feats.to_f32(), 2),
            _ => (coords_in, feats.to_f32(), 1),
        };
        let plan = layer_plan(kind, number("kernel_size") as usize, Weight::f32(shape, weight));
        let order = library_rows(&fine, &coords_out, stride);
        for level in levels() {
            let got = reorder(&run(&plan, &fine, &features, level), &order, want.cols);
            let error = worst_row_relative_error(&got, &want.to_f32(), want.cols);
            let name = folder.file_name().unwrap().display();
            assert!(error <= BAR, "{name}, {level}: worst row {error:.1e}");
            assert!(case["impulse"] != true || got == want.to_f32(), "{name}, {level}: impulses are exact");
        }
    }
}

/// Features on the fine voxels: a coarse voxel's row on its first child, zeros on the others.
fn on_first_children(coarse: &[Coordinate], feats: &Matrix, fine: &[Coordinate]) -> Vec<f32> {
    let mut left: std::collections::HashMap<Coordinate, usize> = coarse.iter().copied().zip(0..).collect();
    let mut features = Vec::new();
    for c in fine {
        let parent = [c[0], c[1] & !1, c[2] & !1, c[3] & !1];
        match left.remove(&parent) {
            Some(row) => features.extend(feats.row(row).iter().map(|&v| v as f32)),
            None => features.resize(features.len() + feats.cols, 0.0),
        }
    }
    assert!(left.is_empty(), "every coarse voxel has a child");
    features
}

/// Positions of a cloud stored as `[n, 3]` or `[n, 4]`.
fn read_positions(path: &Path) -> Vec<[f32; 3]> {
    let (shape, values) = read_f32(path);
    values.chunks_exact(shape[1]).map(|p| [p[0], p[1], p[2]]).collect()
}

#[test]
fn the_published_voxeliser() {
    let Some(root) = fixtures("voxeliser") else { return };
    for folder in folders(&root.join("voxelizer")) {
        let voxel_size = read_case(&folder)["voxel_size"].as_f64().unwrap();
        let points = read_positions(&folder.join("points.npy"));
        let cells = quantise(
            &Cloud::from_xyz(&points),
            voxel_size,
            GridOrigin::Minimum,
            None,
            &Arena::default(),
            Cancel::default(),
        )
        .unwrap()
        .cells;
        let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
        let (_, coords) = read_i32(&folder.join("coords.npy"));
        assert_eq!(voxels.len(), coords.len() / 3);
        let first = read_rows(&folder.join("first_point.npy"));
        let of_point = read_rows(&folder.join("point_to_voxel.npy"));
        for (point, &theirs) in of_point.iter().enumerate() {
            let ours = voxels.voxel_of_point[point] as usize;
            let cell = decode(voxels.keys[ours], 0).cell.map(|v| v as i32);
            assert_eq!(cell, coords[3 * theirs..][..3], "point {point}");
            assert_eq!(voxels.points_of(ours)[0] as usize, first[theirs], "representative of point {point}");
        }
    }
}

#[test]
fn labels_of_real_points() {
    let Some(root) = fixtures("labels of real points") else { return };
    let names = ["p0", "p1", "p2", "p3"];
    for (case, points, colors, net_name) in [
        ("indoor_scannet_2cm", "scannet_xyz", Some("scannet_rgb"), "full768"),
        ("outdoor_kitti_5cm", "kitti_xyzi", None, "full512"),
        ("outdoor_nuscenes_5cm", "nuscenes_xyzi", None, "full512"),
    ] {
        let folder = root.join("cases").join(case);
        let voxel_size = read_case(&folder)["voxel_size"].as_f64().unwrap();
        let positions = read_positions(&root.join(format!("clouds/{points}.npy")));
        let rgb: Option<Vec<[u8; 3]>> = colors.map(|name| {
            let values = read_u8(&root.join(format!("clouds/{name}.npy"))).1;
            values.chunks_exact(3).map(|c| [c[0], c[1], c[2]]).collect()
        });
        let model = net(&root, net_name, colors.is_some());
        let dim = model.graph().head_channels;
        let columns = projection(dim);
        let lengths = [0, 1, 2, 3].map(|k| (0..dim).map(|d| columns.row(d)[k].powi(2)).sum::<f64>().sqrt());
        let rows: Vec<f32> = (0..4)
            .flat_map(|k| (0..dim).map(move |d| (k, d)))
            .map(|(k, d)| (columns.row(d)[k] / lengths[k]) as f32)
            .collect();
        let vocabulary = Vocabulary::from_embeddings(&names, &rows, dim, "").unwrap();
        let mut session = session(&model, best(), 2);
        session.set_vocabulary(Arc::new(vocabulary)).unwrap();
        let cloud = Cloud { colors: rgb.as_deref().map(StridedView::packed_u8), ..Cloud::from_xyz(&positions) };
        // The cases' coordinates were not shifted to the minimum, so the lattice is the world's.
        let grid_origin = GridOrigin::World;
        let options =
            SegmentOptions { voxel_size: Some(voxel_size), grid_origin, logits: true, ..SegmentOptions::default() };
        let got = session.segment(&[cloud], &options, Control::default()).unwrap().clouds.remove(0);
        let want = read_matrix(&folder.join(format!("out_{net_name}_proj.npy")));
        let theirs: HashMap<[i32; 3], usize> =
            read_coordinates(&folder.join("coords.npy")).iter().map(|c| [c[1], c[2], c[3]]).zip(0..).collect();
        assert_eq!(got.coordinates.len(), theirs.len(), "{case}: voxels");
        let (mut ours, mut reference) = (Matrix::zeros(positions.len(), 4), Matrix::zeros(positions.len(), 4));
        for (point, &voxel) in got.voxel_of_point.iter().enumerate() {
            let row = theirs[&got.coordinates[voxel as usize]];
            for k in 0..4 {
                ours.data[4 * point + k] = f64::from(got.logits[4 * voxel as usize + k]);
                reference.data[4 * point + k] = want.row(row)[k] / lengths[k];
            }
            assert_eq!(f64::from(got.scores[point]), ours.row(point)[got.labels[point] as usize]);
        }
        check_labels(&ours, &reference);
        let error = relative_l2_f64(&ours.data, &reference.data);
        println!("{case} {net_name}: {} points, scores {error:.1e}", positions.len());
        assert!(error <= 1e-5);
    }
}

#[test]
fn names_of_checkpoints_are_stripped() {
    assert_eq!(bare("module.net3d.bn0.bn.weight"), "bn0.bn.weight");
}
