//! The CUDA compiler, as far as the tests need it: `OV3D_NVRTC` and `OV3D_CUDA_INCLUDE` name it and its headers.

use libloading::{Library, Symbol};
use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

/// What the library's build makes of its PTX.
#[allow(dead_code, reason = "the build reads more of it")]
#[path = "../../../../build/ptx.rs"]
mod ptx;

type Program = *mut c_void;

pub struct Nvrtc {
    library: Library,
    include: String,
}

/// NVRTC and its headers in `.venv` at the repository's root, where the library's build finds them too.
fn installed() -> Option<(String, String)> {
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib").read_dir().ok()?;
    versions.flatten().find_map(|version| {
        let nvidia = version.path().join("site-packages/nvidia");
        let (library, headers) = (nvidia.join("cuda_nvrtc/lib/libnvrtc.so.12"), nvidia.join("cuda_runtime/include"));
        let found = library.exists() && headers.exists();
        found.then(|| (library.to_string_lossy().into_owned(), headers.to_string_lossy().into_owned()))
    })
}

impl Nvrtc {
    /// None where neither the environment nor the repository's virtual environment has a compiler.
    pub fn find() -> Result<Option<Nvrtc>, String> {
        let (path, include) = match std::env::var("OV3D_NVRTC") {
            Ok(path) => (path, std::env::var("OV3D_CUDA_INCLUDE").map_err(|_| "OV3D_CUDA_INCLUDE is not set")?),
            Err(_) => match installed() {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        // SAFETY: NVRTC's initialisers have no preconditions.
        let library = unsafe { Library::new(&path) }.map_err(|e| format!("OV3D_NVRTC: {e}"))?;
        Ok(Some(Nvrtc { library, include }))
    }

    fn get<T>(&self, name: &str) -> Result<Symbol<'_, T>, String> {
        // SAFETY: every caller names a function of nvrtc.h and its type there.
        unsafe { self.library.get(name.as_bytes()) }.map_err(|e| e.to_string())
    }

    /// `target` is `compute_80` for PTX, which every driver for CUDA 12 takes, or `sm_80` for a cubin.
    pub fn compile(&self, source: &Path, target: &str) -> Result<Vec<u8>, String> {
        type Create = unsafe extern "C" fn(
            *mut Program,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> c_int;
        type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
        let text = std::fs::read_to_string(source).map_err(|e| format!("{}: {e}", source.display()))?;
        let text = CString::new(text).map_err(|e| e.to_string())?;
        let name =
            CString::new(source.file_name().unwrap_or_default().to_string_lossy().into_owned()).unwrap_or_default();
        let options: Vec<CString> =
            [format!("--gpu-architecture={target}"), format!("-I{}", self.include), "-std=c++17".into()]
                .into_iter()
                .map(|o| CString::new(o).map_err(|e| e.to_string()))
                .collect::<Result<_, _>>()?;
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let (create, compile) =
            (self.get::<Create>("nvrtcCreateProgram")?, self.get::<Compile>("nvrtcCompileProgram")?);
        let mut program = std::ptr::null_mut();
        // SAFETY: live strings, and no headers to go with them.
        let made =
            unsafe { create(&raw mut program, text.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null()) };
        if made != 0 {
            return Err(format!("nvrtcCreateProgram: {made}"));
        }
        // SAFETY: a live program and live options.
        if unsafe { compile(program, pointers.len() as c_int, pointers.as_ptr()) } != 0 {
            let log = self.take(program, "nvrtcGetProgramLog")?;
            return Err(String::from_utf8_lossy(&log).into_owned());
        }
        if target.starts_with("sm") {
            return self.take(program, "nvrtcGetCUBIN");
        }
        let ptx = String::from_utf8(self.take(program, "nvrtcGetPTX")?).map_err(|e| e.to_string())?;
        ptx::for_old_drivers(&ptx).map(String::into_bytes).map_err(|e| format!("{}: {e}", source.display()))
    }

    fn take(&self, program: Program, what: &str) -> Result<Vec<u8>, String> {
        type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
        type Bytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
        let (size, copy) = (self.get::<Size>(&format!("{what}Size"))?, self.get::<Bytes>(what)?);
        let mut n = 0;
        // SAFETY: a live program and a live out-parameter.
        let sized = unsafe { size(program, &raw mut n) };
        let mut bytes = vec![0u8; n];
        // SAFETY: as many bytes as were asked for.
        let copied = unsafe { copy(program, bytes.as_mut_ptr().cast()) };
        if (sized, copied) != (0, 0) {
            return Err(format!("{what}: {sized}, {copied}"));
        }
        Ok(bytes)
    }
}
