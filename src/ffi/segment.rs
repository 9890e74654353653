//! What a segmentation computes.

use super::descriptor::{self, Descriptor, choose};
use super::floating_point::FloatingPointMode;
use super::superpoint::{self, ov3d_superpoint_desc};
use crate::backend::{FeatureSpace, Representative};
use crate::cloud::GridOrigin;
use crate::error::{Error, Result};
use crate::pipeline::{Augmentation, Ballot, SegmentOptions, Vote};
use crate::plan::Similarity;
use std::ffi::c_void;

/// Raw dot products of unnormalised features with unit text embeddings, as published.
pub const OV3D_SIMILARITY_DOT: i32 = 0;
/// Cosines.
pub const OV3D_SIMILARITY_COSINE: i32 = 1;

/// The cloud's per-axis minimum voxel becomes 0, as published.
pub const OV3D_GRID_MINIMUM: i32 = 0;
/// A lattice fixed in the world: labels of still objects do not flicker when the cloud grows.
pub const OV3D_GRID_WORLD: i32 = 1;

/// A voxel takes the colour of its point with the lowest index, as published.
pub const OV3D_REPRESENTATIVE_FIRST: i32 = 0;
/// A voxel takes the colour of its point with the smallest position: independent of the order of the points.
pub const OV3D_REPRESENTATIVE_CANONICAL: i32 = 1;

/// Every point keeps the label of its own best score.
pub const OV3D_VOTE_NONE: i32 = 0;
/// The most frequent label of its points becomes that of the whole superpoint.
pub const OV3D_VOTE_LABELS: i32 = 1;
/// The label with the largest sum of its points' scores becomes that of the whole superpoint; not with repeats.
pub const OV3D_VOTE_SCORES: i32 = 2;

/// Every point counts as one.
pub const OV3D_VOTE_WEIGHT_ONE: i32 = 0;
/// A point counts by how far its best score lies above its second.
pub const OV3D_VOTE_WEIGHT_MARGIN: i32 = 1;

/// Return the scores of all labels for every voxel.
pub const OV3D_OUTPUT_LOGITS: u32 = 1;
/// Return the trunk features of every voxel.
pub const OV3D_OUTPUT_TRUNK_FEATURES: u32 = 2;
/// Return the text-space features of every voxel (not normalised).
pub const OV3D_OUTPUT_TEXT_FEATURES: u32 = 4;
/// Keep what `ov3d_session_query` needs.
pub const OV3D_OUTPUT_QUERYABLE: u32 = 8;

/// The label of a point whose position is not finite.
pub const OV3D_LABEL_NONE: i32 = -1;

/// A progress callback: the fraction done and the descriptor's user data. Return 0 to go on, anything else to stop the run
/// with `OV3D_ERROR_CANCELLED`. It is called from a thread of the library, must not call the library and must not throw.
pub type ov3d_progress_fn = Option<unsafe extern "C" fn(fraction: f32, user_data: *mut c_void) -> i32>;

/// What a segmentation computes; the defaults are one deterministic pass with the published raw scores.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_segment_desc {
    /// Set by `ov3d_segment_desc_init`.
    pub struct_size: u32,
    /// `OV3D_OUTPUT_*` flags; labels and scores are always returned.
    pub outputs: u32,
    /// `OV3D_SIMILARITY_DOT` (default) or `OV3D_SIMILARITY_COSINE`.
    pub similarity: i32,
    /// 0 (default) for plain scores; otherwise scores become `softmax(score / temperature)` over the labels.
    pub temperature: f32,
    /// How many best labels to return per point; 0 and 1 both mean the best alone.
    pub top_k: u32,
    /// `OV3D_GRID_MINIMUM` (default) or `OV3D_GRID_WORLD`.
    pub grid_origin: i32,
    /// `OV3D_REPRESENTATIVE_FIRST` (default) or `OV3D_REPRESENTATIVE_CANONICAL`; matters for colour input only.
    pub representative: i32,
    /// Passes under random rotation and scale whose scores are averaged (published evaluation: 5); 0 (default) for one plain
    /// pass. With repeats no output flag may be set.
    pub repeats: u32,
    /// Seed of the repeats.
    pub seed: u64,
    /// Largest rotation about x, y and z in radians, for the repeats; published: pi/64, pi/64, pi.
    pub rotation: [f64; 3],
    /// Smallest and largest scale, for the repeats; published: 0.9 and 1.1.
    pub scale: [f64; 2],
    /// Edge of a voxel in metres; 0 (default) for the model's own.
    pub voxel_size: f64,
    /// The caller's own buffer for labels, or NULL. Clouds of a batch follow one another.
    pub labels: *mut i32,
    /// Elements that `labels` holds; at least the number of points.
    pub labels_capacity: u64,
    /// The caller's own buffer for scores, or NULL.
    pub scores: *mut f32,
    /// Elements that `scores` holds; at least the number of points.
    pub scores_capacity: u64,
    /// Progress callback, or NULL.
    pub progress: ov3d_progress_fn,
    /// Handed to the progress callback.
    pub user_data: *mut c_void,
    /// How superpoints are found, or NULL (default) for none unless `vote` needs some, then with their defaults. Ids that a
    /// cloud brings take their place. With features asked for, their means over the superpoints are returned too. The session's
    /// memory budget does not count what superpoints take.
    pub superpoints: *const ov3d_superpoint_desc,
    /// `OV3D_VOTE_NONE` (default), `OV3D_VOTE_LABELS` or `OV3D_VOTE_SCORES`. Ties go to the smaller label; points without
    /// superpoint keep theirs. By scores, a superpoint whose best mean score is below the vocabulary's `other_threshold`
    /// gets its `other_label`. Scores and `top_labels` stay each point's own.
    pub vote: i32,
    /// `OV3D_VOTE_WEIGHT_ONE` (default) or `OV3D_VOTE_WEIGHT_MARGIN`.
    pub vote_weight: i32,
}

impl Default for ov3d_segment_desc {
    fn default() -> Self {
        let published = Augmentation::default();
        Self {
            struct_size: size_of::<Self>() as u32,
            outputs: 0,
            similarity: OV3D_SIMILARITY_DOT,
            temperature: 0.0,
            top_k: 0,
            grid_origin: OV3D_GRID_MINIMUM,
            representative: OV3D_REPRESENTATIVE_FIRST,
            repeats: 0,
            seed: published.seed,
            rotation: published.rotation,
            scale: published.scale,
            voxel_size: 0.0,
            labels: std::ptr::null_mut(),
            labels_capacity: 0,
            scores: std::ptr::null_mut(),
            scores_capacity: 0,
            progress: None,
            user_data: std::ptr::null_mut(),
            superpoints: std::ptr::null(),
            vote: OV3D_VOTE_NONE,
            vote_weight: OV3D_VOTE_WEIGHT_ONE,
        }
    }
}

// SAFETY: repr(C), the size first; integers, floats, pointers and an optional function pointer.
unsafe impl Descriptor for ov3d_segment_desc {
    const NAME: &'static str = "ov3d_segment_desc";
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_segment_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_segment_desc_init(desc: *mut ov3d_segment_desc, size: usize) {
    guard!(ov3d_segment_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// The options and the caller's own buffers, checked.
pub(super) struct Request {
    pub(super) options: SegmentOptions,
    pub(super) labels: Option<Destination<i32>>,
    pub(super) scores: Option<Destination<f32>>,
    progress: ov3d_progress_fn,
    user_data: *mut c_void,
}

// SAFETY: the header says that the buffers and the user data are used from threads of the library until the result is
// ready.
unsafe impl Send for Request {}
// SAFETY: as above; the progress callback is only called from one thread at a time.
unsafe impl Sync for Request {}

/// A buffer of the caller's with room for every point of the call.
pub(super) struct Destination<T> {
    pointer: *mut T,
    len: usize,
}

impl<T: Copy> Destination<T> {
    fn new(pointer: *mut T, capacity: u64, points: usize, name: &str) -> Result<Option<Self>> {
        if pointer.is_null() {
            return Ok(None);
        }
        if !pointer.is_aligned() {
            let align = align_of::<T>();
            return Err(Error::argument(format!("desc.{name} is at {pointer:p}; it must be aligned to {align} bytes")));
        }
        if capacity < points as u64 {
            let message = format!("desc.{name}_capacity is {capacity}, but {points} elements are needed");
            return Err(Error::new(crate::error::ErrorKind::Capacity, message));
        }
        Ok(Some(Self { pointer, len: points }))
    }

    /// Copies `values` to element `first` and onwards.
    pub(super) fn write(&self, first: usize, values: &[T]) {
        let count = values.len().min(self.len.saturating_sub(first));
        // SAFETY: the caller gave `capacity >= len` writable elements until the result is ready, which it is not yet;
        // first + count <= len; the values are the library's own, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), self.pointer.add(first), count) };
    }
}

impl Request {
    /// The request at `desc` for `points` points in all.
    ///
    /// # Safety
    /// `desc` is NULL or a descriptor whose pointers stay valid until the result is ready.
    pub(super) unsafe fn read(desc: *const ov3d_segment_desc, points: usize) -> Result<Self> {
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        Ok(Self {
            options: SegmentOptions {
                // SAFETY: NULL, or a descriptor of the caller's.
                superpoints: unsafe { superpoint::read(desc.superpoints) }.map_err(|e| e.within("desc.superpoints"))?,
                ..options(&desc)?
            },
            labels: Destination::new(desc.labels, desc.labels_capacity, points, "labels")?,
            scores: Destination::new(desc.scores, desc.scores_capacity, points, "scores")?,
            progress: desc.progress,
            user_data: desc.user_data,
        })
    }

    /// Reports progress; false if the run is to stop.
    pub(super) fn report(&self, fraction: f32) -> bool {
        match self.progress {
            Some(progress) => {
                let _mode = FloatingPointMode::standard();
                // SAFETY: the caller gave a callable function until the result is ready.
                unsafe { progress(fraction, self.user_data) == 0 }
            }
            None => true,
        }
    }

    /// Whether there is a progress callback.
    pub(super) fn wants_progress(&self) -> bool {
        self.progress.is_some()
    }
}

fn options(desc: &ov3d_segment_desc) -> Result<SegmentOptions> {
    let all = OV3D_OUTPUT_LOGITS | OV3D_OUTPUT_TRUNK_FEATURES | OV3D_OUTPUT_TEXT_FEATURES | OV3D_OUTPUT_QUERYABLE;
    if desc.outputs & !all != 0 {
        return Err(Error::argument(format!("desc.outputs is {:#x}; the known flags are {all:#x}", desc.outputs)));
    }
    let asked = |flag: u32| desc.outputs & flag != 0;
    let features = match (asked(OV3D_OUTPUT_TRUNK_FEATURES), asked(OV3D_OUTPUT_TEXT_FEATURES)) {
        (true, true) => {
            let message = "desc.outputs asks for trunk and text features; ask for one of them";
            return Err(Error::argument(message));
        }
        (true, false) => Some(FeatureSpace::Trunk),
        (false, true) => Some(FeatureSpace::Text),
        (false, false) => None,
    };
    let similarities = [(OV3D_SIMILARITY_DOT, Similarity::Dot), (OV3D_SIMILARITY_COSINE, Similarity::Cosine)];
    let lattices = [(OV3D_GRID_MINIMUM, GridOrigin::Minimum), (OV3D_GRID_WORLD, GridOrigin::World)];
    let representatives = [
        (OV3D_REPRESENTATIVE_FIRST, Representative::First),
        (OV3D_REPRESENTATIVE_CANONICAL, Representative::Canonical),
    ];
    let votes =
        [(OV3D_VOTE_NONE, None), (OV3D_VOTE_LABELS, Some(Ballot::Labels)), (OV3D_VOTE_SCORES, Some(Ballot::Scores))];
    let ballot = choose("desc.vote", desc.vote, &votes)?;
    let weights = [(OV3D_VOTE_WEIGHT_ONE, false), (OV3D_VOTE_WEIGHT_MARGIN, true)];
    let by_margin = choose("desc.vote_weight", desc.vote_weight, &weights)?;
    let (repeats, seed, rotation, scale) = (desc.repeats, desc.seed, desc.rotation, desc.scale);
    Ok(SegmentOptions {
        voxel_size: (desc.voxel_size != 0.0).then_some(desc.voxel_size),
        grid_origin: choose("desc.grid_origin", desc.grid_origin, &lattices)?,
        representative: choose("desc.representative", desc.representative, &representatives)?,
        similarity: choose("desc.similarity", desc.similarity, &similarities)?,
        temperature: (desc.temperature != 0.0).then_some(desc.temperature),
        top_k: desc.top_k as usize,
        logits: asked(OV3D_OUTPUT_LOGITS),
        features,
        keep_trunk: asked(OV3D_OUTPUT_QUERYABLE),
        augmentation: (repeats > 0).then_some(Augmentation { repeats, seed, rotation, scale }),
        superpoints: None,
        vote: ballot.map(|ballot| Vote { ballot, by_margin }),
    })
}
