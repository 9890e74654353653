//! Numbers: what single instructions compute, against the host's own arithmetic.

use crate::gpu::{Arg, Gpu, Result};
use crate::random::Random;
use crate::warp::equal;
use crate::{Case, Expect, args};
use half::{bf16, f16};

pub fn cases() -> Vec<Case> {
    const ONE: &[&str] = &[""];
    const CHECKED: &[&str] = &["", "OV_EMU_INITCHECK=1 OV_EMU_RACECHECK=1"];
    let case = |name, run, settings| Case { name, run, expect: Expect::Success, archs: &[], settings };
    vec![
        case("arithmetic_functions", functions as fn(&Gpu) -> Result<()>, ONE),
        case("arithmetic_rounding", rounding, ONE),
        case("arithmetic_integers", integers, ONE),
        case("arithmetic_conversions", conversions, ONE),
        case("arithmetic_halves", halves, ONE),
        case("arithmetic_control", control, CHECKED),
        case("arithmetic_vectors", vectors, CHECKED),
    ]
}

fn shape(n: usize) -> ((u32, u32), u32, u32) {
    ((n.div_ceil(64) as u32, 1), 64, 0)
}

/// Every row of `found` against its formula; the tolerance is relative to the larger of 1 and the value.
fn close(found: &[f64], wanted: &[f64], tolerance: f64, what: &dyn Fn(usize) -> String) -> Result<()> {
    for (at, (f, w)) in found.iter().zip(wanted).enumerate() {
        if (f.is_nan() != w.is_nan()) || (f - w).abs() > tolerance * w.abs().max(1.0) {
            return Err(format!("{}: {f}, wanted {w}", what(at)));
        }
    }
    if found.len() == wanted.len() { Ok(()) } else { Err("another number of values".into()) }
}

fn erf(x: f64) -> f64 {
    // Simpson's rule: far below float precision on this range.
    let (n, h) = (400, x / 400.0);
    let f = |t: f64| (-t * t).exp();
    let sum: f64 = (0..=n)
        .map(|i| {
            f(i as f64 * h)
                * if i == 0 || i == n {
                    1.0
                } else if i % 2 == 1 {
                    4.0
                } else {
                    2.0
                }
        })
        .sum();
    sum * h / 3.0 * 2.0 / std::f64::consts::PI.sqrt()
}

fn round_even(x: f64) -> f64 {
    x.round_ties_even()
}

fn functions(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(21);
    let mut x: Vec<f32> = (0..300).map(|_| random.float(-6.0, 6.0)).collect();
    x.extend([0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 1.0]);
    let n = x.len();
    let (dx, out) = (gpu.upload(&x)?, gpu.empty::<f32>(n * 32)?);
    gpu.load("arithmetic")?.launch("float_functions", shape(n), args![&dx, &out, n as i32])?;
    let mut wanted = Vec::new();
    for &f in &x {
        let v = f64::from(f);
        let rounded = |x: f64| f64::from(x as f32);
        wanted.extend([
            v.exp(),
            (v.abs() + 1e-3).ln(),
            v.sin(),
            v.cos(),
            v.tanh(),
            (v.abs() + 0.1).powf(1.7),
            v.abs().sqrt(),
            1.0 / (v.abs() + 0.5).sqrt(),
            erf(v),
            1.0 / (v + 100.0),
            v.floor(),
            v.ceil(),
            round_even(v),
            v.trunc(),
            v.round(),
            v % 1.5,
            v.atan2(2.0),
            (v * 0.1).exp2(),
            (v * v + 1.0).log2(),
            v.cbrt(),
            v.min(0.5),
            v.max(-0.5),
            3f64.copysign(v),
            v * v + 1.0,
            (v * 0.1).exp(),
            v.clamp(0.0, 1.0),
            (v * 0.1).exp(),
            (v * v + 1.0).sqrt(),
            v / 3.0,
            v.abs().ln_1p(),
            v * 8.0,
            rounded(f64::from(f * 1e5)).sin(),
        ]);
    }
    let found: Vec<f64> = out.read()?.into_iter().map(f64::from).collect();
    close(&found, &wanted, 3e-6, &|at| format!("function {} of {}", at % 32, x[at / 32]))
}

#[derive(Clone, Copy)]
enum To {
    Zero,
    Up,
    Down,
}

/// A double rounded to a float in a direction.
fn directed(x: f64, to: To) -> f32 {
    let f = x as f32;
    let back = f64::from(f);
    match to {
        To::Up if back < x => f.next_up(),
        To::Down if back > x => f.next_down(),
        To::Zero if back.abs() > x.abs() => {
            if x > 0.0 {
                f.next_down()
            } else {
                f.next_up()
            }
        }
        _ => f,
    }
}

fn rounding(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(22);
    // Few enough bits that sums and products are exact in double precision.
    let mut short =
        || f32::from_bits(random.float(0.2, 9.0).to_bits() & !0x7f) * if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
    let pairs: Vec<(f32, f32)> = (0..500).map(|_| (short(), short())).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let n = a.len();
    let (da, db, out) = (gpu.upload(&a)?, gpu.upload(&b)?, gpu.empty::<f32>(n * 12)?);
    gpu.load("arithmetic")?.launch("rounding", shape(n), args![&da, &db, &out, n as i32])?;
    let mut wanted = Vec::new();
    for (a, b) in pairs {
        let (x, y) = (f64::from(a), f64::from(b));
        wanted.extend([
            directed(x + y, To::Zero),
            directed(x + y, To::Up),
            directed(x + y, To::Down),
            directed(x * y, To::Zero),
            directed(x / y, To::Up),
            directed(x.abs().sqrt(), To::Down),
            directed(x * y + x, To::Zero),
            directed(f64::from((a * 1e9) as i32), To::Zero),
            x.ceil() as f32,
            x.floor() as f32,
            round_even(x) as u32 as f32,
            directed(x * y, To::Up),
        ]);
    }
    equal(&out.read()?, &wanted, "rounded")
}

fn integers(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(23);
    let special = [0, 1, -1, 2, 31, 32, 33, 255, -128, 65535, i32::MAX, i32::MIN + 1, 0x1234_5678];
    let mut pairs: Vec<(i32, i32)> = special.iter().flat_map(|&a| special.iter().map(move |&b| (a, b))).collect();
    pairs.extend((0..400).map(|_| (random.bits() as i32, random.bits() as i32)));
    let (x, y): (Vec<i32>, Vec<i32>) = pairs.iter().copied().unzip();
    let n = x.len();
    let (dx, dy, out) = (gpu.upload(&x)?, gpu.upload(&y)?, gpu.empty::<i64>(n * 40)?);
    gpu.load("arithmetic")?.launch("integers", shape(n), args![&dx, &dy, &out, n as i32])?;
    let wanted: Vec<i64> = pairs.iter().flat_map(|&(a, b)| integer_results(a, b)).collect();
    let found = out.read()?;
    match found.iter().zip(&wanted).position(|(f, w)| f != w) {
        None => Ok(()),
        Some(at) => Err(format!("result {} of {:?}: {}, wanted {}", at % 40, pairs[at / 40], found[at], wanted[at])),
    }
}

fn integer_results(a: i32, b: i32) -> [i64; 40] {
    let (ua, ub) = (a as u32, b as u32);
    let wa = (i64::from(a) << 20) ^ i64::from(b);
    let wb = (i64::from(b) << 3) | 1;
    let both = u64::from(ub) << 32 | u64::from(ua);
    let bytes = both.to_le_bytes();
    let permuted = u32::from_le_bytes([bytes[5], bytes[1], bytes[7], bytes[3]]);
    let dot: i32 = (0..4).map(|i| i32::from((a >> (8 * i)) as i8) * i32::from((b >> (8 * i)) as i8)).sum();
    let unsigned = |x: u32| i64::from(x);
    let signed = |x: i32| i64::from(x);
    [
        signed(a.count_ones() as i32),
        signed(a.leading_zeros() as i32),
        if a == 0 { 0 } else { i64::from(a.trailing_zeros()) + 1 },
        unsigned(ua.reverse_bits()),
        i64::from(wa.count_ones()),
        i64::from(wa.leading_zeros()),
        unsigned(((both << (ub & 31)) >> 32) as u32),
        unsigned((both >> (ub & 31)) as u32),
        unsigned(ub),
        unsigned(permuted),
        (i64::from(a) * i64::from(b)) >> 32,
        unsigned(((u64::from(ua) * u64::from(ub)) >> 32) as u32),
        ((i128::from(wa) * i128::from(wb)) >> 64) as i64,
        if b != 0 { signed(a / b) } else { 0 },
        if b != 0 { signed(a % b) } else { 0 },
        unsigned(ua.checked_div(ub).unwrap_or(0)),
        wa / wb,
        wa % wb,
        signed(a.min(b)),
        unsigned(ua.max(ub)),
        signed(a.abs()),
        signed(a >> (b & 31)),
        unsigned(ua >> (b & 31)),
        signed(a << (b & 31)),
        wa >> (b & 63),
        signed((a & b) | (!a & 0x0f0f_0f0f)),
        signed((a ^ b) & !(a | 7)),
        signed((a >> 5) & 0x3ff),
        i64::from(a as i8),
        i64::from(a as u8),
        i64::from(b as i16),
        (i64::from(a) * i64::from(b)).wrapping_add(wa),
        (u64::from(ua) * u64::from(ub)) as i64,
        signed(a / 7),
        unsigned(ua % 10),
        wa / 1000,
        signed(dot + 5),
        i64::from((a & 0xffff).abs_diff(b & 0xffff) + 3),
        signed(((i64::from(a >> 1) + i64::from(b >> 1)) >> 1) as i32),
        (wa as u64).reverse_bits() as i64,
    ]
}

fn conversions(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(24);
    let mut x: Vec<f32> = (0..300).map(|_| random.float(-300.0, 300.0)).collect();
    x.extend((0..100).map(|_| random.float(-1e10, 1e10)));
    x.extend([
        0.0,
        -0.0,
        0.5,
        1.5,
        2.5,
        -0.5,
        65504.0,
        65519.9,
        65520.0,
        1e20,
        -1e20,
        6e-8,
        1e-7,
        f32::MAX,
        2_147_483_648.0,
    ]);
    let n = x.len();
    let (dx, out) = (gpu.upload(&x)?, gpu.empty::<f64>(n * 16)?);
    gpu.load("arithmetic")?.launch("conversions", shape(n), args![&dx, &out, n as i32])?;
    let to_zero = |v: f32| {
        let h = f16::from_f32(v);
        if h.to_f32().abs() > v.abs() { f16::from_bits(h.to_bits() - 1) } else { h }
    };
    let mut wanted = Vec::new();
    for &v in &x {
        let int = v as i32;
        let values = [
            f64::from(int),
            f64::from(v as u32),
            v as i64 as f64,
            v as u64 as f64,
            f64::from(int as i16),
            f64::from(v.round_ties_even() as i32),
            f16::from_f32(v).to_f64(),
            bf16::from_f32(v).to_f64(),
            f64::from(int.wrapping_mul(3) as f32),
            to_zero(v).to_f64(),
            f64::from(f16::from_f32(v).to_f32().round_ties_even() as i32),
            f16::from_f64(f64::from(int)).to_f64(),
            f64::from((f64::from(v) * 1.1) as f32),
            f64::from((v.abs() as u64).wrapping_mul(12_345_678) as f32),
            f64::from(v.clamp(0.0, 255.0) as u8),
            f64::from(v.to_bits() as f32),
        ];
        wanted.extend(values);
    }
    let found = out.read()?;
    match found.iter().zip(&wanted).position(|(f, w)| f != w) {
        None => Ok(()),
        Some(at) => Err(format!("conversion {} of {}: {}, wanted {}", at % 16, x[at / 16], found[at], wanted[at])),
    }
}

fn halves(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(25);
    let mut one = || f16::from_f32(random.float(-3.0, 3.0));
    let mut pairs: Vec<(f16, f16)> = (0..400).map(|_| (one(), one())).collect();
    let s = f16::from_f32;
    pairs.extend([
        (s(0.5), s(0.5)),
        (s(0.0), s(1.0)),
        (f16::INFINITY, s(1.0)),
        (s(60000.0), s(10000.0)),
        (s(-1.0), s(-1.0)),
    ]);
    let (x, y): (Vec<f16>, Vec<f16>) = pairs.iter().copied().unzip();
    let n = x.len();
    let columns = if gpu.arch >= 80 { 32 } else { 28 };
    let (dx, dy, out) = (gpu.upload(&x)?, gpu.upload(&y)?, gpu.empty::<f32>(n * 32)?);
    gpu.load("arithmetic")?.launch("halves", shape(n), args![&dx, &dy, &out, n as i32])?;
    let found = out.read()?;
    for (row, &(a, b)) in pairs.iter().enumerate() {
        let (x, y) = (a.to_f64(), b.to_f64());
        let r = |v: f64| f64::from(f16::from_f64(v).to_f32());
        let flag = |v: bool| if v { 1.0 } else { 0.0 };
        let sat = |v: f64| r(v).clamp(0.0, 1.0);
        let (c, d) = (bf16::from_f64(x), bf16::from_f64(y));
        let bf = |v: f64| f64::from(bf16::from_f64(v).to_f32());
        let (cx, dx) = (c.to_f64(), d.to_f64());
        let wanted = [
            r(x + y),
            r(x - y),
            r(x * y),
            r(x * y + x),
            -x,
            x.abs(),
            x.max(y),
            x.min(y),
            r(x / y),
            r(x.exp()),
            r(x.abs().sqrt()),
            r(x + y),
            r(x + y),
            r(x * y),
            r(x * y),
            r(x * y + x),
            r(x * y + y),
            x.max(y),
            x.max(y),
            flag(x > y),
            flag(x > y),
            flag(y > x),
            x,
            0.5,
            r(x * y + x).max(0.0),
            sat(x + y),
            sat(x + y),
            sat(x + y),
            bf(cx + dx),
            bf(cx * dx + cx),
            cx.max(dx),
            bf(cx * dx),
        ];
        for (column, w) in wanted.iter().enumerate().take(columns) {
            let f = f64::from(found[row * 32 + column]);
            // Quotient, exponential and root come from approximations.
            let tolerance = if matches!(column, 8..=10) { 1.5e-3 * w.abs().max(1e-3) } else { 0.0 };
            let same = f == *w || (f.is_nan() && w.is_nan()) || (f - w).abs() <= tolerance;
            if !same {
                return Err(format!("result {column} of {a} and {b}: {f}, wanted {w}"));
            }
        }
    }
    Ok(())
}

fn control(gpu: &Gpu) -> Result<()> {
    let n = 200usize;
    let x: Vec<i32> = (0..n as i32).map(|i| i * 37 % 101).collect();
    let (sizes, scale) = ([5i32, 7, 11, 13, 17, 19], 0.75f32);
    let shape_bytes: Vec<u8> = sizes.iter().flat_map(|s| s.to_le_bytes()).chain(scale.to_le_bytes()).collect();
    let (dx, out) = (gpu.upload(&x)?, gpu.empty::<f32>(n)?);
    let arguments = [Arg::from(&dx), Arg::from(&out), Arg::Bytes(&shape_bytes), Arg::Int(n as i32)];
    gpu.load("arithmetic")?.launch("control", shape(n), &arguments)?;
    let horner = |c: &[f32], x: f32| c.iter().rev().fold(0f32, |s, c| s.mul_add(x, *c));
    let weights: Vec<f32> = (0..8).map(|i| (1 << i) as f32).collect();
    let mut wanted = Vec::new();
    for &x in &x {
        let mut local = [0f32; 16];
        (0..16).for_each(|j| local[((j * 5 + x) & 15) as usize] = j as f32 * scale);
        let mut v = horner(&local[..(4 + (x & 3)) as usize], 0.5) + horner(&weights, 0.25);
        v = match x % 9 {
            0 => v + 1.5,
            1 => v * v,
            2 => v.abs().sqrt(),
            3 => v - 7.0,
            4 => 1.0 / (v + 50.0),
            5 => v * 3.0 - x as f32,
            6 => -v,
            7 => v.min(2.0),
            _ => local[(x & 15) as usize],
        };
        wanted.push(f64::from(v + sizes[(x % 6) as usize] as f32 + weights[(x & 7) as usize]));
    }
    let found: Vec<f64> = out.read()?.into_iter().map(f64::from).collect();
    close(&found, &wanted, 1e-6, &|at| format!("element {at}"))
}

fn vectors(gpu: &Gpu) -> Result<()> {
    let n = 700usize;
    let x: Vec<[f32; 4]> = (0..n).map(|i| [i as f32, 0.5, i as f32 * 0.25, -2.0]).collect();
    let (dx, sums, bytes) = (gpu.upload(&x)?, gpu.empty::<[f64; 2]>(n)?, gpu.empty::<[u8; 4]>(n)?);
    gpu.load("arithmetic")?.launch("vectors", shape(n), args![&dx, &sums, &bytes, n as i32])?;
    let wanted: Vec<[f64; 2]> = (0..n).map(|i| [i as f64 + 0.5, i as f64 * -0.5]).collect();
    equal(&sums.read()?, &wanted, "sums")?;
    let wanted: Vec<[u8; 4]> = (0..n).map(|i| [1, (i & 255) as u8, 3, (i >> 8) as u8]).collect();
    equal(&bytes.read()?, &wanted, "bytes")
}
