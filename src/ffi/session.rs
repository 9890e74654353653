//! Sessions: one model on one device, one call at a time.

use super::cloud::{self, ov3d_cloud};
use super::descriptor::{self, Descriptor, choose};
use super::floating_point::FloatingPointMode;
use super::gate::{Gate, Lease};
use super::model::{ModelObject, ov3d_model};
use super::result::{Ready, ResultObject, ov3d_result};
use super::segment::{Request, ov3d_segment_desc};
use super::status::ov3d_status;
use super::vocabulary::{VocabularyObject, ov3d_vocabulary};
use super::{check_out, guard, handle, out};
use crate::arena::nothing;
use crate::backend::{Control, Precision, open};
use crate::cancel::Cancel;
use crate::cloud::Cloud;
use crate::error::{Error, ErrorKind, Result};
use crate::pipeline::{Segmentation, Segmentations};
use crate::session::Session;
use parking_lot::Mutex;
use std::sync::Arc;

/// Opaque.
pub struct ov3d_session_s {
    _private: [u8; 0],
}

/// One model on one device with scratch memory and a vocabulary. One call at a time: a second one is `OV3D_ERROR_BUSY`.
pub type ov3d_session = *mut ov3d_session_s;

/// The device's own choice: FP32 on the CPU.
pub const OV3D_PRECISION_DEFAULT: i32 = 0;
/// FP32 throughout.
pub const OV3D_PRECISION_F32: i32 = 1;
/// Features and weights in BF16, sums in FP32: faster where the CPU has AVX-512 BF16 or AMX, and half the memory. Asks
/// Linux for AMX's tile registers, for which alternate signal stacks must be large enough (`AT_MINSIGSTKSZ`).
pub const OV3D_PRECISION_BF16: i32 = 2;

/// Where and how a session runs.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_session_desc {
    /// Set by `ov3d_session_desc_init`.
    pub struct_size: u32,
    /// Device index; 0 (default) is the CPU, CUDA devices follow (`ov3d_device_info_get`).
    pub device: u32,
    /// Threads of the session's own pool; 0 (default) for all of the machine's. CUDA sessions have one.
    pub threads: u32,
    /// Must be 0.
    pub flags: u32,
    /// Most bytes of working memory a call may need, beyond the model; 0 (default) for no limit. A call that needs more
    /// is `OV3D_ERROR_BUDGET` and names the bytes.
    pub memory_budget: u64,
    /// `OV3D_PRECISION_DEFAULT` (default), `OV3D_PRECISION_F32` or `OV3D_PRECISION_BF16`; CUDA devices compute in FP16 and
    /// take the default only.
    pub precision: i32,
    /// Must be 0.
    pub reserved: u32,
}

impl Default for ov3d_session_desc {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self {
            struct_size,
            device: 0,
            threads: 0,
            flags: 0,
            memory_budget: 0,
            precision: OV3D_PRECISION_DEFAULT,
            reserved: 0,
        }
    }
}

// SAFETY: repr(C), the size first; integers only.
unsafe impl Descriptor for ov3d_session_desc {
    const NAME: &'static str = "ov3d_session_desc";
}

/// A session's memory and threads.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct ov3d_session_info {
    /// Set by `ov3d_session_info_init`.
    pub struct_size: u32,
    /// Device index.
    pub device: u32,
    /// Threads of the session's pool.
    pub threads: u32,
    /// Zero.
    pub reserved: u32,
    /// Bytes of working memory held now, for the next call to use.
    pub bytes_in_use: u64,
    /// The most that any call of the session needed, or the session held after it.
    pub bytes_peak: u64,
    /// The memory budget; 0 without.
    pub bytes_capacity: u64,
}

impl Default for ov3d_session_info {
    fn default() -> Self {
        let struct_size = size_of::<Self>() as u32;
        Self { struct_size, device: 0, threads: 0, reserved: 0, bytes_in_use: 0, bytes_peak: 0, bytes_capacity: 0 }
    }
}

// SAFETY: repr(C), the size first; integers only.
unsafe impl Descriptor for ov3d_session_info {
    const NAME: &'static str = "ov3d_session_info";
}

/// What a session handle stands for.
pub(super) struct SessionObject {
    session: Mutex<Session>,
    gate: Arc<Gate>,
    /// What `ov3d_session_info_get` tells, also during a call.
    info: Mutex<ov3d_session_info>,
}

/// Fills at most `size` bytes of `desc` with defaults and sets `struct_size`; pass `sizeof(ov3d_session_desc)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_desc_init(desc: *mut ov3d_session_desc, size: usize) {
    guard!(ov3d_session_desc_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(desc, size) }
    });
}

/// Fills at most `size` bytes of `info` with defaults and sets `struct_size`; pass `sizeof(ov3d_session_info)`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_info_init(info: *mut ov3d_session_info, size: usize) {
    guard!(ov3d_session_info_init, (), {
        // SAFETY: the caller gives `size` writable bytes, as documented.
        unsafe { descriptor::init(info, size) }
    });
}

/// A session of `model`; `desc` NULL means defaults. On success `*session` is a handle that the caller owns. Statuses:
/// `OV3D_ERROR_INVALID_ARGUMENT`, `OV3D_ERROR_UNSUPPORTED` (a device that cannot be used, with the reason),
/// `OV3D_ERROR_OUT_OF_MEMORY`, `OV3D_ERROR_DEVICE`. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_create(
    model: ov3d_model,
    desc: *const ov3d_session_desc,
    session: *mut ov3d_session,
) -> ov3d_status {
    guard!(ov3d_session_create, {
        let object = handle::get::<ModelObject, _>(model, "model")?;
        // SAFETY: the caller gives NULL or as many readable bytes as struct_size says.
        let desc = unsafe { descriptor::read(desc) }?;
        check_out(session, "session")?;
        if desc.flags != 0 {
            return Err(Error::argument(format!("desc.flags is {:#x}; no flag is known, give 0", desc.flags)));
        }
        if desc.reserved != 0 {
            return Err(Error::argument(format!("desc.reserved is {}; give 0", desc.reserved)));
        }
        if desc.threads > 1024 {
            return Err(Error::argument(format!("desc.threads is {}; give at most 1024, or 0 for all", desc.threads)));
        }
        let precisions = [
            (OV3D_PRECISION_DEFAULT, None),
            (OV3D_PRECISION_F32, Some(Precision::F32)),
            (OV3D_PRECISION_BF16, Some(Precision::Bf16)),
        ];
        let precision = choose("desc.precision", desc.precision, &precisions)?;
        let threads = (desc.threads > 0).then_some(desc.threads as usize);
        let mut made = Session::on(object.model.clone(), open("desc.device", desc.device, threads, precision)?);
        made.set_memory_budget((desc.memory_budget > 0).then_some(desc.memory_budget));
        let info = describe(&made, desc.device);
        let made = SessionObject { session: Mutex::new(made), gate: Arc::default(), info: Mutex::new(info) };
        let handle = handle::insert(Arc::new(made))?;
        // SAFETY: checked not to be NULL; the caller gives a writable handle.
        unsafe { out(session, "session", handle) }
    })
}

/// Sets the labels of the calls that follow; on failure those set before stay. `OV3D_ERROR_MISMATCH` if the vocabulary has
/// no embeddings in the model's text space; `OV3D_ERROR_BUSY` during a call. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_set_vocabulary(session: ov3d_session, vocabulary: ov3d_vocabulary) -> ov3d_status {
    guard!(ov3d_session_set_vocabulary, {
        let object = handle::get::<SessionObject, _>(session, "session")?;
        let vocabulary = handle::get::<VocabularyObject, _>(vocabulary, "vocabulary")?;
        let _lease = Lease::take(&object.gate, None)?;
        object.session.lock().set_vocabulary(vocabulary.vocabulary.clone())
    })
}

/// Describes the session's memory and threads, as they were after its last call. Any thread, also during a call.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_info_get(session: ov3d_session, info: *mut ov3d_session_info) -> ov3d_status {
    guard!(ov3d_session_info_get, {
        let object = handle::get::<SessionObject, _>(session, "session")?;
        let value = *object.info.lock();
        // SAFETY: the caller gives NULL or as many writable bytes as struct_size says.
        unsafe { descriptor::write(info, &value, "info") }
    })
}

fn describe(session: &Session, device: u32) -> ov3d_session_info {
    let memory = session.memory();
    ov3d_session_info {
        device,
        threads: session.backend().threads() as u32,
        bytes_in_use: session.backend().held_bytes(),
        bytes_peak: memory.peak_bytes,
        bytes_capacity: memory.budget.unwrap_or(0),
        ..ov3d_session_info::default()
    }
}

/// Labels every point of `cloud`: `ov3d_segment_begin` and `ov3d_result_wait` in one. `desc` NULL means defaults. On
/// success `*result` is a ready result that the caller owns; on failure it is untouched. Statuses: those of its arguments,
/// `OV3D_ERROR_INVALID_STATE` (no vocabulary), `OV3D_ERROR_OUT_OF_RANGE` (extent), `OV3D_ERROR_OUT_OF_MEMORY`,
/// `OV3D_ERROR_BUDGET`, `OV3D_ERROR_CANCELLED`, `OV3D_ERROR_BUSY`, `OV3D_ERROR_DEVICE`. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_segment(
    session: ov3d_session,
    cloud: *const ov3d_cloud,
    desc: *const ov3d_segment_desc,
    result: *mut ov3d_result,
) -> ov3d_status {
    guard!(ov3d_segment, { segment(session, cloud, 1, desc, result, true) })
}

/// Starts labelling `cloud` on the session's own threads and returns at once with a pending result. The cloud and what the
/// descriptor points to must stay valid until the result is ready. Otherwise as `ov3d_segment`, whose later statuses
/// `ov3d_result_wait` returns.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_segment_begin(
    session: ov3d_session,
    cloud: *const ov3d_cloud,
    desc: *const ov3d_segment_desc,
    result: *mut ov3d_result,
) -> ov3d_status {
    guard!(ov3d_segment_begin, { segment(session, cloud, 1, desc, result, false) })
}

/// Labels `count` clouds in one run; they do not influence one another. On success `results[0..count]` are ready results
/// that the caller owns; on failure none is touched. Otherwise as `ov3d_segment`.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_segment_batch(
    session: ov3d_session,
    clouds: *const ov3d_cloud,
    count: usize,
    desc: *const ov3d_segment_desc,
    results: *mut ov3d_result,
) -> ov3d_status {
    guard!(ov3d_segment_batch, { segment(session, clouds, count, desc, results, true) })
}

fn segment(
    session: ov3d_session,
    clouds: *const ov3d_cloud,
    count: usize,
    desc: *const ov3d_segment_desc,
    results: *mut ov3d_result,
    wait: bool,
) -> Result<()> {
    let object = handle::get::<SessionObject, _>(session, "session")?;
    if count > crate::sparse::BATCH_LIMIT {
        let limit = crate::sparse::BATCH_LIMIT;
        return Err(Error::argument(format!("count is {count}; at most {limit} clouds fit one call, send fewer")));
    }
    if count == 0 {
        return Ok(());
    }
    check_out(results, "results")?;
    // SAFETY: the caller gives `count` clouds that stay valid until the results are ready.
    let clouds = unsafe { read_clouds(clouds, count) }?;
    let points = clouds.iter().map(Cloud::len).sum();
    // SAFETY: the caller gives NULL or a descriptor whose pointers stay valid until the results are ready.
    let request = unsafe { Request::read(desc, points) }?;
    let lease = Lease::take(&object.gate, Some(&object))?;
    let session = object.session.lock();
    session.check(&clouds, &request.options)?;
    let backend = session.backend().clone();
    drop(session);
    let pending: Vec<Arc<ResultObject>> = (0..count).map(|_| ResultObject::running(lease.cancel.clone())).collect();
    let handles = Handles::insert(&pending)?;
    let unfinished = Unfinished(pending.clone());
    backend.spawn(Box::new(move || run(lease, &clouds, &request, unfinished)));
    if wait {
        pending.iter().try_for_each(|result| result.wait(None))?;
    }
    for (index, handle) in handles.keep().into_iter().enumerate() {
        // SAFETY: checked not to be NULL; the caller gives `count` writable handles.
        unsafe { out(results.wrapping_add(index), "results", handle) }?;
    }
    Ok(())
}

/// Handles made before a run starts, so that nothing can fail afterwards; removed again unless kept.
struct Handles(Vec<ov3d_result>);

impl Handles {
    fn insert(pending: &[Arc<ResultObject>]) -> Result<Self> {
        let mut this = Self(Vec::with_capacity(pending.len()));
        for result in pending {
            this.0.push(handle::insert(result.clone())?);
        }
        Ok(this)
    }

    fn keep(mut self) -> Vec<ov3d_result> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        for handle in self.0.drain(..) {
            handle::remove::<ResultObject, _>(handle);
        }
    }
}

/// The clouds of a call; an array of an older header's structs has that header's spacing.
///
/// # Safety
/// `clouds` is NULL or points to `count` clouds that stay valid for `'a`.
unsafe fn read_clouds<'a>(clouds: *const ov3d_cloud, count: usize) -> Result<Vec<Cloud<'a>>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    check_out(clouds.cast_mut(), "cloud")?;
    // SAFETY: not NULL, and a cloud starts with its size.
    let spacing = unsafe { clouds.cast::<u32>().read_unaligned() } as usize;
    (0..count)
        .map(|index| {
            let cloud = clouds.wrapping_byte_add(index * spacing);
            // SAFETY: the caller vouches for `count` clouds of that spacing, each of which starts with its size.
            let size = unsafe { cloud.cast::<u32>().read_unaligned() } as usize;
            if size != spacing {
                let message = format!("clouds[{index}].struct_size is {size} but clouds[0].struct_size is {spacing}");
                return Err(Error::new(ErrorKind::StructSize, message + "; make them equal"));
            }
            // SAFETY: the caller vouches for `count` clouds of that spacing; the first one's size is checked first.
            unsafe { cloud::read(cloud) }
                .map_err(|e| if count > 1 { e.within(format_args!("clouds[{index}]")) } else { e })
        })
        .collect()
}

/// Results that a run must finish: those it did not get to fail when it is dropped, so that nobody waits for ever.
struct Unfinished(Vec<Arc<ResultObject>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        for result in self.0.drain(..) {
            result.finish(Err(Error::internal("the run ended without a result; free it and report this")));
        }
    }
}

/// One run on a thread of the session's.
fn run(lease: Lease, clouds: &[Cloud<'_>], request: &Request, mut unfinished: Unfinished) {
    let _mode = FloatingPointMode::standard();
    let outcome = guard::catch("ov3d_segment", || {
        let progress = |fraction: f32| request.report(fraction);
        let progress: Option<&(dyn Fn(f32) -> bool + Sync)> =
            if request.wants_progress() { Some(&progress) } else { None };
        let control = Control { cancel: Cancel::when(&lease.cancel), progress };
        let Some(object) = &lease.object else { return Err(Error::internal("a run without a session")) };
        let mut session = object.session.lock();
        let results = session.segment(clouds, &request.options, control);
        let device = object.info.lock().device;
        *object.info.lock() = describe(&session, device);
        let label_count = session.vocabulary().map_or(0, |vocabulary| vocabulary.len());
        let ready = finished(results?, label_count)?;
        write_out(ready.iter().map(|ready| &ready.segmentation), request);
        Ok(ready)
    });
    let outcome = outcome.and_then(|result| result);
    // The host may call again as soon as a result is ready, so the session must be free by then.
    drop(lease);
    let pending = std::mem::take(&mut unfinished.0);
    match outcome {
        Ok(ready) => pending.iter().zip(ready).for_each(|(result, ready)| result.finish(Ok(ready))),
        Err(error) => pending.iter().for_each(|result| result.finish(Err(error.clone()))),
    }
}

/// Fills the caller's own buffers: the last thing a run does, when nothing can fail any more.
fn write_out<'a>(clouds: impl Iterator<Item = &'a Segmentation>, request: &Request) {
    let mut first = 0;
    for cloud in clouds {
        if let Some(labels) = &request.labels {
            labels.write(first, &cloud.labels);
        }
        if let Some(scores) = &request.scores {
            scores.write(first, &cloud.scores);
        }
        first += cloud.labels.len();
    }
}

fn finished(results: Segmentations, label_count: usize) -> Result<Vec<Ready>> {
    let stages = Arc::new(results.stages);
    let mut kept = results.kept.into_iter();
    let ready = |segmentation| Ready::new(segmentation, kept.next(), label_count, stages.clone());
    results.clouds.into_iter().map(ready).collect()
}

/// Scores a ready result anew for `vocabulary`, without running the network: it must have been made with
/// `OV3D_OUTPUT_QUERYABLE` by a session of the same model. Of `desc` the fields about scores and
/// the vote count, which needs a result with superpoints. On success `*out_result`
/// is a ready result that the caller owns. One thread at a time.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_query(
    session: ov3d_session,
    result: ov3d_result,
    vocabulary: ov3d_vocabulary,
    desc: *const ov3d_segment_desc,
    out_result: *mut ov3d_result,
) -> ov3d_status {
    guard!(ov3d_session_query, {
        let object = handle::get::<SessionObject, _>(session, "session")?;
        let source = handle::get::<ResultObject, _>(result, "result")?.ready()?;
        let vocabulary = handle::get::<VocabularyObject, _>(vocabulary, "vocabulary")?.vocabulary.clone();
        check_out(out_result, "out_result")?;
        let kept = source.kept.as_ref().ok_or_else(|| {
            let message =
                "result was made without OV3D_OUTPUT_QUERYABLE, so it kept nothing to query; segment again with it";
            Error::new(ErrorKind::InvalidState, message)
        })?;
        // SAFETY: the caller gives NULL or a descriptor whose pointers stay valid through the call.
        let request = unsafe { Request::read(desc, source.segmentation.labels.len()) }?;
        let lease = Lease::take(&object.gate, None)?;
        let label_count = vocabulary.len();
        let progress = |fraction: f32| request.report(fraction);
        let control = Control { cancel: Cancel::when(&lease.cancel), progress: Some(&progress) };
        let mut locked = object.session.lock();
        let voxel_of_point = &source.segmentation.voxel_of_point;
        let mut answer = locked.query(kept, voxel_of_point, vocabulary, &request.options, control)?;
        let arena = locked.backend().arena().clone();
        let coordinates = source.segmentation.coordinates.iter().copied();
        answer.coordinates = arena.collected(coordinates, "the coordinates")?;
        let answers = Segmentations {
            clouds: arena.collected(std::iter::once(answer), "the result")?,
            kept: arena.collected(std::iter::once(kept.clone()), "the result")?,
            stages: nothing(),
        };
        let ready = finished(answers, label_count)?;
        let answered = ResultObject::running(lease.cancel.clone());
        let handle = handle::insert(answered.clone())?;
        write_out(ready.iter().map(|ready| &ready.segmentation), &request);
        ready.into_iter().for_each(|ready| answered.finish(Ok(ready)));
        // SAFETY: checked not to be NULL; the caller gives a writable handle.
        unsafe { out(out_result, "out_result", handle) }
    })
}

/// Asks the call in flight, if any, to stop: it ends with `OV3D_ERROR_CANCELLED` within some 20 ms of work. The one session
/// function allowed from another thread during a call.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_cancel(session: ov3d_session) -> ov3d_status {
    guard!(ov3d_session_cancel, {
        handle::get::<SessionObject, _>(session, "session")?.gate.cancel();
        Ok(())
    })
}

/// Frees `session`. In flight, it cancels the call and waits for its end. NULL is fine; a stale handle is a line in the
/// log. Results live on.
#[unsafe(no_mangle)]
pub extern "C" fn ov3d_session_free(session: ov3d_session) {
    guard!(ov3d_session_free, (), {
        if let Some(object) = handle::remove::<SessionObject, _>(session) {
            object.gate.close();
        }
    });
}
