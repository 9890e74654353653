//! Results: labels, scores and what else was asked for.

use super::cloud::OV3D_MEMORY_HOST;
use super::descriptor::{self, Descriptor};
use super::handle;
use super::status::ov3d_status;
use crate::arena::{Buffer, nothing};
use crate::backend::Stage;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Kept, Segmentation};
use half::f16;
use half::slice::HalfFloatSliceExt;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Opaque.
pub struct ov3d_result_s {
    _private: [u8; 0],
}

/// The result of a segmentation: pending until it is ready, then read-only for any thread. It outlives its session.
pub type ov3d_result = *mut ov3d_result_s;

/// The contents of a result. The pointers live until the result is freed; what was not asked for is NULL, and so is an
/// array of no rows.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_result_view {
    /// Set by `ov3d_result_view_init`.
    pub struct_size: u32,
    /// Where the arrays lie: `OV3D_MEMORY_HOST`.
    pub memory: i32,
    /// Number of points.
    pub points: u64,
    /// Number of voxels; 0 after augmented passes.
    pub voxels: u64,
    /// Number of labels of the vocabulary.
    pub label_count: u32,
    /// Labels per point in `top_labels`.
    pub top_k: u32,
    /// Width of `features`; 0 without.
    pub feature_dim: u32,
    /// Zero.
    pub reserved: u32,
    /// `[points]` the best label of each point, or `OV3D_LABEL_NONE`.
    pub labels: *const i32,
    /// `[points]` its score; 0 without a label.
    pub scores: *const f32,
    /// `[points, top_k]` the best labels, best first; NULL unless `top_k` is at least 2.
    pub top_labels: *const i32,
    /// `[points, top_k]` their scores.
    pub top_scores: *const f32,
    /// `[points]` the voxel of each point, or -1; NULL after augmented passes.
    pub voxel_of_point: *const i32,
    /// `[voxels, 3]` voxel coordinates.
    pub coordinates: *const i32,
    /// `[voxels, feature_dim]` features as IEEE half floats, if asked for.
    pub features: *const u16,
    /// `[voxels, label_count]` scores, if asked for.
    pub logits: *const f32,
    /// Number of superpoints.
    pub superpoint_count: u64,
    /// Number of pairs in `superpoint_adjacency`.
    pub superpoint_pairs: u64,
    /// `[points]` the superpoint of each point, counted from 0 without holes, or -1; NULL unless they or a vote were asked for.
    pub superpoints: *const i32,
    /// `[superpoint_count]` the number of points of each.
    pub superpoint_sizes: *const u32,
    /// `[superpoint_count, 3]` their mean positions in metres, right-handed with z up, after the cloud's pose.
    pub superpoint_centroids: *const f64,
    /// `[superpoint_pairs, 2]` which touch, the smaller first, ascending; NULL for superpoints that the cloud brought.
    pub superpoint_adjacency: *const u32,
    /// `[superpoint_count, feature_dim]` the mean features of their points as IEEE half floats, if features were asked for.
    pub superpoint_features: *const u16,
}

impl Default for ov3d_result_view {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            memory: OV3D_MEMORY_HOST,
            points: 0,
            voxels: 0,
            label_count: 0,
            top_k: 0,
            feature_dim: 0,
            reserved: 0,
            labels: std::ptr::null(),
            scores: std::ptr::null(),
            top_labels: std::ptr::null(),
            top_scores: std::ptr::null(),
            voxel_of_point: std::ptr::null(),
            coordinates: std::ptr::null(),
            features: std::ptr::null(),
            logits: std::ptr::null(),
            superpoint_count: 0,
            superpoint_pairs: 0,
            superpoints: std::ptr::null(),
            superpoint_sizes: std::ptr::null(),
            superpoint_centroids: std::ptr::null(),
            superpoint_adjacency: std::ptr::null(),
            superpoint_features: std::ptr::null(),
        }
    }
}

// SAFETY: repr(C), the size first; integers and pointers.
unsafe impl Descriptor for ov3d_result_view {
    const NAME: &'static str = "ov3d_result_view";
}

/// What a run took, in milliseconds. Clouds of one batch share the times of their run.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_timings {
    /// Set by `ov3d_timings_init`.
    pub struct_size: u32,
    /// Zero.
    pub reserved: u32,
    /// All stages together.
    pub total: f64,
    /// Points to voxels.
    pub quantise: f64,
    /// Coarser levels.
    pub levels: f64,
    /// Neighbours.
    pub kernel_maps: f64,
    /// The network's layers.
    pub network: f64,
    /// Scores, labels, and back to points.
    pub head: f64,
    /// Text-space features.
    pub features: f64,
    /// Floating-point operations that the result needed, in billions.
    pub gflop: f64,
    /// Superpoints.
    pub superpoints: f64,
    /// Votes.
    pub vote: f64,
}

impl Default for ov3d_timings {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            reserved: 0,
            total: 0.0,
            quantise: 0.0,
            levels: 0.0,
            kernel_maps: 0.0,
            network: 0.0,
            head: 0.0,
            features: 0.0,
            gflop: 0.0,
            superpoints: 0.0,
            vote: 0.0,
        }
    }
}

// SAFETY: repr(C), the size first; integers and floats.
unsafe impl Descriptor for ov3d_timings {
    const NAME: &'static str = "ov3d_timings";
}

/// A finished result.
pub(super) struct Ready {
    pub(super) segmentation: Segmentation,
    pub(super) kept: Option<Kept>,
    label_count: usize,
    features: Buffer<f16>,
    superpoint_features: Buffer<f16>,
    /// Of the run, whose clouds share them.
    stages: Arc<Buffer<Stage>>,
}

impl Ready {
    /// Takes the features of `segmentation` over as half floats.
    pub(super) fn new(
        mut segmentation: Segmentation,
        kept: Option<Kept>,
        label_count: usize,
        stages: Arc<Buffer<Stage>>,
    ) -> Result<Self> {
        let halved = |wide: &mut Buffer<f32>| {
            let wide = std::mem::replace(wide, nothing());
            let mut half = wide.allocator().filled(wide.len(), f16::ZERO, "the features")?;
            half.convert_from_f32_slice(&wide);
            Ok::<_, Error>(half)
        };
        let features = halved(&mut segmentation.features)?;
        let superpoint_features = halved(&mut segmentation.superpoint_features)?;
        Ok(Self { segmentation, kept, label_count, features, superpoint_features, stages })
    }
}

enum State {
    Running,
    Ready(Arc<Ready>),
    Failed(Error),
}

/// What a result handle stands for.
pub(super) struct ResultObject {
    state: Mutex<State>,
    finished: Condvar,
    /// Stops the run that makes the result.
    cancel: Arc<AtomicBool>,
}

impl ResultObject {
    pub(super) fn running(cancel: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Running), finished: Condvar::new(), cancel })
    }

    pub(super) fn finish(&self, outcome: Result<Ready>) {
        *self.state.lock() = match outcome {
            Ok(ready) => State::Ready(Arc::new(ready)),
            Err(error) => State::Failed(error),
        };
        self.finished.notify_all();
    }

    /// Waits until the run has ended, at most until `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Result<()> {
        let mut state = self.state.lock();
        while matches!(*state, State::Running) {
            match deadline {
                None => self.finished.wait(&mut state),
                Some(deadline) => {
                    if self.finished.wait_until(&mut state, deadline).timed_out() && matches!(*state, State::Running) {
                        return Err(Error::new(ErrorKind::Timeout, "the result is not ready yet; wait longer"));
                    }
                }
            }
        }
        match &*state {
            State::Failed(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// The contents, once ready.
    pub(super) fn ready(&self) -> Result<Arc<Ready>> {
        match &*self.state.lock() {
            State::Running => {
                Err(Error::new(ErrorKind::InvalidState, "the result is not ready; call ov3d_result_wait"))
            }
            State::Ready(ready) => Ok(ready.clone()),
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn is_running(&self) -> bool {
        matches!(*self.state.lock(), State::Running)
    }
}

/// Fills at most `size` bytes of `view` with defaults and sets `struct_size`; pass `sizeof(ov3d_result_view)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_view_init(view: *mut ov3d_result_view, size: usize) {
    guard!(ov3d_result_view_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(view, size) }
    });
}

/// Fills at most `size` bytes of `timings` with defaults and sets `struct_size`; pass `sizeof(ov3d_timings)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_timings_init(timings: *mut ov3d_timings, size: usize) {
    guard!(ov3d_timings_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(timings, size) }
    });
}

/// Waits until `result` is ready, at most `timeout_ns` nanoseconds (UINT64_MAX: without limit). Returns the status of the
/// run, or `OV3D_ERROR_TIMEOUT`. Any thread, several at once.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_wait(result: ov3d_result, timeout_ns: u64) -> ov3d_status {
    guard!(ov3d_result_wait, {
        let object = handle::get::<ResultObject, _>(result, "result")?;
        let timeout = (timeout_ns != u64::MAX).then(|| Duration::from_nanos(timeout_ns));
        object.wait(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    })
}

/// 1 if the run has ended, well or not; 0 while it is in flight or if the handle is not live. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_ready(result: ov3d_result) -> i32 {
    guard!(ov3d_result_ready, 0, {
        let object = handle::get::<ResultObject, _>(result, "result");
        i32::from(object.is_ok_and(|object| !object.is_running()))
    })
}

/// Lends out the contents of a ready result. Before that `OV3D_ERROR_INVALID_STATE`; of a failed run its status. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_get(result: ov3d_result, view: *mut ov3d_result_view) -> ov3d_status {
    guard!(ov3d_result_get, {
        let ready = handle::get::<ResultObject, _>(result, "result")?.ready()?;
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(view, &lend(&ready), "view") }
    })
}

fn lend(ready: &Ready) -> ov3d_result_view {
    fn some<T>(values: &[T]) -> *const T {
        if values.is_empty() { std::ptr::null() } else { values.as_ptr() }
    }
    let result = &ready.segmentation;
    let found = result.superpoints.as_deref();
    // Without a segmentation there are superpoints alone.
    let points = found.map_or(result.labels.len(), |found| found.of_point.len());
    let voxels = result.coordinates.len();
    let view = ov3d_result_view {
        points: points as u64,
        voxels: voxels as u64,
        label_count: ready.label_count as u32,
        top_k: (result.top_labels.len() / points.max(1)).max(1) as u32,
        feature_dim: (ready.features.len() / voxels.max(1)) as u32,
        labels: some(&result.labels),
        scores: some(&result.scores),
        top_labels: some(&result.top_labels),
        top_scores: some(&result.top_scores),
        voxel_of_point: some(&result.voxel_of_point),
        coordinates: some(result.coordinates.as_flattened()),
        features: some(bytemuck::cast_slice(&ready.features)),
        logits: some(&result.logits),
        superpoint_features: some(bytemuck::cast_slice(&ready.superpoint_features)),
        ..ov3d_result_view::default()
    };
    let Some(found) = found else { return view };
    ov3d_result_view {
        superpoint_count: found.count() as u64,
        superpoint_pairs: found.adjacency.len() as u64,
        superpoints: some(&found.of_point),
        superpoint_sizes: some(&found.sizes),
        superpoint_centroids: some(found.centroids.as_flattened()),
        superpoint_adjacency: some(found.adjacency.as_flattened()),
        ..view
    }
}

/// What the run of a ready result took. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_timings_get(result: ov3d_result, timings: *mut ov3d_timings) -> ov3d_status {
    guard!(ov3d_result_timings_get, {
        let ready = handle::get::<ResultObject, _>(result, "result")?.ready()?;
        let mut value = ov3d_timings::default();
        for stage in ready.stages.iter() {
            let milliseconds = stage.time.as_secs_f64() * 1e3;
            let sum = match &*stage.name {
                "quantise" => &mut value.quantise,
                "levels" => &mut value.levels,
                "kernel maps" => &mut value.kernel_maps,
                "head" => &mut value.head,
                "features" => &mut value.features,
                "superpoints" => &mut value.superpoints,
                "vote" => &mut value.vote,
                _ => &mut value.network,
            };
            *sum += milliseconds;
            value.total += milliseconds;
            value.gflop += stage.work.flop as f64 / 1e9;
        }
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(timings, &value, "timings") }
    })
}

/// Frees `result`. In flight, it cancels the run and waits until the run no longer touches the caller's memory, at most
/// some 20 ms. NULL is fine; a stale handle is a line in the log.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_result_free(result: ov3d_result) {
    guard!(ov3d_result_free, (), {
        let Some(object) = handle::remove::<ResultObject, _>(result) else { return };
        if object.is_running() {
            object.cancel.store(true, Ordering::Relaxed);
            // The run's own status is of no interest any more.
            let _ = object.wait(None);
        }
    });
}
