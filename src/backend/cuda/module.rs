//! Loaded kernel files and the launching of their kernels.

use super::context::{Context, Stream};
use super::driver::check;
use super::images::{Image, Images};
use crate::error::{Error, ErrorKind, Result};
use bytemuck::Pod;
use cudarc::driver::sys;
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// One kernel file on one device.
#[derive(Debug)]
pub struct Module {
    context: Arc<Context>,
    module: sys::CUmodule,
    name: &'static str,
}

// SAFETY: modules may be used from any thread; the driver locks them itself.
unsafe impl Send for Module {}
// SAFETY: the driver locks modules itself, as said above.
unsafe impl Sync for Module {}

impl Module {
    /// Loads `kernels/<name>.cu` in the image that suits the device: PTX where the driver refuses the cubin.
    pub fn load(context: &Arc<Context>, images: &Images<'static>, name: &'static str) -> Result<Arc<Self>> {
        let (capability, driver) = (context.capability(), context.driver());
        let mut suiting = images.suiting(name, capability, driver);
        let first = suiting.next().ok_or_else(|| {
            let (major, minor) = capability;
            let message = format!("this library has no image of '{name}' for compute capability {major}.{minor}");
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let _entered = context.enter()?;
        let mut module = std::ptr::null_mut();
        // SAFETY: a whole cubin, or PTX that ends with a NUL: `Images` checked both when it read the container.
        let mut load =
            |image: &Image<'_>| unsafe { sys::cuModuleLoadData(&raw mut module, image.bytes.as_ptr().cast()) };
        let mut loaded = load(first);
        if loaded == sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
            && let Some(next) = suiting.next()
        {
            loaded = load(next);
        }
        check(loaded, &format!("loading the kernels of '{name}'"))?;
        Ok(Arc::new(Self { context: context.clone(), module, name }))
    }

    /// The kernel `name`, for blocks of `threads` threads.
    pub fn function(self: &Arc<Self>, name: &str, threads: u32) -> Result<Function> {
        let text = CString::new(name).map_err(|_| Error::internal("the name of a kernel has no NUL"))?;
        let _entered = self.context.enter()?;
        let mut function = std::ptr::null_mut();
        // SAFETY: a live module and a NUL-terminated name.
        let found = unsafe { sys::cuModuleGetFunction(&raw mut function, self.module, text.as_ptr()) };
        check(found, &format!("looking for kernel '{name}' in '{}'", self.name))?;
        Ok(Function { module: self.clone(), function, threads, shared: 0, name: name.to_owned() })
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Ok(_entered) = self.context.enter() {
            // SAFETY: loaded once, unloaded once; functions hold the module.
            let _ = unsafe { sys::cuModuleUnload(self.module) };
        }
    }
}

/// A kernel with the block size it was written for.
#[derive(Debug, Clone)]
pub struct Function {
    module: Arc<Module>,
    function: sys::CUfunction,
    threads: u32,
    shared: u32,
    name: String,
}

// SAFETY: functions are handles into a module, see there.
unsafe impl Send for Function {}
// SAFETY: handles into a module, which any thread may use.
unsafe impl Sync for Function {}

/// A kernel's parameter, by value: a number, the address in a span, or a struct.
#[derive(Debug, Clone, Copy)]
pub struct Argument<'a>(&'a [u8]);

impl<'a> Argument<'a> {
    /// The parameter `value`.
    pub fn of<T: Pod>(value: &'a T) -> Self {
        Self(bytemuck::bytes_of(value))
    }
}

/// Blocks of a launch along x, y and z.
pub type Grid = (u32, u32, u32);

impl Function {
    /// The kernel's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets blocks have up to `bytes` of shared memory beside what the kernel declares.
    pub fn with_shared(mut self, bytes: u32) -> Result<Self> {
        use sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as LIMIT;
        let set = {
            let _entered = self.module.context.enter()?;
            // SAFETY: a live function of the context that is current.
            unsafe { sys::cuFuncSetAttribute(self.function, LIMIT, bytes as i32) }
        };
        check(set, &format!("asking for {bytes} bytes of shared memory for '{}'", self.name))?;
        self.shared = bytes;
        Ok(self)
    }

    /// Puts a launch of `grid` blocks into `stream`. No blocks, no launch.
    ///
    /// # Safety
    /// `arguments` are those of the kernel in number, order and width, and the buffers they name are as large as the
    /// kernel's documentation asks for and live until the stream has run it.
    pub unsafe fn launch(&self, grid: Grid, stream: &Stream, arguments: &[Argument<'_>]) -> Result<()> {
        let (x, y, z) = grid;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let _entered = self.module.context.enter()?;
        let mut pointers: Vec<*mut c_void> =
            arguments.iter().map(|argument| argument.0.as_ptr().cast_mut().cast()).collect();
        // SAFETY: a live function and stream of the current context; the driver copies the parameters, which the caller
        // vouches for, before it returns.
        let launched = unsafe {
            sys::cuLaunchKernel(
                self.function,
                x,
                y,
                z,
                self.threads,
                1,
                1,
                self.shared,
                stream.raw(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check(launched, &format!("launching '{}'", self.name))
    }
}
