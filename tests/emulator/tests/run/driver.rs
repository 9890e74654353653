//! The driver API itself: statuses, limits, injected failures, streams, events, graphs, images.

use crate::gpu::{self, Gpu, Result, check, report};
use crate::warp::equal;
use crate::{Case, Expect, args};
use cudarc::driver::sys::{self, CUresult};
use std::ptr::null_mut;

pub fn cases() -> Vec<Case> {
    let case = |name, run, settings| Case { name, run, expect: Expect::Success, archs: &[80], settings };
    const PLAIN: &[&str] = &[""];
    const STREAMS: &[&str] = &["OV_EMU_STREAMS=eager", "OV_EMU_STREAMS=lazy"];
    vec![
        case("driver_device", device as fn(&Gpu) -> Result<()>, &["OV_EMU_MEMORY=3000000"]),
        case("driver_memory", memory, &["OV_EMU_MEMORY=1000000"]),
        case("driver_limits", launch_limits, PLAIN),
        case("driver_images", images, PLAIN),
        case("driver_injected", injected, PLAIN),
        case("driver_injected_env", injected_env, &["OV_EMU_FAIL=cuMemAlloc_v2:2,kernel/correct:3=700"]),
        case("driver_sticky", sticky, PLAIN),
        case("driver_streams", streams, STREAMS),
        case("driver_lazy", lazy, &["OV_EMU_STREAMS=lazy"]),
        case("driver_graph", graph, STREAMS),
        case("driver_context", context, PLAIN),
        case("arithmetic_global", global_variable, PLAIN),
        case("driver_pointers", pointers, PLAIN),
        case("driver_threads", threads, &["OV_EMU_STREAMS=eager", "OV_EMU_STREAMS=lazy", "OV_EMU_THREADS=1"]),
    ]
}

fn expect(status: CUresult, wanted: CUresult, what: &str) -> Result<()> {
    if status == wanted { Ok(()) } else { Err(format!("{what}: {status:?}, wanted {wanted:?}")) }
}

use CUresult::{
    CUDA_ERROR_ILLEGAL_ADDRESS as ILLEGAL, CUDA_ERROR_INVALID_CONTEXT as NO_CONTEXT,
    CUDA_ERROR_INVALID_HANDLE as HANDLE, CUDA_ERROR_INVALID_IMAGE as BAD_IMAGE, CUDA_ERROR_INVALID_PTX as BAD_PTX,
    CUDA_ERROR_INVALID_VALUE as VALUE, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES as RESOURCES,
    CUDA_ERROR_NO_BINARY_FOR_GPU as NO_BINARY, CUDA_ERROR_NOT_FOUND as NOT_FOUND, CUDA_ERROR_OUT_OF_MEMORY as MEMORY,
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED as CAPTURING, CUDA_SUCCESS as OK,
};

fn device(gpu: &Gpu) -> Result<()> {
    let (mut bytes, mut count, mut version) = (0, 0, 0);
    let mut number = [0i32; 3];
    use sys::CUdevice_attribute as A;
    // SAFETY: every out-parameter is a live variable of the right type.
    unsafe {
        check(sys::cuDeviceTotalMem_v2(&raw mut bytes, 0), "memory")?;
        check(sys::cuDeviceGetCount(&raw mut count), "count")?;
        check(sys::cuDriverGetVersion(&raw mut version), "version")?;
        let wanted = [
            A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        ];
        for (value, attribute) in number.iter_mut().zip(wanted) {
            check(sys::cuDeviceGetAttribute(value, attribute, 0), "attribute")?;
        }
        expect(
            sys::cuDeviceGetAttribute(&raw mut number[0], A::CU_DEVICE_ATTRIBUTE_WARP_SIZE, 5),
            CUresult::CUDA_ERROR_INVALID_DEVICE,
            "device 5",
        )?;
    }
    equal(&number[1..], &[0, 163 << 10], "attributes")?;
    equal(&[bytes, count as usize], &[3_000_000, 1], "device")?;
    if version < 12000 || gpu.arch != 80 { Err(format!("version {version}")) } else { Ok(()) }
}

fn memory(gpu: &Gpu) -> Result<()> {
    let first = gpu.empty::<u8>(600_000)?;
    if gpu.empty::<u8>(600_000).is_ok() {
        return Err("more memory than there is".into());
    }
    equal(&[gpu::live_bytes()], &[600_000], "live")?;
    if first.read()?.iter().any(|&b| b != 0xff) {
        return Err("no poison".into());
    }
    // SAFETY: the stand-in checks every range; that is what is tested.
    unsafe {
        let mut buffer = [0u8; 16];
        expect(
            sys::cuMemcpyDtoH_v2(buffer.as_mut_ptr().cast(), first.address + 599_990, 16),
            VALUE,
            "copy over the end",
        )?;
        expect(sys::cuMemcpyHtoD_v2(first.address + 600_000, buffer.as_ptr().cast(), 1), VALUE, "copy past the end")?;
        expect(sys::cuMemsetD32Async(first.address + 2, 0, 1, null_mut()), VALUE, "misaligned fill")?;
        expect(sys::cuMemFree_v2(first.address + 256), VALUE, "free in the middle")?;
        expect(sys::cuMemcpyDtoH_v2(buffer.as_mut_ptr().cast(), first.address + 599_984, 16), OK, "copy to the end")?;
        let mut address = 0;
        expect(sys::cuMemAlloc_v2(&raw mut address, 0), VALUE, "nothing")?;
        expect(sys::cuMemAlloc_v2(&raw mut address, 600_000), MEMORY, "too much")?;
    }
    let address = first.address;
    drop(first);
    // SAFETY: every range is checked by the stand-in, as above.
    unsafe { expect(sys::cuMemFree_v2(address), VALUE, "freed twice")? };
    equal(&[gpu::live_bytes()], &[0], "live")
}

fn launch_limits(gpu: &Gpu) -> Result<()> {
    let (planted, gemm) = (gpu.load("planted")?, gpu.load("gemm")?);
    let out = gpu.empty::<f32>(128)?;
    let fails = |module: &gpu::Module, name: &str, shape, wanted: CUresult| -> Result<()> {
        match module.queue(name, shape, null_mut(), args![&out, 0, 0, 0, 0, 0]) {
            Err(e) if e.ends_with(&format!("{wanted:?}")) => Ok(()),
            other => Err(format!("{name} {shape:?}: {other:?}")),
        }
    };
    fails(&planted, "correct", ((0, 1), 128, 0), VALUE)?;
    fails(&planted, "correct", ((1, 65536), 128, 0), VALUE)?;
    fails(&planted, "correct", ((1, 1), 1025, 0), VALUE)?;
    fails(&gemm, "gemm_f16", ((1, 1), 129, 0), RESOURCES)?;
    fails(&planted, "shared_out_of_bounds", ((1, 1), 1, (48 << 10) + 1), VALUE)?;
    let function = planted.function("shared_out_of_bounds")?;
    use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as LIMIT;
    // SAFETY: a live function of the module above.
    unsafe {
        expect(sys::cuFuncSetAttribute(function, LIMIT, (163 << 10) + 1), VALUE, "beyond the device")?;
        expect(sys::cuFuncSetAttribute(function, LIMIT, 100 << 10), OK, "within the device")?;
    }
    planted.launch("shared_out_of_bounds", ((1, 1), 64, 100 << 10), args![&out])?;
    match planted.function("no_such_kernel") {
        Err(e) if e.ends_with(&format!("{NOT_FOUND:?}")) => Ok(()),
        other => Err(format!("no_such_kernel: {other:?}")),
    }
}

fn images(gpu: &Gpu) -> Result<()> {
    let status = |bytes: &[u8]| -> CUresult {
        let mut module = null_mut();
        // SAFETY: whole images or text with a NUL.
        let status = unsafe { sys::cuModuleLoadData(&raw mut module, bytes.as_ptr().cast()) };
        if status == OK {
            // SAFETY: loaded right above, unloaded only here.
            unsafe { sys::cuModuleUnload(module) };
        }
        status
    };
    let cubin = |arch: u32| std::fs::read(gpu::kernels().join(format!("warp.sm_{arch}.cubin"))).unwrap();
    expect(status(&cubin(80)), OK, "cubin")?;
    expect(status(&cubin(86)), NO_BINARY, "cubin of a newer minor")?;
    expect(status(&cubin(75)), NO_BINARY, "cubin of another major")?;
    let module = gpu.load_image(&cubin(80))?;
    let out = gpu.empty::<i32>(256)?;
    module.launch("named_barriers", ((1, 1), 256, 0), args![&out])?;
    let older = std::fs::read(gpu::kernels().join("warp.compute_75.ptx")).unwrap();
    expect(status(&older), OK, "older PTX")?;
    let mut changed = gpu.ptx("warp");
    let at = changed
        .windows(9)
        .position(|w| w == b"bar.sync\x20")
        .or_else(|| changed.windows(8).position(|w| w == b"bar.sync"))
        .unwrap();
    changed[at] = b'c';
    expect(status(&changed), BAD_PTX, "other PTX")?;
    if !report().contains("none of those that were translated") {
        return Err(report());
    }
    expect(status(b"garbage\0"), BAD_IMAGE, "garbage")
}

fn injected(gpu: &Gpu) -> Result<()> {
    let before = gpu::calls("cuMemAlloc_v2");
    gpu::fail_next("cuMemAlloc_v2:2,cuModuleLoadData:1=209,kernel/correct:2=719");
    let first = gpu.empty::<u8>(10)?;
    let second = gpu.empty::<u8>(10).err().unwrap_or_default();
    let third = gpu.empty::<u8>(10);
    equal(&[gpu::calls("cuMemAlloc_v2") - before], &[3], "calls")?;
    if !second.contains("OUT_OF_MEMORY") || third.is_err() {
        return Err(format!("second allocation: {second}"));
    }
    drop(first);
    if !gpu.load("planted").err().unwrap_or_default().contains("NO_BINARY") {
        return Err("the module was loaded".into());
    }
    let module = gpu.load("planted")?;
    let out = gpu.empty::<f32>(128)?;
    module.launch("correct", ((1, 1), 128, 0), args![&out])?;
    let error = module.launch("correct", ((1, 1), 128, 0), args![&out]).err().unwrap_or_default();
    equal(&[gpu::calls("kernel/correct")], &[2], "launches")?;
    if error.contains("LAUNCH_FAILED") { Ok(()) } else { Err(error) }
}

fn injected_env(gpu: &Gpu) -> Result<()> {
    let out = gpu.empty::<f32>(128)?;
    if gpu.empty::<u8>(1).is_ok() {
        return Err("the second allocation went well".into());
    }
    let module = gpu.load("planted")?;
    for _ in 0..2 {
        module.launch("correct", ((1, 1), 128, 0), args![&out])?;
    }
    let error = module.launch("correct", ((1, 1), 128, 0), args![&out]).err().unwrap_or_default();
    if error.contains("ILLEGAL_ADDRESS") { Ok(()) } else { Err(error) }
}

fn sticky(gpu: &Gpu) -> Result<()> {
    let module = gpu.load("planted")?;
    let out = gpu.empty::<f32>(100)?;
    let stream_less = module.queue("out_of_bounds", ((2, 1), 64, 0), null_mut(), args![&out, 100]);
    stream_less?;
    // SAFETY: live arguments; the faults are what is tested.
    unsafe {
        expect(sys::cuCtxSynchronize(), ILLEGAL, "the next call")?;
        let mut address = 0;
        expect(sys::cuMemAlloc_v2(&raw mut address, 4), ILLEGAL, "every call after")?;
        check(sys::cuDevicePrimaryCtxReset_v2(0), "reset")?;
        expect(sys::cuMemAlloc_v2(&raw mut address, 4), OK, "after a reset")?;
    }
    std::mem::forget((module, out));
    Ok(())
}

struct Stream(sys::CUstream);
impl Stream {
    fn new() -> Result<Stream> {
        let mut stream = null_mut();
        // SAFETY: a live out-parameter; 1 is non-blocking.
        check(unsafe { sys::cuStreamCreate(&raw mut stream, 1) }, "cuStreamCreate")?;
        Ok(Stream(stream))
    }
}
impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once, and only here.
        let _ = unsafe { sys::cuStreamDestroy_v2(self.0) };
    }
}

fn streams(gpu: &Gpu) -> Result<()> {
    let (a, b) = (Stream::new()?, Stream::new()?);
    let module = gpu.load("planted")?;
    let (first, second) = (gpu.empty::<f32>(128)?, gpu.upload(&[0f32; 128])?);
    let mut event = null_mut();
    let mut found = [0f32; 128];
    // SAFETY: live handles and buffers of these sizes.
    unsafe {
        check(sys::cuEventCreate(&raw mut event, 0), "event")?;
        module.queue("correct", ((1, 1), 128, 0), a.0, args![&first])?;
        check(sys::cuEventRecord(event, a.0), "record")?;
        check(sys::cuStreamWaitEvent(b.0, event, 0), "wait")?;
        check(sys::cuMemcpyDtoDAsync_v2(second.address, first.address, 512, b.0), "copy")?;
        check(sys::cuMemcpyDtoHAsync_v2(found.as_mut_ptr().cast(), second.address, 512, b.0), "copy")?;
        check(sys::cuStreamSynchronize(b.0), "synchronise")?;
        expect(sys::cuEventQuery(event), OK, "event")?;
        check(sys::cuEventDestroy_v2(event), "destroy")?;
        expect(sys::cuEventRecord(event, a.0), HANDLE, "a destroyed event")?;
    }
    equal(&[found[0], found[127]], &[127.0, 0.0], "copied")?;
    let gone = b.0;
    drop(b);
    // SAFETY: a stale handle is what is tested.
    unsafe { expect(sys::cuStreamSynchronize(gone), HANDLE, "a destroyed stream") }
}

/// With lazy streams a result that nobody waited for is not there.
fn lazy(gpu: &Gpu) -> Result<()> {
    let stream = Stream::new()?;
    let module = gpu.load("planted")?;
    let out = gpu.empty::<f32>(128)?;
    module.queue("correct", ((1, 1), 128, 0), stream.0, args![&out])?;
    if !out.read()?[0].is_nan() {
        return Err("the kernel ran before anybody waited".into());
    }
    // SAFETY: a live stream of this context.
    unsafe {
        expect(sys::cuStreamQuery(stream.0), CUresult::CUDA_ERROR_NOT_READY, "query")?;
        check(sys::cuStreamSynchronize(stream.0), "synchronise")?;
    }
    equal(&[out.read()?[0]], &[127.0], "after waiting")
}

fn graph(gpu: &Gpu) -> Result<()> {
    let stream = Stream::new()?;
    let module = gpu.load("planted")?;
    let out = gpu.empty::<f32>(128)?;
    let (mut graph, mut executable) = (null_mut(), null_mut());
    // SAFETY: every handle is live from its making to its destruction.
    unsafe {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        check(sys::cuStreamBeginCapture_v2(stream.0, mode), "begin")?;
        module.queue("correct", ((1, 1), 128, 0), stream.0, args![&out])?;
        expect(sys::cuStreamSynchronize(stream.0), CAPTURING, "waiting while capturing")?;
        check(sys::cuStreamEndCapture(stream.0, &raw mut graph), "end")?;
        if !out.read()?[0].is_nan() {
            return Err("the kernel ran while it was captured".into());
        }
        check(sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0), "instantiate")?;
        for round in 0..2 {
            check(sys::cuMemsetD8Async(out.address, 0xff, 512, stream.0), "clear")?;
            check(sys::cuGraphLaunch(executable, stream.0), "launch")?;
            check(sys::cuStreamSynchronize(stream.0), "synchronise")?;
            equal(&[out.read()?[0]], &[127.0], &format!("round {round}"))?;
        }
        check(sys::cuGraphExecDestroy(executable), "destroy")?;
        check(sys::cuGraphDestroy(graph), "destroy")
    }
}

fn context(_: &Gpu) -> Result<()> {
    let mut address = 0;
    // SAFETY: live out-parameters; a missing context is what is tested.
    unsafe {
        let mut before = null_mut();
        check(sys::cuCtxGetCurrent(&raw mut before), "current")?;
        check(sys::cuCtxSetCurrent(null_mut()), "none")?;
        expect(sys::cuMemAlloc_v2(&raw mut address, 4), NO_CONTEXT, "without a context")?;
        check(sys::cuCtxSetCurrent(before), "back")?;
        let other = std::thread::spawn(|| {
            let mut address = 0;
            sys::cuMemAlloc_v2(&raw mut address, 4)
        });
        expect(other.join().unwrap(), NO_CONTEXT, "on another thread")?;
        check(sys::cuMemAlloc_v2(&raw mut address, 4), "here")?;
        check(sys::cuDevicePrimaryCtxRelease_v2(0), "release")?;
        equal(&[gpu::live_bytes()], &[0], "after the last release")?;
        expect(sys::cuMemFree_v2(address), CUresult::CUDA_ERROR_CONTEXT_IS_DESTROYED, "after the last release")
    }
}

fn global_variable(gpu: &Gpu) -> Result<()> {
    let module = gpu.load("arithmetic")?;
    let (mut address, mut bytes, mut value) = (0, 0, 0i32);
    // SAFETY: live out-parameters and a NUL-terminated name.
    unsafe {
        let name = c"calls_counted";
        check(sys::cuModuleGetGlobal_v2(&raw mut address, &raw mut bytes, module.0, name.as_ptr()), "global")?;
        check(sys::cuMemcpyDtoH_v2((&raw mut value).cast(), address, bytes), "copy")?;
    }
    equal(&[value, bytes as i32], &[3, 4], "initial value")
}

fn pointers(gpu: &Gpu) -> Result<()> {
    use sys::CUpointer_attribute as P;
    let buffer = gpu.empty::<u8>(1000)?;
    let (mut kind, mut start, mut bytes) = (0u32, 0u64, 0usize);
    let mut host = null_mut();
    // SAFETY: live out-parameters of the attributes' types.
    unsafe {
        let at = buffer.address + 77;
        let range = P::CU_POINTER_ATTRIBUTE_RANGE_START_ADDR;
        check(sys::cuPointerGetAttribute((&raw mut kind).cast(), P::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at), "kind")?;
        check(sys::cuPointerGetAttribute((&raw mut start).cast(), range, at), "start")?;
        check(sys::cuPointerGetAttribute((&raw mut bytes).cast(), P::CU_POINTER_ATTRIBUTE_RANGE_SIZE, at), "size")?;
        let local = (&raw const kind) as u64;
        let other = sys::cuPointerGetAttribute((&raw mut start).cast(), P::CU_POINTER_ATTRIBUTE_MEMORY_TYPE, local);
        expect(other, VALUE, "host pointer")?;
        check(sys::cuMemHostAlloc(&raw mut host, 512, 0), "pinned")?;
        // Kernels write page-locked memory directly.
        gpu.load("planted")?.launch("correct", ((1, 1), 128, 0), &[gpu::Arg::Pointer(host as u64)])?;
        let written = *host.cast::<f32>();
        check(sys::cuMemFreeHost(host), "free")?;
        equal(&[written], &[127.0], "pinned")?;
    }
    equal(&[u64::from(kind), bytes as u64], &[2, 1000], "attributes")
}

/// Threads of the host with streams of their own do not disturb each other.
fn threads(gpu: &Gpu) -> Result<()> {
    let work = || -> Result<()> {
        let gpu = Gpu::open()?;
        let (stream, module) = (Stream::new()?, gpu.load("planted")?);
        for round in 0..20 {
            let out = gpu.empty::<f32>(128)?;
            module.queue("correct", ((1, 1), 128, 0), stream.0, args![&out])?;
            // SAFETY: a live stream of the context that is current.
            check(unsafe { sys::cuStreamSynchronize(stream.0) }, "cuStreamSynchronize")?;
            let wanted: Vec<f32> = (0..128).rev().map(|i| i as f32).collect();
            equal(&out.read()?, &wanted, &format!("round {round}"))?;
        }
        Ok(())
    };
    let started: Vec<_> = (0..4).map(|_| std::thread::spawn(work)).collect();
    started.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)?;
    equal(&[gpu::live_bytes(), gpu::calls("kernel/correct")], &[0, 80], "bytes and launches")?;
    drop(gpu.load("planted")?);
    Ok(())
}
