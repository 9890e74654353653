//! From the prompt scores of one voxel to its label: groups, similarity, softmax, ranking. The plain algorithm.
//!
//! Scores are the published dot products of an unnormalised feature with unit text embeddings, or cosines.

use std::sync::Arc;

/// What a feature and a text embedding are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Similarity {
    /// The raw dot product with the unit text embedding, as OpenScene's evaluation does.
    #[default]
    Dot,
    /// The dot product over the feature's length.
    Cosine,
}

/// How the prompt scores of a voxel become label scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Scoring {
    /// `[prompts]` the label each prompt stands for; every label has at least one prompt.
    pub label_of_prompt: Arc<[u32]>,
    /// Number of labels.
    pub labels: usize,
    /// Dot product or cosine.
    pub similarity: Similarity,
    /// When set, scores become `softmax(score / temperature)` over the labels.
    pub temperature: Option<f32>,
}

/// The best labels of one row, best first; ties go to the smaller label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// The label.
    pub label: i32,
    /// Its score.
    pub score: f32,
}

impl Scoring {
    /// The largest score over each label's prompts, after division by `norm` if the similarity is cosine.
    pub fn label_scores(&self, prompt_scores: &[f32], norm: f32, labels: &mut [f32]) {
        labels.fill(f32::NEG_INFINITY);
        let factor = self.factor(norm);
        for (&label, &score) in self.label_of_prompt.iter().zip(prompt_scores) {
            let best = &mut labels[label as usize];
            *best = best.max(score * factor);
        }
    }

    /// What a dot product with a feature of length `norm` is multiplied by.
    pub fn factor(&self, norm: f32) -> f32 {
        match self.similarity {
            Similarity::Dot => 1.0,
            Similarity::Cosine => 1.0 / norm.max(f32::MIN_POSITIVE),
        }
    }

    /// Applies the softmax, if one is asked for, in place.
    pub fn normalise(&self, labels: &mut [f32]) {
        let Some(temperature) = self.temperature else { return };
        let highest = labels.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !highest.is_finite() {
            labels.fill(f32::NAN);
            return;
        }
        for score in &mut *labels {
            *score = ((*score - highest) / temperature).exp();
        }
        let total: f32 = labels.iter().sum();
        for score in labels {
            *score /= total;
        }
    }

    /// Writes the `top.len()` best labels, best first. A score that is not finite gives no label.
    pub fn rank(labels: &[f32], top: &mut [Ranking]) {
        top.fill(Ranking { label: -1, score: 0.0 });
        for (label, &score) in labels.iter().enumerate().filter(|(_, score)| score.is_finite()) {
            let Some(last) = top.last() else { return };
            if score <= last.score && last.label >= 0 {
                continue;
            }
            let at = top.partition_point(|kept| kept.label >= 0 && kept.score >= score);
            top[at..].rotate_right(1);
            top[at] = Ranking { label: label as i32, score };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scoring(similarity: Similarity, temperature: Option<f32>) -> Scoring {
        Scoring { label_of_prompt: Arc::new([0, 1, 1, 2]), labels: 3, similarity, temperature }
    }

    #[test]
    fn a_label_scores_as_its_best_prompt() {
        let mut labels = [0.0; 3];
        scoring(Similarity::Dot, None).label_scores(&[0.5, -1.0, 2.0, 1.0], 4.0, &mut labels);
        assert_eq!(labels, [0.5, 2.0, 1.0]);
        scoring(Similarity::Cosine, None).label_scores(&[0.5, -1.0, 2.0, 1.0], 4.0, &mut labels);
        assert_eq!(labels, [0.125, 0.5, 0.25]);
    }

    #[test]
    fn softmax_sums_to_one_even_for_large_scores() {
        let mut labels = [1000.0, 1001.0, 900.0];
        scoring(Similarity::Dot, Some(1.0)).normalise(&mut labels);
        assert!((labels.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((labels[1] / labels[0] - std::f32::consts::E).abs() < 1e-3);
    }

    #[test]
    fn ranking_breaks_ties_by_the_smaller_label() {
        let mut top = [Ranking { label: 7, score: 9.0 }; 3];
        Scoring::rank(&[1.0, 3.0, 3.0, 2.0, 3.0], &mut top);
        assert_eq!(top.map(|r| r.label), [1, 2, 4]);
        let mut top = [Ranking { label: 0, score: 0.0 }; 3];
        Scoring::rank(&[f32::NEG_INFINITY, 1.0], &mut top);
        assert_eq!(top.map(|r| r.label), [1, -1, -1], "fewer finite scores than places");
        Scoring::rank(&[f32::NAN, f32::INFINITY, f32::NAN], &mut top);
        assert_eq!(top, [Ranking { label: -1, score: 0.0 }; 3]);
        let mut labels = [f32::NEG_INFINITY; 3];
        scoring(Similarity::Dot, Some(0.1)).normalise(&mut labels);
        Scoring::rank(&labels, &mut top);
        assert_eq!(top[0].label, -1);
    }
}
