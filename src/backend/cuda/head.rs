//! From the trunk to labels and features: the folded head, ranking, the lift to points, text-space features.

use super::buffer::{Buffer, Region, RegionPlan, Slot, Span};
use super::context::Stream;
use super::convolution::{Descriptor, ProductDescriptor, Source, TILE_ROWS, WIDTHS, launch};
use super::kernels::{FEW_THREADS, Queue, tiles_for};
use super::module::Argument;
use super::weights::{ColumnTiles, Columns, stride_of, upload_columns};
use crate::arena::{self, Arena, nothing};
use crate::backend::{HeadMatrix, ScoreRequest, Scores, Work};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result, collected, filled};
use crate::plan::{Plan, Similarity};
use bytemuck::{Pod, Zeroable};
use half::f16;

/// Widths of the column tiles of the kernels that keep the best label.
const BEST_WIDTHS: &[usize] = &[32, 64, 96];
/// Bytes of scores that are in memory at one time.
const SCORE_BYTES: usize = 64 << 20;
/// What a column stands for if not for a label; as in `head.cu`.
const LENGTH: u32 = u32::MAX - 1;
const PADDING: u32 = u32::MAX;

/// The trunk of a run: `[rows, stride]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct TrunkView {
    pub(super) features: Span<f16>,
    pub(super) rows: usize,
    pub(super) channels: usize,
}

impl TrunkView {
    /// The rows from `first` on, `rows` of them.
    pub(super) fn part(&self, first: usize, rows: usize) -> Result<Self> {
        let stride = stride_of(self.channels);
        Ok(Self { features: self.features.part(first * stride, rows * stride)?, rows, ..*self })
    }
}

/// A linear map of the trunk with its weights on the device.
#[derive(Debug)]
pub(super) struct DeviceLinear {
    channels: usize,
    pub(super) columns: usize,
    tiles: ColumnTiles,
    weights: Buffer<f16>,
    scale: Buffer<f32>,
    bias: Buffer<f32>,
}

impl DeviceLinear {
    /// From the `[channels, columns]` weight and `[columns]` bias that the functions give.
    pub(super) fn new(
        stream: &Stream,
        [channels, columns]: [usize; 2],
        widths: &[usize],
        weight: impl Fn(usize, usize) -> f32,
        bias: impl Fn(usize) -> f32,
    ) -> Result<Self> {
        let tiles = ColumnTiles::new(columns, widths)?;
        let value = |_: usize, channel: usize, column: usize| weight(channel, column);
        let matrix = Columns { offsets: 1, sources: vec![channels], columns, value };
        let units = matrix.exponents();
        let factors: Vec<f32> = units.iter().map(|unit| 1.0 / unit).collect();
        Ok(Self {
            channels,
            columns,
            tiles,
            weights: matrix.upload(tiles, &factors, stream, Cancel::default())?,
            scale: upload_columns(units.into_iter(), tiles, stream)?,
            bias: upload_columns((0..columns).map(bias), tiles, stream)?,
        })
    }

    /// The head's own product, for text-space features.
    pub(super) fn of_text(stream: &Stream, plan: &Plan) -> Result<Self> {
        let (weight, columns) = (&plan.head.weight, plan.head.text_dim());
        let bias = |column: usize| plan.head.bias.as_ref().map_or(0.0, |bias| bias.get(column));
        let value = |row: usize, column: usize| weight.get(row * columns + column);
        Self::new(stream, [weight.shape[0], columns], &WIDTHS, value, bias)
    }

    fn descriptor(&self, trunk: &TrunkView, rows: Span<u32>) -> Result<Descriptor> {
        if trunk.channels != self.channels {
            return Err(Error::internal(format!(
                "a head of {} channels, a trunk of {}",
                self.channels, trunk.channels
            )));
        }
        let source = Source::new(trunk.features, self.channels);
        Ok(Descriptor {
            main: ProductDescriptor::new(std::iter::once(source), &self.weights, 1),
            rows: rows.address(),
            scale: self.scale.address(),
            shift: self.bias.address(),
            between: self.scale.address(),
            stride: stride_of(self.columns) as u32,
            ..Descriptor::zeroed()
        })
    }

    /// Puts the product into the queue; `rows`, `[1]` on the device, is the trunk's number of rows.
    fn enqueue(&self, queue: Queue<'_>, trunk: &TrunkView, rows: Span<u32>, output: u64, is_f32: bool) -> Result<()> {
        let descriptor = Descriptor { output, output_is_f32: u32::from(is_f32), ..self.descriptor(trunk, rows)? };
        let value = if is_f32 { size_of::<f32>() } else { size_of::<f16>() };
        let bytes = self.work(trunk.rows).bytes as usize + trunk.rows * descriptor.stride as usize * value;
        // SAFETY: the trunk has `rows` rows of the weights' channels; the caller gave an output row for each.
        unsafe { launch(queue, &descriptor, self.tiles, trunk.rows, 1, bytes) }
    }

    /// What `rows` rows of it have to do at least.
    pub(super) fn work(&self, rows: usize) -> Work {
        let (rows, channels, columns) = (rows as u64, self.channels as u64, self.columns as u64);
        Work { flop: 2 * rows * channels * columns, bytes: 2 * rows * channels + self.weights.bytes() as u64 }
    }
}

/// A [`HeadMatrix`] on a device.
#[derive(Debug)]
pub(super) struct DeviceHead {
    pub(super) ordinal: u32,
    linear: DeviceLinear,
    prompts: usize,
}

impl DeviceHead {
    pub(super) fn new(stream: &Stream, ordinal: u32, matrix: &HeadMatrix) -> Result<Self> {
        let columns = matrix.columns();
        let value = |row: usize, column: usize| matrix.weight[row * columns + column];
        let bias = |column: usize| matrix.bias[column];
        let linear = DeviceLinear::new(stream, [matrix.rows, columns], BEST_WIDTHS, value, bias)?;
        Ok(Self { ordinal, linear, prompts: matrix.prompts })
    }

    pub(super) fn work(&self, rows: usize) -> Work {
        self.linear.work(rows)
    }
}

/// The struct `Rank` of `head.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RankDescriptor {
    products: u64,
    prompts_of_label: u64,
    first_prompt: u64,
    label_scores: u64,
    prompt_scores: u64,
    top_labels: u64,
    top_scores: u64,
    rows: u32,
    stride: u32,
    prompts: u32,
    columns: u32,
    labels: u32,
    top_k: u32,
    cosine: u32,
    temperature: f32,
}

/// Memory for scoring: what is in it depends on what is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoreSlots {
    rows: usize,
    points: usize,
    /// Rows scored at one time.
    block: usize,
    /// Whether scores never leave the kernel.
    fused: bool,
    row_count: Slot<u32>,
    column_labels: Slot<u32>,
    first_prompt: Slot<u32>,
    /// `[column tiles, rows]` of 16 bytes.
    best: Slot<[u32; 4]>,
    products: Slot<f32>,
    label_scores: Slot<f32>,
    prompt_scores: Slot<f32>,
    voxel_labels: Slot<i32>,
    voxel_scores: Slot<f32>,
    labels: Slot<i32>,
    scores: Slot<f32>,
}

/// The head of a request, which must be of this device and have what the request asks for.
pub(super) fn head_of<'a>(request: &ScoreRequest<'a>, ordinal: u32) -> Result<&'a DeviceHead> {
    let Some(head) = request.head.0.downcast_ref::<DeviceHead>().filter(|head| head.ordinal == ordinal) else {
        return Err(Error::new(ErrorKind::InvalidState, "the head was prepared by another backend"));
    };
    let cosine = request.scoring.similarity == Similarity::Cosine;
    if head.linear.columns < head.prompts + usize::from(cosine) {
        return Err(Error::new(ErrorKind::InvalidState, "the head was folded without what cosine scores need"));
    }
    Ok(head)
}

impl ScoreSlots {
    pub(super) fn plan(
        head: &DeviceHead,
        request: &ScoreRequest<'_>,
        rows: usize,
        points: usize,
        plan: &mut RegionPlan,
    ) -> Result<Self> {
        let (linear, scoring, k) = (&head.linear, request.scoring, request.top_k);
        let fused = k == 1 && scoring.temperature.is_none() && !request.logits && !request.prompt_scores;
        let stride = stride_of(linear.columns);
        let prompt_width = if request.prompt_scores { head.prompts } else { 0 };
        let per_row = 4 * (stride + scoring.labels + prompt_width);
        let block = (SCORE_BYTES / per_row / TILE_ROWS).max(1) * TILE_ROWS;
        let block = block.min(rows);
        let scored = if fused { 0 } else { block };
        let labels = if fused { linear.tiles.columns() } else { head.prompts };
        Ok(Self {
            rows,
            points,
            block,
            fused,
            row_count: plan.reserve(1)?,
            column_labels: plan.reserve(labels)?,
            first_prompt: plan.reserve(if fused { 0 } else { scoring.labels + 1 })?,
            best: plan.reserve(if fused { linear.tiles.count * rows } else { 0 })?,
            products: plan.reserve(scored * stride)?,
            label_scores: plan.reserve(scored * scoring.labels)?,
            prompt_scores: plan.reserve(scored * prompt_width)?,
            voxel_labels: plan.reserve(rows * k)?,
            voxel_scores: plan.reserve(rows * k)?,
            labels: plan.reserve(points * k)?,
            scores: plan.reserve(points * k)?,
        })
    }
}

/// Scores of one trunk for one request.
#[derive(Debug)]
pub(super) struct HeadRun<'a> {
    pub(super) queue: Queue<'a>,
    pub(super) region: &'a Region,
    pub(super) slots: &'a ScoreSlots,
    pub(super) head: &'a DeviceHead,
    pub(super) request: &'a ScoreRequest<'a>,
    pub(super) trunk: TrunkView,
    pub(super) cancel: Cancel<'a>,
    /// Where the results go.
    pub(super) arena: &'a Arena,
}

impl HeadRun<'_> {
    /// Scores the rows of `trunk` and gives every point what its voxel has. Waits for the device.
    pub(super) fn score(&self, voxel_of_point: Span<u32>) -> Result<Scores> {
        let mut scores = Scores { labels: nothing(), scores: nothing(), logits: nothing(), prompt_scores: nothing() };
        match self.slots.fused {
            true => self.enqueue_best()?,
            false => self.rank(&mut scores)?,
        }
        self.lift(voxel_of_point)?;
        let (region, slots, stream, arena) = (self.region, self.slots, self.queue.stream, self.arena);
        let count = slots.points * self.request.top_k;
        scores.labels = region.span(slots.labels)?.download_to(arena, count, stream, "the labels of the points")?;
        scores.scores = region.span(slots.scores)?.download_to(arena, count, stream, "the scores of the points")?;
        Ok(scores)
    }

    fn enqueue_best(&self) -> Result<()> {
        let Self { queue, region, slots, head, request, ref trunk, .. } = *self;
        let (linear, kernels) = (&head.linear, queue.kernels);
        let labels = &request.scoring.label_of_prompt;
        let label = |column: usize| match column {
            prompt if prompt < head.prompts => labels[prompt],
            column if column < linear.columns => LENGTH,
            _ => PADDING,
        };
        let column_labels = region.span(slots.column_labels)?;
        column_labels.upload(&collected((0..linear.tiles.columns()).map(label), "the labels")?, queue.stream)?;
        let rows = region.span(slots.row_count)?;
        rows.upload(&[slots.rows as u32], queue.stream)?;
        let descriptor = linear.descriptor(trunk, rows)?;
        let kernel = match linear.tiles.width {
            32 => &kernels.head_best_32,
            64 => &kernels.head_best_64,
            96 => &kernels.head_best_96,
            width => return Err(Error::internal(format!("no head for tiles of {width} columns"))),
        };
        let grid = (tiles_for(slots.rows, TILE_ROWS)?, linear.tiles.count as u32, 1);
        let (of_columns, best) = (column_labels.address(), region.span(slots.best)?.address());
        let (count, tiles) = (slots.rows as u32, linear.tiles.count as u32);
        let cosine = u32::from(request.scoring.similarity == Similarity::Cosine);
        let (labels, scores) = (region.span(slots.voxel_labels)?.address(), region.span(slots.voxel_scores)?.address());
        // SAFETY: a trunk of `rows` rows, a label per column of all tiles, a place per column tile and row for the best, and
        // a label and score per row.
        unsafe {
            let arguments = [Argument::of(&descriptor), Argument::of(&of_columns), Argument::of(&best)];
            let bests = region.span(slots.best)?.bytes();
            queue.launch(kernel, grid, linear.work(slots.rows).bytes as usize + bests, &arguments)?;
            let arguments = [
                Argument::of(&best),
                Argument::of(&count),
                Argument::of(&tiles),
                Argument::of(&cosine),
                Argument::of(&labels),
                Argument::of(&scores),
            ];
            let grid = (tiles_for(slots.rows, FEW_THREADS as usize)?, 1, 1);
            queue.launch(&kernels.head_labels, grid, bests + 8 * slots.rows, &arguments)
        }
    }

    /// Blocks of rows through products in memory; logits and prompt scores are copied out block by block.
    fn rank(&self, scores: &mut Scores) -> Result<()> {
        let Self { queue, region, slots, head, request, ref trunk, cancel, arena } = *self;
        let (linear, scoring, k) = (&head.linear, request.scoring, request.top_k);
        let (prompts, first_prompt) = prompts_by_label(&scoring.label_of_prompt, scoring.labels)?;
        let (of_label, first) = (region.span(slots.column_labels)?, region.span(slots.first_prompt)?);
        of_label.upload(&prompts, queue.stream)?;
        first.upload(&first_prompt, queue.stream)?;
        let (products, labels) = (region.span(slots.products)?, region.span(slots.label_scores)?);
        let kept = region.span(slots.prompt_scores)?;
        let (top_labels, top_scores) = (region.span(slots.voxel_labels)?, region.span(slots.voxel_scores)?);
        let wanted = |asked: bool, width: usize| {
            arena.filled(usize::from(asked) * slots.rows * width, 0.0_f32, "the scores of the voxels")
        };
        scores.logits = wanted(request.logits, scoring.labels)?;
        scores.prompt_scores = wanted(request.prompt_scores, head.prompts)?;
        let count = region.span(slots.row_count)?;
        let mut begin = 0;
        while begin < slots.rows {
            cancel.check()?;
            let rows = slots.block.min(slots.rows - begin);
            count.upload(&[rows as u32], queue.stream)?;
            linear.enqueue(queue, &trunk.part(begin, rows)?, count, products.address(), true)?;
            let rank = RankDescriptor {
                products: products.address(),
                prompts_of_label: of_label.address(),
                first_prompt: first.address(),
                label_scores: labels.address(),
                prompt_scores: if request.prompt_scores { kept.address() } else { 0 },
                top_labels: top_labels.part(begin * k, rows * k)?.address(),
                top_scores: top_scores.part(begin * k, rows * k)?.address(),
                rows: rows as u32,
                stride: stride_of(linear.columns) as u32,
                prompts: head.prompts as u32,
                columns: linear.columns as u32,
                labels: scoring.labels as u32,
                top_k: k as u32,
                cosine: u32::from(scoring.similarity == Similarity::Cosine),
                temperature: scoring.temperature.unwrap_or(0.0),
            };
            let blocks = tiles_for(rows, FEW_THREADS as usize / 32)?;
            let kept_prompts = if request.prompt_scores { head.prompts } else { 0 };
            let numbers = rows * (rank.stride as usize + scoring.labels + kept_prompts + 2 * k);
            // SAFETY: a row of products, of label scores and, if asked for, of prompt scores per row of the block; places
            // for the best labels of its rows.
            unsafe { queue.launch(&queue.kernels.head_rank, (blocks, 1, 1), 4 * numbers, &[Argument::of(&rank)])? };
            if request.logits {
                let width = scoring.labels;
                labels.download_into(&mut scores.logits[begin * width..][..rows * width], queue.stream)?;
            }
            if request.prompt_scores {
                let width = head.prompts;
                kept.download_into(&mut scores.prompt_scores[begin * width..][..rows * width], queue.stream)?;
            }
            begin += rows;
        }
        Ok(())
    }

    fn lift(&self, voxel_of_point: Span<u32>) -> Result<()> {
        let Self { queue, region, slots, request, .. } = *self;
        let (from_labels, from_scores) =
            (region.span(slots.voxel_labels)?.address(), region.span(slots.voxel_scores)?.address());
        let (labels, scores) = (region.span(slots.labels)?.address(), region.span(slots.scores)?.address());
        let (voxels, points, k) = (voxel_of_point.address(), slots.points as u32, request.top_k as u32);
        let arguments = [
            Argument::of(&from_labels),
            Argument::of(&from_scores),
            Argument::of(&voxels),
            Argument::of(&points),
            Argument::of(&k),
            Argument::of(&labels),
            Argument::of(&scores),
        ];
        let blocks = tiles_for(slots.points * request.top_k, FEW_THREADS as usize)?;
        let bytes = 4 * slots.points + 8 * request.top_k * (slots.rows + slots.points);
        // SAFETY: `top_k` labels and scores per voxel and per point; every point's voxel is one of the rows or none.
        unsafe { queue.launch(&queue.kernels.head_lift, (blocks, 1, 1), bytes, &arguments) }
    }
}

/// Prompt numbers label by label, and where each label's begin.
fn prompts_by_label(label_of_prompt: &[u32], labels: usize) -> Result<(Vec<u32>, Vec<u32>)> {
    let mut first = filled(labels + 1, 0_u32, "the prompts of the labels")?;
    for &label in label_of_prompt {
        first[label as usize + 1] += 1;
    }
    for label in 0..labels {
        first[label + 1] += first[label];
    }
    let mut next = first.clone();
    let mut prompts = filled(label_of_prompt.len(), 0_u32, "the prompts of the labels")?;
    for (prompt, &label) in (0_u32..).zip(label_of_prompt) {
        prompts[next[label as usize] as usize] = prompt;
        next[label as usize] += 1;
    }
    Ok((prompts, first))
}

/// `[rows, channels]` features of the trunk on the host.
pub(super) fn trunk_features(queue: Queue<'_>, trunk: &TrunkView, arena: &Arena) -> Result<arena::Buffer<f32>> {
    let stride = stride_of(trunk.channels);
    let mut features = arena.filled(trunk.rows * trunk.channels, 0.0_f32, "the trunk features")?;
    let rows = trunk.features.download_to(arena, trunk.rows * stride, queue.stream, "the trunk")?;
    widen(&rows, stride, trunk.channels, &mut features);
    Ok(features)
}

fn widen(rows: &[f16], stride: usize, columns: usize, features: &mut [f32]) {
    for (to, from) in features.chunks_exact_mut(columns).zip(rows.chunks_exact(stride)) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32());
    }
}

/// Memory for text-space features, a block of rows at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeatureSlots {
    block: usize,
    row_count: Slot<u32>,
    features: Slot<f16>,
}

impl FeatureSlots {
    pub(super) fn plan(linear: &DeviceLinear, rows: usize, plan: &mut RegionPlan) -> Result<Self> {
        let stride = stride_of(linear.columns);
        let block = ((SCORE_BYTES / (2 * stride) / TILE_ROWS).max(1) * TILE_ROWS).min(rows);
        Ok(Self { block, row_count: plan.reserve(1)?, features: plan.reserve(block * stride)? })
    }

    /// `[rows, columns]` features on the host.
    pub(super) fn compute(
        &self,
        queue: Queue<'_>,
        region: &Region,
        linear: &DeviceLinear,
        trunk: &TrunkView,
        (arena, cancel): (&Arena, Cancel<'_>),
    ) -> Result<arena::Buffer<f32>> {
        let (columns, stride) = (linear.columns, stride_of(linear.columns));
        let (count, block) = (region.span(self.row_count)?, region.span(self.features)?);
        let mut features = arena.filled(trunk.rows * columns, 0.0_f32, "the text-space features")?;
        for (index, to) in features.chunks_mut(self.block.max(1) * columns).enumerate() {
            cancel.check()?;
            let rows = to.len() / columns;
            count.upload(&[rows as u32], queue.stream)?;
            linear.enqueue(queue, &trunk.part(index * self.block, rows)?, count, block.address(), false)?;
            let halves = block.download_to(arena, rows * stride, queue.stream, "a block of features")?;
            widen(&halves, stride, columns, to);
        }
        Ok(features)
    }
}
