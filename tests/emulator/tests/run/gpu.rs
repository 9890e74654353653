//! A thin layer over the driver API, as the library's own backend is one: cudarc finds the stand-in driver.

use cudarc::driver::sys::{self, CUresult};
use std::ffi::{CStr, CString, c_char, c_void};
use std::marker::PhantomData;
use std::path::PathBuf;

pub type Result<T> = std::result::Result<T, String>;

/// The name of a failure, or nothing.
pub fn check(status: CUresult, doing: &str) -> Result<()> {
    if status == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(format!("{doing}: {status:?}")) }
}

/// A function that the stand-in has beside the driver's own.
fn control<T: Copy>(name: &str) -> T {
    // SAFETY: each caller names an export of runtime/control.cpp with its type.
    unsafe { *sys::culib().get::<T>(name.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}")) }
}

pub fn calls(name: &str) -> u64 {
    let name = CString::new(name).unwrap();
    // SAFETY: a live string that ends with a NUL.
    unsafe { control::<unsafe extern "C" fn(*const c_char) -> u64>("ovEmuCalls")(name.as_ptr()) }
}

pub fn fail_next(what: &str) {
    let what = CString::new(what).unwrap();
    // SAFETY: a live string that ends with a NUL.
    unsafe { control::<unsafe extern "C" fn(*const c_char)>("ovEmuFail")(what.as_ptr()) }
}

pub fn live_bytes() -> u64 {
    // SAFETY: the function has no preconditions at all.
    unsafe { control::<unsafe extern "C" fn() -> u64>("ovEmuLiveBytes")() }
}

/// What the emulator said last; nothing on a driver that is none.
pub fn report() -> String {
    type Report = unsafe extern "C" fn(*mut u8, usize) -> usize;
    let mut text = vec![0u8; 2000];
    // SAFETY: the export has this type, and the buffer as many bytes as it is told.
    unsafe {
        match sys::culib().get::<Report>(b"ovEmuReport") {
            Ok(copy) => copy(text.as_mut_ptr(), text.len()),
            Err(_) => return String::new(),
        };
    }
    CStr::from_bytes_until_nul(&text).unwrap().to_string_lossy().into_owned()
}

/// The device with its primary context, current on this thread.
pub struct Gpu {
    pub arch: u32,
}

/// The folder of compiled kernels.
pub fn kernels() -> PathBuf {
    std::env::var_os("OV_TEST_KERNELS").expect("set by the parent").into()
}

impl Gpu {
    pub fn open() -> Result<Gpu> {
        // SAFETY: every out-parameter is a live variable throughout.
        unsafe {
            if !sys::is_culib_present() {
                return Err("libcuda.so.1 was not found".into());
            }
            check(sys::cuInit(0), "cuInit")?;
            let mut context = std::ptr::null_mut();
            check(sys::cuDevicePrimaryCtxRetain(&raw mut context, 0), "cuDevicePrimaryCtxRetain")?;
            check(sys::cuCtxSetCurrent(context), "cuCtxSetCurrent")?;
        }
        let arch = std::env::var("OV_EMU_CC").ok().and_then(|cc| cc.parse().ok()).unwrap_or(80);
        Ok(Gpu { arch })
    }

    /// The PTX of a test file for this device.
    pub fn ptx(&self, file: &str) -> Vec<u8> {
        let path = kernels().join(format!("{file}.compute_{}.ptx", self.arch));
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    pub fn load(&self, file: &str) -> Result<Module> {
        self.load_image(&self.ptx(file))
    }

    pub fn load_image(&self, image: &[u8]) -> Result<Module> {
        let mut module = std::ptr::null_mut();
        // SAFETY: whole images; NVRTC ends PTX with a NUL.
        check(unsafe { sys::cuModuleLoadData(&raw mut module, image.as_ptr().cast()) }, "cuModuleLoadData")?;
        Ok(Module(module))
    }

    pub fn empty<T: Copy>(&self, count: usize) -> Result<Buffer<T>> {
        let mut address = 0;
        let bytes = count * size_of::<T>();
        // SAFETY: the out-parameter is a live variable.
        check(unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes) }, "cuMemAlloc_v2")?;
        Ok(Buffer { address, count, of: PhantomData })
    }

    pub fn upload<T: Copy>(&self, values: &[T]) -> Result<Buffer<T>> {
        let buffer = self.empty(values.len())?;
        // SAFETY: both ends hold that many bytes.
        let copied = unsafe { sys::cuMemcpyHtoD_v2(buffer.address, values.as_ptr().cast(), size_of_val(values)) };
        check(copied, "cuMemcpyHtoD_v2")?;
        Ok(buffer)
    }

    pub fn synchronise(&self) -> Result<()> {
        // SAFETY: the function has no preconditions at all.
        check(unsafe { sys::cuCtxSynchronize() }, "cuCtxSynchronize")
    }
}

pub struct Buffer<T> {
    pub address: u64,
    count: usize,
    of: PhantomData<T>,
}

impl<T: Copy> Buffer<T> {
    pub fn read(&self) -> Result<Vec<T>> {
        let mut values: Vec<T> = Vec::with_capacity(self.count);
        let bytes = self.count * size_of::<T>();
        // SAFETY: both ends hold that many bytes, and the values are plain numbers, all of which are written.
        unsafe {
            check(sys::cuMemcpyDtoH_v2(values.as_mut_ptr().cast(), self.address, bytes), "cuMemcpyDtoH_v2")?;
            values.set_len(self.count);
        }
        Ok(values)
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: allocated once, freed once, and only here.
        let _ = unsafe { sys::cuMemFree_v2(self.address) };
    }
}

/// One parameter of a kernel.
pub enum Arg<'a> {
    Pointer(u64),
    Int(i32),
    Bytes(&'a [u8]),
}

impl<T> From<&Buffer<T>> for Arg<'_> {
    fn from(buffer: &Buffer<T>) -> Self {
        Arg::Pointer(buffer.address)
    }
}

impl From<i32> for Arg<'_> {
    fn from(value: i32) -> Self {
        Arg::Int(value)
    }
}

/// Parameters of a launch, each turned into an [`Arg`].
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::gpu::Arg::from($value)),*] };
}

pub struct Module(pub sys::CUmodule);

impl Module {
    pub fn function(&self, name: &str) -> Result<sys::CUfunction> {
        let text = CString::new(name).unwrap();
        let mut function = std::ptr::null_mut();
        // SAFETY: a live string and a live out-parameter.
        let found = unsafe { sys::cuModuleGetFunction(&raw mut function, self.0, text.as_ptr()) };
        check(found, &format!("cuModuleGetFunction {name}"))?;
        Ok(function)
    }

    /// Puts a launch into a stream.
    pub fn queue(
        &self,
        name: &str,
        (grid, block, shared): ((u32, u32), u32, u32),
        stream: sys::CUstream,
        args: &[Arg<'_>],
    ) -> Result<()> {
        let function = self.function(name)?;
        let mut pointers: Vec<*mut c_void> = args
            .iter()
            .map(|arg| match arg {
                Arg::Pointer(p) => std::ptr::from_ref(p).cast_mut().cast(),
                Arg::Int(v) => std::ptr::from_ref(v).cast_mut().cast(),
                Arg::Bytes(b) => b.as_ptr().cast_mut().cast(),
            })
            .collect();
        // SAFETY: as many parameters as the kernel has; the stand-in checks all that they point to.
        let launched = unsafe {
            let last = std::ptr::null_mut();
            sys::cuLaunchKernel(function, grid.0, grid.1, 1, block, 1, 1, shared, stream, pointers.as_mut_ptr(), last)
        };
        check(launched, &format!("cuLaunchKernel {name}"))
    }

    /// Launches and waits.
    pub fn launch(&self, name: &str, shape: ((u32, u32), u32, u32), args: &[Arg<'_>]) -> Result<()> {
        self.queue(name, shape, std::ptr::null_mut(), args)?;
        // SAFETY: the function has no preconditions at all.
        check(unsafe { sys::cuCtxSynchronize() }, &format!("running {name}"))
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: loaded once, unloaded once, and only here.
        let _ = unsafe { sys::cuModuleUnload(self.0) };
    }
}
