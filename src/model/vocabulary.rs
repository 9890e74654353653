//! Vocabularies: labels, the prompts that stand for each, and their unit text embeddings in one or more spaces.

use super::container::{Container, parse_json, to_json, write_file};
use super::weights::{StateDict, Weight};
use crate::error::{Error, ErrorKind, Result, collected};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The `kind` of a vocabulary file.
const KIND: &str = "vocabulary";

/// A label and the prompts that stand for it; its score is the largest of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// What a result calls it.
    pub name: String,
    /// The texts that were encoded, at least one.
    pub prompts: Vec<String>,
}

/// Embeddings of all prompts in one text space.
#[derive(Debug, Clone, PartialEq)]
pub struct Embeddings {
    /// The text space's name, such as `"clip-vit-b32"`; empty if unknown.
    pub space: String,
    /// Width of an embedding.
    pub dim: usize,
    /// `[prompts, dim]` rows of unit length, in the order of the labels and their prompts.
    pub rows: Vec<f32>,
}

/// Labels with embeddings, immutable and shareable between sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    labels: Vec<Label>,
    embeddings: Vec<Embeddings>,
}

impl Vocabulary {
    /// A vocabulary of one prompt per name. `rows` is `[names, dim]`; rows are brought to unit length.
    pub fn from_embeddings(names: &[&str], rows: &[f32], dim: usize, space: &str) -> Result<Self> {
        let label = |name: &&str| Label { name: (*name).to_owned(), prompts: vec![(*name).to_owned()] };
        let rows = collected(rows.iter().copied(), "the embeddings")?;
        let embeddings = Embeddings { space: space.to_owned(), dim, rows };
        Self::new(collected(names.iter().map(label), "the labels")?, vec![embeddings])
    }

    /// A vocabulary of `labels` with one or more sets of embeddings; rows are brought to unit length.
    pub fn new(labels: Vec<Label>, mut embeddings: Vec<Embeddings>) -> Result<Self> {
        if labels.is_empty() {
            return Err(Error::argument("the vocabulary has no labels; give at least one name"));
        }
        if let Some(label) = labels.iter().find(|label| label.prompts.is_empty()) {
            return Err(Error::argument(format!(
                "label '{}' has no prompts; give it at least its own name",
                label.name
            )));
        }
        let prompts: usize = labels.iter().map(|label| label.prompts.len()).sum();
        if embeddings.is_empty() {
            return Err(Error::argument("the vocabulary has no embeddings; give those of at least one text space"));
        }
        for set in &mut embeddings {
            normalise(set, prompts)?;
        }
        let twice = |set: &&Embeddings| embeddings.iter().filter(|other| other.space == set.space).count() > 1;
        if let Some(set) = embeddings.iter().find(twice) {
            let message = format!("the vocabulary has space '{}' twice; give each text space once", set.space);
            return Err(Error::argument(message));
        }
        Ok(Self { labels, embeddings })
    }

    /// The labels, in the order results number them.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no labels (never true for a constructed vocabulary).
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Number of prompts over all labels.
    pub fn prompt_count(&self) -> usize {
        self.labels.iter().map(|label| label.prompts.len()).sum()
    }

    /// For every prompt the label it stands for.
    pub fn label_of_prompt(&self) -> Vec<u32> {
        let labels = self.labels.iter().enumerate();
        labels.flat_map(|(index, label)| std::iter::repeat_n(index as u32, label.prompts.len())).collect()
    }

    /// The sets of embeddings.
    pub fn embeddings(&self) -> &[Embeddings] {
        &self.embeddings
    }

    /// The embeddings for a network whose text space is `space`, `dim` wide: the set of that name, or, where a name
    /// is unknown, the only set of that width.
    pub fn embeddings_for(&self, space: &str, dim: usize) -> Result<&Embeddings> {
        let fits =
            |set: &&Embeddings| set.dim == dim && (set.space == space || set.space.is_empty() || space.is_empty());
        let exact = self.embeddings.iter().find(|set| set.dim == dim && set.space == space);
        let mut fitting = self.embeddings.iter().filter(fits);
        let only = fitting.next().filter(|_| fitting.next().is_none());
        exact.or(only).ok_or_else(|| {
            let have: Vec<String> = self.embeddings.iter().map(|s| format!("'{}' ({} wide)", s.space, s.dim)).collect();
            let message = format!(
                "the network's text space is '{space}' ({dim} wide) but the vocabulary has {}; encode it with that \
                 network's text tower",
                have.join(", ")
            );
            Error::new(ErrorKind::Mismatch, message)
        })
    }

    /// Reads a vocabulary file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read the vocabulary", &e))?;
        Self::from_bytes(&bytes).map_err(|e| e.within(format_args!("vocabulary '{}'", path.display())))
    }

    /// Reads a vocabulary file from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let container = Container::parse(bytes, KIND)?;
        let labels: Vec<Label> = parse_json("labels", container.required("labels")?)?;
        let mut embeddings = Vec::new();
        for (name, weight) in container.into_tensors()? {
            let Some(space) = name.strip_prefix("embeddings.") else {
                return Err(Error::format(format!("tensor '{name}' is not part of a vocabulary")));
            };
            let [_, dim] = weight.shape[..] else {
                let message = format!("tensor '{name}' has shape {:?}; it needs [prompts, dim]", weight.shape);
                return Err(Error::format(message));
            };
            embeddings.push(Embeddings {
                space: space.to_owned(),
                dim,
                rows: collected(weight.values(), "the embeddings")?,
            });
        }
        Self::new(labels, embeddings).map_err(Error::of_file)
    }

    /// The vocabulary file.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut tensors = StateDict::new();
        for set in &self.embeddings {
            let rows = collected(set.rows.iter().copied(), "the vocabulary file")?;
            tensors.insert(format!("embeddings.{}", set.space), Weight::f32([self.prompt_count(), set.dim], rows));
        }
        Container::serialise(KIND, vec![("labels", to_json(&self.labels)?)], &tensors)
    }

    /// Writes the vocabulary file.
    pub fn save(&self, path: &Path) -> Result<()> {
        write_file(path, &self.to_bytes()?, "write the vocabulary")
    }
}

/// Checks the size of `set` and brings every row that is not yet of unit length to it.
fn normalise(set: &mut Embeddings, prompts: usize) -> Result<()> {
    let space = &set.space;
    if set.dim == 0 || set.rows.len() != prompts.saturating_mul(set.dim) {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!(
                "space '{space}' has {} values; {prompts} prompts of {} dimensions need {}",
                set.rows.len(),
                set.dim,
                prompts.saturating_mul(set.dim)
            ),
        ));
    }
    for (prompt, row) in set.rows.chunks_exact_mut(set.dim).enumerate() {
        let length = row.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if !(length.is_finite() && length > 0.0) {
            let message =
                format!("the embedding of prompt {prompt} in space '{space}' has length {length}; encode it anew");
            return Err(Error::argument(message));
        }
        // Within float32 rounding of one: left alone, so that saving and loading changes nothing.
        if (length - 1.0).abs() > 1e-6 {
            row.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouped() -> Vocabulary {
        let label = |name: &str, prompts: &[&str]| Label {
            name: name.to_owned(),
            prompts: prompts.iter().map(|p| (*p).to_owned()).collect(),
        };
        let set = |space: &str, dim: usize| Embeddings {
            space: space.to_owned(),
            dim,
            rows: (0..3 * dim).map(|i| ((i * 37 % 11) as f32) - 4.5).collect(),
        };
        let labels = vec![label("vehicle", &["car", "truck"]), label("été \"x\"", &["summer"])];
        Vocabulary::new(labels, vec![set("clip-a", 4), set("clip-b", 6)]).unwrap()
    }

    #[test]
    fn files_round_trip() {
        let vocabulary = grouped();
        assert_eq!(Vocabulary::from_bytes(&vocabulary.to_bytes().unwrap()).unwrap(), vocabulary);
        assert_eq!(vocabulary.label_of_prompt(), [0, 0, 1]);
        for row in vocabulary.embeddings()[0].rows.chunks(4) {
            assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn the_wrong_space_names_both() {
        let vocabulary = grouped();
        assert_eq!(vocabulary.embeddings_for("clip-b", 6).unwrap().dim, 6);
        let error = vocabulary.embeddings_for("clip-vit-l14-336", 768).unwrap_err().to_string();
        assert!(error.contains("clip-vit-l14-336") && error.contains("clip-a"), "{error}");
        assert!(vocabulary.embeddings_for("clip-a", 6).is_err(), "a known name of another space");
        let unnamed = Vocabulary::from_embeddings(&["a"], &[1.0, 0.0], 2, "").unwrap();
        assert!(unnamed.embeddings_for("anything", 2).is_ok());
    }

    #[test]
    fn unusable_vocabularies_are_refused() {
        assert!(Vocabulary::from_embeddings(&[], &[], 4, "s").is_err());
        assert!(Vocabulary::from_embeddings(&["a"], &[0.0; 4], 4, "s").is_err());
        assert!(Vocabulary::from_embeddings(&["a"], &[f32::NAN; 4], 4, "s").is_err());
        assert!(Vocabulary::from_embeddings(&["a", "b"], &[1.0; 4], 4, "s").is_err());
        assert!(Vocabulary::from_embeddings(&["a"], &[], 0, "s").is_err());
        let bytes = grouped().to_bytes().unwrap();
        assert!((0..bytes.len()).all(|len| Vocabulary::from_bytes(&bytes[..len]).is_err()));
    }
}
