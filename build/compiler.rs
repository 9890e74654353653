//! A CUDA compiler, of whichever kind.

use super::nvcc;
use super::nvrtc::Nvrtc;
use super::target::Target;
use std::path::{Path, PathBuf};

/// What both kinds are told, beside target and include folders. `-v` makes ptxas report registers and spills.
pub const OPTIONS: [&str; 2] = ["-std=c++17", "--ptxas-options=-v"];

/// Compilers before 12.0 know neither sm_90 nor PTX 8.0.
pub const OLDEST: (u32, u32) = (12, 0);

/// A compiler that was found and that answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiler {
    kind: Kind,
    version: (u32, u32),
    targets: Vec<Target>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Nvrtc { library: PathBuf, include: PathBuf },
    Nvcc { program: PathBuf },
}

/// What compiling gives.
pub struct Compiled {
    pub image: Vec<u8>,
    /// What the compiler said, ptxas's report included.
    pub log: String,
}

/// A compiler ready to work.
pub enum Session {
    Nvrtc { nvrtc: Nvrtc, include: PathBuf },
    Nvcc { program: PathBuf },
}

impl Compiler {
    /// The NVRTC at `library`, with the CUDA headers of `include`.
    pub fn nvrtc(library: PathBuf, include: PathBuf) -> Result<Self, String> {
        let nvrtc = Nvrtc::load(&library)?;
        Self::new(Kind::Nvrtc { library, include }, nvrtc.version()?, &nvrtc.capabilities()?)
    }

    /// The nvcc at `program`.
    pub fn nvcc(program: PathBuf) -> Result<Self, String> {
        let (version, capabilities) = (nvcc::version(&program)?, nvcc::capabilities(&program)?);
        Self::new(Kind::Nvcc { program }, version, &capabilities)
    }

    fn new(kind: Kind, version: (u32, u32), capabilities: &[u32]) -> Result<Self, String> {
        let targets: Vec<Target> =
            Target::ALL.into_iter().filter(|target| capabilities.contains(&target.capability())).collect();
        let compiler = Self { kind, version, targets };
        let missing = Target::ALL
            .into_iter()
            .find(|target| target.capability() <= Target::NEWEST_REQUIRED && !compiler.targets.contains(target));
        match missing {
            _ if version < OLDEST => Err(format!("{} is older than {}.{}", compiler.describe(), OLDEST.0, OLDEST.1)),
            Some(target) => Err(format!("{} does not know {target}", compiler.describe())),
            None => Ok(compiler),
        }
    }

    /// Such as `"NVRTC 12.9"`.
    pub fn describe(&self) -> String {
        let name = if matches!(self.kind, Kind::Nvrtc { .. }) { "NVRTC" } else { "nvcc" };
        format!("{name} {}.{}", self.version.0, self.version.1)
    }

    /// The library or program.
    pub fn program(&self) -> &Path {
        match &self.kind {
            Kind::Nvrtc { library, .. } => library,
            Kind::Nvcc { program } => program,
        }
    }

    /// What it can compile to.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The oldest driver that loads its cubins, as `cuDriverGetVersion` counts: the first of the same major.
    pub fn driver_needed(&self) -> u32 {
        self.version.0 * 1000
    }

    /// What makes the same compiler of [`Self::from_argument`] in another process.
    pub fn to_argument(&self) -> String {
        match &self.kind {
            Kind::Nvrtc { library, include } => format!("nvrtc\n{}\n{}", library.display(), include.display()),
            Kind::Nvcc { program } => format!("nvcc\n{}", program.display()),
        }
    }

    pub fn from_argument(argument: &str) -> Result<Self, String> {
        match argument.split('\n').collect::<Vec<_>>()[..] {
            ["nvrtc", library, include] => Self::nvrtc(library.into(), include.into()),
            ["nvcc", program] => Self::nvcc(program.into()),
            _ => Err(format!("'{argument}' is no compiler")),
        }
    }

    pub fn open(&self) -> Result<Session, String> {
        Ok(match &self.kind {
            Kind::Nvrtc { library, include } => {
                Session::Nvrtc { nvrtc: Nvrtc::load(library)?, include: include.clone() }
            }
            Kind::Nvcc { program } => Session::Nvcc { program: program.clone() },
        })
    }
}

impl Session {
    /// Compiles `source`, whose folder is searched for headers.
    pub fn compile(&self, source: &Path, target: Target) -> Result<Compiled, String> {
        match self {
            Self::Nvrtc { nvrtc, include } => nvrtc.compile(source, target, include),
            Self::Nvcc { program } => nvcc::compile(program, source, target),
        }
    }
}
