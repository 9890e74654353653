//! One fused convolution at a time on CUDA against the CPU backend: every width, geometry and form of the epilogue.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]
#![cfg(target_os = "linux")]

#[path = "cuda/emulated.rs"]
mod emulated;
#[allow(dead_code, reason = "shared with the tests of the device list")]
#[path = "cuda/stand_in.rs"]
mod stand_in;
mod support;

use openvocab3d::backend::cpu::{CpuBackend, CpuOptions};
use openvocab3d::backend::cuda::CudaBackend;
use openvocab3d::model::weights::Weight;
use openvocab3d::plan::{
    Affine, Convolution, Geometry, Head, Plan, PreparedCache, Product, Stem, Step, TensorId, TensorSpec,
};
use std::sync::Arc;
use support::generate::{Generator, scattered, surface_coordinates};
use support::library::trunk;
use support::oracle::Coordinate;

/// A small network around the convolution under test.
struct Builder {
    random: Generator,
    tensors: Vec<TensorSpec>,
    steps: Vec<Step>,
}

impl Builder {
    fn new(seed: u64) -> Self {
        Self { random: Generator::new(seed), tensors: Vec::new(), steps: Vec::new() }
    }

    fn tensor(&mut self, level: usize, channels: usize) -> TensorId {
        self.tensors.push(TensorSpec { level, channels });
        TensorId(self.tensors.len() - 1)
    }

    fn weight(&mut self, shape: Vec<usize>, size: f64) -> Arc<Weight> {
        let values = (0..shape.iter().product()).map(|_| (self.random.normal() * size) as f32).collect();
        Arc::new(Weight::f32(shape, values).to_f16().unwrap())
    }

    fn affine(&mut self, columns: usize) -> Affine {
        let scale = (0..columns).map(|_| self.random.range(0.5, 1.5)).collect();
        Affine { scale, shift: (0..columns).map(|_| self.random.range(-0.3, 0.3)).collect() }
    }

    /// Random features on level 0, through a stem on constant ones.
    fn stem(&mut self, channels: usize) -> TensorId {
        let output = self.tensor(0, channels);
        let (weight, affine) = (self.weight(vec![125, 3, channels], 0.2), self.affine(channels));
        self.steps.push(Step::Stem(Stem { name: "stem".into(), size: 5, weight, affine, output }));
        output
    }

    fn product(&mut self, geometry: Geometry, sources: &[TensorId], columns: usize) -> Product {
        let channels: usize = sources.iter().map(|source| self.tensors[source.0].channels).sum();
        // About a third of the offsets of a surface have a row.
        let size = (3.0 / (geometry.volume() * channels) as f64).sqrt();
        let weight = self.weight(vec![geometry.volume(), channels, columns], size);
        Product { geometry, sources: sources.to_vec(), weight, affine: self.affine(columns) }
    }

    fn convolution(&mut self, geometry: Geometry, sources: &[TensorId], columns: usize) -> TensorId {
        let main = self.product(geometry, sources, columns);
        self.push(main, None, None, true)
    }

    fn push(&mut self, main: Product, shortcut: Option<Product>, residual: Option<TensorId>, relu: bool) -> TensorId {
        let (Geometry::Submanifold { level, .. }
        | Geometry::Strided { to: level }
        | Geometry::Transposed { to: level }) = main.geometry;
        let output = self.tensor(level, main.affine.scale.len());
        let name = format!("conv{}", self.steps.len()).into();
        self.steps.push(Step::Convolution(Convolution { name, main, shortcut, residual, relu, output }));
        output
    }

    /// The network, whose last tensor must be on level 0.
    fn plan(mut self) -> Plan {
        let trunk = TensorId(self.tensors.len() - 1);
        assert_eq!(self.tensors[trunk.0].level, 0);
        let weight = self.weight(vec![self.tensors[trunk.0].channels, 8], 0.1);
        let head = Head { weight, bias: None };
        let (tensors, steps) = (self.tensors, self.steps);
        Plan { tensors, steps, levels: 5, input: None, trunk, head, prepared: PreparedCache::default() }
    }
}

/// Both backends.
struct Backends {
    cpu: CpuBackend,
    cuda: CudaBackend,
    /// The worst row of all so far.
    worst: f64,
}

impl Backends {
    fn new() -> Self {
        let options = CpuOptions { threads: Some(2), ..CpuOptions::default() };
        Self { cpu: CpuBackend::new(options).unwrap(), cuda: CudaBackend::new(0).unwrap(), worst: 0.0 }
    }

    /// Compares the trunks row by row, against the mean length of a row.
    fn compare(&mut self, what: &str, plan: &Plan, rows: &[Coordinate]) {
        let (want, got) = (trunk(&self.cpu, plan, rows, None), trunk(&self.cuda, plan, rows, None));
        assert_eq!(got.len(), want.len(), "{what}");
        if want.is_empty() {
            return;
        }
        let width = want.len() / rows.len();
        let length = |row: &[f32]| row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let mean = want.chunks(width).map(length).sum::<f64>() / rows.len() as f64;
        for (row, (got, want)) in got.chunks(width).zip(want.chunks(width)).enumerate() {
            let difference: Vec<f32> = got.iter().zip(want).map(|(a, b)| a - b).collect();
            let error = length(&difference) / mean;
            // Rounding of features and weights to 11 bits in two layers, not more.
            assert!(error <= 2e-3, "{what}: row {row} of {}: {error:.1e} of a mean row", rows.len());
            self.worst = self.worst.max(error);
        }
    }

    fn report(&mut self, what: &str) {
        println!(" {what}: worst row {:.1e} of a mean row", std::mem::take(&mut self.worst));
    }
}

const SAME: Geometry = Geometry::Submanifold { level: 0, size: 3 };

#[test]
fn every_width_and_number_of_rows() {
    emulated::on_every_emulator("every_width_and_number_of_rows", &[], || {
        let mut backends = Backends::new();
        for (channels, columns) in [(32, 32), (20, 30), (32, 64), (48, 50), (64, 96), (96, 90), (33, 128), (16, 200)] {
            for rows in [1, 15, 16, 17, 127, 128, 129, 300] {
                let mut builder = Builder::new(rows as u64);
                let input = builder.stem(channels);
                builder.convolution(SAME, &[input], columns);
                let what = format!("{channels} to {columns} channels");
                backends.compare(&what, &builder.plan(), &surface_coordinates(rows as u64 + 5, rows));
            }
            backends.report(&format!("{channels} to {columns} channels, 3x3x3"));
        }
    });
}

#[test]
fn the_stem_alone() {
    emulated::on_every_emulator("the_stem_alone", &[], || {
        let mut backends = Backends::new();
        for channels in [8, 32, 50] {
            // A block takes 64 voxels, a warp 8.
            for rows in [1, 7, 8, 9, 63, 64, 65, 200] {
                let mut builder = Builder::new(rows as u64);
                builder.stem(channels);
                let what = format!("stem of {channels} channels");
                backends.compare(&what, &builder.plan(), &surface_coordinates(rows as u64 + 5, rows));
            }
        }
        backends.report("stem on constant ones");
    });
}

#[test]
fn every_geometry() {
    emulated::on_every_emulator("every_geometry", &[], || {
        let mut backends = Backends::new();
        for (what, clouds) in [
            ("surfaces", [surface_coordinates(1, 400), surface_coordinates(2, 130)]),
            ("holes", [scattered(3, 200), scattered(4, 1)]),
        ] {
            for (columns, level) in [(24, 1), (40, 3), (96, 4)] {
                for rows in &clouds {
                    // Down to the level, once more on it, and up again.
                    let mut builder = Builder::new(level as u64);
                    let mut x = builder.stem(24);
                    for to in 1..=level {
                        x = builder.convolution(Geometry::Strided { to }, &[x], columns);
                    }
                    x = builder.convolution(Geometry::Submanifold { level, size: 3 }, &[x], columns);
                    for to in (0..level).rev() {
                        x = builder.convolution(Geometry::Transposed { to }, &[x], columns);
                    }
                    backends.compare(&format!("{what}, level {level}"), &builder.plan(), rows);
                }
                backends
                    .report(&format!("{what}: strided to level {level}, 3x3x3, transposed back, {columns} channels"));
            }
        }
    });
}

#[test]
fn every_form_of_the_epilogue() {
    emulated::on_every_emulator("every_form_of_the_epilogue", &[], || {
        let mut backends = Backends::new();
        // Few rows and many channels: the steps are split. Many rows: they are not, with 300 tiles' worth in neither.
        for (rows, channels) in [(40, 96), (200, 64), (300, 24)] {
            let cloud = surface_coordinates(rows as u64, rows);
            let point = Geometry::Submanifold { level: 0, size: 1 };
            for form in ["residual", "shortcut", "two sources", "two sources, shortcut", "1x1x1", "no ReLU"] {
                let mut builder = Builder::new(7);
                let first = builder.stem(channels);
                let second = builder.convolution(SAME, &[first], 40);
                let two = form.starts_with("two");
                let sources = if two { vec![second, first] } else { vec![first] };
                let geometry = if form == "1x1x1" { point } else { SAME };
                let main = builder.product(geometry, &sources, channels);
                let shortcut = form.ends_with("shortcut").then(|| {
                    let mut shortcut = builder.product(point, &sources, channels);
                    // Scales far apart, and none: pruned channels.
                    shortcut.affine.scale[0] = 0.0;
                    shortcut.affine.scale[1] = 3.0;
                    shortcut
                });
                let mut main = main;
                if shortcut.is_some() {
                    main.affine.scale[2] = 0.0;
                    main.affine.scale[3] = 1e-3;
                }
                let residual = (form == "residual").then_some(first);
                builder.push(main, shortcut, residual, form != "no ReLU");
                backends.compare(&format!("{form}, {rows} rows"), &builder.plan(), &cloud);
                backends.report(&format!("{form}, {rows} rows, {channels} channels"));
            }
        }
    });
}

#[test]
fn large_values_are_kept_finite_and_weights_of_any_size_are_read() {
    emulated::on_every_emulator("large_values_are_kept_finite_and_weights_of_any_size_are_read", &[], || {
        let mut backends = Backends::new();
        let rows = surface_coordinates(3, 150);
        // Weights that FP16 cannot hold, brought back by the scale.
        for size in [1e-7, 1e7] {
            let mut builder = Builder::new(5);
            let input = builder.stem(24);
            let mut main = builder.product(SAME, &[input], 32);
            let values = main.weight.values().map(|v| v * size).collect();
            main.weight = Arc::new(Weight::f32(main.weight.shape.clone(), values));
            main.affine.scale.iter_mut().for_each(|scale| *scale /= f64::from(size));
            builder.push(main, None, None, true);
            backends.compare(&format!("weights times {size:e}"), &builder.plan(), &rows);
            backends.report(&format!("weights times {size:e}"));
        }
        // Beyond the largest FP16 the largest FP16 stands.
        let mut builder = Builder::new(6);
        let input = builder.stem(16);
        let mut main = builder.product(SAME, &[input], 16);
        main.affine.scale.iter_mut().for_each(|scale| *scale *= 1e7);
        builder.push(main, None, None, false);
        let plan = builder.plan();
        let (want, got) = (trunk(&backends.cpu, &plan, &rows, None), trunk(&backends.cuda, &plan, &rows, None));
        let mut clamped = 0;
        for (got, want) in got.iter().zip(&want) {
            assert!(got.is_finite());
            if want.abs() > 70_000.0 {
                assert_eq!(*got, 65504.0_f32.copysign(*want));
                clamped += 1;
            }
        }
        assert!(clamped > want.len() / 2);
    });
}
