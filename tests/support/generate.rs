//! Deterministic test inputs of our own making: numbers, kernels, whole networks and clouds of voxel coordinates.

use super::oracle::{Coordinate, Params, Tensor, unique_first};
use half::f16;
use std::collections::HashSet;

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same on every platform.
pub struct Generator(u64);

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `[0, 1)`, with 53 random bits.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `[low, high)`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Uniform in `0..bound`, but for a bias below 2^-32 for bounds that fit 32 bits.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Fisher-Yates.
pub fn shuffle<T>(seed: u64, items: &mut [T]) {
    let mut random = Generator::new(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last + 1));
    }
}

/// The nearest half-precision number, ties to even.
///
/// `f16::from_f64` goes through a truncated or an f32 mantissa and so may round twice; scaled to whole units in the
/// last place, the rounding is exact.
pub fn round_to_f16(value: f64) -> f64 {
    let exponent = if value == 0.0 { -14 } else { value.abs().log2().floor().max(-14.0) as i32 };
    let unit = 2f64.powi(exponent - 10);
    let rounded = (value / unit).round_ties_even() * unit;
    let half = f16::from_f64(rounded);
    if half.is_finite() {
        assert_eq!(half.to_f64(), rounded, "{value} rounded to half precision");
    }
    half.to_f64()
}

/// 32-bit FNV-1a.
pub fn fnv1a32(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// `count` numbers in `[0, 1)` of 24 random bits: murmur3's finaliser over `seed + i * 0x9E3779B9`.
pub fn hash_unit(seed: u32, count: usize) -> impl Iterator<Item = f64> {
    (0..count as u32).map(move |i| {
        let mut h = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9));
        h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
        h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
        f64::from((h ^ (h >> 16)) >> 8) / 16_777_216.0
    })
}

/// The kernel that belongs to `name`: uniform with `a = sqrt(6 / (K * out))`, every value exact in half precision.
pub fn hash_kernel(name: &str, shape: &[usize]) -> Tensor {
    seeded_kernel(name, shape, 0)
}

fn seeded_kernel(name: &str, shape: &[usize], seed: u32) -> Tensor {
    let slices = if shape.len() == 3 { shape[0] } else { 1 };
    let bound = (6.0 / (slices * shape[shape.len() - 1]) as f64).sqrt();
    let values = hash_unit(fnv1a32(name) ^ seed, shape.iter().product());
    (shape.to_vec(), values.map(|u| round_to_f16((2.0 * u - 1.0) * bound)).collect())
}

/// What decides the parameters of a MinkUNet.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub planes: [usize; 8],
    /// Channels of the stem.
    pub stem: usize,
    pub stem_kernel: usize,
    pub blocks: [usize; 8],
    pub input_channels: usize,
    pub out_channels: usize,
    pub bias: bool,
}

/// What a module's kernel does, hence which share of its slices finds a voxel on a surface.
enum Kernel {
    Same(usize),
    Down,
    Up,
    Point,
}

/// A convolution and the norm behind it.
struct Module {
    conv: String,
    norm: Option<String>,
    kernel: Kernel,
    channels: [usize; 2],
    /// About the mean square of the input, where every norm's output has one of about one.
    mean_square: f64,
}

/// The mean square of a norm's output after ReLU.
const RECTIFIED: f64 = 0.55;

/// The modules of a network in order.
fn modules(net: &Shape) -> Vec<Module> {
    let module = |conv: &str, norm: &str, kernel, channels, mean_square| Module {
        conv: conv.into(),
        norm: (!norm.is_empty()).then(|| norm.into()),
        kernel,
        channels,
        mean_square,
    };
    let mut list = vec![module("conv0p1s1", "bn0", Kernel::Same(net.stem_kernel), [net.input_channels, net.stem], 1.0)];
    let (mut channels, mut mean_square) = (net.stem, RECTIFIED);
    let skips = [net.planes[2], net.planes[1], net.planes[0], net.stem];
    let down = ["conv1p1s2", "conv2p2s2", "conv3p4s2", "conv4p8s2"];
    let up = ["convtr4p16s2", "convtr5p8s2", "convtr6p4s2", "convtr7p2s2"];
    for (j, &planes) in net.planes.iter().enumerate() {
        if j < 4 {
            let norm = format!("bn{}", j + 1);
            list.push(module(down[j], &norm, Kernel::Down, [channels, channels], mean_square));
            mean_square = RECTIFIED;
        } else {
            list.push(module(up[j - 4], &format!("bntr{j}"), Kernel::Up, [channels, planes], mean_square));
            channels = planes + skips[j - 4];
            // Half of what comes in is the skip, which has passed a sum.
            mean_square = 1.0;
        }
        for block in 0..net.blocks[j] {
            let name = |part: &str| format!("block{}.{block}.{part}", j + 1);
            let same = Kernel::Same(3);
            list.push(module(&name("conv1"), &name("norm1"), same, [channels, planes], mean_square));
            list.push(module(&name("conv2"), &name("norm2"), Kernel::Same(3), [planes, planes], RECTIFIED));
            if channels != planes {
                let names = (name("downsample.0"), name("downsample.1"));
                list.push(module(&names.0, &names.1, Kernel::Point, [channels, planes], mean_square));
                mean_square = 1.0;
            }
            mean_square = RECTIFIED + 0.9 * mean_square;
            channels = planes;
        }
    }
    list.push(module("final", "", Kernel::Point, [channels, net.out_channels], mean_square));
    list
}

/// Names and shapes of all kernels, in the order of the modules.
pub fn kernel_shapes(net: &Shape) -> Vec<(String, Vec<usize>)> {
    let shape = |module: Module| {
        let [from, to] = module.channels;
        let shape = match module.kernel {
            Kernel::Same(kernel) => vec![kernel * kernel * kernel, from, to],
            Kernel::Down | Kernel::Up => vec![8, from, to],
            Kernel::Point => vec![from, to],
        };
        (format!("{}.kernel", module.conv), shape)
    };
    modules(net).into_iter().map(shape).collect()
}

/// Kernels by [`hash_kernel`]'s rule and batch-norm values that keep activations of order one on surfaces.
///
/// Every value is exact in half precision, so that one expected result serves f32 and f16 files.
pub fn random_net(net: &Shape, seed: u64) -> Params {
    let mut random = Generator::new(seed);
    let kernel_seed = (seed ^ (seed >> 32)) as u32;
    let mut params = Params::new();
    for (name, shape) in kernel_shapes(net) {
        params.insert(name.clone(), seeded_kernel(&name, &shape, kernel_seed));
    }
    for module in modules(net) {
        let Some(norm) = module.norm else { continue };
        // Rather too many slices than too few: an error in this direction dies out, in the other it grows with depth.
        let found = match module.kernel {
            Kernel::Same(kernel) => 1.8 / kernel as f64,
            Kernel::Down => 0.6,
            Kernel::Up => 0.125,
            Kernel::Point => 1.0,
        };
        let [from, to] = module.channels;
        // A value of a kernel has variance 2 / (K * out).
        let variance = 2.0 * found * module.mean_square * from as f64 / to as f64;
        let mut vector = |field: &str, make: &mut dyn FnMut(&mut Generator) -> f64| {
            let values = (0..to).map(|_| round_to_f16(make(&mut random))).collect();
            params.insert(format!("{norm}.bn.{field}"), (vec![to], values));
        };
        vector("weight", &mut |r| r.range(0.7, 1.3));
        vector("bias", &mut |r| r.range(-0.3, 0.3));
        vector("running_mean", &mut |r| 0.2 * variance.sqrt() * r.normal());
        vector("running_var", &mut |r| variance * r.range(0.7, 1.4));
    }
    if net.bias {
        let values = (0..net.out_channels).map(|_| round_to_f16(random.range(-0.5, 0.5))).collect();
        // MinkowskiEngine stores a bias as one row.
        params.insert("final.bias".into(), (vec![1, net.out_channels], values));
    }
    params
}

/// [`random_net`] with the published 5x5x5 stem of `stem` channels.
pub fn random_params(
    planes: [usize; 8],
    stem: usize,
    blocks: [usize; 8],
    input_channels: usize,
    out_channels: usize,
    bias: bool,
    seed: u64,
) -> Params {
    random_net(&Shape { planes, stem, stem_kernel: 5, blocks, input_channels, out_channels, bias }, seed)
}

/// Row-major `[rows, cols]` values, uniform in `[-1, 1)` and exact in half precision.
pub fn random_features(seed: u64, rows: usize, cols: usize) -> Vec<f32> {
    let mut random = Generator::new(seed);
    (0..rows * cols).map(|_| round_to_f16(random.range(-1.0, 1.0)) as f32).collect()
}

/// `n` distinct coordinates drawn from `draw`, in the order of their first appearance.
fn distinct(n: usize, mut draw: impl FnMut() -> Coordinate) -> Vec<Coordinate> {
    let mut seen = HashSet::new();
    let mut coordinates = Vec::with_capacity(n);
    for _ in 0..100 * n + 1000 {
        if coordinates.len() == n {
            return coordinates;
        }
        let c = draw();
        if seen.insert(c) {
            coordinates.push(c);
        }
    }
    panic!("no {n} distinct coordinates, only {}", coordinates.len());
}

/// A room of `n` voxels in batch 0: floor, two walls and a box, all a little noisy; rows in random order.
pub fn surface_coordinates(seed: u64, n: usize) -> Vec<Coordinate> {
    let mut random = Generator::new(seed);
    // Floor e * e, two walls e * e / 2, five faces of a cube of side e / 3, each over one cell thick.
    let extent = (n as f64 / 2.0).sqrt().max(2.0);
    distinct(n, || {
        let (u, v) = (random.unit() * extent, random.unit() * extent);
        let off = 0.4 * random.normal();
        let side = extent / 3.0;
        let [x, y, z] = match random.below(100) {
            0..40 => [u, v, off],
            40..60 => [off, u, v / 2.0],
            60..80 => [u, extent + off, v / 2.0],
            80..84 => [side + u / 3.0, side + v / 3.0, side + off],
            84..88 => [side + off, side + u / 3.0, v / 3.0],
            88..92 => [2.0 * side + off, side + u / 3.0, v / 3.0],
            92..96 => [side + u / 3.0, side + off, v / 3.0],
            _ => [side + u / 3.0, 2.0 * side + off, v / 3.0],
        };
        [0, x.floor() as i32, y.floor() as i32, z.floor() as i32]
    })
}

/// Points of [`surface_coordinates`] in metres, one to three per voxel of 2 cm, in random order.
pub fn surface_points(seed: u64, voxels: usize) -> Vec<[f32; 3]> {
    let mut random = Generator::new(seed);
    let mut points = Vec::new();
    for [_, x, y, z] in surface_coordinates(seed, voxels) {
        for _ in 0..1 + random.below(3) {
            points.push([x, y, z].map(|c| ((f64::from(c) + random.range(0.05, 0.95)) * 0.02) as f32));
        }
    }
    shuffle(seed, &mut points);
    points
}

/// `n` voxels of batch 0 strewn over a cube of which they fill a twentieth: most have few neighbours or none.
pub fn scattered(seed: u64, n: usize) -> Vec<Coordinate> {
    let mut random = Generator::new(seed);
    let side = (20.0 * n as f64).cbrt().ceil() as usize + 1;
    distinct(n, || in_batch(0, [0; 4].map(|_| random.below(side) as i32)))
}

/// `n` voxels of batch 0 in clumps that straddle the origin and lie 60,000 voxels out on either side of every axis.
pub fn negative_and_far(seed: u64, n: usize) -> Vec<Coordinate> {
    const CENTRES: [[i32; 3]; 6] = [
        [0, 0, 0],
        [-37, -41, -53],
        [60_000, -60_000, 30_001],
        [-60_000, 59_999, -1],
        [-17, 60_000, 60_000],
        [5, 3, -60_000],
    ];
    let mut random = Generator::new(seed);
    let side = (n as f64 / 2.0).cbrt().ceil() as usize + 2;
    distinct(n, || {
        let centre = CENTRES[random.below(CENTRES.len())];
        let [x, y, z] = centre.map(|c| c + random.below(side) as i32 - side as i32 / 2);
        [0, x, y, z]
    })
}

/// About `n` voxels in each of `batches` batches, rows of all batches mixed; many places occur in several batches.
pub fn batched(seed: u64, n: usize, batches: usize) -> Vec<Coordinate> {
    let common = surface_coordinates(seed, n / 2);
    let mut all = Vec::new();
    for batch in 0..batches {
        let own = surface_coordinates(seed.wrapping_add(1 + batch as u64), n - n / 2);
        all.extend(common.iter().chain(&own).map(|&c| in_batch(batch as i32, c)));
    }
    let (first, _) = unique_first(&all);
    let mut coordinates: Vec<_> = first.into_iter().map(|row| all[row]).collect();
    shuffle(seed, &mut coordinates);
    coordinates
}

fn in_batch(batch: i32, c: Coordinate) -> Coordinate {
    [batch, c[1], c[2], c[3]]
}
