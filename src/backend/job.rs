//! What a backend is asked to do and what it gives back.

use crate::arena::{Arena, Buffer};
use crate::cancel::Cancel;
use crate::cloud::{Cloud, GridOrigin};
use crate::error::{Error, ErrorKind, Result, over_budget};
use crate::plan::{Plan, Scoring};
use crate::sparse::Voxels;
use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// Runs plans on one device.
pub trait Backend: Send + Sync + fmt::Debug {
    /// Packs a folded head for [`ScoreRequest::head`].
    fn prepare_head(&self, matrix: &HeadMatrix) -> Result<PreparedHead>;

    /// From input to what the job asks for.
    fn execute(&self, job: &Job<'_>) -> Result<Outcome>;

    /// Scores anew what an earlier run of this kind of backend kept, without running the network.
    fn query(&self, query: &Query<'_>) -> Result<Scores>;

    /// Runs `task` on a thread of the backend's own and returns at once.
    fn spawn(&self, task: Box<dyn FnOnce() + Send>);

    /// Runs `task` on the backend's own threads and waits for its end.
    fn install(&self, task: &mut (dyn FnMut() + Send));

    /// Where its runs' buffers live, and those of the results made from them.
    fn arena(&self) -> &Arena;

    /// Bytes in use and kept for the next run.
    fn held_bytes(&self) -> u64;

    /// Number of threads of the backend's own.
    fn threads(&self) -> usize;

    /// A line that names the device and how it computes, such as `"CPU, 2 threads, avx512, f32"`.
    fn describe(&self) -> String;
}

/// One run of a plan.
#[derive(Debug)]
pub struct Job<'a> {
    /// The network.
    pub plan: &'a Plan,
    /// What to run it on.
    pub input: Input<'a>,
    /// Labels and scores, if wanted.
    pub scores: Option<ScoreRequest<'a>>,
    /// Per-voxel features, if wanted.
    pub features: Option<FeatureSpace>,
    /// Whether to keep the trunk for later queries.
    pub keep_trunk: bool,
    /// Most bytes of working memory the run may need, beyond the model.
    pub memory_budget: Option<u64>,
    /// Progress and cancellation.
    pub control: Control<'a>,
}

impl Job<'_> {
    /// An error if `needed` bytes are over the budget.
    pub(super) fn check_budget(&self, needed: u64) -> Result<()> {
        self.memory_budget.map_or(Ok(()), |budget| over_budget(needed, budget))
    }

    /// Values per voxel of the features asked for.
    pub(super) fn feature_dim(&self) -> usize {
        match self.features {
            None => 0,
            Some(FeatureSpace::Trunk) => self.plan.tensor(self.plan.trunk).channels,
            Some(FeatureSpace::Text) => self.plan.head.text_dim(),
        }
    }

    /// Bytes on the host of what is told of `voxels` voxels and `points` points: [`voxel_bytes`], scores and features.
    pub(super) fn result_bytes(&self, voxels: u64, points: u64) -> u64 {
        voxel_bytes(voxels, points) + self.output_bytes(voxels, points)
    }

    /// Bytes of the scores and features on the host.
    pub(super) fn output_bytes(&self, voxels: u64, points: u64) -> u64 {
        let scores = self.scores.as_ref().map_or(0, |request| request.result_bytes(voxels, points));
        // FP32 twice, then FP16.
        scores + voxels * self.feature_dim() as u64 * 10
    }
}

/// Bytes of keys, starts, points by voxel and the voxel of each point.
pub(super) fn voxel_bytes(voxels: u64, points: u64) -> u64 {
    voxels * 12 + 4 + points * 8
}

/// Scores for the voxels of one cloud of a finished run.
#[derive(Debug)]
pub struct Query<'a> {
    /// The trunk that the run kept.
    pub trunk: &'a Trunk,
    /// The cloud's rows in it.
    pub voxels: Range<usize>,
    /// Per point its row within `voxels`, or -1.
    pub voxel_of_point: &'a [i32],
    /// What to compute.
    pub request: ScoreRequest<'a>,
    /// Most bytes of working memory the call may need, beyond the model and what the run kept.
    pub memory_budget: Option<u64>,
    /// Progress and cancellation.
    pub control: Control<'a>,
}

/// The input of a run.
#[derive(Debug)]
pub enum Input<'a> {
    /// Clouds of points, one batch index each.
    Clouds {
        /// The clouds, already validated.
        clouds: &'a [Cloud<'a>],
        /// Edge of a voxel in metres.
        voxel_size: f64,
        /// The lattice the voxels stand on.
        grid_origin: GridOrigin,
        /// Which point's colour a voxel takes.
        representative: Representative,
        /// Rotation and scale of a test-time augmentation.
        rotation_scale: Option<[[f64; 3]; 3]>,
    },
    /// Ready-made voxels.
    Coordinates {
        /// Rows `[batch, x, y, z]`; the first of equal rows counts.
        rows: &'a [[i32; 4]],
        /// `[rows, input channels]`, for networks whose input is not constant.
        features: Option<&'a [f32]>,
    },
}

impl Input<'_> {
    /// Number of points, or of ready-made rows.
    pub fn points(&self) -> usize {
        match self {
            Self::Clouds { clouds, .. } => clouds.iter().map(Cloud::len).sum(),
            Self::Coordinates { rows, .. } => rows.len(),
        }
    }
}

/// Which of a voxel's points gives the voxel its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Representative {
    /// The point with the lowest index (published; depends on the order of the points).
    #[default]
    First,
    /// The point with the smallest position, then colour: independent of the order of the points.
    Canonical,
}

/// Per-voxel features to return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSpace {
    /// The last features before the text space (96 wide in the published networks).
    Trunk,
    /// The text space (512 or 768 wide), as the network gives it: not normalised.
    Text,
}

/// The linear map from the trunk to prompt scores, and to what the length of a text-space feature needs.
#[derive(Debug, Clone)]
pub struct HeadMatrix {
    /// Number of trunk channels.
    pub rows: usize,
    /// `[rows, prompts + norm columns]`: `W Eᵀ`, then the factor L with `|x W| = |x L|` if cosine is wanted.
    pub weight: Vec<f32>,
    /// `[prompts + norm columns]`.
    pub bias: Vec<f32>,
    /// Number of prompts.
    pub prompts: usize,
}

impl HeadMatrix {
    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.bias.len()
    }
}

/// A folded head in a backend's own form.
#[derive(Clone)]
pub struct PreparedHead(pub(super) Arc<dyn Any + Send + Sync>);

impl fmt::Debug for PreparedHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedHead")
    }
}

/// Which scores to compute.
#[derive(Debug, Clone, Copy)]
pub struct ScoreRequest<'a> {
    /// The vocabulary folded into the network's head.
    pub head: &'a PreparedHead,
    /// From prompt scores to labels.
    pub scoring: &'a Scoring,
    /// How many best labels to keep per point, at least 1.
    pub top_k: usize,
    /// Whether to return the label scores of every voxel.
    pub logits: bool,
    /// Whether to return the prompt scores of every voxel (before grouping and softmax; cosine applied).
    pub prompt_scores: bool,
}

impl ScoreRequest<'_> {
    /// Bytes on the host of the scores of `voxels` voxels and `points` points. They count twice: as the run gives them and
    /// as each cloud's own.
    pub(super) fn result_bytes(&self, voxels: u64, points: u64) -> u64 {
        let (k, labels) = (self.top_k as u64, self.scoring.labels as u64);
        let prompts = self.scoring.label_of_prompt.len() as u64;
        let repeats = u64::from(self.prompt_scores) * prompts * 4;
        let per_voxel = 8 * k + u64::from(self.logits) * labels * 8 + repeats + 12;
        // Labels and scores twice, the voxel of each point, and with repeats the sums.
        voxels * per_voxel + points * (16 * k + 4 + repeats)
    }
}

/// Progress and cancellation of a run.
#[derive(Clone, Copy, Default)]
pub struct Control<'a> {
    /// Stops the run when it is set off.
    pub cancel: Cancel<'a>,
    /// Called with the fraction done; returning false stops the run.
    pub progress: Option<&'a (dyn Fn(f32) -> bool + Sync)>,
}

impl Control<'_> {
    /// Reports `fraction` and asks whether to go on.
    pub fn report(&self, fraction: f32) -> Result<()> {
        self.cancel.check()?;
        match self.progress {
            Some(progress) if !progress(fraction) => {
                Err(Error::new(ErrorKind::Cancelled, "the run was stopped by the progress callback"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Control<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("cancel", &self.cancel).field("progress", &self.progress.is_some()).finish()
    }
}

/// The names of what a run does besides the network's steps.
pub(super) static STAGES: LazyLock<[Arc<str>; 5]> =
    LazyLock::new(|| ["quantise", "levels", "kernel maps", "head", "features"].map(Arc::from));

/// What a run took.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// `"quantise"`, `"levels"`, `"kernel maps"`, a module's name, `"head"` (with the lift to points).
    pub name: Arc<str>,
    /// Wall-clock time.
    pub time: Duration,
    /// What it did.
    pub work: Work,
}

/// What a stage of a run had to do at least, however it was done; zero for stages that are not products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Multiply-adds times two.
    pub flop: u64,
    /// Bytes of weights and of every row read and written, each counted once.
    pub bytes: u64,
}

/// What a run produced.
#[derive(Debug)]
pub struct Outcome {
    /// The voxels and their points.
    pub voxels: Voxels,
    /// Per cloud, what to add to a voxel's cell for the coordinate callers see.
    pub origins: Buffer<[i64; 3]>,
    /// Scores, if asked for.
    pub scores: Option<Scores>,
    /// The trunk, if it was to be kept.
    pub trunk: Option<Trunk>,
    /// `[v, d]` features per voxel, if asked for.
    pub features: Option<Buffer<f32>>,
    /// What each stage took.
    pub stages: Buffer<Stage>,
    /// Bytes of working memory the run needed.
    pub working_bytes: u64,
}

/// The trunk of a finished run in a backend's own form.
#[derive(Clone)]
pub struct Trunk(pub(super) Arc<dyn Any + Send + Sync>);

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trunk")
    }
}

/// Scores of voxels and points.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// `[n, top_k]` labels, best first; -1 for points without a voxel and for places past the last label.
    pub labels: Buffer<i32>,
    /// `[n, top_k]` scores; 0 where the label is -1.
    pub scores: Buffer<f32>,
    /// `[v, labels]` scores per voxel, empty unless asked for.
    pub logits: Buffer<f32>,
    /// `[v, prompts]` scores per voxel, empty unless asked for.
    pub prompt_scores: Buffer<f32>,
}
