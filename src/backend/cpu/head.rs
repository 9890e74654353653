//! Scores of voxels from the folded head, ranked block by block and lifted to points; full features when asked for.

use super::arithmetic::Arithmetic;
use super::linear::Linear;
use super::tensor::{Tensor, Workers};
use crate::arena::{Arena, Buffer};
use crate::backend::{Control, HeadMatrix, ScoreRequest, Scores, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, Ranking, Scoring, Similarity};
use crate::sparse::NO_VOXEL;
use rayon::prelude::*;
use std::ops::Range;

/// Rows of one thread's task where rows are only copied.
const BLOCK: usize = 1 << 13;

/// A [`HeadMatrix`] in packed form.
#[derive(Debug)]
pub(super) struct PackedHead {
    linear: Linear,
    prompts: usize,
}

impl PackedHead {
    pub(super) fn new(arithmetic: Arithmetic, matrix: &HeadMatrix) -> Result<Self> {
        let linear = Linear::new(
            arithmetic,
            matrix.rows,
            matrix.columns(),
            |row, column| matrix.weight[row * matrix.columns() + column],
            |column| matrix.bias[column],
        )?;
        Ok(Self { linear, prompts: matrix.prompts })
    }
}

/// Where one block of rows puts its results.
struct Block<'a> {
    first: usize,
    ranked: &'a mut [Ranking],
    logits: Option<&'a mut [f32]>,
    prompt_scores: Option<&'a mut [f32]>,
}

/// Scores the voxels `rows` of the trunk and gives each point those of its voxel: `voxel_of_point` counts from the
/// first of `rows`, [`NO_VOXEL`] for none.
pub(super) fn score(
    trunk: &Tensor,
    rows: Range<usize>,
    voxel_of_point: &[u32],
    request: &ScoreRequest<'_>,
    workers: &Workers,
    arena: &Arena,
    control: Control<'_>,
) -> Result<Scores> {
    let scoring = request.scoring;
    let Some(head) = request.head.0.downcast_ref::<PackedHead>() else {
        return Err(Error::new(ErrorKind::InvalidState, "the head was prepared by another backend"));
    };
    if head.linear.columns() < head.prompts + usize::from(scoring.similarity == Similarity::Cosine) {
        return Err(Error::new(ErrorKind::InvalidState, "the head was folded without what cosine scores need"));
    }
    let wanted = |asked: bool, columns: usize, what: &str| {
        arena.filled(usize::from(asked) * rows.len() * columns, 0.0_f32, what)
    };
    let unranked = Ranking { label: -1, score: 0.0 };
    let mut ranked = arena.filled(rows.len() * request.top_k, unranked, "the labels of the voxels")?;
    let points = voxel_of_point.len() * request.top_k;
    let mut scores = Scores {
        labels: arena.filled(points, -1, "the labels of the points")?,
        scores: arena.filled(points, 0.0, "the scores of the points")?,
        logits: wanted(request.logits, scoring.labels, "the logits")?,
        prompt_scores: wanted(request.prompt_scores, head.prompts, "the prompt scores")?,
    };
    let block_rows = head.linear.block_rows();
    let mut logits = scores.logits.chunks_mut(block_rows * scoring.labels.max(1));
    let mut prompt_scores = scores.prompt_scores.chunks_mut(block_rows * head.prompts.max(1));
    let ranked_blocks = ranked.chunks_mut(block_rows * request.top_k).enumerate().map(|(index, ranked)| Block {
        first: rows.start + index * block_rows,
        ranked,
        logits: logits.next(),
        prompt_scores: prompt_scores.next(),
    });
    let mut blocks = arena.collected(ranked_blocks, "the blocks of scores")?;
    blocks.par_iter_mut().try_for_each(|block| {
        control.cancel.check()?;
        workers
            .with(head.linear.block_len() + scoring.labels, |memory| score_block(trunk, head, request, memory, block))
    })?;
    drop(blocks);
    lift(&ranked, voxel_of_point, request.top_k, control, &mut scores)?;
    Ok(scores)
}

/// Floats that each thread needs to score.
pub(super) fn score_len(request: &ScoreRequest<'_>) -> usize {
    let head = request.head.0.downcast_ref::<PackedHead>();
    head.map_or(0, |head| head.linear.block_len() + request.scoring.labels)
}

/// What scoring the voxels of `trunk` takes.
pub(super) fn score_work(request: &ScoreRequest<'_>, trunk: &Tensor) -> Work {
    request.head.0.downcast_ref::<PackedHead>().map_or_else(Work::default, |head| head.linear.work(trunk))
}

/// The labels and scores of every point: those of its voxel.
fn lift(
    ranked: &[Ranking],
    voxel_of_point: &[u32],
    top_k: usize,
    control: Control<'_>,
    points: &mut Scores,
) -> Result<()> {
    let blocks = points.labels.par_chunks_mut(BLOCK * top_k).zip(points.scores.par_chunks_mut(BLOCK * top_k));
    blocks.zip(voxel_of_point.par_chunks(BLOCK)).try_for_each(|((labels, scores), voxels)| {
        control.cancel.check()?;
        let rows = labels.chunks_exact_mut(top_k).zip(scores.chunks_exact_mut(top_k));
        for ((labels, scores), &voxel) in rows.zip(voxels).filter(|(_, voxel)| **voxel != NO_VOXEL) {
            for (place, ranking) in ranked[voxel as usize * top_k..][..top_k].iter().enumerate() {
                labels[place] = ranking.label;
                scores[place] = ranking.score;
            }
        }
        Ok(())
    })
}

fn score_block(
    trunk: &Tensor,
    head: &PackedHead,
    request: &ScoreRequest<'_>,
    memory: &mut [f32],
    block: &mut Block<'_>,
) {
    let (scoring, stride) = (request.scoring, head.linear.stride());
    let rows = block.ranked.len() / request.top_k;
    let (labels, result) = memory.split_at_mut(scoring.labels);
    let result = &mut result[..rows * stride];
    head.linear.apply(trunk, block.first, result);
    for (row, (products, top)) in result.chunks_exact(stride).zip(block.ranked.chunks_mut(request.top_k)).enumerate() {
        let (prompts, norm_terms) = products[..head.linear.columns()].split_at(head.prompts);
        let norm = length(norm_terms);
        scoring.label_scores(prompts, norm, labels);
        scoring.normalise(labels);
        Scoring::rank(labels, top);
        if let Some(logits) = &mut block.logits {
            logits[row * scoring.labels..][..scoring.labels].copy_from_slice(labels);
        }
        if let Some(kept) = &mut block.prompt_scores {
            let kept = &mut kept[row * head.prompts..][..head.prompts];
            let factor = scoring.factor(norm);
            kept.iter_mut().zip(prompts).for_each(|(kept, score)| *kept = score * factor);
        }
    }
}

/// The length of a row; several sums side by side, because each addition waits for the one before it.
fn length(row: &[f32]) -> f32 {
    let mut sums = [0.0_f64; 8];
    for values in row.chunks(sums.len()) {
        sums.iter_mut().zip(values).for_each(|(sum, &v)| *sum += f64::from(v) * f64::from(v));
    }
    sums.iter().sum::<f64>().sqrt() as f32
}

/// The head's own product, for full text-space features.
pub(super) fn text_head(arithmetic: Arithmetic, plan: &Plan) -> Result<Linear> {
    let (weight, columns) = (&plan.head.weight, plan.head.text_dim());
    let bias = |column: usize| plan.head.bias.as_ref().map_or(0.0, |bias| bias.get(column));
    Linear::new(arithmetic, weight.shape[0], columns, |row, column| weight.get(row * columns + column), bias)
}

/// `[v, text dimension]` features.
pub(super) fn text_features(
    trunk: &Tensor,
    linear: &Linear,
    workers: &Workers,
    arena: &Arena,
    control: Control<'_>,
) -> Result<Buffer<f32>> {
    let columns = linear.columns();
    let mut features = arena.filled(trunk.rows * columns, 0.0_f32, "the text-space features")?;
    let block_rows = linear.block_rows();
    features.par_chunks_mut(block_rows * columns).enumerate().try_for_each(|(index, block)| {
        control.cancel.check()?;
        let rows = block.len() / columns;
        workers.with(rows * linear.stride(), |result| {
            linear.apply(trunk, index * block_rows, result);
            for (to, from) in block.chunks_exact_mut(columns).zip(result.chunks_exact(linear.stride())) {
                to.copy_from_slice(&from[..columns]);
            }
        })
    })?;
    Ok(features)
}

/// `[v, channels]` trunk features without padding.
pub(super) fn trunk_features(trunk: &Tensor, arena: &Arena, control: Control<'_>) -> Result<Buffer<f32>> {
    let mut features = arena.filled(trunk.rows * trunk.channels, 0.0_f32, "the trunk features")?;
    features.par_chunks_mut(BLOCK * trunk.channels).enumerate().try_for_each(|(block, rows)| {
        control.cancel.check()?;
        for (index, row) in rows.chunks_exact_mut(trunk.channels).enumerate() {
            row.copy_from_slice(trunk.row(block * BLOCK + index));
        }
        Ok(())
    })?;
    Ok(features)
}
