//! Runs text towers: token sequences at their own lengths, rows of many of them in one product: each weight is read once
//! for all.

use super::arithmetic::{Arithmetic, row_words};
use super::dense::{PackedDense, finish_rows};
use super::linear::MOST_ROWS;
use super::tensor::{Scratch, Tensor, Workers};
use crate::arena::parts;
use crate::backend::Precision;
use crate::cancel::Cancel;
use crate::error::{Error, Result, filled, with_capacity};
use crate::plan::{Activation, LayerNorm, Tower, TowerStep, Weight};
use rayon::prelude::*;
use std::ops::Range;

/// The buffers of a batch: its rows, what is made of them by rows, the inner values of a step, and the rows that remain.
const ROWS: usize = 0;
const NORMAL: usize = 1;
const INNER: usize = 2;
const ENDS: usize = 3;

/// Values that are summed side by side.
const LANES: usize = 16;

/// A [`Tower`] in this backend's form. Any number of threads may use it.
pub struct PreparedTower {
    width: usize,
    heads: usize,
    end_token: u32,
    tokens: Weight,
    positions: Weight,
    steps: Vec<PreparedStep>,
    norm: LayerNorm,
    projection: PackedDense,
}

enum PreparedStep {
    Attention { norm: LayerNorm, query_key_value: PackedDense, out: PackedDense },
    FeedForward { norm: LayerNorm, up: PackedDense, activation: Activation, down: PackedDense },
}

impl PreparedTower {
    /// Packs `tower`, giving up its weights one after the other.
    pub(super) fn new(arithmetic: Arithmetic, tower: Tower) -> Result<Self> {
        let prepare = |step: TowerStep| -> Result<PreparedStep> {
            Ok(match step {
                TowerStep::Attention { norm, query_key_value, out } => PreparedStep::Attention {
                    norm,
                    query_key_value: PackedDense::new(arithmetic, query_key_value)?,
                    out: PackedDense::new(arithmetic, out)?,
                },
                TowerStep::FeedForward { norm, up, activation, down } => PreparedStep::FeedForward {
                    norm,
                    up: PackedDense::new(arithmetic, up)?,
                    activation,
                    down: PackedDense::new(arithmetic, down)?,
                },
            })
        };
        Ok(Self {
            width: tower.norm.weight.len(),
            heads: tower.heads,
            end_token: tower.end_token,
            tokens: tower.tokens,
            positions: tower.positions,
            steps: tower.steps.into_iter().map(prepare).collect::<Result<_>>()?,
            norm: tower.norm,
            projection: PackedDense::new(arithmetic, tower.projection)?,
        })
    }

    /// Width of an embedding.
    pub fn dim(&self) -> usize {
        self.projection.columns()
    }

    /// Most tokens of a sequence.
    pub fn context(&self) -> usize {
        self.positions.shape[0].min(MOST_ROWS)
    }

    /// The widest row between two products, or behind the last.
    fn widest(&self) -> usize {
        let step = |step: &PreparedStep| match step {
            PreparedStep::Attention { query_key_value, .. } => query_key_value.columns(),
            PreparedStep::FeedForward { up, .. } => up.columns(),
        };
        self.steps.iter().map(step).fold(self.dim(), usize::max)
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> u64 {
        let step = |step: &PreparedStep| match step {
            PreparedStep::Attention { query_key_value, out, .. } => query_key_value.bytes() + out.bytes(),
            PreparedStep::FeedForward { up, down, .. } => up.bytes() + down.bytes(),
        };
        let tables = (self.tokens.bytes() + self.positions.bytes()) as u64;
        tables + self.steps.iter().map(step).sum::<u64>() + self.projection.bytes()
    }

    /// `[sequences, dim]` embeddings of unit length, on the current thread pool. An embedding has the same bits whatever
    /// sequences are encoded beside it and however many threads there are.
    pub(super) fn encode(&self, sequences: &[Vec<u32>], workers: &Workers, cancel: Cancel<'_>) -> Result<Vec<f32>> {
        for (index, sequence) in sequences.iter().enumerate() {
            self.check(index, sequence)?;
        }
        let mut scratch = Scratch::default();
        let mut embeddings = with_capacity(sequences.len() * self.dim(), "the text embeddings")?;
        let mut rest = sequences;
        while !rest.is_empty() {
            let mut rows = 0;
            let fits = |sequence: &&Vec<u32>| {
                rows += sequence.len();
                rows <= MOST_ROWS
            };
            let (batch, after) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            self.encode_batch(batch, (workers, cancel), &mut scratch, &mut embeddings)?;
            rest = after;
        }
        Ok(embeddings)
    }

    fn check(&self, index: usize, sequence: &[u32]) -> Result<()> {
        let (context, tokens) = (self.context(), self.tokens.shape[0]);
        if sequence.len() > context {
            let length = sequence.len();
            return Err(Error::argument(format!("sequence {index} has {length} tokens; the tower reads {context}")));
        }
        if !sequence.contains(&self.end_token) {
            let end = self.end_token;
            return Err(Error::argument(format!("sequence {index} lacks the end token {end}; put it last")));
        }
        match sequence.iter().find(|token| **token as usize >= tokens) {
            Some(token) => {
                Err(Error::argument(format!("sequence {index} has token {token}; the tower knows {tokens}")))
            }
            None => Ok(()),
        }
    }

    fn encode_batch(
        &self,
        batch: &[Vec<u32>],
        (workers, cancel): (&Workers, Cancel<'_>),
        scratch: &mut Scratch,
        embeddings: &mut Vec<f32>,
    ) -> Result<()> {
        let mut run = Run::new(self, batch, (workers, cancel), scratch)?;
        let last_attention = self.steps.iter().rposition(|step| matches!(step, PreparedStep::Attention { .. }));
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                PreparedStep::Attention { norm, query_key_value, out } => run.attention(norm, query_key_value, out)?,
                PreparedStep::FeedForward { norm, up, activation, down } => {
                    run.feed_forward(norm, up, *activation, down)?;
                }
            }
            if Some(index) == last_attention {
                // What follows treats every row by itself, and one row of each sequence counts.
                run.keep_ends(batch, self.end_token)?;
            }
        }
        if last_attention.is_none() {
            run.keep_ends(batch, self.end_token)?;
        }
        let normal = run.normal(&self.norm)?;
        let mut projected = run.scratch.take(INNER, batch.len(), self.dim(), Precision::F32)?;
        let panels = self.projection.apply(&normal, workers)?;
        finish_rows(&panels, &mut projected, |to, from| to.copy_from_slice(from));
        for row in 0..batch.len() {
            embeddings.extend_from_slice(projected.row(row));
            let start = embeddings.len() - self.dim();
            unit_length(&mut embeddings[start..])?;
        }
        run.scratch.give(normal);
        run.scratch.give(projected);
        Ok(())
    }
}

fn unit_length(row: &mut [f32]) -> Result<()> {
    let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
    if !(length.is_finite() && length > 0.0) {
        return Err(Error::format(format!("a text's embedding has length {length}; the tower's weights are damaged")));
    }
    row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    Ok(())
}

/// The rows of a batch on their way through the tower.
struct Run<'a> {
    heads: usize,
    workers: &'a Workers,
    cancel: Cancel<'a>,
    scratch: &'a mut Scratch,
    /// `[tokens of all sequences, width]`.
    rows: Tensor,
    /// Each sequence's rows.
    sequences: Vec<Range<usize>>,
}

impl<'a> Run<'a> {
    fn new(
        tower: &PreparedTower,
        batch: &[Vec<u32>],
        (workers, cancel): (&'a Workers, Cancel<'a>),
        scratch: &'a mut Scratch,
    ) -> Result<Self> {
        let mut end = 0;
        let ranges = batch.iter().map(|sequence| {
            end += sequence.len();
            end - sequence.len()..end
        });
        let sequences: Vec<Range<usize>> = ranges.collect();
        let [row, inner] = [tower.width, tower.widest()].map(|width| row_words(width, Precision::F32));
        scratch.reserve(&[end * row, end * row, end * inner, batch.len() * row], None)?;
        let mut rows = scratch.take(ROWS, end, tower.width, Precision::F32)?;
        let places = batch.iter().flat_map(|sequence| sequence.iter().enumerate());
        let stride = rows.stride;
        for (row, (place, &token)) in rows.as_mut_slice().chunks_exact_mut(stride).zip(places) {
            let (token, place) = (token as usize * tower.width, place * tower.width);
            for (column, value) in row[..tower.width].iter_mut().enumerate() {
                *value = tower.tokens.get(token + column) + tower.positions.get(place + column);
            }
            row[tower.width..].fill(0.0);
        }
        Ok(Self { heads: tower.heads, workers, cancel, scratch, rows, sequences })
    }

    /// The rows, normalised.
    fn normal(&mut self, norm: &LayerNorm) -> Result<Tensor> {
        let mut normal = self.scratch.take(NORMAL, self.rows.rows, self.rows.channels, Precision::F32)?;
        let (stride, width) = (normal.stride, normal.channels);
        let rows = self.rows.as_slice().par_chunks_exact(stride);
        normal.as_mut_slice().par_chunks_exact_mut(stride).zip(rows).for_each(|(to, from)| {
            normalise(norm, &from[..width], &mut to[..width]);
            to[width..].fill(0.0);
        });
        Ok(normal)
    }

    /// `dense` of `input`, which is given up.
    fn product(&mut self, dense: &PackedDense, input: Tensor, finish: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
        self.cancel.check()?;
        let panels = dense.apply(&input, self.workers)?;
        let mut output = self.scratch.take(INNER, input.rows, dense.columns(), Precision::F32)?;
        self.scratch.give(input);
        let stride = output.stride;
        let columns = output.channels;
        finish_rows(&panels, &mut output, |to, from| {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = finish(from))
        });
        output.as_mut_slice().chunks_exact_mut(stride).for_each(|row| row[columns..].fill(0.0));
        Ok(output)
    }

    /// Adds `dense` of `input`, which is given up, to the rows.
    fn add(&mut self, dense: &PackedDense, input: Tensor) -> Result<()> {
        self.cancel.check()?;
        let panels = dense.apply(&input, self.workers)?;
        self.scratch.give(input);
        finish_rows(&panels, &mut self.rows, |to, from| to.iter_mut().zip(from).for_each(|(to, from)| *to += from));
        Ok(())
    }

    fn attention(&mut self, norm: &LayerNorm, query_key_value: &PackedDense, out: &PackedDense) -> Result<()> {
        let normal = self.normal(norm)?;
        let joined = self.product(query_key_value, normal, |value| value)?;
        let mut heads = self.scratch.take(NORMAL, self.rows.rows, self.rows.channels, Precision::F32)?;
        let stride = heads.stride;
        let rows = parts(heads.as_mut_slice(), self.sequences.iter().map(|sequence| sequence.len() * stride));
        let mut tasks = with_capacity(self.sequences.len(), "the sequences")?;
        tasks.extend(self.sequences.iter().cloned().zip(rows));
        let (count, width) = (self.heads, self.rows.channels);
        tasks.into_par_iter().try_for_each(|(sequence, rows)| attend(&joined, sequence, count, width, stride, rows))?;
        self.scratch.give(joined);
        self.add(out, heads)
    }

    fn feed_forward(
        &mut self,
        norm: &LayerNorm,
        up: &PackedDense,
        activation: Activation,
        down: &PackedDense,
    ) -> Result<()> {
        let normal = self.normal(norm)?;
        let inner = match activation {
            Activation::QuickGelu => self.product(up, normal, quick_gelu)?,
            Activation::Gelu => self.product(up, normal, gelu)?,
        };
        self.add(down, inner)
    }

    /// Goes on with the row of each sequence's first end token alone.
    fn keep_ends(&mut self, batch: &[Vec<u32>], end_token: u32) -> Result<()> {
        let mut ends = self.scratch.take(ENDS, batch.len(), self.rows.channels, Precision::F32)?;
        let stride = ends.stride;
        let rows = ends.as_mut_slice().chunks_exact_mut(stride);
        for (to, (sequence, range)) in rows.zip(batch.iter().zip(&self.sequences)) {
            let place = sequence.iter().position(|token| *token == end_token).unwrap_or(0);
            to.copy_from_slice(&self.rows.as_slice()[(range.start + place) * stride..][..stride]);
        }
        self.scratch.give(std::mem::replace(&mut self.rows, ends));
        Ok(())
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.scratch.give(std::mem::take(&mut self.rows));
    }
}

fn normalise(norm: &LayerNorm, from: &[f32], to: &mut [f32]) {
    let count = from.len() as f64;
    let mean = from.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = from.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    let (mean, factor) = (mean as f32, (1.0 / (variance + f64::from(norm.epsilon)).sqrt()) as f32);
    for (((to, from), weight), bias) in to.iter_mut().zip(from).zip(&norm.weight).zip(&norm.bias) {
        *to = (from - mean) * factor * weight + bias;
    }
}

/// Causal attention within one sequence; `rows` are its rows of the result.
fn attend(
    joined: &Tensor,
    sequence: Range<usize>,
    heads: usize,
    width: usize,
    stride: usize,
    rows: &mut [f32],
) -> Result<()> {
    let size = width / heads;
    let scale = 1.0 / (size as f32).sqrt();
    let mut weights = filled(sequence.len(), 0.0_f32, "the weights of a head")?;
    for (query_row, output) in sequence.clone().zip(rows.chunks_exact_mut(stride)) {
        output.fill(0.0);
        let seen = sequence.start..query_row + 1;
        for head in 0..heads {
            let part = |row: usize, which: usize| &joined.row(row)[which * width + head * size..][..size];
            let query = part(query_row, 0);
            for (weight, row) in weights.iter_mut().zip(seen.clone()) {
                *weight = dot(query, part(row, 1)) * scale;
            }
            let weights = &mut weights[..seen.len()];
            let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            weights.iter_mut().for_each(|weight| *weight = (*weight - highest).exp());
            let total: f32 = weights.iter().sum();
            let output = &mut output[head * size..][..size];
            for (weight, row) in weights.iter().zip(seen.clone()) {
                let weight = weight / total;
                output.iter_mut().zip(part(row, 2)).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (a, b) = (a.chunks(LANES), b.chunks(LANES));
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum()
}

fn quick_gelu(x: f32) -> f32 {
    x / (1.0 + (-1.702 * x).exp())
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2))
}

impl std::fmt::Debug for PreparedTower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PreparedTower of {} steps, {} wide", self.steps.len(), self.width)
    }
}
