//! Folding a vocabulary into the network's head, so that labels never need the 512- or 768-wide features.
//!
//! With head weight W (and bias b) and unit text embeddings E, prompt scores are `x (W Eᵀ) + b Eᵀ`. The length of the
//! feature, which cosine scores divide by, is `|[x 1] L|` with `L Lᵀ = [W; b] [W; b]ᵀ`.

use super::SegmentOptions;
use crate::backend::{Backend, HeadMatrix, PreparedHead};
use crate::cancel::Cancel;
use crate::error::{Result, collected, filled, with_capacity};
use crate::model::{Model, Vocabulary};
use crate::plan::{Scoring, Similarity};
use std::sync::Arc;

/// A vocabulary folded into one model's head, in one backend's form.
#[derive(Debug)]
pub struct FoldedVocabulary {
    /// The vocabulary.
    pub vocabulary: Arc<Vocabulary>,
    /// Label of each prompt.
    label_of_prompt: Arc<[u32]>,
    dot: PreparedHead,
    cosine: PreparedHead,
}

impl FoldedVocabulary {
    /// Folds `vocabulary` into the head of `model`; fails when it has no embeddings in the model's text space.
    pub fn new(model: &Model, vocabulary: Arc<Vocabulary>, backend: &dyn Backend) -> Result<Self> {
        let space = model.text_space();
        let embeddings = vocabulary.embeddings_for(&space.name, space.dim)?;
        let head = Affine64::new(model)?;
        let dot = head.scores(&embeddings.rows)?;
        let factor =
            model.plan().prepared.get_or_prepare(("norm factor", 0), Cancel::default(), || head.gram_factor())?;
        let cosine = head.with_norm(&dot, &factor)?;
        let [dot, cosine] = [backend.prepare_head(&dot)?, backend.prepare_head(&cosine)?];
        Ok(Self { label_of_prompt: vocabulary.label_of_prompt().into(), dot, cosine, vocabulary })
    }

    /// How scores become labels.
    pub fn scoring(&self, options: &SegmentOptions) -> Scoring {
        Scoring {
            label_of_prompt: self.label_of_prompt.clone(),
            labels: self.vocabulary.len(),
            similarity: options.similarity,
            temperature: options.temperature,
        }
    }

    /// The head that computes what `similarity` needs.
    pub fn head(&self, similarity: Similarity) -> &PreparedHead {
        match similarity {
            Similarity::Dot => &self.dot,
            Similarity::Cosine => &self.cosine,
        }
    }
}

/// The head's weight with its bias, if any, as one more row, in float64.
struct Affine64 {
    /// Trunk channels.
    channels: usize,
    /// Trunk channels, plus one with a bias.
    rows: usize,
    dim: usize,
    values: Vec<f64>,
}

impl Affine64 {
    fn new(model: &Model) -> Result<Self> {
        let head = &model.plan().head;
        let (channels, dim) = (head.weight.shape[0], head.text_dim());
        let rows = channels + usize::from(head.bias.is_some());
        let mut values = with_capacity(rows * dim, "the head's weights")?;
        values.extend(head.weight.values().chain(head.bias.iter().flat_map(|bias| bias.values())).map(f64::from));
        Ok(Self { channels, rows, dim, values })
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// The matrix of prompt scores for `[prompts, dim]` embeddings.
    fn scores(&self, embeddings: &[f32]) -> Result<HeadMatrix> {
        let prompts = embeddings.len() / self.dim;
        let mut product = filled(self.rows * prompts, 0.0_f32, "the folded vocabulary")?;
        for (row, scores) in product.chunks_exact_mut(prompts).enumerate() {
            for (score, embedding) in scores.iter_mut().zip(embeddings.chunks_exact(self.dim)) {
                *score = self.row(row).iter().zip(embedding).map(|(w, &e)| w * f64::from(e)).sum::<f64>() as f32;
            }
        }
        self.head_matrix(product, prompts, prompts)
    }

    /// `scores` with the columns of L, the Gram matrix's factor, after its own.
    fn with_norm(&self, scores: &HeadMatrix, factor: &[f64]) -> Result<HeadMatrix> {
        let columns = scores.columns() + self.rows;
        let mut joined = filled(self.rows * columns, 0.0_f32, "the folded vocabulary")?;
        for (row, out) in joined.chunks_exact_mut(columns).enumerate() {
            let left = match row {
                _ if row < self.channels => &scores.weight[row * scores.columns()..][..scores.columns()],
                _ => &scores.bias[..],
            };
            out[..scores.columns()].copy_from_slice(left);
            for (to, from) in out[scores.columns()..].iter_mut().zip(&factor[row * self.rows..]) {
                *to = *from as f32;
            }
        }
        self.head_matrix(joined, columns, scores.prompts)
    }

    /// Splits `[rows, columns]` into weight and bias.
    fn head_matrix(&self, mut values: Vec<f32>, columns: usize, prompts: usize) -> Result<HeadMatrix> {
        let below = self.channels * columns;
        let last_row = (0..columns).map(|column| values.get(below + column).copied().unwrap_or(0.0));
        let bias = collected(last_row, "the folded bias")?;
        values.truncate(below);
        Ok(HeadMatrix { rows: self.channels, weight: values, bias, prompts })
    }

    /// The lower Cholesky factor of the rows' Gram matrix, row-major. Rows may be dependent (a text space narrower
    /// than the trunk): a pivot that is rounding noise gives a zero column.
    fn gram_factor(&self) -> Result<Vec<f64>> {
        let n = self.rows;
        let dot = |i: usize, j: usize| -> f64 { self.row(i).iter().zip(self.row(j)).map(|(a, b)| a * b).sum() };
        let mut factor = filled(n * n, 0.0_f64, "the norm's factor")?;
        for j in 0..n {
            let left =
                |i: usize, factor: &[f64]| -> f64 { (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum() };
            let diagonal = dot(j, j);
            let pivot = diagonal - left(j, &factor);
            if pivot <= 1e-12 * diagonal {
                continue;
            }
            let root = pivot.sqrt();
            for i in j..n {
                factor[i * n + j] = (dot(i, j) - left(i, &factor)) / root;
            }
        }
        Ok(factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Graph, Provenance, TextSpace, Variant};
    use crate::plan::Weight;

    fn head(dim: usize, bias: bool) -> Affine64 {
        let mut graph = Graph::published(Variant::ALL[0], dim, 8);
        let model = Model::untrained(graph.clone(), 0.02, 11).unwrap();
        let mut tensors: std::collections::BTreeMap<_, _> =
            model.weights().map(|(name, weight)| (name.to_owned(), weight.clone())).collect();
        graph.head_bias = bias;
        if bias {
            tensors.insert("final.bias".into(), Weight::f32([dim], (0..dim).map(|d| d as f32 * 0.1 - 0.3).collect()));
        }
        let space = TextSpace::published(dim);
        Affine64::new(&Model::new(graph, tensors, 0.02, space, Provenance::default()).unwrap()).unwrap()
    }

    #[test]
    fn the_factor_gives_the_length_of_the_feature() {
        for (dim, bias) in [(40, false), (40, true), (5, false), (5, true), (1, true)] {
            let head = head(dim, bias);
            let embeddings: Vec<f32> = (0..3 * dim).map(|i| ((i * 29 % 17) as f32 - 8.0) / 20.0).collect();
            let matrix = head.with_norm(&head.scores(&embeddings).unwrap(), &head.gram_factor().unwrap()).unwrap();
            let x: Vec<f64> = (0..head.channels).map(|c| (c as f64 * 0.7).sin()).collect();
            let extended: Vec<f64> = x.iter().copied().chain(bias.then_some(1.0)).collect();
            let feature: Vec<f64> =
                (0..dim).map(|d| extended.iter().enumerate().map(|(r, v)| v * head.row(r)[d]).sum()).collect();
            let columns = matrix.columns();
            let product = |c: usize| -> f64 {
                f64::from(matrix.bias[c])
                    + x.iter().enumerate().map(|(r, v)| v * f64::from(matrix.weight[r * columns + c])).sum::<f64>()
            };
            let norm = (3..columns).map(|c| product(c).powi(2)).sum::<f64>().sqrt();
            let want = feature.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((norm - want).abs() <= 1e-5 * want, "{dim} {bias}: {norm} for {want}");
            for prompt in 0..3 {
                let embedding = &embeddings[prompt * dim..][..dim];
                let want: f64 = feature.iter().zip(embedding).map(|(f, &e)| f * f64::from(e)).sum();
                assert!((product(prompt) - want).abs() < 1e-5);
            }
        }
    }
}
