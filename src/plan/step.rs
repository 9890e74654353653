//! The fused steps of a plan.

use super::{TensorId, Weight};
use std::sync::Arc;

/// Which voxels meet which in a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Geometry {
    /// Stride 1 on the voxels of `level`, centred kernel of `size`; the active set does not grow.
    Submanifold {
        /// Level of input and output.
        level: usize,
        /// 1, 3 or 5.
        size: usize,
    },
    /// Kernel and stride 2, from level `to - 1` to `to`.
    Strided {
        /// Level of the output.
        to: usize,
    },
    /// Kernel and stride 2 transposed, from level `to + 1` back to `to`.
    Transposed {
        /// Level of the output.
        to: usize,
    },
}

impl Geometry {
    /// Number of kernel offsets.
    pub fn volume(self) -> usize {
        match self {
            Self::Submanifold { size, .. } => size.pow(3),
            Self::Strided { .. } | Self::Transposed { .. } => 8,
        }
    }
}

/// Per output channel `y = scale x + shift`: a folded batch norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// `[c_out]`.
    pub scale: Vec<f64>,
    /// `[c_out]`.
    pub shift: Vec<f64>,
}

/// One sparse product: `[volume, c_in, c_out]` weights over the channels of up to two sources side by side.
#[derive(Debug, Clone)]
pub struct Product {
    /// Which rows meet.
    pub geometry: Geometry,
    /// The inputs; a concatenation is two sources, in the order of the weight's input channels.
    pub sources: Vec<TensorId>,
    /// `[volume, c_in, c_out]`, or `[c_in, c_out]` for size 1.
    pub weight: Arc<Weight>,
    /// What follows the product, per output channel.
    pub affine: Affine,
}

/// `output = relu(main + shortcut + residual)`, each product with its own scale and shift.
#[derive(Debug, Clone)]
pub struct Convolution {
    /// The module's published name, for timings and messages.
    pub name: Arc<str>,
    /// The convolution proper.
    pub main: Product,
    /// The 1x1 shortcut of a residual block: one more kernel offset, not a buffer.
    pub shortcut: Option<Product>,
    /// The identity shortcut of a residual block.
    pub residual: Option<TensorId>,
    /// Whether negative values become 0.
    pub relu: bool,
    /// The result.
    pub output: TensorId,
}

/// A stride-1 convolution of constant ones, which depends on occupancy alone.
#[derive(Debug, Clone)]
pub struct Stem {
    /// The module's published name.
    pub name: Arc<str>,
    /// Kernel size, 3 or 5.
    pub size: usize,
    /// `[volume, c_in, c_out]`; the input channels are all ones, so only their sum matters.
    pub weight: Arc<Weight>,
    /// The folded batch norm.
    pub affine: Affine,
    /// The result, on level 0.
    pub output: TensorId,
}

/// The linear map from the trunk to the text space: `features = trunk W + bias`.
#[derive(Debug, Clone)]
pub struct Head {
    /// `[trunk channels, text dimension]`.
    pub weight: Arc<Weight>,
    /// `[text dimension]`; the published networks have none.
    pub bias: Option<Arc<Weight>>,
}

impl Head {
    /// Width of the text space.
    pub fn text_dim(&self) -> usize {
        self.weight.shape[1]
    }
}

/// One step of a plan.
#[derive(Debug, Clone)]
pub enum Step {
    /// The first convolution of a network whose input is constant ones.
    Stem(Stem),
    /// Any other convolution.
    Convolution(Convolution),
}

impl Step {
    /// The module's published name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Stem(stem) => &stem.name,
            Self::Convolution(convolution) => &convolution.name,
        }
    }

    /// The tensors the step reads.
    pub fn reads(&self) -> Vec<TensorId> {
        match self {
            Self::Stem(_) => Vec::new(),
            Self::Convolution(c) => {
                let shortcut = c.shortcut.iter().flat_map(|p| &p.sources);
                c.main.sources.iter().chain(shortcut).copied().chain(c.residual).collect()
            }
        }
    }

    /// The tensor the step writes.
    pub fn writes(&self) -> TensorId {
        match self {
            Self::Stem(stem) => stem.output,
            Self::Convolution(convolution) => convolution.output,
        }
    }

    /// The kernel maps the step needs.
    pub fn geometries(&self) -> Vec<Geometry> {
        match self {
            Self::Stem(_) => Vec::new(),
            Self::Convolution(c) => std::iter::once(&c.main).chain(&c.shortcut).map(|p| p.geometry).collect(),
        }
    }

    /// The weights the step multiplies by.
    pub fn weights(&self) -> Vec<&Arc<Weight>> {
        match self {
            Self::Stem(stem) => vec![&stem.weight],
            Self::Convolution(c) => std::iter::once(&c.main).chain(&c.shortcut).map(|p| &p.weight).collect(),
        }
    }
}
