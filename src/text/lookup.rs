//! Words found in a vocabulary: labels without a text tower.

use super::prompt::PromptedLabel;
use crate::error::{Error, Result, collected, with_capacity};
use crate::model::{Label, Other, Vocabulary};

/// Most names that an error suggests.
const SUGGESTIONS: usize = 5;
/// Least likeness of a name that is suggested.
const LIKE: f64 = 0.4;

impl Vocabulary {
    /// A vocabulary of `labels` whose prompts are labels of this one. A label takes over all prompts of those that stand
    /// for it, and the colour of the first. A word that is no label here is an error with the names most like it.
    pub fn look_up(&self, labels: &[PromptedLabel]) -> Result<Self> {
        let mut found = with_capacity(labels.iter().map(|label| label.prompts.len()).sum(), "the words")?;
        // Where each label's members begin, and where the last one's end.
        let mut starts = with_capacity(labels.len() + 1, "the words")?;
        for label in labels {
            starts.push(found.len());
            for prompt in &label.prompts {
                found.push(self.find(&prompt.words).ok_or_else(|| self.unknown(&prompt.words))?);
            }
        }
        starts.push(found.len());
        let flat = self.select(&found)?;
        let joined = labels.iter().zip(starts.windows(2)).map(|(label, ends)| Label {
            name: label.name.clone(),
            prompts: flat.labels()[ends[0]..ends[1]].iter().flat_map(|member| member.prompts.iter().cloned()).collect(),
        });
        let sets = flat.embeddings().to_vec();
        let words = Self::new(collected(joined, "the labels")?, sets)?.with_notice(self.notice().to_owned());
        let firsts = &starts[..labels.len()];
        let colors = firsts.iter().filter_map(|&first| flat.colors().get(first)).copied().collect();
        let label_of = |member: usize| starts.partition_point(|&start| start <= member) - 1;
        let other = flat.other().map(|other| Other { label: label_of(other.label), ..other });
        words.with_colors(colors)?.with_other(other)
    }

    fn unknown(&self, name: &str) -> Error {
        let near = self.names_like(name);
        let hint = match near.is_empty() {
            true => format!("choose among its {} labels", self.len()),
            false => format!("the nearest of its {} are '{}'", self.len(), near.join("', '")),
        };
        Error::argument(format!("the vocabulary has no label '{name}'; {hint}"))
    }

    /// The names most like `name`, letter for letter, best first.
    fn names_like(&self, name: &str) -> Vec<&str> {
        let asked = letter_pairs(name);
        let mut names: Vec<(f64, &str)> = self
            .labels()
            .iter()
            .map(|label| (likeness(&asked, &letter_pairs(&label.name)), label.name.as_str()))
            .filter(|(likeness, _)| *likeness >= LIKE)
            .collect();
        names.sort_by(|a, b| b.0.total_cmp(&a.0));
        names.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
    }
}

/// The pairs of neighbouring letters, sorted.
fn letter_pairs(name: &str) -> Vec<(char, char)> {
    let lower = name.to_lowercase();
    let mut pairs: Vec<(char, char)> = lower.chars().zip(lower.chars().skip(1)).collect();
    pairs.sort_unstable();
    pairs
}

/// The share of pairs that two sorted lists have in common (Dice 1945), from 0 to 1.
fn likeness(a: &[(char, char)], b: &[(char, char)]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        common += usize::from(a[i] == b[j]);
        (i, j) = (i + usize::from(a[i] <= b[j]), j + usize::from(a[i] >= b[j]));
    }
    2.0 * common as f64 / (a.len() + b.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let rows: Vec<f32> = (0..16).map(|i| f32::from(u8::from(i % 5 == 0))).collect();
        let bare = Vocabulary::from_embeddings(&["sofa", "car (automobile)", "Truck", "bed"], &rows, 4, "s").unwrap();
        bare.with_colors((0..4).map(|i| [i; 3]).collect()).unwrap().with_notice("mine".to_owned())
    }

    #[test]
    fn words_are_found_and_grouped() {
        let vehicle = PromptedLabel::grouped("vehicle", &["truck", "car (automobile)"]);
        let all = vocabulary().with_other(Some(Other { label: 1, threshold: 0.5 })).unwrap();
        let words = all.look_up(&[PromptedLabel::named("Bed"), vehicle, PromptedLabel::named("sofa")]).unwrap();
        let names: Vec<&str> = words.labels().iter().map(|label| label.name.as_str()).collect();
        assert_eq!((names, words.label_of_prompt()), (vec!["Bed", "vehicle", "sofa"], vec![0, 1, 1, 2]));
        assert_eq!(words.labels()[1].prompts, ["Truck", "car (automobile)"]);
        assert_eq!((words.colors(), words.notice()), (&[[3; 3], [2; 3], [0; 3]][..], "mine"));
        assert_eq!(words.other(), Some(Other { label: 1, threshold: 0.5 }));
        for (row, from) in [3, 2, 1, 0].into_iter().enumerate() {
            assert_eq!(words.embeddings()[0].row(row), all.embeddings()[0].row(from));
        }
    }

    #[test]
    fn an_unknown_word_names_those_most_like_it() {
        let message = |word: &str| vocabulary().look_up(&[PromptedLabel::named(word)]).unwrap_err().to_string();
        assert!(message("soffa").contains("'soffa'; the nearest of its 4 are 'sofa'"), "{}", message("soffa"));
        assert!(message("sofa bed").contains("are 'sofa', 'bed'"), "{}", message("sofa bed"));
        assert!(message("xylophone").contains("choose among its 4 labels"));
        assert!(message("").contains("''"));
        assert!(vocabulary().look_up(&[]).is_err());
    }
}
