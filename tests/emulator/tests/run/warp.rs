//! Collectives, barriers and atomics against what plain code computes.

use crate::gpu::{Gpu, Result};
use crate::random::Random;
use crate::{Case, Expect, SCHEDULES, args};
use std::collections::HashMap;
use std::fmt::Debug;

pub fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, run, expect: Expect::Success, archs: &[], settings: SCHEDULES };
    vec![
        case("reduce_sum", reduce_sum as fn(&Gpu) -> Result<()>),
        case("compact", compact),
        case("collectives", collectives),
        case("hash_count", hash_count),
        case("histogram", histogram),
        case("atomics", atomics),
        case("named_barriers", named_barriers),
        case("last_block", last_block),
    ]
}

pub fn equal<T: PartialEq + Debug>(found: &[T], wanted: &[T], what: &str) -> Result<()> {
    if found.len() != wanted.len() {
        return Err(format!("{what}: {} values, wanted {}", found.len(), wanted.len()));
    }
    match found.iter().zip(wanted).position(|(f, w)| f != w) {
        None => Ok(()),
        Some(at) => Err(format!("{what}[{at}] is {:?}, wanted {:?}", found[at], wanted[at])),
    }
}

fn values(n: usize) -> Vec<f32> {
    let mut random = Random::new(n as u64);
    (0..n).map(|_| random.float(-3.0, 5.0)).collect()
}

fn reduce_sum(gpu: &Gpu) -> Result<()> {
    let module = gpu.load("warp")?;
    for (n, grid, block) in [(0, 1, 32), (1, 1, 64), (1000, 3, 128), (40_003, 5, 256)] {
        let x = values(n);
        let (dx, sum, least) =
            (gpu.upload(&[x.as_slice(), &[0.0]].concat())?, gpu.upload(&[0f32])?, gpu.upload(&[!0u32])?);
        module.launch("reduce_sum", ((grid, 1), block, 0), args![&dx, &sum, &least, n as i32])?;
        let wanted: f64 = x.iter().map(|&v| f64::from(v)).sum();
        let found = f64::from(sum.read()?[0]);
        if (found - wanted).abs() > 1e-5 * (wanted.abs() + n as f64) || found.is_nan() {
            return Err(format!("sum of {n} is {found}, not {wanted}"));
        }
        let ordered = |v: f32| if v.to_bits() >> 31 == 1 { !v.to_bits() } else { v.to_bits() | 1 << 31 };
        let smallest = x.iter().map(|&v| ordered(v)).min().unwrap_or(!0);
        equal(&least.read()?, &[smallest], "least")?;
    }
    Ok(())
}

fn compact(gpu: &Gpu) -> Result<()> {
    let module = gpu.load("warp")?;
    for n in [1, 31, 33, 5000] {
        let x = values(n);
        let (dx, out, count) = (gpu.upload(&x)?, gpu.empty::<i32>(n)?, gpu.upload(&[0i32])?);
        module.launch("compact_positive", ((n.div_ceil(128) as u32, 1), 128, 0), args![&dx, &out, &count, n as i32])?;
        let kept = count.read()?[0] as usize;
        let mut found = out.read()?;
        found.truncate(kept);
        found.sort_unstable();
        let wanted: Vec<i32> = (0..n as i32).filter(|&i| x[i as usize] > 0.0).collect();
        equal(&found, &wanted, "kept")?;
    }
    Ok(())
}

fn collectives(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(9);
    let x: Vec<i32> = (0..32).map(|_| random.below(100) as i32).collect();
    let rows = if gpu.arch >= 80 { 17 } else { 13 };
    let (dx, out) = (gpu.upload(&x)?, gpu.empty::<i32>(rows * 32)?);
    gpu.load("warp")?.launch("collectives", ((1, 1), 32, 0), args![&dx, &out])?;
    let out = out.read()?;
    let votes = |f: &dyn Fn(usize) -> bool| (0..32).fold(0u32, |v, lane| v | u32::from(f(lane)) << lane) as i32;
    let odd = votes(&|lane| x[lane] & 1 == 1);
    let mut wanted: Vec<Box<dyn Fn(usize) -> i32>> = vec![
        Box::new(|l| if l >= 3 { x[l - 3] } else { x[l] }),
        Box::new(|l| if l + 5 < 32 { x[l + 5] } else { x[l] }),
        Box::new(|l| x[l ^ 6]),
        Box::new(|l| x[l / 16 * 16 + 9]),
        Box::new(|l| if l % 8 >= 2 { x[l - 2] } else { x[l] }),
        Box::new(|_| i32::from(x.iter().any(|&v| v > 90))),
        Box::new(|_| 1),
        Box::new(move |_| odd),
        Box::new(|l| votes(&|other| x[other] % 4 == x[l] % 4)),
        Box::new(|_| -1),
        Box::new(|_| 1),
        Box::new(|l| if l % 2 == 0 { x[l ^ 2] } else { votes(&|other| other % 2 == 1 && x[other] > 50) }),
        Box::new(|_| 1),
    ];
    if gpu.arch >= 80 {
        wanted.push(Box::new(|_| x.iter().sum()));
        wanted.push(Box::new(|_| x.iter().min().unwrap() - 50));
        wanted.push(Box::new(|_| *x.iter().max().unwrap()));
        wanted.push(Box::new(|_| x.iter().fold(0, |a, b| a ^ b)));
    }
    for (row, formula) in wanted.iter().enumerate() {
        let row_wanted: Vec<i32> = (0..32).map(formula).collect();
        equal(&out[row * 32..][..32], &row_wanted, &format!("row {row}"))?;
    }
    Ok(())
}

fn hash_count(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(77);
    let keys: Vec<u64> = (0..3000).map(|_| random.below(700) * 0x1_0000_0001).collect();
    let slots = 2048usize;
    let (dk, ds, dc) = (gpu.upload(&keys)?, gpu.upload(&vec![!0u64; slots])?, gpu.upload(&vec![0u32; slots])?);
    let n = keys.len() as i32;
    gpu.load("warp")?.launch("hash_count", ((24, 1), 128, 0), args![&dk, &ds, &dc, n, slots as i32 - 1])?;
    let mut wanted: HashMap<u64, u32> = HashMap::new();
    keys.iter().for_each(|k| *wanted.entry(*k).or_default() += 1);
    let found: HashMap<u64, u32> = ds.read()?.into_iter().zip(dc.read()?).filter(|(key, _)| *key != !0).collect();
    if found == wanted { Ok(()) } else { Err(format!("{} keys, wanted {}", found.len(), wanted.len())) }
}

fn histogram(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(3);
    let x: Vec<u8> = (0..7777).map(|_| (random.below(256) * random.below(256) / 256) as u8).collect();
    let (dx, bins, total) = (gpu.upload(&x)?, gpu.upload(&[0u32; 256])?, gpu.upload(&[0u64])?);
    let module = gpu.load("warp")?;
    module.launch("histogram", ((5, 1), 96, 1024), args![&dx, &bins, &total, x.len() as i32])?;
    let mut wanted = vec![0u32; 256];
    x.iter().for_each(|&v| wanted[usize::from(v)] += 1);
    equal(&bins.read()?, &wanted, "bins")?;
    equal(&total.read()?, &[x.len() as u64], "total")
}

fn atomics(gpu: &Gpu) -> Result<()> {
    let threads = 96i32;
    let (i, u) = (gpu.upload(&[0i32; 10])?, gpu.upload(&[!0u32, 7])?);
    let (w, f, d) = (gpu.upload(&[1u64, 0, 3, 0])?, gpu.upload(&[1f32])?, gpu.upload(&[2f64])?);
    gpu.load("warp")?.launch("atomics", ((1, 1), threads as u32, 0), args![&i, &u, &w, &f, &d])?;
    let all = |f: &dyn Fn(i32) -> i32| (0..threads).map(f).fold(0, |a, b| a ^ b);
    let ors = (0..threads).fold(0, |a, t| a | 1 << (t % 31));
    // inc wraps after 9: 96 steps from 0.
    let wanted = [
        threads * (threads - 1) / 2,
        threads - 1,
        1 - threads,
        ors,
        all(&|t| t),
        -2 * threads,
        threads % 10,
        77,
        0,
        -1000,
    ];
    equal(&i.read()?, &wanted, "ints")?;
    // dec wraps to 50 below 0: 7 steps to 0, then 51 to 0 again, 38 more from 50 on.
    equal(&u.read()?, &[0, 50 - (threads as u32 - 7 - 51 - 1)], "unsigned")?;
    let wide = [1 + (u64::from(threads as u32) << 33), 95 << 34, (-(95i64 << 34)) as u64, 5];
    equal(&w.read()?, &wide, "wide")?;
    equal(&f.read()?, &[1.0 + 0.5 * threads as f32], "float")?;
    equal(&d.read()?, &[2.0 + 0.25 * f64::from(threads)], "double")
}

fn named_barriers(gpu: &Gpu) -> Result<()> {
    let out = gpu.empty::<i32>(256)?;
    gpu.load("warp")?.launch("named_barriers", ((1, 1), 256, 0), args![&out])?;
    let seen = |t: i32| t / 128 * 128 + (t + 1) % 128;
    let over = (0..256).filter(|&t| seen(t) > 100).count() as i32;
    let wanted: Vec<i32> = (0..256).map(|t| seen(255 - t) + 1000 * over + 1_000_000).collect();
    equal(&out.read()?, &wanted, "out")
}

/// Blocks that hand over to the last one by a fence and a counter.
fn last_block(gpu: &Gpu) -> Result<()> {
    let x: Vec<i32> = (0..1000).map(|i| i * 7 % 31).collect();
    let (dx, parts, counter, out) = (gpu.upload(&x)?, gpu.empty::<i32>(8)?, gpu.upload(&[0u32])?, gpu.empty::<i32>(1)?);
    gpu.load("warp")?.launch("last_block", ((8, 1), 64, 0), args![&dx, &parts, &counter, &out, 1000])?;
    equal(&out.read()?, &[x.iter().sum()], "sum")
}
