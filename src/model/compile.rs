//! From graph and weights to a plan: concatenations become two sources, shortcuts one more product.

use super::graph::{ConcatOrder, Graph, InputFeatures, down_name, up_name};
use super::weights::Weight;
use crate::error::{Error, Result};
use crate::plan::{
    Affine, Convolution, Geometry, Head, Plan, PreparedCache, Product, Stem, Step, TensorId, TensorSpec,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Weights by published name, shared with the plan.
pub(super) type SharedWeights = BTreeMap<String, Arc<Weight>>;

/// Compiles `graph`; the weights must have passed [`Graph::check`].
pub(super) fn compile(graph: &Graph, weights: &SharedWeights) -> Result<Plan> {
    let mut compiler = Compiler { graph, weights, tensors: Vec::new(), steps: Vec::new() };
    let (input, mut x) = compiler.stem()?;
    let mut skips = vec![x];
    for stage in 0..4 {
        let name = down_name(stage);
        let geometry = Geometry::Strided { to: stage + 1 };
        x = compiler.plain(&name, &format!("bn{}", stage + 1), geometry, vec![x])?;
        x = compiler.blocks(stage, stage + 1, vec![x])?;
        skips.push(x);
    }
    for stage in 4..8 {
        let level = 7 - stage;
        let geometry = Geometry::Transposed { to: level };
        x = compiler.plain(&up_name(stage), &format!("bntr{stage}"), geometry, vec![x])?;
        let sources = match graph.concat {
            ConcatOrder::UpsampledFirst => vec![x, skips[level]],
            ConcatOrder::SkipFirst => vec![skips[level], x],
        };
        x = compiler.blocks(stage, level, sources)?;
    }
    let head = Head { weight: compiler.weight("final.kernel")?, bias: weights.get("final.bias").cloned() };
    let Compiler { tensors, steps, .. } = compiler;
    Ok(Plan { tensors, steps, levels: 5, input, trunk: x, head, prepared: PreparedCache::default() })
}

struct Compiler<'a> {
    graph: &'a Graph,
    weights: &'a SharedWeights,
    tensors: Vec<TensorSpec>,
    steps: Vec<Step>,
}

impl Compiler<'_> {
    fn weight(&self, name: &str) -> Result<Arc<Weight>> {
        self.weights.get(name).cloned().ok_or_else(|| Error::internal(format!("the graph lost tensor '{name}'")))
    }

    fn tensor(&mut self, level: usize, channels: usize) -> TensorId {
        self.tensors.push(TensorSpec { level, channels });
        TensorId(self.tensors.len() - 1)
    }

    /// `y = (x - mean) / sqrt(var + eps) * weight + bias` as scale and shift.
    fn batch_norm(&self, name: &str) -> Result<Affine> {
        let part = |part: &str| -> Result<Vec<f64>> {
            let weight = self.weight(&format!("{name}.bn.{part}"))?;
            Ok(weight.values().map(f64::from).collect())
        };
        let (weight, bias, mean, var) = (part("weight")?, part("bias")?, part("running_mean")?, part("running_var")?);
        let eps = self.graph.batch_norm_eps;
        let scale: Vec<f64> = weight.iter().zip(&var).map(|(w, v)| w / (v + eps).sqrt()).collect();
        let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
        Ok(Affine { scale, shift })
    }

    fn product(&self, name: &str, norm: &str, geometry: Geometry, sources: Vec<TensorId>) -> Result<Product> {
        let weight = self.weight(&format!("{name}.kernel"))?;
        Ok(Product { geometry, sources, weight, affine: self.batch_norm(norm)? })
    }

    /// The first convolution: a lookup for constant ones, an ordinary convolution for colours.
    fn stem(&mut self) -> Result<(Option<TensorId>, TensorId)> {
        let (name, size) = ("conv0p1s1".to_owned(), self.graph.stem_kernel);
        match self.graph.input {
            InputFeatures::Ones => {
                let weight = self.weight("conv0p1s1.kernel")?;
                let affine = self.batch_norm("bn0")?;
                let output = self.tensor(0, self.graph.stem_channels);
                self.steps.push(Step::Stem(Stem { name: name.into(), size, weight, affine, output }));
                Ok((None, output))
            }
            InputFeatures::Colors => {
                let input = self.tensor(0, self.graph.input_channels);
                let output = self.plain(&name, "bn0", Geometry::Submanifold { level: 0, size }, vec![input])?;
                Ok((Some(input), output))
            }
        }
    }

    /// Convolution, batch norm, ReLU.
    fn plain(&mut self, name: &str, norm: &str, geometry: Geometry, sources: Vec<TensorId>) -> Result<TensorId> {
        let main = self.product(name, norm, geometry, sources)?;
        self.push(name, main, None, None)
    }

    fn push(
        &mut self,
        name: &str,
        main: Product,
        shortcut: Option<Product>,
        residual: Option<TensorId>,
    ) -> Result<TensorId> {
        let (Geometry::Submanifold { level, .. }
        | Geometry::Strided { to: level }
        | Geometry::Transposed { to: level }) = main.geometry;
        let output = self.tensor(level, main.affine.scale.len());
        let name = name.to_owned();
        self.steps.push(Step::Convolution(Convolution {
            name: name.into(),
            main,
            shortcut,
            residual,
            relu: true,
            output,
        }));
        Ok(output)
    }

    /// The residual blocks of a stage on `level`; the first reads all of `sources`.
    fn blocks(&mut self, stage: usize, level: usize, mut sources: Vec<TensorId>) -> Result<TensorId> {
        let geometry = Geometry::Submanifold { level, size: 3 };
        let pointwise = Geometry::Submanifold { level, size: 1 };
        for block in 0..self.graph.blocks[stage] {
            let name = format!("block{}.{block}", stage + 1);
            let hidden = self.plain(&format!("{name}.conv1"), &format!("{name}.norm1"), geometry, sources.clone())?;
            let conv2 = format!("{name}.conv2");
            let main = self.product(&conv2, &format!("{name}.norm2"), geometry, vec![hidden])?;
            let downsample = format!("{name}.downsample.0");
            let output = if self.weights.contains_key(&format!("{downsample}.kernel")) {
                let shortcut = self.product(&downsample, &format!("{name}.downsample.1"), pointwise, sources)?;
                self.push(&conv2, main, Some(shortcut), None)?
            } else {
                let [residual] = sources[..] else {
                    return Err(Error::internal(format!("{name} has two sources but no shortcut")));
                };
                self.push(&conv2, main, None, Some(residual))?
            };
            sources = vec![output];
        }
        match sources[..] {
            [output] => Ok(output),
            _ => Err(Error::internal(format!("stage {} has no blocks", stage + 1))),
        }
    }
}
