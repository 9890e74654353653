//! Vocabularies out of vocabularies: some of the labels, several joined, and how alike labels are.

use super::vocabulary::{Embeddings, Label, Vocabulary};
use crate::error::{Error, ErrorKind, Result, collected, filled, with_capacity};

impl Vocabulary {
    /// The number of the label `name`; letters of either case count as equal where no name is exactly that.
    pub fn find(&self, name: &str) -> Option<usize> {
        let exact = self.labels().iter().position(|label| label.name == name);
        let lower = name.to_lowercase();
        exact.or_else(|| self.labels().iter().position(|label| label.name.to_lowercase() == lower))
    }

    /// The vocabulary of `labels` of this one, in that order.
    pub fn select(&self, labels: &[usize]) -> Result<Self> {
        if let Some(label) = labels.iter().find(|label| **label >= self.len()) {
            return Err(Error::argument(format!("label {label} of {}; choose among them", self.len())));
        }
        let prompts: Vec<usize> = labels.iter().flat_map(|&label| self.prompts_of(label)).collect();
        let choose = |set: &Embeddings| -> Result<Embeddings> {
            let mut rows = with_capacity(prompts.len() * set.dim, "the embeddings")?;
            prompts.iter().for_each(|&prompt| rows.extend_from_slice(set.row(prompt)));
            Ok(Embeddings { space: set.space.clone(), dim: set.dim, rows })
        };
        let chosen = labels.iter().map(|&label| self.labels()[label].clone());
        let sets = self.embeddings().iter().map(choose).collect::<Result<_>>()?;
        let other = self.other().and_then(|other| {
            labels.iter().position(|&label| label == other.label).map(|label| super::Other { label, ..other })
        });
        let colors = match self.colors() {
            [] => Vec::new(),
            colors => labels.iter().map(|&label| colors[label]).collect(),
        };
        let bare = Self::new(collected(chosen, "the labels")?, sets)?.with_notice(self.notice().to_owned());
        bare.with_other(other)?.with_colors(colors)
    }

    /// All labels of `parts`, in order; labels of one name become one, with the prompts of all. Only text spaces that
    /// every part has remain; colours remain if every part has some, and the first part's label of other points.
    pub fn merge(parts: &[Self]) -> Result<Self> {
        let Some(first) = parts.first() else {
            return Err(Error::argument("no vocabulary to merge; give at least one"));
        };
        let common = |set: &&Embeddings| {
            let same = |other: &Embeddings| other.space == set.space && other.dim == set.dim;
            parts.iter().all(|part| part.embeddings().iter().any(same))
        };
        let mut sets: Vec<Embeddings> = first
            .embeddings()
            .iter()
            .filter(common)
            .map(|set| Embeddings { space: set.space.clone(), dim: set.dim, rows: Vec::new() })
            .collect();
        if sets.is_empty() {
            let spaces = |part: &Self| part.embeddings().iter().map(|s| format!("'{}'", s.space)).collect::<Vec<_>>();
            let all: Vec<String> = parts.iter().map(|part| spaces(part).join(" and ")).collect();
            let message = format!("the vocabularies share no text space: {}; encode them anew", all.join(", "));
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let mut labels: Vec<Label> = Vec::new();
        // Per label, where its prompts come from: part and prompt.
        let mut sources: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut colors = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            for (index, label) in part.labels().iter().enumerate() {
                let known = labels.iter().position(|known| known.name == label.name);
                let place = known.unwrap_or_else(|| {
                    labels.push(Label { name: label.name.clone(), prompts: Vec::new() });
                    sources.push(Vec::new());
                    colors.extend(part.colors().get(index));
                    labels.len() - 1
                });
                for (prompt, text) in part.prompts_of(index).zip(&label.prompts) {
                    if !labels[place].prompts.contains(text) {
                        labels[place].prompts.push(text.clone());
                        sources[place].push((number, prompt));
                    }
                }
            }
        }
        for set in &mut sets {
            for &(part, prompt) in sources.iter().flatten() {
                let from = parts[part].embeddings().iter().find(|from| from.space == set.space);
                set.rows.extend_from_slice(from.map_or(&[], |from| from.row(prompt)));
            }
        }
        let mut notices: Vec<&str> = parts.iter().map(Self::notice).filter(|notice| !notice.is_empty()).collect();
        notices.dedup();
        let colors = if colors.len() == labels.len() { colors } else { Vec::new() };
        // Equal names within the first part move what follows them.
        let place = |label: usize| labels.iter().position(|own| own.name == first.labels()[label].name);
        let other = first.other().and_then(|other| Some(super::Other { label: place(other.label)?, ..other }));
        let merged = Self::new(labels, sets)?.with_notice(notices.join(" "));
        merged.with_other(other)?.with_colors(colors)
    }

    /// `[labels, labels]` how alike the labels are in `set`: the largest cosine between their prompts.
    pub fn similarity(&self, set: &Embeddings) -> Result<Vec<f32>> {
        let count = self.len();
        let mut matrix = filled(count * count, f32::NEG_INFINITY, "the similarities")?;
        for a in 0..count {
            for b in a..count {
                let pairs = self.prompts_of(a).flat_map(|p| self.prompts_of(b).map(move |q| (p, q)));
                let cosine = pairs.map(|(p, q)| set.cosine(p, set.row(q))).fold(f32::NEG_INFINITY, f32::max);
                (matrix[a * count + b], matrix[b * count + a]) = (cosine, cosine);
            }
        }
        Ok(matrix)
    }

    /// Every label with the largest cosine of its prompts in `set` to `embedding`, most alike first.
    pub fn nearest(&self, set: &Embeddings, embedding: &[f32]) -> Vec<(usize, f32)> {
        let cosine = |label: usize| {
            let cosines = self.prompts_of(label).map(|prompt| set.cosine(prompt, embedding));
            (label, cosines.fold(f32::NEG_INFINITY, f32::max))
        };
        let mut nearest: Vec<(usize, f32)> = (0..self.len()).map(cosine).collect();
        nearest.sort_by(|a, b| b.1.total_cmp(&a.1));
        nearest
    }

    /// The prompts of `label`, counted over all labels.
    pub fn prompts_of(&self, label: usize) -> std::ops::Range<usize> {
        let before: usize = self.labels()[..label].iter().map(|label| label.prompts.len()).sum();
        before..before + self.labels()[label].prompts.len()
    }
}

impl Embeddings {
    /// The embedding of a prompt.
    pub fn row(&self, prompt: usize) -> &[f32] {
        &self.rows[prompt * self.dim..][..self.dim]
    }

    fn cosine(&self, prompt: usize, embedding: &[f32]) -> f32 {
        self.row(prompt).iter().zip(embedding).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Other;

    fn vocabulary(names: &[&str], first: usize, space: &str) -> Vocabulary {
        let rows: Vec<f32> =
            (0..names.len() * 4).map(|i| if i % 4 == (first + i / 4) % 4 { 1.0 } else { 0.0 }).collect();
        Vocabulary::from_embeddings(names, &rows, 4, space).unwrap()
    }

    #[test]
    fn labels_are_chosen_with_all_they_have() {
        let all = vocabulary(&["a", "b", "c"], 0, "s").with_colors(vec![[1; 3], [2; 3], [3; 3]]).unwrap();
        let all = all.with_other(Some(Other { label: 2, threshold: 0.5 })).unwrap().with_notice("mine".to_owned());
        let some = all.select(&[2, 0]).unwrap();
        assert_eq!((some.labels()[0].name.as_str(), some.colors()), ("c", &[[3; 3], [1; 3]][..]));
        assert_eq!((some.other().unwrap().label, some.notice()), (0, "mine"));
        assert_eq!(some.embeddings()[0].row(0), all.embeddings()[0].row(2));
        assert!(all.select(&[1]).unwrap().other().is_none() && all.select(&[3]).is_err() && all.select(&[]).is_err());
        assert_eq!((all.find("B"), all.find("d")), (Some(1), None));
    }

    #[test]
    fn merging_joins_labels_of_one_name() {
        let (left, right) = (vocabulary(&["a", "b"], 0, "s"), vocabulary(&["c", "a"], 2, "s"));
        let merged = Vocabulary::merge(&[left.clone(), right.clone()]).unwrap();
        let names: Vec<&str> = merged.labels().iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(merged.prompt_count(), 3, "the same prompt counts once");
        assert_eq!(merged.embeddings()[0].row(2), right.embeddings()[0].row(0));
        let message = Vocabulary::merge(&[left, vocabulary(&["d"], 0, "t")]).unwrap_err().to_string();
        assert!(message.contains("'s'") && message.contains("'t'"), "{message}");
        assert!(Vocabulary::merge(&[]).is_err());
        let twice =
            vocabulary(&["a", "a", "rest"], 0, "s").with_other(Some(Other { label: 2, threshold: 0.0 })).unwrap();
        assert_eq!(Vocabulary::merge(&[twice]).unwrap().other().unwrap().label, 1);
    }

    #[test]
    fn likeness_is_that_of_the_best_prompts() {
        let vocabulary = vocabulary(&["a", "b", "c", "d", "a2"], 0, "s");
        let set = &vocabulary.embeddings()[0];
        let matrix = vocabulary.similarity(set).unwrap();
        assert_eq!((matrix[0], matrix[1], matrix[4], matrix[4 * 5]), (1.0, 0.0, 1.0, 1.0));
        let nearest = vocabulary.nearest(set, &[0.0, 0.6, 0.8, 0.0]);
        assert_eq!((nearest[0], nearest[1].0), ((2, 0.8), 1));
    }
}
