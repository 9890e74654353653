//! What a kernel file is compiled to: machine code for one architecture, or PTX for all later ones.

use std::fmt;

/// One image's target, such as `sm_80` or `compute_80`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Machine code: runs on devices of the same major with at least this minor.
    Cubin(u32),
    /// PTX: the driver compiles it for any device from this one on.
    Ptx(u32),
}

impl Target {
    /// What the library holds, as far as the compiler knows the architectures.
    pub const ALL: [Self; 9] = [
        Self::Cubin(75),
        Self::Cubin(80),
        Self::Cubin(86),
        Self::Cubin(89),
        Self::Cubin(90),
        Self::Cubin(100),
        Self::Cubin(120),
        Self::Ptx(75),
        Self::Ptx(80),
    ];

    /// Those that every compiler must know: Turing to Hopper.
    pub const NEWEST_REQUIRED: u32 = 90;

    /// Ten times the compute capability.
    pub fn capability(self) -> u32 {
        match self {
            Self::Cubin(capability) | Self::Ptx(capability) => capability,
        }
    }

    pub fn is_ptx(self) -> bool {
        matches!(self, Self::Ptx(_))
    }

    pub fn parse(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|target| target.to_string() == name);
        known.ok_or_else(|| format!("'{name}' is no target"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cubin(capability) => write!(f, "sm_{capability}"),
            Self::Ptx(capability) => write!(f, "compute_{capability}"),
        }
    }
}
