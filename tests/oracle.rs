//! The tests' own float64 network: against cases worked out by hand, and against MinkowskiEngine's stored numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

mod support;

use std::path::Path;
use support::generate::{self, Shape};
use support::oracle::{self, Coordinate, Matrix, Oracle, Params, Tensor};
use support::shared;

const EPS: f64 = 1e-5;

/// A kernel of one input channel whose output channel `n` says what slice `n` found.
fn impulse(slices: usize) -> Tensor {
    let values = (0..slices * slices).map(|i| f64::from(i / slices == i % slices)).collect();
    (vec![slices, 1, slices], values)
}

fn column(values: &[f64]) -> Matrix {
    Matrix::new(values.len(), 1, values.to_vec())
}

/// The slices at which row `row` of an impulse response is not zero.
fn found(response: &Matrix, row: usize) -> Vec<usize> {
    (0..response.cols).filter(|&n| response.row(row)[n] != 0.0).collect()
}

#[test]
fn a_single_voxel_meets_only_the_centre() {
    let alone: [Coordinate; 1] = [[0, 7, -3, 11]];
    for (kernel, centre) in [(1, 0), (3, 13), (5, 62)] {
        let slices = kernel * kernel * kernel;
        let y = oracle::convolution(&alone, &column(&[2.5]), &impulse(slices), &alone, kernel, 1);
        assert_eq!(found(&y, 0), [centre]);
        assert_eq!(y.row(0)[centre], 2.5);
    }
}

#[test]
fn slices_run_x_fastest_and_nothing_is_mirrored() {
    // Per axis the voxel one step up and one step down, far from those of the other axes.
    for (axis, slices3, slices5) in [(1, [12, 14], [61, 63]), (2, [10, 16], [57, 67]), (3, [4, 22], [37, 87])] {
        for stride in [1, 4] {
            let mut coords: [Coordinate; 3] = [[2, -8, 4, 0]; 3];
            coords[0][axis] -= stride;
            coords[2][axis] += stride;
            let x = column(&[3.0, 5.0, 7.0]);
            for (kernel, centre, [below, above]) in [(3, 13, slices3), (5, 62, slices5)] {
                let y = oracle::convolution(&coords, &x, &impulse(kernel * kernel * kernel), &coords, kernel, stride);
                assert_eq!([below, centre, above].map(|n| y.row(1)[n]), [3.0, 5.0, 7.0]);
                assert_eq!(found(&y, 1).len(), 3);
                assert_eq!(y.row(0)[above], 5.0, "the lower voxel sees the middle one above it");
            }
        }
    }
}

#[test]
fn a_neighbour_across_batches_or_out_of_range_does_not_exist() {
    let coords = [[0, 0, 0, 0], [1, 1, 0, 0], [0, i32::MAX, 0, 0], [0, i32::MIN, 0, 0]];
    let y = oracle::convolution(&coords, &column(&[1.0; 4]), &impulse(27), &coords, 3, 1);
    assert!((0..4).all(|row| found(&y, row) == [13]));
}

/// The eight children of `parent` at stride `s`, x fastest.
fn children(parent: Coordinate, s: i32) -> Vec<Coordinate> {
    let [b, x, y, z] = parent;
    (0..8).map(|n| [b, x + s * (n & 1), y + s * (n >> 1 & 1), z + s * (n >> 2)]).collect()
}

#[test]
fn eight_children_fill_the_slices_in_order() {
    for (parent, s) in [([0, 0, 0, 0], 1), ([3, -2, -4, 6], 1), ([0, -16, 32, -48], 8)] {
        let fine = children(parent, s);
        let coarse = oracle::downsample(&fine, 2 * s);
        assert_eq!(coarse, [parent]);
        let x: Vec<f64> = (1..=8).map(f64::from).collect();
        let y = oracle::convolution(&fine, &column(&x), &impulse(8), &coarse, 2, s);
        assert_eq!(y.row(0), x);
    }
}

#[test]
fn negative_coordinates_are_floored() {
    let fine = [[0, -1, -1, -1], [0, -2, 0, 1], [0, -3, 3, -4]];
    let coarse = oracle::downsample(&fine, 2);
    assert_eq!(coarse, [[0, -4, 2, -4], [0, -2, -2, -2], [0, -2, 0, 0]]);
    let y = oracle::convolution(&fine, &column(&[1.0; 3]), &impulse(8), &coarse, 2, 1);
    // (-3,3,-4) is (1,1,0) in its cell, (-1,-1,-1) is (1,1,1), (-2,0,1) is (0,0,1).
    assert_eq!([found(&y, 0), found(&y, 1), found(&y, 2)], [[3], [7], [4]]);
    assert_eq!(oracle::downsample(&[[5, -1, 15, -17]], 16), [[5, -16, 0, -32]]);
}

#[test]
fn a_transposed_convolution_undoes_an_impulse() {
    for fine in [generate::scattered(1, 200), generate::negative_and_far(2, 200), generate::batched(3, 90, 2)] {
        let coarse = oracle::downsample(&fine, 2);
        let x = Matrix::from_f32(1, &generate::random_features(4, fine.len(), 1));
        let y = oracle::convolution(&fine, &x, &impulse(8), &coarse, 2, 1);
        let (_, values) = impulse(8);
        assert_eq!(oracle::transposed(&coarse, &y, &(vec![8, 8, 1], values), &fine, 1), x);
    }
}

#[test]
fn transposed_slices_are_not_mirrored() {
    let fine = children([0, -2, 4, 0], 1);
    let y = oracle::transposed(&[[0, -2, 4, 0]], &column(&[2.0]), &impulse(8), &fine, 1);
    assert!((0..8).all(|n| found(&y, n) == [n] && y.row(n)[n] == 2.0));
}

#[test]
fn batch_norm_and_relu_by_hand() {
    let y = oracle::batch_norm(
        Matrix::new(2, 2, vec![3.0, 1.0, -1.0, f64::NAN]),
        &[2.0, 1.0],
        &[0.5, 0.0],
        &[1.0, 0.0],
        &[3.0, 0.0],
        1.0,
    );
    assert_eq!(y.data[..3], [2.5, 1.0, -1.5]);
    let y = y.relu();
    assert_eq!(y.data[..3], [2.5, 1.0, 0.0]);
    assert!(y.data[3].is_nan());
}

#[test]
fn the_first_of_equal_coordinates_is_kept() {
    let coords = [[0, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]];
    assert_eq!(oracle::unique_first(&coords), (vec![0, 1, 3], vec![0, 1, 0, 2, 1]));
}

/// A network of single channels whose values on one voxel can be followed on paper: norms are identities, kernels
/// pass the centre on, and the blocks of the decoder add ten times the skip to what came up.
fn paper_net() -> Params {
    let mut params = generate::random_net(&Shape { bias: true, ..narrow([1; 8], 1, [1; 8], 1, 1) }, 0);
    for (name, (shape, values)) in &mut params {
        let value = match name.rsplit_once('.').unwrap().1 {
            "weight" | "running_var" => 1.0,
            _ => 0.0,
        };
        values.fill(value);
        if name.contains("downsample.0") {
            values[1] = 10.0;
        } else if name.ends_with(".kernel") {
            let centre = [(125, 62), (27, 13)].iter().find(|(slices, _)| *slices == shape[0]).map_or(0, |c| c.1);
            values[centre * shape[shape.len() - 2]] = 1.0;
        }
    }
    params.insert("final.kernel".into(), (vec![1, 1], vec![0.5]));
    params.insert("final.bias".into(), (vec![1, 1], vec![3.0]));
    params
}

fn narrow(planes: [usize; 8], stem: usize, blocks: [usize; 8], input_channels: usize, out_channels: usize) -> Shape {
    Shape { planes, stem, stem_kernel: 5, blocks, input_channels, out_channels, bias: false }
}

#[test]
fn a_network_on_one_voxel_by_hand() {
    let net = Oracle { params: &paper_net(), eps: 0.0, blocks: [1; 8], stem_kernel: 5 };
    let trace = net.forward(&[[0, 16, 0, -16]], &column(&[1.0]));
    let value = |name: &str| trace.tensors[name].1.data[0];
    // An encoder block doubles; a decoder block makes `up + 10 skip` of cat(up, skip).
    assert_eq!([1, 2, 3, 4].map(|b| value(&format!("block{b}.0"))), [2.0, 4.0, 8.0, 16.0]);
    assert_eq!([5, 6, 7, 8].map(|b| value(&format!("block{b}.0"))), [96.0, 136.0, 156.0, 166.0]);
    assert_eq!(trace.trunk.data, [166.0]);
    assert_eq!(trace.output.data, [86.0]);
    assert_eq!(trace.tensors["block4.0"].0, [[0, 16, 0, -16]]);
}

#[test]
fn a_shift_by_sixteen_changes_nothing_and_batches_are_apart() {
    let planes = [4, 4, 8, 8, 8, 4, 4, 4];
    let params = generate::random_params(planes, 4, [1; 8], 3, 5, true, 11);
    let net = Oracle { params: &params, eps: EPS, blocks: [1; 8], stem_kernel: 5 };
    let one = generate::surface_coordinates(12, 300);
    let x = Matrix::from_f32(3, &generate::random_features(13, one.len(), 3));
    let want = net.forward(&one, &x).output;

    let shifted = |d: [i32; 4]| one.iter().map(|c| [0, 1, 2, 3].map(|a| c[a] + d[a])).collect::<Vec<_>>();
    let error = |d| shared::relative_l2_f64(&net.forward(&shifted(d), &x).output.data, &want.data);
    assert!(error([1, 16, -32, 48]) < 1e-12);
    assert!(error([0, 1, 0, 0]) > 1e-3);

    let both = [one.clone(), shifted([1, 0, 0, 0])].concat();
    let twice = Matrix::new(2 * x.rows, 3, x.data.repeat(2));
    assert!(shared::relative_l2_f64(&net.forward(&both, &twice).output.data, &want.data.repeat(2)) < 1e-12);
}

/// A stored case's coordinates, or all ones for a case without features.
fn features(folder: &Path, rows: usize) -> Matrix {
    let path = folder.join("feats.npy");
    if path.exists() { shared::read_matrix(&path) } else { Matrix::new(rows, 3, vec![1.0; rows * 3]) }
}

fn close(what: &str, got: &Matrix, want: &Matrix) {
    assert_eq!((got.rows, got.cols), (want.rows, want.cols), "{what}");
    let error = shared::relative_l2_f64(&got.data, &want.data);
    assert!(error <= 1e-6, "{what}: relative error {error:e}");
}

#[test]
fn layers_agree_with_minkowski_engine() {
    let Some(fixtures) = shared::minkunet() else { return };
    let mut seen = 0;
    for entry in fixtures.join("layers").read_dir().unwrap() {
        let folder = entry.unwrap().path();
        let case = shared::read_case(&folder);
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let coords = |name: &str| shared::read_coordinates(&folder.join(name));
        let (coords_in, coords_out) = (coords("coords_in.npy"), coords("coords_out.npy"));
        let x = shared::read_matrix(&folder.join("feats_in.npy"));
        let (shape, values) = shared::read_f32(&folder.join("weight.npy"));
        let weight = (shape, values.into_iter().map(f64::from).collect());
        let y = match case["kind"].as_str().unwrap() {
            "up" => oracle::transposed(&coords_in, &x, &weight, &coords_out, number("out_tensor_stride") as i32),
            kind => {
                if kind == "down" {
                    assert_eq!(oracle::downsample(&coords_in, number("out_tensor_stride") as i32), coords_out);
                }
                let stride = number("in_tensor_stride") as i32;
                oracle::convolution(&coords_in, &x, &weight, &coords_out, number("kernel_size"), stride)
            }
        };
        close(&format!("{}", folder.display()), &y, &shared::read_matrix(&folder.join("feats_out.npy")));
        seen += 1;
    }
    assert!(seen >= 10, "only {seen} layers");
}

#[test]
fn kernel_maps_agree_with_minkowski_engine() {
    let Some(folder) = shared::minkunet().map(|f| f.join("kmap")) else { return };
    let fine = shared::read_coordinates(&folder.join("coords.npy"));
    let coarse = oracle::downsample(&fine, 2);
    let cases = [("map_k3_s1", 3, &fine, false), ("map_k5_s1", 5, &fine, false), ("map_k2_s2", 2, &coarse, false)];
    for (name, kernel, to, up) in cases.into_iter().chain([("map_tr_k2_s2", 2, &coarse, true)]) {
        let mut rows: Vec<Vec<i32>> = Vec::new();
        for (n, pairs) in oracle::kernel_map(&fine, to, kernel, 1).into_iter().enumerate() {
            for (i, o) in pairs {
                let (from, to) = if up { (to[o], fine[i]) } else { (fine[i], to[o]) };
                rows.push([&[n as i32], &from[..], &to[..]].concat());
            }
        }
        rows.sort();
        let (shape, want) = shared::read_i32(&folder.join(format!("{name}.npy")));
        assert_eq!(shape, [rows.len(), 9], "{name}");
        assert_eq!(rows.concat(), want, "{name}");
    }
}

#[test]
fn batch_norm_agrees_with_pytorch() {
    let Some(folder) = shared::minkunet().map(|f| f.join("bn/c24")) else { return };
    let vector = |name: &str| -> Vec<f64> {
        shared::read_f32(&folder.join(format!("{name}.npy"))).1.into_iter().map(f64::from).collect()
    };
    let [weight, bias, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(vector);
    let x = shared::read_matrix(&folder.join("feats_in.npy"));
    let y = oracle::batch_norm(x, &weight, &bias, &mean, &var, EPS);
    close("bn/c24", &y, &shared::read_matrix(&folder.join("out_eval.npy")));
}

/// The rows of `have` in the order of `want`, which holds the same coordinates.
fn order(have: &[Coordinate], want: &[Coordinate]) -> Vec<usize> {
    let rows: std::collections::HashMap<_, _> = have.iter().enumerate().map(|(row, c)| (c, row)).collect();
    want.iter().map(|c| rows[c]).collect()
}

/// Every stored tensor of `stages/<net>` and the digest of its output.
fn check_stages(fixtures: &Path, net: &str, params: &Params) {
    let stages = fixtures.join("stages");
    let coords = shared::read_coordinates(&stages.join("coords.npy"));
    let oracle = Oracle { params, eps: EPS, blocks: [2; 8], stem_kernel: 5 };
    let trace = oracle.forward(&coords, &features(&stages, coords.len()));
    let folder = stages.join(net);
    let strides = shared::read_case(&folder)["tensor_stride"].clone();
    for (name, stride) in strides.as_object().unwrap() {
        let (have, tensor) = &trace.tensors[name];
        let want = match stride.as_u64().unwrap() {
            1 => coords.clone(),
            s => shared::read_coordinates(&folder.join(format!("coords_stride{s}.npy"))),
        };
        let stored = shared::read_matrix(&folder.join(format!("{name}.npy")));
        close(&format!("stages/{net} {name}"), &tensor.select(&order(have, &want)), &stored);
    }
    let rows = shared::read_rows(&folder.join("out_rows.npy"));
    let selected = shared::read_matrix(&folder.join("out_sel.npy"));
    close("selected rows", &trace.output.select(&rows), &selected);
    let digest = trace.output.product(&shared::projection(trace.output.cols));
    close("projected rows", &digest, &shared::read_matrix(&folder.join("out_proj.npy")));
}

#[test]
fn every_stage_of_the_narrow_network_agrees() {
    let Some(fixtures) = shared::minkunet() else { return };
    let params = shared::read_params(&fixtures.join("nets/narrow512/fp32.safetensors"));
    check_stages(&fixtures, "narrow512", &params);
}

#[test]
fn every_stage_of_the_full_network_agrees() {
    let Some(fixtures) = shared::minkunet() else { return };
    let mut params = shared::read_params(&fixtures.join("nets/full/bn.safetensors"));
    for (name, shape) in generate::kernel_shapes(&narrow([32, 64, 128, 256, 128, 128, 96, 96], 32, [2; 8], 3, 512)) {
        params.insert(name.clone(), generate::hash_kernel(&name, &shape));
    }
    check_stages(&fixtures, "full512", &params);
}

#[test]
fn two_batches_agree_with_minkowski_engine() {
    let Some(fixtures) = shared::minkunet() else { return };
    let params = shared::read_params(&fixtures.join("nets/tiny32/fp32.safetensors"));
    let folder = fixtures.join("grads/tiny32_eval");
    let coords = shared::read_coordinates(&folder.join("coords.npy"));
    let oracle = Oracle { params: &params, eps: EPS, blocks: [2; 8], stem_kernel: 5 };
    let trace = oracle.forward(&coords, &features(&folder, coords.len()));
    close("tiny32", &trace.output, &shared::read_matrix(&folder.join("out.npy")));
}

#[test]
fn generated_kernels_are_those_of_the_fixtures() {
    assert_eq!(generate::fnv1a32("conv0p1s1.kernel"), 0xC691_3815);
    let (_, values) = generate::hash_kernel("conv0p1s1.kernel", &[125, 3, 32]);
    assert_eq!(values[..2], [0.002292633056640625, -0.0171356201171875]);
    let Some(fixtures) = shared::minkunet() else { return };
    let table = std::fs::read_to_string(fixtures.join("nets/full/kernels.tsv")).unwrap();
    let mut seen = 0;
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let extents = fields[1].trim_matches(['(', ')']).split(", ");
        let shape: Vec<usize> = extents.map(|e| e.parse().unwrap()).collect();
        let (_, values) = generate::hash_kernel(fields[0].split('@').next().unwrap(), &shape);
        let number = |i: usize| fields[i].parse::<f64>().unwrap();
        assert_eq!([values[0], values[1], values[values.len() - 1]], [number(2), number(3), number(4)], "{line}");
        assert!((values.iter().sum::<f64>() - number(5)).abs() < 1e-8, "{line}");
        seen += 1;
    }
    assert!(seen >= 40, "only {seen} kernels");
}

#[test]
fn half_precision_rounds_once() {
    let value = |bits: u16| half::f16::from_bits(bits).to_f64();
    for bits in 0..0x7BFF {
        let (low, high) = (value(bits), value(bits + 1));
        let (middle, even) = ((low + high) / 2.0, if bits % 2 == 0 { low } else { high });
        let above = f64::from_bits(middle.to_bits() + 1);
        let below = f64::from_bits(middle.to_bits() - 1);
        assert_eq!([low, middle, above, below].map(generate::round_to_f16), [low, even, high, low]);
        assert_eq!(generate::round_to_f16(-above), -high);
    }
}

#[test]
fn shapes_give_the_published_parameter_counts() {
    let count = |planes, blocks, out| -> usize {
        let shapes = generate::kernel_shapes(&narrow(planes, 32, blocks, 3, out));
        let norms: usize = shapes[..shapes.len() - 1].iter().map(|(_, s)| 2 * s[s.len() - 1]).sum();
        norms + shapes.iter().map(|(_, s)| s.iter().product::<usize>()).sum::<usize>()
    };
    let a = [32, 64, 128, 256, 128, 128, 96, 96];
    assert_eq!(count(a, [2; 8], 512), 15_540_384);
    assert_eq!(count(a, [2; 8], 768), 15_564_960);
    assert_eq!(count(a, [1; 8], 768), 8_096_288);
    assert_eq!(count([32, 64, 128, 256, 256, 128, 96, 96], [2, 3, 4, 6, 2, 2, 2, 2], 768), 37_927_840);
    assert_eq!(count([32, 64, 128, 256, 384, 384, 384, 384], [2; 8], 768), 80_161_696);
}

#[test]
fn random_networks_keep_activations_of_order_one() {
    let planes = [8, 16, 16, 32, 16, 16, 12, 12];
    let params = generate::random_params(planes, 8, [2; 8], 3, 20, true, 5);
    assert_eq!(params, generate::random_params(planes, 8, [2; 8], 3, 20, true, 5));
    assert_ne!(params, generate::random_params(planes, 8, [2; 8], 3, 20, true, 6));
    assert!(params.values().flat_map(|(_, v)| v).all(|&v| generate::round_to_f16(v) == v));
    let coords = generate::surface_coordinates(6, 2000);
    for (blocks, x) in [([2; 8], vec![1.0; 6000]), ([2, 3, 4, 6, 2, 2, 2, 2], generate::random_features(7, 2000, 3))] {
        let params = generate::random_params(planes, 8, blocks, 3, 20, true, 5);
        let net = Oracle { params: &params, eps: EPS, blocks, stem_kernel: 5 };
        let tensors = net.forward(&coords, &Matrix::from_f32(3, &x)).tensors;
        let norms = ["bn", "norm", "downsample.1"];
        let mut seen = 0;
        for (name, (_, tensor)) in tensors.iter().filter(|(name, _)| norms.iter().any(|norm| name.contains(norm))) {
            let rms = (tensor.data.iter().map(|v| v * v).sum::<f64>() / tensor.data.len() as f64).sqrt();
            assert!((0.2..5.0).contains(&rms), "{name}: rms {rms}");
            seen += 1;
        }
        assert_eq!(seen + 1, params.keys().filter(|name| name.ends_with(".kernel")).count());
    }
}

#[test]
fn clouds_are_what_they_are_called() {
    type Maker = fn(u64, usize) -> Vec<Coordinate>;
    let makers: [Maker; 3] = [generate::surface_coordinates, generate::scattered, generate::negative_and_far];
    for make in makers {
        for n in [1, 2, 10, 1000] {
            let coords = make(3, n);
            assert_eq!(coords.len(), n);
            assert_eq!(oracle::unique_first(&coords).0.len(), n);
            assert_eq!(coords, make(3, n));
        }
        assert_ne!(make(3, 100), make(4, 100));
    }
    let neighbours = |coords: &[Coordinate]| {
        oracle::kernel_map(coords, coords, 3, 1).iter().map(Vec::len).sum::<usize>() as f64 / coords.len() as f64
    };
    assert!((6.0..16.0).contains(&neighbours(&generate::surface_coordinates(1, 2000))));
    assert!(neighbours(&generate::scattered(1, 2000)) < 3.0);
    let far = generate::negative_and_far(1, 1000);
    assert!((1..4).all(|a| far.iter().any(|c| c[a] < -50_000) && far.iter().any(|c| c[a] > 50_000)));
    let mixed = generate::batched(1, 300, 3);
    assert_eq!(oracle::unique_first(&mixed).0.len(), mixed.len());
    assert!((0..3).all(|b| mixed.iter().filter(|c| c[0] == b).count() > 200));
    assert!(!mixed.is_sorted_by_key(|c| c[0]));
    let mut items: Vec<u32> = (0..100).collect();
    generate::shuffle(1, &mut items);
    assert!(!items.is_sorted());
    items.sort();
    assert!(items.into_iter().eq(0..100));
}

#[test]
fn measures_see_what_is_wrong() {
    let want = [3.0, 4.0, 0.0, 0.5];
    assert_eq!(shared::relative_l2(&want, &want), 0.0);
    assert_eq!(shared::relative_l2(&[3.0, 4.0], &[0.0, 5.0]), 10f64.sqrt() / 5.0);
    assert_eq!(shared::worst_row_relative_error(&[3.0, 4.0, 0.0, 1.0], &want, 2), 1.0);
    assert_eq!(shared::worst_row_relative_error(&want, &want, 2), 0.0);
    for wrong in [&[f32::NAN, 4.0, 0.0, 0.5][..], &[f32::INFINITY, 4.0, 0.0, 0.5], &want[..2]] {
        assert_eq!(shared::relative_l2(wrong, &want), f64::INFINITY);
        assert_eq!(shared::worst_row_relative_error(wrong, &want, 2), f64::INFINITY);
        assert_eq!(shared::worst_row_relative_error(&want, wrong, 2), f64::INFINITY);
    }
    assert_eq!(shared::worst_row_relative_error(&want, &want, 3), f64::INFINITY);
    assert_eq!(shared::relative_l2(&[1.0], &[0.0]), f64::INFINITY);
    // A row of next to nothing is measured against the typical row, not against itself.
    assert!(shared::worst_row_relative_error(&[1.0, 1.0, 1e-6], &[1.0, 1.0, 0.0], 1) < 2e-3);
    for prefix in ["", "net3d.", "module.", "module.net3d."] {
        assert_eq!(shared::bare(&format!("{prefix}bn0.bn.weight")), "bn0.bn.weight");
    }
}

#[test]
fn files_of_every_width_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |descr: &str, shape: &str, data: &[u8]| {
        let path = folder.path().join("a.npy");
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        let header = format!("{dict:<117}\n");
        let head = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(&path, [&head, data].concat()).unwrap();
        path
    };
    let halves: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let (shape, values) = shared::read_f16(&write("<f2", "(2, 1)", &halves));
    assert_eq!((shape, values[1].to_f32()), (vec![2, 1], -2.0));
    assert_eq!(shared::read_f32(&write("<f4", "(1,)", &1.5f32.to_le_bytes())), (vec![1], vec![1.5]));
    assert_eq!(shared::read_i64(&write("<i8", "(1,)", &7i64.to_le_bytes())), (vec![1], vec![7]));
    assert_eq!(shared::read_i32(&write("<i4", "(1, 1)", &7i32.to_le_bytes())), (vec![1, 1], vec![7]));

    let entries = [
        ("net3d.a", "F32", 1.5f32.to_le_bytes().to_vec()),
        ("module.net3d.b", "F16", half::f16::from_f32(2.5).to_le_bytes().to_vec()),
        ("module.c", "BF16", half::bf16::from_f32(3.5).to_le_bytes().to_vec()),
        ("d", "F64", 4.5f64.to_le_bytes().to_vec()),
        ("e.num_batches_tracked", "I64", 5i64.to_le_bytes().to_vec()),
    ];
    let (mut table, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, bytes) in entries {
        let span = [data.len(), data.len() + bytes.len()];
        table.push(format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":[1],\"data_offsets\":{span:?}}}"));
        data.extend(bytes);
    }
    let header = format!("{{{}}}", table.join(","));
    let file = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat();
    let params = shared::params_from_bytes(&file);
    let read: Vec<_> = params.iter().map(|(name, (shape, values))| (name.as_str(), shape[0], values[0])).collect();
    assert_eq!(read, [("a", 1, 1.5), ("b", 1, 2.5), ("c", 1, 3.5), ("d", 1, 4.5)]);
}
