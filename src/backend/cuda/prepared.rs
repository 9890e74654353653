//! A plan's weights on one device: uploaded once per model, shared by all its sessions there.

use super::context::Stream;
use super::convolution::DeviceConvolution;
use super::stem::DeviceStem;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::plan::{Geometry, Plan, Step};

/// The form of [`Step`] on a device.
#[derive(Debug)]
pub(super) enum DeviceStep {
    Stem(DeviceStem),
    Convolution(Box<DeviceConvolution>),
}

/// The form of a [`Plan`]'s steps on a device.
#[derive(Debug)]
pub(super) struct DeviceNetwork {
    pub(super) steps: Vec<DeviceStep>,
}

impl DeviceNetwork {
    pub(super) fn new(stream: &Stream, plan: &Plan, cancel: Cancel<'_>) -> Result<Self> {
        let prepare = |step: &Step| -> Result<DeviceStep> {
            cancel.check()?;
            let convolution = match step {
                Step::Stem(stem) => return Ok(DeviceStep::Stem(DeviceStem::of_ones(stream, stem)?)),
                Step::Convolution(convolution) => convolution,
            };
            let main = &convolution.main;
            let reads_input = plan.input.is_some_and(|input| step.reads().contains(&input));
            if !reads_input {
                let convolution = DeviceConvolution::new(stream, plan, convolution, cancel)?;
                return Ok(DeviceStep::Convolution(Box::new(convolution)));
            }
            let (Geometry::Submanifold { level: 0, size }, [input]) = (main.geometry, &main.sources[..]) else {
                return Err(Error::internal(format!(
                    "'{}' reads the input features as no stem does",
                    convolution.name
                )));
            };
            if convolution.shortcut.is_some() || convolution.residual.is_some() || !convolution.relu {
                return Err(Error::internal(format!("'{}' is a stem with more than a ReLU", convolution.name)));
            }
            let channels = plan.tensor(*input).channels;
            Ok(DeviceStep::Stem(DeviceStem::of_features(stream, size, channels, &main.weight, &main.affine)?))
        };
        Ok(Self { steps: plan.steps.iter().map(prepare).collect::<Result<_>>()? })
    }

    /// Every kernel map that the steps need.
    pub(super) fn geometries(&self) -> impl Iterator<Item = Geometry> {
        self.steps.iter().filter_map(|step| match step {
            DeviceStep::Stem(_) => None,
            DeviceStep::Convolution(convolution) => Some(convolution.geometry()),
        })
    }
}
