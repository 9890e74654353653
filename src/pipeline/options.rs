//! What a segmentation computes.

use super::{Augmentation, Vote};
use crate::backend::{FeatureSpace, Representative};
use crate::cloud::GridOrigin;
use crate::error::{Error, ErrorKind, Result};
use crate::model::VOXEL_SIZES;
use crate::plan::Similarity;
use crate::superpoint::SuperpointOptions;

/// Options of a segmentation; the default is one deterministic pass with the published raw scores.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SegmentOptions {
    /// Edge of a voxel in metres; the model's own when `None`.
    pub voxel_size: Option<f64>,
    /// The lattice the voxels stand on.
    pub grid_origin: GridOrigin,
    /// Which point's colour a voxel takes, for networks whose input is colour.
    pub representative: Representative,
    /// Dot product (published) or cosine.
    pub similarity: Similarity,
    /// When set, scores are `softmax(score / temperature)` over the labels.
    pub temperature: Option<f32>,
    /// How many best labels to keep per point; 0 counts as 1.
    pub top_k: usize,
    /// Whether to return the scores of all labels for every voxel.
    pub logits: bool,
    /// Per-voxel features to return.
    pub features: Option<FeatureSpace>,
    /// Whether to keep the trunk, so that [`crate::session::Session::query`] can ask for other words later.
    pub keep_trunk: bool,
    /// Repeated passes with averaged scores; they have no voxels in common, so logits and features are not available.
    pub augmentation: Option<Augmentation>,
    /// How superpoints are found, if they are wanted; those that a cloud brings take their place.
    pub superpoints: Option<SuperpointOptions>,
    /// The vote of the points of each superpoint, if there is to be one; it needs superpoints, by default those of
    /// [`SuperpointOptions::default`]. Scores, and the best labels where several were asked for, stay each point's own.
    pub vote: Option<Vote>,
}

impl SegmentOptions {
    /// Checks the options against a vocabulary of `labels` labels.
    pub fn validate(&self, labels: usize) -> Result<()> {
        if let Some(size) = self.voxel_size
            && !VOXEL_SIZES.contains(&size)
        {
            return Err(Error::argument(format!(
                "voxel_size is {size} m; it must lie in {VOXEL_SIZES:?}, such as 0.02"
            )));
        }
        if let Some(temperature) = self.temperature
            && !(temperature.is_finite() && temperature > 0.0)
        {
            return Err(Error::argument(format!("temperature is {temperature}; it must be positive, such as 0.01")));
        }
        if self.top_k > labels {
            return Err(Error::argument(format!("top_k is {} but the vocabulary has {labels} labels", self.top_k)));
        }
        self.validate_superpoints()?;
        let Some(augmentation) = &self.augmentation else { return Ok(()) };
        if self.logits || self.features.is_some() || self.keep_trunk {
            let cure = "leave augmentation off to get them";
            let message = format!("logits, features and a kept trunk belong to the voxels of one pass; {cure}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        augmentation.validate()
    }

    /// The number of labels kept per point.
    pub fn kept_labels(&self) -> usize {
        self.top_k.max(1)
    }
}
