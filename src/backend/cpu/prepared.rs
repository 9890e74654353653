//! A plan's weights packed for one CPU level, batch norm folded in: done once per model, shared by all sessions.

use super::arithmetic::Arithmetic;
use super::convolution::PackedConvolution;
use super::packed::Packed;
use super::stem::PackedStem;
use super::tensor::LINE;
use crate::backend::Precision;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::plan::{Affine, Geometry, Plan, Product, Step, TensorId};

/// The packed form of [`Step`].
pub(super) enum PreparedStep {
    Stem(PackedStem),
    Convolution(PackedConvolution),
}

/// The packed form of a [`Plan`]'s steps.
#[derive(Default)]
pub(super) struct PreparedNetwork {
    pub(super) steps: Vec<PreparedStep>,
    /// Per step, the tensors nobody reads afterwards.
    pub(super) released: Vec<Vec<TensorId>>,
    /// Per tensor, the first and the last step that need it.
    pub(super) lives: Vec<[usize; 2]>,
    /// Every geometry of the steps, once.
    pub(super) geometries: Vec<Geometry>,
    /// Per tensor, what its numbers are kept in.
    pub(super) precisions: Vec<Precision>,
}

impl PreparedNetwork {
    pub(super) fn new(arithmetic: Arithmetic, plan: &Plan, cancel: Cancel<'_>) -> Result<Self> {
        let prepare = |step: &Step| -> Result<PreparedStep> {
            cancel.check()?;
            Ok(match step {
                Step::Stem(stem) => PreparedStep::Stem(PackedStem::new(stem)?),
                Step::Convolution(convolution) => {
                    PreparedStep::Convolution(PackedConvolution::new(arithmetic, plan, convolution)?)
                }
            })
        };
        let steps = plan.steps.iter().map(prepare).collect::<Result<Vec<_>>>()?;
        let mut precisions = vec![arithmetic.precision; plan.tensors.len()];
        // No layer reads it: rounding it would only cost accuracy.
        precisions[plan.trunk.0] = Precision::F32;
        let mut geometries = Vec::new();
        for geometry in plan.steps.iter().flat_map(|step| step.geometries()) {
            if !geometries.contains(&geometry) {
                geometries.push(geometry);
            }
        }
        let released = plan.released_after();
        let mut lives = vec![[0, plan.steps.len()]; plan.tensors.len()];
        for (index, (step, released)) in plan.steps.iter().zip(&released).enumerate() {
            lives[step.writes().0][0] = index;
            released.iter().for_each(|tensor| lives[tensor.0][1] = index);
        }
        Ok(Self { steps, released, lives, geometries, precisions })
    }
}

/// A product's weights, times its scale, split by source.
pub(super) fn pack_product(arithmetic: Arithmetic, plan: &Plan, product: &Product) -> Result<Vec<(TensorId, Packed)>> {
    let weight = &product.weight;
    let columns = product.affine.scale.len();
    let channels: usize = product.sources.iter().map(|&source| plan.tensor(source).channels).sum();
    let mut first = 0;
    let mut packed = Vec::with_capacity(product.sources.len());
    for &source in &product.sources {
        let c_in = plan.tensor(source).channels;
        let weights = Packed::new(arithmetic, product.geometry.volume(), c_in, columns, |offset, channel, column| {
            let value = weight.get((offset * channels + first + channel) * columns + column);
            (f64::from(value) * product.affine.scale[column]) as f32
        })?;
        packed.push((source, weights));
        first += c_in;
    }
    Ok(packed)
}

/// The sum of the shifts, padded with zeros to whole lines.
pub(super) fn pack_shift<'a>(affines: impl Iterator<Item = &'a Affine>) -> Vec<f32> {
    let mut total: Vec<f64> = Vec::new();
    for affine in affines {
        total.resize(affine.shift.len().next_multiple_of(LINE), 0.0);
        for (sum, shift) in total.iter_mut().zip(&affine.shift) {
            *sum += shift;
        }
    }
    total.into_iter().map(|v| v as f32).collect()
}
