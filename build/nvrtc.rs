//! NVRTC, the CUDA compiler as a library: no toolkit, no host compiler, no GPU.

#![allow(unsafe_code, reason = "functions of a shared library that the loader finds at build time")]

use super::compiler::{Compiled, OPTIONS};
use super::target::Target;
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

type Program = *mut c_void;
type Code = c_int;

/// The functions used, as the header `nvrtc.h` declares them since 11.2.
pub struct Nvrtc {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> Code,
    capability_count: unsafe extern "C" fn(*mut c_int) -> Code,
    capabilities: unsafe extern "C" fn(*mut c_int) -> Code,
    error: unsafe extern "C" fn(Code) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> Code,
    destroy: unsafe extern "C" fn(*mut Program) -> Code,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> Code,
    log: Text,
    cubin: Text,
    ptx: Text,
    /// Keeps the functions above where they are.
    _library: Library,
}

/// The two functions that hand out one result of a program: its size, then its bytes.
struct Text {
    size: unsafe extern "C" fn(Program, *mut usize) -> Code,
    bytes: unsafe extern "C" fn(Program, *mut c_char) -> Code,
}

impl Nvrtc {
    /// Loads the library at `path`, a file or a name for the loader.
    pub fn load(path: &Path) -> Result<Self, String> {
        let failed = |e: libloading::Error| format!("'{}' cannot be used: {e}", path.display());
        // SAFETY: NVRTC's initialisers have no preconditions; the path is the user's or a CUDA package's.
        let library = unsafe { Library::new(path) }.map_err(failed)?;
        macro_rules! function {
            ($($name:tt)+) => {
                // SAFETY: the field that takes it has the type that nvrtc.h declares under this name since 11.2.
                *unsafe { library.get(concat!($($name)+, "\0").as_bytes()) }.map_err(failed)?
            };
        }
        macro_rules! text {
            ($name:literal) => {
                Text {
                    size: function!(concat!("nvrtcGet", $name, "Size")),
                    bytes: function!(concat!("nvrtcGet", $name)),
                }
            };
        }
        Ok(Self {
            version: function!("nvrtcVersion"),
            capability_count: function!("nvrtcGetNumSupportedArchs"),
            capabilities: function!("nvrtcGetSupportedArchs"),
            error: function!("nvrtcGetErrorString"),
            create: function!("nvrtcCreateProgram"),
            destroy: function!("nvrtcDestroyProgram"),
            compile: function!("nvrtcCompileProgram"),
            log: text!("ProgramLog"),
            cubin: text!("CUBIN"),
            ptx: text!("PTX"),
            _library: library,
        })
    }

    fn check(&self, code: Code) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: the function returns a static string for every number, known or not.
        let text = unsafe { CStr::from_ptr((self.error)(code)) };
        Err(format!("NVRTC: {}", text.to_string_lossy()))
    }

    /// Its release.
    pub fn version(&self) -> Result<(u32, u32), String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to live integers, all that the function asks for.
        self.check(unsafe { (self.version)(&raw mut major, &raw mut minor) })?;
        Ok((major as u32, minor as u32))
    }

    /// Ten times the compute capabilities it compiles for.
    pub fn capabilities(&self) -> Result<Vec<u32>, String> {
        let mut count = 0;
        // SAFETY: the pointer is to a live integer, all that the function asks for.
        self.check(unsafe { (self.capability_count)(&raw mut count) })?;
        let mut capabilities: Vec<c_int> = vec![0; count as usize];
        // SAFETY: the buffer has as many integers as the function just said that it writes.
        self.check(unsafe { (self.capabilities)(capabilities.as_mut_ptr()) })?;
        Ok(capabilities.into_iter().map(|capability| capability as u32).collect())
    }

    /// Compiles `source`, with its own folder and `include` as include folders.
    pub fn compile(&self, source: &Path, target: Target, include: &Path) -> Result<Compiled, String> {
        let text = std::fs::read(source).map_err(|e| format!("cannot read '{}': {e}", source.display()))?;
        let own = source.parent().unwrap_or(Path::new("."));
        let options = OPTIONS.into_iter().map(str::to_owned).chain([
            format!("--gpu-architecture={target}"),
            format!("--include-path={}", own.display()),
            format!("--include-path={}", include.display()),
        ]);
        let options = options.map(CString::new).collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
        let program = self.program(&text, source)?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: a live program; as many NUL-terminated options as said, which outlive the call.
        let compiled =
            self.check(unsafe { (self.compile)(program.handle, pointers.len() as c_int, pointers.as_ptr()) });
        let log = String::from_utf8_lossy(&program.read(&self.log)?).trim_end_matches('\0').to_owned();
        compiled.map_err(|e| format!("{} for {target}: {e}\n{log}", source.display()))?;
        let mut image = program.read(if target.is_ptx() { &self.ptx } else { &self.cubin })?;
        if target.is_ptx() {
            image.retain(|&byte| byte != 0);
        }
        Ok(Compiled { image, log })
    }

    fn program(&self, text: &[u8], source: &Path) -> Result<OpenProgram<'_>, String> {
        let text = CString::new(text).map_err(|e| format!("{}: {e}", source.display()))?;
        let name = CString::new(source.to_string_lossy().as_bytes()).map_err(|e| e.to_string())?;
        let mut handle = std::ptr::null_mut();
        let none = std::ptr::null();
        // SAFETY: NUL-terminated texts, no headers (for which NULL is allowed), a place for the handle.
        self.check(unsafe { (self.create)(&raw mut handle, text.as_ptr(), name.as_ptr(), 0, none, none) })?;
        Ok(OpenProgram { nvrtc: self, handle })
    }
}

/// A program of NVRTC's, destroyed when dropped.
struct OpenProgram<'a> {
    nvrtc: &'a Nvrtc,
    handle: Program,
}

impl OpenProgram<'_> {
    fn read(&self, text: &Text) -> Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: a live program and a live integer.
        self.nvrtc.check(unsafe { (text.size)(self.handle, &raw mut size) })?;
        let mut bytes = vec![0_u8; size];
        // SAFETY: a live program and a buffer of the size that it just named.
        self.nvrtc.check(unsafe { (text.bytes)(self.handle, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }
}

impl Drop for OpenProgram<'_> {
    fn drop(&mut self) {
        // SAFETY: the handle came from create and is destroyed once, here.
        unsafe { (self.nvrtc.destroy)(&raw mut self.handle) };
    }
}
