//! Looks for a CUDA compiler: NVRTC where it was named or where packages put it, then nvcc.

use super::compiler::Compiler;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The value of an environment variable, if it is set and not empty.
pub type Variable = Box<dyn Fn(&str) -> Option<OsString>>;

/// What the search depends on, so that a test can give another world.
pub struct Surroundings {
    pub variable: Variable,
    /// The repository, whose `.venv` is searched.
    pub root: PathBuf,
    /// Where toolkits are installed.
    pub toolkits: Vec<PathBuf>,
    /// Whether the loader's own places count.
    pub loader: bool,
}

pub enum Found {
    Compiler(Compiler),
    /// Where it was looked for, for a message.
    Nothing(String),
}

/// The names under which NVRTC stands in folders and with the loader.
const NVRTC_NAMES: [&str; 3] = ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.so"];

impl Surroundings {
    pub fn of_this_process(root: PathBuf) -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { variable: Box::new(variable), root, toolkits: vec!["/usr/local/cuda".into()], loader: true }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        (self.variable)(name).map(PathBuf::from)
    }

    fn toolkits(&self) -> impl Iterator<Item = PathBuf> {
        ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(|name| self.path(name)).chain(self.toolkits.iter().cloned())
    }
}

/// The first compiler that answers. One that was named and does not is an error; others are passed over.
pub fn find(around: &Surroundings) -> Result<Found, String> {
    if let Some(library) = around.path("OV3D_NVRTC") {
        let include = around.path("OV3D_CUDA_INCLUDE").or_else(|| headers_of(&library));
        let include = include.ok_or("OV3D_NVRTC is set; name the folder of cuda_fp16.h in OV3D_CUDA_INCLUDE too")?;
        if !include.join("cuda_fp16.h").exists() {
            return Err(format!("OV3D_CUDA_INCLUDE: there is no cuda_fp16.h in '{}'", include.display()));
        }
        return Compiler::nvrtc(library, include).map(Found::Compiler).map_err(|e| format!("OV3D_NVRTC: {e}"));
    }
    if let Some(program) = around.path("OV3D_NVCC") {
        return Compiler::nvcc(program).map(Found::Compiler).map_err(|e| format!("OV3D_NVCC: {e}"));
    }
    for library in nvrtc_places(around) {
        let include = around.path("OV3D_CUDA_INCLUDE").or_else(|| headers_of(&library));
        if let Some(Ok(compiler)) = include.map(|include| Compiler::nvrtc(library, include)) {
            return Ok(Found::Compiler(compiler));
        }
    }
    let path = around.path("PATH").map(|path| std::env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let programs = around.toolkits().map(|toolkit| toolkit.join("bin")).chain(path).map(|bin| bin.join("nvcc"));
    for program in programs.filter(|program| program.exists()) {
        if let Ok(compiler) = Compiler::nvcc(program) {
            return Ok(Found::Compiler(compiler));
        }
    }
    let looked_for = "NVRTC 12 or 13 was looked for through OV3D_NVRTC, in .venv, VIRTUAL_ENV and CUDA_HOME and with the \
                      loader, nvcc through OV3D_NVCC, CUDA_HOME and PATH";
    Ok(Found::Nothing(looked_for.to_owned()))
}

/// Where NVRTC may be: Python environments with NVIDIA's packages, toolkits, the loader's own places.
fn nvrtc_places(around: &Surroundings) -> Vec<PathBuf> {
    let environments = around.path("VIRTUAL_ENV").into_iter().chain([around.root.join(".venv")]);
    let packages = environments.flat_map(|environment| site_packages(&environment));
    let folders = packages.flat_map(|site| ["cuda_nvrtc/lib", "cu13/lib"].map(|lib| site.join("nvidia").join(lib)));
    let toolkits = around.toolkits().flat_map(|toolkit| ["lib64", "lib"].map(|lib| toolkit.join(lib)));
    let mut places: Vec<PathBuf> = folders
        .chain(toolkits)
        .flat_map(|folder| NVRTC_NAMES.map(|name| folder.join(name)))
        .filter(|library| library.exists())
        .collect();
    if around.loader {
        places.extend(NVRTC_NAMES.map(PathBuf::from));
    }
    places
}

fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
    versions.map(|version| version.path().join("site-packages")).filter(|site| site.exists()).collect()
}

/// The CUDA headers that belong to the NVRTC at `library`: in its toolkit, or in the package beside its own.
fn headers_of(library: &Path) -> Option<PathBuf> {
    let beside = library.parent().and_then(Path::parent).into_iter();
    let package = library.ancestors().nth(3).map(|nvidia| nvidia.join("cuda_runtime/include"));
    let folders = beside.map(|root| root.join("include")).chain(package);
    let system = ["/usr/local/cuda/include", "/usr/include"].map(PathBuf::from);
    folders.chain(system).find(|folder| folder.join("cuda_fp16.h").exists())
}
