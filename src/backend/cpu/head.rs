//! Scores of voxels from the folded head, ranked block by block and lifted to points; full features when asked for.

use super::arithmetic::Arithmetic;
use super::linear::{Linear, identity_pairs};
use super::tensor::Tensor;
use crate::backend::{Control, HeadMatrix, ScoreRequest, Scores, Work};
use crate::error::{Error, ErrorKind, Result, collected, filled, zeroed};
use crate::plan::{Plan, Ranking, Scoring, Similarity};
use crate::sparse::{NO_VOXEL, Pair};
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
    control: Control<'_>,
) -> Result<Scores> {
    let scoring = request.scoring;
    let Some(head) = request.head.0.downcast_ref::<PackedHead>() else {
        return Err(Error::new(ErrorKind::InvalidState, "the head was prepared by another backend"));
    };
    if head.linear.columns() < head.prompts + usize::from(scoring.similarity == Similarity::Cosine) {
        return Err(Error::new(ErrorKind::InvalidState, "the head was folded without what cosine scores need"));
    }
    let wanted = |asked: bool, columns: usize, what: &str| zeroed(usize::from(asked) * rows.len() * columns, what);
    let unranked = Ranking { label: -1, score: 0.0 };
    let mut ranked = filled(rows.len() * request.top_k, unranked, "the labels of the voxels")?;
    let mut scores = Scores {
        logits: wanted(request.logits, scoring.labels, "the logits")?,
        prompt_scores: wanted(request.prompt_scores, head.prompts, "the prompt scores")?,
        ..Scores::default()
    };
    let block_rows = head.linear.block_rows();
    let pairs = identity_pairs(block_rows);
    let mut logits = scores.logits.chunks_mut(block_rows * scoring.labels.max(1));
    let mut prompt_scores = scores.prompt_scores.chunks_mut(block_rows * head.prompts.max(1));
    let ranked_blocks = ranked.chunks_mut(block_rows * request.top_k).enumerate().map(|(index, ranked)| Block {
        first: rows.start + index * block_rows,
        ranked,
        logits: logits.next(),
        prompt_scores: prompt_scores.next(),
    });
    let blocks = collected(ranked_blocks, "the blocks of scores")?;
    blocks.into_par_iter().try_for_each(|block| {
        control.cancel.check()?;
        score_block(trunk, head, request, &pairs, block)
    })?;
    lift(&ranked, voxel_of_point, request.top_k, control, &mut scores)?;
    Ok(scores)
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
    let count = voxel_of_point.len() * top_k;
    points.labels = filled(count, -1, "the labels of the points")?;
    points.scores = zeroed(count, "the scores of the points")?;
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
    pairs: &[Pair],
    mut block: Block<'_>,
) -> Result<()> {
    let (scoring, stride) = (request.scoring, head.linear.stride());
    let rows = block.ranked.len() / request.top_k;
    let mut result = filled(rows * stride, 0.0_f32, "a block of scores")?;
    let mut labels = filled(scoring.labels, 0.0_f32, "a row of scores")?;
    head.linear.apply(trunk, block.first, &pairs[..rows], &mut result);
    for (row, (products, top)) in result.chunks_exact(stride).zip(block.ranked.chunks_mut(request.top_k)).enumerate() {
        let (prompts, norm_terms) = products[..head.linear.columns()].split_at(head.prompts);
        let norm = norm_terms.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt() as f32;
        scoring.label_scores(prompts, norm, &mut labels);
        scoring.normalise(&mut labels);
        Scoring::rank(&labels, top);
        if let Some(logits) = &mut block.logits {
            logits[row * scoring.labels..][..scoring.labels].copy_from_slice(&labels);
        }
        if let Some(kept) = &mut block.prompt_scores {
            let kept = &mut kept[row * head.prompts..][..head.prompts];
            let factor = scoring.factor(norm);
            kept.iter_mut().zip(prompts).for_each(|(kept, score)| *kept = score * factor);
        }
    }
    Ok(())
}

/// The head's own product, for full text-space features.
pub(super) fn text_head(arithmetic: Arithmetic, plan: &Plan) -> Result<Linear> {
    let (weight, columns) = (&plan.head.weight, plan.head.text_dim());
    let bias = |column: usize| plan.head.bias.as_ref().map_or(0.0, |bias| bias.get(column));
    Linear::new(arithmetic, weight.shape[0], columns, |row, column| weight.get(row * columns + column), bias)
}

/// `[v, text dimension]` features.
pub(super) fn text_features(trunk: &Tensor, linear: &Linear, control: Control<'_>) -> Result<Vec<f32>> {
    let columns = linear.columns();
    let mut features = zeroed(trunk.rows * columns, "the text-space features")?;
    let block_rows = linear.block_rows();
    let pairs = identity_pairs(block_rows);
    features.par_chunks_mut(block_rows * columns).enumerate().try_for_each(|(index, block)| {
        control.cancel.check()?;
        let rows = block.len() / columns;
        let mut result = filled(rows * linear.stride(), 0.0_f32, "a block of features")?;
        linear.apply(trunk, index * block_rows, &pairs[..rows], &mut result);
        for (to, from) in block.chunks_exact_mut(columns).zip(result.chunks_exact(linear.stride())) {
            to.copy_from_slice(&from[..columns]);
        }
        Ok(())
    })?;
    Ok(features)
}

/// `[v, channels]` trunk features without padding.
pub(super) fn trunk_features(trunk: &Tensor, control: Control<'_>) -> Result<Vec<f32>> {
    let mut features = zeroed(trunk.rows * trunk.channels, "the trunk features")?;
    features.par_chunks_mut(BLOCK * trunk.channels).enumerate().try_for_each(|(block, rows)| {
        control.cancel.check()?;
        for (index, row) in rows.chunks_exact_mut(trunk.channels).enumerate() {
            row.copy_from_slice(trunk.row(block * BLOCK + index));
        }
        Ok(())
    })?;
    Ok(features)
}
