//! Kernels with one mistake each: every one must be found and named.

use crate::gpu::{Gpu, Result};
use crate::{Case, Expect, SCHEDULES, args};

const ORDERS: &[&str] = &["OV_EMU_ORDER=fwd", "OV_EMU_ORDER=rev", "OV_EMU_ORDER=rand:7"];

const CHECKED: &[&str] =
    &["OV_EMU_RACECHECK=1", "OV_EMU_RACECHECK=1 OV_EMU_ORDER=rev", "OV_EMU_RACECHECK=1 OV_EMU_ORDER=rand:5"];

pub fn cases() -> Vec<Case> {
    let case = |name, run, words, settings| Case { name, run, expect: Expect::Report(words), archs: &[], settings };
    let race = "race at offset*of shared memory: this*have no barrier between them";
    let ok = |name, run, settings| Case { name, run, expect: Expect::Success, archs: &[], settings };
    vec![
        ok("planted_none", correct as fn(&Gpu) -> Result<()>, SCHEDULES),
        case(
            "missing_barrier",
            |g| floats(g, "missing_barrier", 128),
            race,
            &["OV_EMU_RACECHECK=1", "OV_EMU_RACECHECK=1 OV_EMU_ORDER=rand:4"],
        ),
        ok("warp_rotation", |g| any(g, "warp_rotation", 64), SCHEDULES),
        case("warp_rotation_early", |g| any(g, "warp_rotation_early", 64), race, CHECKED),
        ok("named_handover", |g| handover(g, 1), SCHEDULES),
        case("named_handover_early", |g| handover(g, 0), race, CHECKED),
        ok("bytes_side_by_side", |g| any(g, "bytes_side_by_side", 64), SCHEDULES),
        case("missing_warp_barrier", |g| floats(g, "missing_warp_barrier", 32), race, &["OV_EMU_RACECHECK=1"]),
        // Without the race check the poison of shared memory shows it.
        ok("missing_barrier_nan", |g| poisoned(g, "missing_barrier", 128), ORDERS),
        ok("uninitialised_nan", uninitialised, ORDERS),
        case(
            "uninitialised",
            uninitialised,
            "uninitialised*read of 4 bytes*that nothing was written to",
            &["OV_EMU_INITCHECK=1"],
        ),
        case(
            "shared_uninitialised",
            |g| floats(g, "shared_uninitialised", 128),
            "shared_uninitialised*offset*of shared memory that nothing was written to",
            &["OV_EMU_INITCHECK=1"],
        ),
        case(
            "out_of_bounds",
            out_of_bounds,
            "kernel out_of_bounds (planted.compute_*.ptx:*block (1,0,0) thread (36,0,0): write of 4 bytes*is outside all allocations: the nearest allocation, of 400 bytes at*, ends 0 bytes before it",
            ORDERS,
        ),
        case(
            "shared_out_of_bounds",
            |g| {
                let out = g.empty::<f32>(64)?;
                g.load("planted")?.launch("shared_out_of_bounds", ((1, 1), 64, 64 * 4), args![&out])
            },
            "write of 4 bytes at offset 256 of shared memory: the block has 256 bytes, 256 of them dynamic",
            ORDERS,
        ),
        case(
            "wrong_mask",
            |g| ints(g, "wrong_mask"),
            "divergence: shfl.idx with mask ffffffff lacks lanes ffff0000; lane 16 is at a barrier",
            ORDERS,
        ),
        case("mask_without_itself", |g| ints(g, "mask_without_itself"), "which lacks the calling lane 31", ORDERS),
        case(
            "divergent_shuffle",
            |g| ints(g, "divergent_shuffle"),
            "divergence: shfl.bfly with mask ffffffff lacks lanes",
            ORDERS,
        ),
        case(
            "barrier_for_some",
            |g| ints(g, "barrier_for_some"),
            "deadlock: 32 of 64 threads have come to barrier 1",
            ORDERS,
        ),
        case("misaligned", misaligned, "read of 16 bytes at*which is not aligned to them", ORDERS),
        case("trapped", |g| g.load("planted")?.launch("trapped", ((1, 1), 1, 0), args![]), "trapped*trap", ORDERS),
        case("asserted", |g| ints(g, "asserted"), "assertion 'v < 20' in planted.cu", ORDERS),
        case("freed", freed, "write of 4 bytes at*bytes into an allocation of 400 bytes at*that was freed", ORDERS),
        case(
            "null_pointer",
            |g| g.load("planted")?.launch("correct", ((1, 1), 128, 0), &[crate::gpu::Arg::Pointer(0)]),
            "write of 4 bytes at 0",
            ORDERS,
        ),
        case("endless", |g| ints(g, "endless"), "no progress: still waiting at ld.volatile", &["OV_EMU_TIMEOUT=1"]),
        case("host_pointer", host_pointer, "is outside all allocations", ORDERS),
    ]
}

fn floats(gpu: &Gpu, kernel: &str, threads: u32) -> Result<()> {
    let out = gpu.empty::<f32>(threads as usize)?;
    gpu.load("planted")?.launch(kernel, ((1, 1), threads, 0), args![&out])?;
    for (i, value) in out.read()?.into_iter().enumerate() {
        if value != (threads as usize - 1 - i) as f32 {
            return Err(format!("out[{i}] = {value}"));
        }
    }
    Ok(())
}

/// A kernel that writes one number per thread.
fn any(gpu: &Gpu, kernel: &str, threads: u32) -> Result<()> {
    let out = gpu.empty::<f32>(threads as usize)?;
    gpu.load("planted")?.launch(kernel, ((1, 1), threads, 0), args![&out])
}

fn handover(gpu: &Gpu, with_barrier: i32) -> Result<()> {
    let out = gpu.empty::<f32>(192)?;
    gpu.load("planted")?.launch("named_handover", ((1, 1), 192, 0), args![&out, with_barrier])
}

fn correct(gpu: &Gpu) -> Result<()> {
    floats(gpu, "correct", 128)
}

fn poisoned(gpu: &Gpu, kernel: &str, threads: u32) -> Result<()> {
    let out = gpu.empty::<f32>(threads as usize)?;
    gpu.load("planted")?.launch(kernel, ((1, 1), threads, 0), args![&out])?;
    if out.read()?.iter().any(|v| v.is_nan()) { Ok(()) } else { Err("no NaN".into()) }
}

fn ints(gpu: &Gpu, kernel: &str) -> Result<()> {
    let out = gpu.empty::<i32>(64)?;
    let threads = if kernel == "barrier_for_some" { 64 } else { 32 };
    gpu.load("planted")?.launch(kernel, ((1, 1), threads, 0), args![&out])
}

fn uninitialised(gpu: &Gpu) -> Result<()> {
    let (input, out) = (gpu.empty::<f32>(32)?, gpu.empty::<f32>(32)?);
    gpu.load("planted")?.launch("uninitialised", ((1, 1), 32, 0), args![&input, &out])?;
    if out.read()?.iter().all(|v| v.is_nan()) { Ok(()) } else { Err("no NaN".into()) }
}

fn out_of_bounds(gpu: &Gpu) -> Result<()> {
    let out = gpu.empty::<f32>(100)?;
    gpu.load("planted")?.launch("out_of_bounds", ((2, 1), 64, 0), args![&out, 100])
}

fn misaligned(gpu: &Gpu) -> Result<()> {
    let (base, out) = (gpu.upload(&[0u8; 64])?, gpu.empty::<f32>(4)?);
    gpu.load("planted")?.launch("misaligned", ((1, 1), 1, 0), args![&base, &out])
}

fn freed(gpu: &Gpu) -> Result<()> {
    let out = gpu.empty::<f32>(100)?;
    let address = out.address;
    drop(out);
    gpu.load("planted")?.launch("correct", ((1, 1), 100, 0), &[crate::gpu::Arg::Pointer(address)])
}

fn host_pointer(gpu: &Gpu) -> Result<()> {
    let mut on_the_heap = vec![0f32; 128];
    let address = on_the_heap.as_mut_ptr() as u64;
    gpu.load("planted")?.launch("correct", ((1, 1), 128, 0), &[crate::gpu::Arg::Pointer(address)])
}
