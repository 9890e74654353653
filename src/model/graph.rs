//! The graph of a MinkUNet as data: what the model file's metadata says, and what tensors follow from it.
//!
//! MinkUNet 14/18/34 A-D of "4D Spatio-Temporal ConvNets" (CVPR 2019), as OpenScene and GGSD use them, and any
//! scaled width, are instances.

use super::weights::{StateDict, Weight};
use crate::error::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};

/// What a voxel feeds the first convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputFeatures {
    /// Constant ones, whatever the colours: every published OpenScene configuration.
    Ones,
    /// `rgb / 127.5 - 1` of the voxel's representative point.
    Colors,
}

/// The order of channels in a decoder's concatenation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConcatOrder {
    /// Upsampled channels, then the skip connection's (published).
    UpsampledFirst,
    /// The skip connection's channels, then the upsampled ones.
    SkipFirst,
}

/// The graph of a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// What the input features are.
    pub input: InputFeatures,
    /// Number of input features (3 in the published networks, even for constant ones).
    pub input_channels: usize,
    /// Edge of the first convolution's kernel: 3 or 5.
    pub stem_kernel: usize,
    /// Output channels of the first convolution.
    pub stem_channels: usize,
    /// Output channels of the eight stages, four down and four up.
    pub planes: [usize; 8],
    /// Residual blocks per stage.
    pub blocks: [usize; 8],
    /// Epsilon of every batch norm.
    pub batch_norm_eps: f64,
    /// Channel order of the decoder's concatenations.
    pub concat: ConcatOrder,
    /// Width of the text space.
    pub head_channels: usize,
    /// Whether the head has a bias.
    pub head_bias: bool,
}

/// A published network variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// Such as `"MinkUNet18A"`.
    pub name: &'static str,
    planes: [usize; 8],
    blocks: [usize; 8],
}

const fn variant(name: &'static str, up: [usize; 4], blocks: [usize; 8]) -> Variant {
    Variant { name, planes: [32, 64, 128, 256, up[0], up[1], up[2], up[3]], blocks }
}

const BLOCKS_34: [usize; 8] = [2, 3, 4, 6, 2, 2, 2, 2];

impl Variant {
    /// The family of "4D Spatio-Temporal ConvNets".
    pub const ALL: [Self; 10] = [
        variant("MinkUNet14A", [128, 128, 96, 96], [1; 8]),
        variant("MinkUNet14B", [128, 128, 128, 128], [1; 8]),
        variant("MinkUNet14C", [192, 192, 128, 128], [1; 8]),
        variant("MinkUNet14D", [384, 384, 384, 384], [1; 8]),
        variant("MinkUNet18A", [128, 128, 96, 96], [2; 8]),
        variant("MinkUNet18B", [128, 128, 128, 128], [2; 8]),
        variant("MinkUNet18D", [384, 384, 384, 384], [2; 8]),
        variant("MinkUNet34A", [256, 128, 64, 64], BLOCKS_34),
        variant("MinkUNet34B", [256, 128, 64, 32], BLOCKS_34),
        variant("MinkUNet34C", [256, 128, 96, 96], BLOCKS_34),
    ];
}

/// A tensor the graph asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorShape {
    /// Its published name.
    pub name: String,
    /// Its extents.
    pub shape: Vec<usize>,
}

/// The four vectors of a batch norm, by their published names.
pub(super) const BATCH_NORM: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Most channels or blocks any field may name: far above any real network, low enough that sizes cannot overflow.
const LIMIT: usize = 1 << 14;

impl Graph {
    /// The published graph of `variant` with `head_channels` outputs, all widths divided by `divisor`.
    pub fn published(variant: Variant, head_channels: usize, divisor: usize) -> Self {
        Self {
            input: InputFeatures::Ones,
            input_channels: 3,
            stem_kernel: 5,
            stem_channels: 32 / divisor,
            planes: variant.planes.map(|p| p / divisor),
            blocks: variant.blocks,
            batch_norm_eps: 1e-5,
            concat: ConcatOrder::UpsampledFirst,
            head_channels,
            head_bias: false,
        }
    }

    /// The name of the published variant with these widths and depths, if there is one.
    pub fn variant(&self) -> Option<Variant> {
        let same = |v: &Variant| v.planes == self.planes && v.blocks == self.blocks && self.stem_channels == 32;
        Variant::ALL.into_iter().find(same)
    }

    /// Width of the last features before the text space.
    pub fn trunk_channels(&self) -> usize {
        self.planes[7]
    }

    /// Checks that the numbers describe a network this library runs.
    pub fn validate(&self) -> Result<()> {
        let fields = [self.stem_channels, self.input_channels, self.head_channels];
        if let Some(bad) = fields.iter().chain(&self.planes).find(|v| !(1..=LIMIT).contains(*v)) {
            return Err(Error::format(format!("graph names {bad} channels; a width must lie in 1..={LIMIT}")));
        }
        if let Some(bad) = self.blocks.iter().find(|v| !(1..=64).contains(*v)) {
            return Err(Error::format(format!("graph names a stage of {bad} blocks; it must lie in 1..=64")));
        }
        if !matches!(self.stem_kernel, 3 | 5) {
            let kernel = self.stem_kernel;
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("stem_kernel is {kernel}; this library runs 3 and 5"),
            ));
        }
        if self.input == InputFeatures::Colors && self.input_channels != 3 {
            let channels = self.input_channels;
            return Err(Error::format(format!("input_channels is {channels}; colour input has 3")));
        }
        if !(self.batch_norm_eps.is_finite() && self.batch_norm_eps > 0.0) {
            return Err(Error::format(format!("batch_norm_eps is {}; it must be positive", self.batch_norm_eps)));
        }
        Ok(())
    }

    /// Every tensor of the network, in the order of the published modules.
    pub fn tensors(&self) -> Vec<TensorShape> {
        let mut list = TensorList(Vec::new());
        list.convolution("conv0p1s1", self.stem_kernel.pow(3), self.input_channels, self.stem_channels, "bn0");
        let mut channels = self.stem_channels;
        for stage in 0..4 {
            list.convolution(&down_name(stage), 8, channels, channels, &format!("bn{}", stage + 1));
            channels = list.blocks(stage + 1, self.blocks[stage], channels, self.planes[stage]);
        }
        for stage in 4..8 {
            let planes = self.planes[stage];
            list.convolution(&up_name(stage), 8, channels, planes, &format!("bntr{stage}"));
            channels = list.blocks(stage + 1, self.blocks[stage], planes + self.skip_channels(stage), planes);
        }
        list.push("final.kernel", [channels, self.head_channels]);
        if self.head_bias {
            list.push("final.bias", [self.head_channels]);
        }
        list.0
    }

    /// Channels of the skip connection that decoder stage 4-7 concatenates.
    pub(super) fn skip_channels(&self, stage: usize) -> usize {
        if stage == 7 { self.stem_channels } else { self.planes[6 - stage] }
    }

    /// The graph of a state dict, read off the names and shapes of its tensors.
    pub fn infer(tensors: &StateDict, input: InputFeatures) -> Result<Self> {
        let get = |name: &str| -> Result<&Weight> {
            tensors.get(name).ok_or_else(|| Error::format(format!("no tensor '{name}'; a MinkUNet state dict has one")))
        };
        let dim = |name: &str, axis: usize| -> Result<usize> {
            let shape = &get(name)?.shape;
            let message = || Error::format(format!("tensor '{name}' has shape {shape:?}; it needs axis {axis}"));
            shape.get(axis).copied().ok_or_else(message)
        };
        let mut planes = [0; 8];
        let mut blocks = [0; 8];
        for stage in 0..8 {
            planes[stage] = dim(&format!("block{}.0.conv1.kernel", stage + 1), 2)?;
            let has = |block: &usize| tensors.contains_key(&format!("block{}.{block}.conv1.kernel", stage + 1));
            blocks[stage] = (0..).take_while(has).count();
        }
        let volume = dim("conv0p1s1.kernel", 0)?;
        let stem_kernel = [3, 5].into_iter().find(|k: &usize| k.pow(3) == volume).ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("conv0p1s1.kernel has {volume} offsets; this library runs 27 and 125"),
            )
        })?;
        let graph = Self {
            input,
            input_channels: dim("conv0p1s1.kernel", 1)?,
            stem_kernel,
            stem_channels: dim("conv0p1s1.kernel", 2)?,
            planes,
            blocks,
            batch_norm_eps: 1e-5,
            concat: ConcatOrder::UpsampledFirst,
            head_channels: dim("final.kernel", 1)?,
            head_bias: tensors.contains_key("final.bias"),
        };
        graph.validate()?;
        Ok(graph)
    }

    /// Checks a state dict against the graph: every tensor there, none too many, right shapes, finite values.
    pub fn check(&self, tensors: &StateDict) -> Result<()> {
        let expected = self.tensors();
        for TensorShape { name, shape } in &expected {
            let Some(weight) = tensors.get(name) else {
                return Err(Error::format(format!("tensor '{name}' of shape {shape:?} is missing")));
            };
            if weight.shape != *shape {
                let message = format!("tensor '{name}' has shape {:?}; the graph asks for {shape:?}", weight.shape);
                return Err(Error::format(message));
            }
            if let Some(at) = weight.values().position(|v| !v.is_finite()) {
                let message =
                    format!("tensor '{name}' holds a value that is not finite (element {at}); re-export the weights");
                return Err(Error::format(message));
            }
            if name.ends_with("running_var") && weight.values().any(|v| v < 0.0) {
                return Err(Error::format(format!("tensor '{name}' holds a negative variance; re-export the weights")));
            }
        }
        if let Some(extra) = tensors.keys().find(|name| !expected.iter().any(|e| e.name == **name)) {
            return Err(Error::format(format!("tensor '{extra}' is not part of the graph; remove it or convert anew")));
        }
        Ok(())
    }
}

/// The strided convolution that leads into encoder stage 0-3.
pub(super) fn down_name(stage: usize) -> String {
    format!("conv{}p{}s2", stage + 1, 1 << stage)
}

/// The transposed convolution that leads into decoder stage 4-7.
pub(super) fn up_name(stage: usize) -> String {
    format!("convtr{stage}p{}s2", 1 << (8 - stage))
}

struct TensorList(Vec<TensorShape>);

impl TensorList {
    fn push(&mut self, name: &str, shape: impl Into<Vec<usize>>) {
        self.0.push(TensorShape { name: name.to_owned(), shape: shape.into() });
    }

    fn convolution(&mut self, name: &str, volume: usize, c_in: usize, c_out: usize, norm: &str) {
        let kernel = format!("{name}.kernel");
        match volume {
            1 => self.push(&kernel, [c_in, c_out]),
            _ => self.push(&kernel, [volume, c_in, c_out]),
        }
        for part in BATCH_NORM {
            self.push(&format!("{norm}.bn.{part}"), [c_out]);
        }
    }

    /// The residual blocks of `block{stage}`; returns their output channels.
    fn blocks(&mut self, stage: usize, count: usize, mut c_in: usize, c_out: usize) -> usize {
        for block in 0..count {
            let name = format!("block{stage}.{block}");
            self.convolution(&format!("{name}.conv1"), 27, c_in, c_out, &format!("{name}.norm1"));
            self.convolution(&format!("{name}.conv2"), 27, c_out, c_out, &format!("{name}.norm2"));
            if c_in != c_out {
                self.convolution(&format!("{name}.downsample.0"), 1, c_in, c_out, &format!("{name}.downsample.1"));
            }
            c_in = c_out;
        }
        c_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, head: usize) -> (usize, usize) {
        let variant = Variant::ALL.into_iter().find(|v| v.name == name).unwrap();
        let tensors = Graph::published(variant, head, 1).tensors();
        let running = |t: &&TensorShape| t.name.contains("running_");
        let values = |t: &TensorShape| t.shape.iter().product::<usize>();
        let trainable = tensors.iter().filter(|t| !running(t)).map(values).sum();
        (trainable, tensors.iter().filter(running).map(values).sum())
    }

    #[test]
    fn published_sizes() {
        assert_eq!(count("MinkUNet18A", 768), (15_564_960, 10_688));
        assert_eq!(count("MinkUNet18A", 512), (15_540_384, 10_688));
        assert_eq!(count("MinkUNet14A", 768), (8_096_288, 6_976));
        assert_eq!(count("MinkUNet34C", 768), (37_927_840, 17_600));
        assert_eq!(count("MinkUNet18D", 768), (80_161_696, 23_744));
    }

    #[test]
    fn a_graph_is_inferred_from_its_own_tensors() {
        for variant in Variant::ALL {
            let mut graph = Graph::published(variant, 48, 8);
            graph.head_bias = variant.name.ends_with('B');
            let zeros = |t: TensorShape| (t.name, Weight::f32(t.shape.clone(), vec![0.0; t.shape.iter().product()]));
            let mut tensors: StateDict = graph.tensors().into_iter().map(zeros).collect();
            assert_eq!(Graph::infer(&tensors, InputFeatures::Ones).unwrap(), graph);
            graph.check(&tensors).unwrap();
            let removed = tensors.remove("bntr5.bn.bias").unwrap();
            assert!(graph.check(&tensors).unwrap_err().to_string().contains("'bntr5.bn.bias'"));
            tensors.insert("bntr5.bn.bias".into(), removed);
            tensors.insert("surprise".into(), Weight::f32([1], vec![0.0]));
            assert!(graph.check(&tensors).unwrap_err().to_string().contains("'surprise'"));
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_named() {
        let graph = Graph::published(Variant::ALL[0], 8, 8);
        let zeros = |t: TensorShape| (t.name, Weight::f32(t.shape.clone(), vec![0.0; t.shape.iter().product()]));
        let mut tensors: StateDict = graph.tensors().into_iter().map(zeros).collect();
        tensors.insert("bn0.bn.weight".into(), Weight::f32([4], vec![0.0, 1.0, f32::NAN, 0.0]));
        assert!(graph.check(&tensors).unwrap_err().to_string().contains("bn0.bn.weight"));
    }
}
