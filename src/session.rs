//! A session: one model on one device, with a vocabulary folded into its head.

use crate::arena::Buffer;
use crate::backend::cpu::{CpuBackend, CpuOptions};
use crate::backend::{Backend, Control, FeatureSpace, Input, Job, Outcome, Query, ScoreRequest, Stage};
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result, with_capacity};
use crate::model::{InputFeatures, Model, Other, Vocabulary};
use crate::pipeline::{
    FoldedVocabulary, Kept, SegmentOptions, Segmentation, Segmentations, from_scores, mean_over_repeats, refine,
    refine_answer, split,
};
use std::sync::Arc;

/// Runs one model. Several sessions may share a model, whose packed weights exist once.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    backend: Arc<dyn Backend>,
    folded: Option<FoldedVocabulary>,
    memory: Memory,
}

/// A session's working memory, beyond the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The most a call may need, if limited.
    pub budget: Option<u64>,
    /// What the last call needed.
    pub last_bytes: u64,
    /// The most any call needed, or the session held after it.
    pub peak_bytes: u64,
}

/// Features of ready-made voxels.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// `[rows, d]`, in the order of the coordinate rows.
    pub features: Vec<f32>,
    /// Features per row.
    pub dim: usize,
    /// What each stage took.
    pub stages: Buffer<Stage>,
}

impl Memory {
    fn record(&mut self, needed: u64, held: u64) {
        self.last_bytes = needed;
        self.peak_bytes = self.peak_bytes.max(needed).max(held);
    }
}

impl Session {
    /// A session on the CPU.
    pub fn new(model: Arc<Model>, options: CpuOptions) -> Result<Self> {
        Ok(Self::on(model, Arc::new(CpuBackend::new(options)?)))
    }

    /// A session on a given backend.
    pub fn on(model: Arc<Model>, backend: Arc<dyn Backend>) -> Self {
        Self { model, backend, folded: None, memory: Memory::default() }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The vocabulary, once set.
    pub fn vocabulary(&self) -> Option<&Arc<Vocabulary>> {
        self.folded.as_ref().map(|folded| &folded.vocabulary)
    }

    /// The device, such as `"CPU, 2 threads, avx512, f32"`.
    pub fn describe_device(&self) -> String {
        self.backend.describe()
    }

    /// The backend, whose threads run the session's calls.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Limits the working memory of the calls that follow; a call that needs more fails and names the bytes.
    pub fn set_memory_budget(&mut self, budget: Option<u64>) {
        self.memory.budget = budget;
    }

    /// What the calls so far needed.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Sets the labels of the calls that follow. On failure the vocabulary before stays.
    pub fn set_vocabulary(&mut self, vocabulary: Arc<Vocabulary>) -> Result<()> {
        self.folded = Some(FoldedVocabulary::new(&self.model, vocabulary, &*self.backend)?);
        Ok(())
    }

    /// Checks what [`Self::segment`] would refuse, without running anything.
    pub fn check(&self, clouds: &[Cloud<'_>], options: &SegmentOptions) -> Result<&FoldedVocabulary> {
        let folded = self.folded.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::InvalidState, "the session has no vocabulary; set one before segmenting")
        })?;
        options.validate(folded.vocabulary.len())?;
        for (index, cloud) in clouds.iter().enumerate() {
            cloud
                .validate()
                .and_then(|()| self.check_colors(cloud))
                .map_err(|e| e.within(format_args!("cloud {index}")))?;
        }
        Ok(folded)
    }

    /// Labels every point of every cloud. Clouds do not influence one another.
    pub fn segment(
        &mut self,
        clouds: &[Cloud<'_>],
        options: &SegmentOptions,
        control: Control<'_>,
    ) -> Result<Segmentations> {
        let folded = self.check(clouds, options)?;
        let (scoring, other) = (folded.scoring(options), folded.vocabulary.other());
        let (asked, options) = (options, &options.widened(folded.vocabulary.len()));
        let run = |rotation_scale: Option<[[f64; 3]; 3]>, control: Control<'_>| -> Result<Outcome> {
            let request = ScoreRequest {
                head: folded.head(options.similarity),
                scoring: &scoring,
                top_k: options.kept_labels(),
                logits: options.logits,
                prompt_scores: rotation_scale.is_some(),
            };
            self.backend.execute(&Job {
                plan: self.model.plan(),
                input: Input::Clouds {
                    clouds,
                    voxel_size: options.voxel_size.unwrap_or(self.model.voxel_size()),
                    grid_origin: options.grid_origin,
                    representative: options.representative,
                    rotation_scale,
                },
                scores: Some(request),
                features: options.features,
                keep_trunk: options.keep_trunk,
                memory_budget: self.memory.budget,
                control,
            })
        };
        let (lengths, arena) = (clouds.iter().map(Cloud::len), self.backend.arena());
        let Some(augmentation) = &options.augmentation else {
            let outcome = run(None, control)?;
            self.memory.record(outcome.working_bytes, self.backend.held_bytes());
            let results = split(outcome, lengths, options, self.model.plan(), arena)?.falling_back(other);
            return self.refined(results, clouds, (asked, other), control);
        };
        let lengths = arena.collected(lengths, "the sizes of the clouds")?;
        let transforms = augmentation.transforms();
        let mut needed = 0;
        let averaged = mean_over_repeats(&scoring, options, &lengths, arena, control.cancel, |repeat| {
            let progress = |done: f32| {
                let fraction = (repeat as f32 + done) / transforms.len() as f32;
                control.progress.is_none_or(|progress| progress(fraction))
            };
            let outcome = run(Some(transforms[repeat]), Control { progress: Some(&progress), ..control })?;
            needed = outcome.working_bytes.max(needed);
            Ok(outcome)
        });
        self.memory.record(needed, self.backend.held_bytes());
        self.refined(averaged?.falling_back(other), clouds, (asked, other), control)
    }

    /// Results with superpoints and votes, if those are asked for.
    fn refined(
        &self,
        mut results: Segmentations,
        clouds: &[Cloud<'_>],
        (options, other): (&SegmentOptions, Option<Other>),
        control: Control<'_>,
    ) -> Result<Segmentations> {
        if options.superpoints.is_none() && options.vote.is_none() {
            return Ok(results);
        }
        let arena = self.backend.arena();
        self.on_threads(|| refine(&mut results, clouds, (options, other), arena, control))?;
        Ok(results)
    }

    /// What `task` returns, run on the session's own threads.
    fn on_threads<T: Send>(&self, task: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let (mut task, mut outcome) = (Some(task), None);
        self.backend.install(&mut || outcome = task.take().map(|task| task()));
        outcome.unwrap_or_else(|| Err(Error::internal("the session's threads did not run a task")))
    }

    /// Scores a finished run anew for another vocabulary, without running the network. `voxel_of_point` is that of the
    /// cloud's [`Segmentation`]; of the options only those about scores count.
    pub fn query(
        &mut self,
        kept: &Kept,
        voxel_of_point: &[i32],
        vocabulary: Arc<Vocabulary>,
        options: &SegmentOptions,
        control: Control<'_>,
    ) -> Result<Segmentation> {
        if !std::ptr::eq(kept.plan.as_ptr(), Arc::as_ptr(self.model.plan())) {
            let message = "the result was computed by another model; query it in a session of the same one";
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let voxels = kept.voxels.len();
        if voxel_of_point.iter().any(|&voxel| voxel < -1 || voxel >= voxels as i32) {
            let message = format!("voxel_of_point names a voxel outside 0..{voxels}; give the result's own");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        options.validate(vocabulary.len())?;
        let arena = self.backend.arena();
        let folded = FoldedVocabulary::new(&self.model, vocabulary, &*self.backend)?;
        let (asked, options) = (options, &options.widened(folded.vocabulary.len()));
        let request = ScoreRequest {
            head: folded.head(options.similarity),
            scoring: &folded.scoring(options),
            top_k: options.kept_labels(),
            logits: options.logits,
            prompt_scores: false,
        };
        let (voxels, memory_budget) = (kept.voxels.clone(), self.memory.budget);
        let query = Query { trunk: &kept.trunk, voxels, voxel_of_point, request, memory_budget, control };
        let scores = self.backend.query(&query)?;
        let mut result = from_scores(&scores, 0..voxel_of_point.len(), options.kept_labels(), arena)?;
        let other = folded.vocabulary.other();
        result.fall_back(other);
        result.voxel_of_point = arena.collected(voxel_of_point.iter().copied(), "the voxels of the points")?;
        result.logits = scores.logits;
        self.on_threads(|| refine_answer(&mut result, kept, (asked, other), control.cancel))?;
        Ok(result)
    }

    /// Runs the network on ready-made voxels: rows `[batch, x, y, z]`, of which the first of equal rows counts, and
    /// `[rows, input channels]` features for networks whose input is not constant.
    pub fn forward(
        &mut self,
        rows: &[[i32; 4]],
        features: Option<&[f32]>,
        space: FeatureSpace,
        control: Control<'_>,
    ) -> Result<Forward> {
        let graph = self.model.graph();
        let features = features.filter(|_| graph.input != InputFeatures::Ones);
        if let Some(features) = features
            && features.len() != rows.len() * graph.input_channels
        {
            return Err(Error::new(
                ErrorKind::Mismatch,
                format!("{} features for {} rows of {} channels", features.len(), rows.len(), graph.input_channels),
            ));
        }
        let outcome = self.backend.execute(&Job {
            plan: self.model.plan(),
            input: Input::Coordinates { rows, features },
            scores: None,
            features: Some(space),
            keep_trunk: false,
            memory_budget: self.memory.budget,
            control,
        })?;
        self.memory.record(outcome.working_bytes, self.backend.held_bytes());
        let by_voxel = outcome.features.ok_or_else(|| Error::internal("the run gave no features"))?;
        let dim = match space {
            FeatureSpace::Trunk => graph.trunk_channels(),
            FeatureSpace::Text => graph.head_channels,
        };
        let mut features = with_capacity(rows.len() * dim, "the features of the rows")?;
        for &voxel in &outcome.voxels.voxel_of_point {
            features.extend_from_slice(&by_voxel[voxel as usize * dim..][..dim]);
        }
        Ok(Forward { features, dim, stages: outcome.stages })
    }

    fn check_colors(&self, cloud: &Cloud<'_>) -> Result<()> {
        if self.model.graph().input == InputFeatures::Colors && cloud.colors.is_none() && !cloud.is_empty() {
            let message =
                "the network reads colours but the cloud has none; give colors, or a model with constant input";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(())
    }
}
