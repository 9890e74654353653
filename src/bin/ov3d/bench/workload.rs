//! What is measured: the clouds, the network, the labels.

use super::record::{CloudInfo, Network};
use crate::demo::random_vocabulary;
use crate::formats;
use openvocab3d::cloud::{Cloud, Frame, GridOrigin, Scene, StridedView};
use openvocab3d::model::{Graph, InputFeatures, Model, Variant, Vocabulary};
use openvocab3d::pipeline::SegmentOptions;
use openvocab3d::plan::Step;
use openvocab3d::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Width of the text space of networks that come from no file.
const TEXT_DIM: usize = 512;
/// The colour of coordinates, which have none, for networks that read colours.
const GREY: [u8; 3] = [128; 3];

/// Clouds of one call and how they become voxels.
pub(crate) struct Workload {
    pub(crate) name: String,
    parts: Vec<Part>,
    pub(crate) voxels_wanted: Option<usize>,
    pub(crate) voxel_size: f64,
    grid_origin: GridOrigin,
}

/// One cloud of a call.
struct Part {
    positions: Positions,
    colors: Option<Vec<[u8; 3]>>,
}

enum Positions {
    F32(Vec<[f32; 3]>),
    F64(Vec<[f64; 3]>),
}

impl Part {
    fn view(&self) -> Cloud<'_> {
        let positions = match &self.positions {
            Positions::F32(rows) => StridedView::packed_f32(rows),
            Positions::F64(rows) => StridedView::packed_f64(rows),
        };
        Cloud { colors: self.colors.as_deref().map(StridedView::packed_u8), ..Cloud::new(positions, Frame::default()) }
    }
}

impl Workload {
    /// A generated cloud.
    pub(crate) fn generated(scene: Scene, voxels: usize, voxel_size: f64, seed: u64) -> Result<Self> {
        let made = scene.sized(voxels, voxel_size, seed)?;
        let part = Part { positions: Positions::F32(made.cloud.positions), colors: Some(made.cloud.colors) };
        Ok(Self {
            name: scene.to_string(),
            parts: vec![part],
            voxels_wanted: Some(voxels),
            voxel_size,
            grid_origin: GridOrigin::Minimum,
        })
    }

    /// A cloud of points, or voxel coordinates, whose cells the runs then find again.
    pub(crate) fn read(path: &Path, voxel_size: f64) -> Result<Self> {
        let name = path.display().to_string();
        let of = |parts, grid_origin| Self { name, parts, voxels_wanted: None, voxel_size, grid_origin };
        let Some(rows) = formats::read_npy_coordinates(path)? else {
            let cloud = formats::read_cloud(path)?;
            let part = Part { positions: Positions::F64(cloud.positions), colors: cloud.colors };
            return Ok(of(vec![part], GridOrigin::Minimum));
        };
        let mut batches: BTreeMap<i32, Vec<[f64; 3]>> = BTreeMap::new();
        for [batch, x, y, z] in rows {
            let centre = [x, y, z].map(|v| (f64::from(v) + 0.5) * voxel_size);
            batches.entry(batch).or_default().push(centre);
        }
        let part = |positions: Vec<[f64; 3]>| Part {
            colors: Some(vec![GREY; positions.len()]),
            positions: Positions::F64(positions),
        };
        // The world's lattice keeps the coordinates' place in the coarse cells.
        Ok(of(batches.into_values().map(part).collect(), GridOrigin::World))
    }

    pub(crate) fn clouds(&self) -> Vec<Cloud<'_>> {
        self.parts.iter().map(Part::view).collect()
    }

    pub(crate) fn options(&self) -> SegmentOptions {
        SegmentOptions { voxel_size: Some(self.voxel_size), grid_origin: self.grid_origin, ..SegmentOptions::default() }
    }

    pub(crate) fn points(&self) -> usize {
        self.clouds().iter().map(Cloud::len).sum()
    }

    pub(crate) fn info(&self, voxels: usize) -> CloudInfo {
        CloudInfo {
            name: self.name.clone(),
            points: self.points(),
            voxels,
            voxels_wanted: self.voxels_wanted,
            voxel_size: self.voxel_size,
        }
    }
}

/// Where the network comes from.
pub(crate) enum Source {
    File(PathBuf),
    /// Random weights.
    Untrained(Variant),
}

impl Source {
    /// What the arguments name.
    pub(crate) fn of(args: &super::Args) -> Result<Self> {
        args.model.as_ref().map_or_else(|| Self::untrained(&args.arch), |path| Ok(Self::File(path.clone())))
    }

    /// The variant of `name`.
    fn untrained(name: &str) -> Result<Self> {
        let known = |v: &Variant| v.name.eq_ignore_ascii_case(name);
        let variant = Variant::ALL.into_iter().find(known).ok_or_else(|| {
            let names = Variant::ALL.map(|v| v.name).join(", ");
            Error::argument(format!("arch is '{name}'; the architectures are {names}"))
        })?;
        Ok(Self::Untrained(variant))
    }

    /// The network, with nothing packed yet: every call gives a new one.
    pub(crate) fn model(&self, voxel_size: f64) -> Result<Arc<Model>> {
        Ok(Arc::new(match self {
            Self::File(path) => Model::load(path)?,
            Self::Untrained(variant) => Model::untrained(Graph::published(*variant, TEXT_DIM, 1), voxel_size, 1)?,
        }))
    }

    pub(crate) fn describe(&self, model: &Model, labels: usize) -> Network {
        let name = model.graph().variant().map_or("MinkUNet with its own widths", |v| v.name);
        let source = match self {
            Self::File(path) => path.display().to_string(),
            Self::Untrained(_) => "untrained".to_owned(),
        };
        Network { name: name.to_owned(), source, parameters: model.parameter_count(), labels }
    }
}

/// `labels` labels with random embeddings in the model's text space.
pub(crate) fn vocabulary(model: &Model, labels: usize, seed: u64) -> Result<Arc<Vocabulary>> {
    let names: Vec<String> = (0..labels).map(|label| format!("label {label}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(Arc::new(random_vocabulary(&names, model.text_space(), seed)?))
}

/// Bytes of weights, each once, that the stages of a run multiply by.
pub(crate) struct Weights {
    /// The network's layers by name.
    pub(crate) layers: BTreeMap<String, u64>,
    /// Of the head, into which the labels' embeddings are folded.
    pub(crate) head: u64,
}

impl Weights {
    /// For `labels` labels of one prompt each and weights of `size` bytes.
    pub(crate) fn new(model: &Model, labels: usize, size: u64) -> Self {
        let plan = model.plan();
        let bytes = |step: &Step| step.weights().iter().map(|weight| weight.len() as u64 * size).sum();
        Self {
            layers: plan.steps.iter().map(|step| (step.name().to_string(), bytes(step))).collect(),
            head: plan.tensor(plan.trunk).channels as u64 * labels as u64 * size,
        }
    }

    /// Whether `stage` is a layer of the network.
    pub(crate) fn is_layer(&self, stage: &str) -> bool {
        self.layers.contains_key(stage)
    }

    /// Those that `stage` reads.
    pub(crate) fn bytes(&self, stage: &str) -> u64 {
        if stage == "head" { self.head } else { self.layers.get(stage).copied().unwrap_or(0) }
    }
}

/// An error unless the network can read what the workload holds.
pub(crate) fn check_colors(model: &Model, workload: &Workload) -> Result<()> {
    if model.graph().input == InputFeatures::Colors && workload.parts.iter().any(|part| part.colors.is_none()) {
        let cure = "give a cloud with colours, voxel coordinates or a generated scene";
        let message = format!("the network reads colours but '{}' has none; {cure}", workload.name);
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}
