//! Tensor-core products against sums in double precision.

use crate::gpu::{Gpu, Result};
use crate::random::Random;
use crate::{Case, Expect, SCHEDULES, args};
use half::{bf16, f16};

pub fn cases() -> Vec<Case> {
    let case = |name, run, expect, archs, settings| Case { name, run, expect, archs, settings };
    vec![
        case("gemm_sizes", sizes as fn(&Gpu) -> Result<()>, Expect::Success, &[], SCHEDULES),
        case("gemm_large", large, Expect::Success, &[], &["OV_EMU_ORDER=fwd"]),
        case("gemm_bf16", bf16_product, Expect::Success, &[80], SCHEDULES),
        // The copies of the newest stage land late: the product reads what was there before.
        case("gemm_weak_wait", |g| wrong(g, "gemm_weak_wait"), Expect::Success, &[80], &["OV_EMU_CPASYNC=lazy"]),
        case(
            "gemm_weak_wait_race",
            |g| product(g, "gemm_weak_wait", 64, 64, 96),
            Expect::Report("gemm_weak_wait*race at offset*copy in flight (cp.async)"),
            &[80],
            &["OV_EMU_RACECHECK=1 OV_EMU_CPASYNC=eager", "OV_EMU_RACECHECK=1 OV_EMU_CPASYNC=lazy"],
        ),
        case(
            "gemm_refill_race",
            |g| product(g, "gemm_no_refill_barrier", 64, 64, 96),
            Expect::Report("gemm_no_refill_barrier*race at offset*have no barrier between them"),
            &[],
            &["OV_EMU_RACECHECK=1"],
        ),
        case(
            "gemm_refill_wrong",
            |g| wrong(g, "gemm_no_refill_barrier"),
            Expect::Success,
            &[],
            &["OV_EMU_CPASYNC=eager"],
        ),
    ]
}

/// The largest error relative to the sum of magnitudes; NaN counts as infinite.
fn error_of(gpu: &Gpu, kernel: &str, m: usize, n: usize, k: usize) -> Result<f64> {
    let mut random = Random::new((m * 31 + n * 7 + k) as u64);
    let mut halves =
        |count: usize| -> Vec<f16> { (0..count).map(|_| f16::from_f32(random.float(-1.0, 1.0))).collect() };
    let (a, b) = (halves(m * k), halves(n * k));
    let (da, db, dc) = (gpu.upload(&a)?, gpu.upload(&b)?, gpu.empty::<f32>(m * n)?);
    let grid = (n.div_ceil(64) as u32, m.div_ceil(64) as u32);
    gpu.load("gemm")?.launch(kernel, (grid, 128, 0), args![&da, &db, &dc, m as i32, n as i32, k as i32])?;
    let c = dc.read()?;
    let wide = |list: &[f16]| -> Vec<f32> { list.iter().map(|x| x.to_f32()).collect() };
    let (a, b) = (wide(&a), wide(&b));
    let mut worst: f64 = 0.0;
    for i in 0..m {
        for j in 0..n {
            let (row, column) = (&a[i * k..][..k], &b[j * k..][..k]);
            let terms = row.iter().zip(column).map(|(x, y)| f64::from(*x) * f64::from(*y));
            let (sum, size) = terms.fold((0.0, 1e-3), |(s, t), x| (s + x, t + x.abs()));
            let error = (f64::from(c[i * n + j]) - sum).abs() / size;
            worst = if error.is_nan() { f64::INFINITY } else { worst.max(error) };
        }
    }
    Ok(worst)
}

fn product(gpu: &Gpu, kernel: &str, m: usize, n: usize, k: usize) -> Result<()> {
    let error = error_of(gpu, kernel, m, n, k)?;
    if error < 1e-6 { Ok(()) } else { Err(format!("{kernel} {m}x{n}x{k}: error {error:e}")) }
}

fn sizes(gpu: &Gpu) -> Result<()> {
    for (m, n, k) in [(64, 64, 32), (1, 1, 8), (63, 65, 24), (100, 90, 72), (129, 64, 160)] {
        product(gpu, "gemm_f16", m, n, k)?;
    }
    Ok(())
}

fn large(gpu: &Gpu) -> Result<()> {
    product(gpu, "gemm_f16", 256, 512, 512)
}

/// A planted mistake shows in the numbers.
fn wrong(gpu: &Gpu, kernel: &str) -> Result<()> {
    let error = error_of(gpu, kernel, 64, 64, 160)?;
    if error > 1e-3 { Ok(()) } else { Err(format!("{kernel}: error {error:e}, nothing to be seen")) }
}

fn bf16_product(gpu: &Gpu) -> Result<()> {
    let mut random = Random::new(5);
    let mut halves =
        |count: usize| -> Vec<bf16> { (0..count).map(|_| bf16::from_f32(random.float(-2.0, 2.0))).collect() };
    let (a, b) = (halves(256), halves(128));
    let (da, db, dc) = (gpu.upload(&a)?, gpu.upload(&b)?, gpu.empty::<f32>(128)?);
    gpu.load("gemm")?.launch("mma_bf16", ((1, 1), 32, 0), args![&da, &db, &dc])?;
    for (at, &value) in dc.read()?.iter().enumerate() {
        let (i, j) = (at / 8, at % 8);
        let sum: f64 = (0..16).map(|k| a[i * 16 + k].to_f64() * b[k * 8 + j].to_f64()).sum::<f64>() + 1.0;
        if (f64::from(value) - sum).abs() > 1e-4 || value.is_nan() {
            return Err(format!("c[{i}][{j}] = {value}, not {sum}"));
        }
    }
    Ok(())
}
