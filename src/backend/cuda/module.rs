//! Loaded kernel files and the launching of their kernels.

use super::buffer::Buffer;
use super::context::{Context, Stream};
use super::driver::check;
use super::images::Images;
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
    /// Loads `kernels/<name>.cu` in the image that suits the device.
    pub fn load(context: &Arc<Context>, images: &Images<'static>, name: &'static str) -> Result<Arc<Self>> {
        let (capability, driver) = (context.capability(), context.driver());
        let image = images.pick(name, capability, driver).ok_or_else(|| {
            let (major, minor) = capability;
            let message = format!("this library has no image of '{name}' for compute capability {major}.{minor}");
            Error::new(ErrorKind::Unsupported, message)
        })?;
        let _entered = context.enter()?;
        let mut module = std::ptr::null_mut();
        // SAFETY: a whole cubin, or PTX that ends with a NUL: `Images` checked both when it read the container.
        let loaded = unsafe { sys::cuModuleLoadData(&raw mut module, image.bytes.as_ptr().cast()) };
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
        Ok(Function { module: self.clone(), function, threads, name: name.to_owned() })
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
    name: String,
}

// SAFETY: functions are handles into a module, see there.
unsafe impl Send for Function {}
// SAFETY: handles into a module, which any thread may use.
unsafe impl Sync for Function {}

/// A kernel's parameter by value: at most 8 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Argument([u8; 8]);

impl Argument {
    /// A number or a small struct.
    pub fn value<T: Pod>(value: T) -> Self {
        const { assert!(size_of::<T>() <= 8, "larger structs are passed through device memory") };
        let mut bytes = [0; 8];
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        Self(bytes)
    }

    /// The address of a buffer.
    pub fn buffer<T: super::Element>(buffer: &Buffer<T>) -> Self {
        Self::value(buffer.address())
    }
}

impl Function {
    /// Puts a launch of `blocks` (x, y) blocks into `stream`. No blocks, no launch.
    ///
    /// # Safety
    /// `arguments` are those of the kernel in number, order and width, and the buffers they name are as large as the
    /// kernel's documentation asks for and live until the stream has run it.
    pub unsafe fn launch(&self, blocks: (u32, u32), stream: &Stream, arguments: &[Argument]) -> Result<()> {
        if blocks.0 == 0 || blocks.1 == 0 {
            return Ok(());
        }
        let _entered = self.module.context.enter()?;
        let mut pointers: Vec<*mut c_void> =
            arguments.iter().map(|argument| (&raw const argument.0).cast_mut().cast()).collect();
        let (x, y) = blocks;
        // SAFETY: a live function and stream of the current context; the driver copies the parameters, which the caller
        // vouches for, before it returns.
        let launched = unsafe {
            sys::cuLaunchKernel(
                self.function,
                x,
                y,
                1,
                self.threads,
                1,
                1,
                0,
                stream.raw(),
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        check(launched, &format!("launching '{}'", self.name))
    }
}
