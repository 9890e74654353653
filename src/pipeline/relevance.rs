//! How well points fit one text: its score against the best of others, as a share of the two.
//!
//! The relevancy of LERF (Kerr et al., ICCV 2023, section 3.3): the least, over the other texts, of
//! `exp(s / t) / (exp(s / t) + exp(o / t))`. It is 1/2 where the text is as likely as the best of the others.

use crate::error::{Error, ErrorKind, Result, filled};

/// `[rows]` relevance of label `target` from `[rows, labels]` scores, cosines as a rule. A row whose scores are not
/// finite gets 0. `temperature` is CLIP's own at 0.01.
pub fn relevance(scores: &[f32], labels: usize, target: usize, temperature: f32) -> Result<Vec<f32>> {
    if labels < 2 || target >= labels {
        let message = format!("label {target} of {labels}; give the text and at least one other to compare it with");
        return Err(Error::argument(message));
    }
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(Error::argument(format!("temperature is {temperature}; it must be positive, such as 0.01")));
    }
    if !scores.len().is_multiple_of(labels) {
        let message = format!("{} scores are no rows of {labels}", scores.len());
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let mut relevance = filled(scores.len() / labels, 0.0_f32, "the relevance of the voxels")?;
    for (relevance, row) in relevance.iter_mut().zip(scores.chunks_exact(labels)) {
        let others = row.iter().enumerate().filter(|(label, _)| *label != target).map(|(_, score)| *score);
        // The share falls with the other score, so the best other gives the least.
        let best = others.fold(f32::NEG_INFINITY, f32::max);
        let share = 1.0 / (1.0 + ((best - row[target]) / temperature).exp());
        *relevance = if row[target].is_finite() && best.is_finite() { share } else { 0.0 };
    }
    Ok(relevance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compared_with_the_best_other() {
        let scores = [0.3, 0.2, 0.3, 0.1, 0.2, 0.19, f32::NAN, 0.0, 0.0];
        let relevance = relevance(&scores, 3, 0, 0.1).unwrap();
        assert_eq!((relevance[0], relevance[2]), (0.5, 0.0));
        assert!((relevance[1] - 1.0 / (1.0 + 1.0_f32.exp())).abs() < 1e-6);
    }

    #[test]
    fn extreme_scores_and_wrong_arguments() {
        assert_eq!(relevance(&[1e30, -1e30, -1e30, 1e30], 2, 0, 1e-3).unwrap(), [1.0, 0.0]);
        assert!(relevance(&[], 2, 0, 0.01).unwrap().is_empty());
        assert!(relevance(&[1.0], 1, 0, 0.01).is_err() && relevance(&[1.0; 4], 2, 2, 0.01).is_err());
        assert!(relevance(&[1.0; 3], 2, 0, 0.01).is_err() && relevance(&[1.0; 4], 2, 0, 0.0).is_err());
    }
}
