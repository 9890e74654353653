//! Vocabularies: labels, the prompts that stand for each, and their unit text embeddings in one or more spaces.

use super::container::{Container, parse_json, to_json, write_file};
use super::file::WeightDtype;
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

/// The label of points that no other label fits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Other {
    /// Its number. It is a label like the others besides.
    pub label: usize,
    /// A point whose best score is below this gets it. In the unit of the scores asked for: dot products, cosines, or
    /// shares of a softmax.
    pub threshold: f32,
}

/// Labels with embeddings, immutable and shareable between sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct Vocabulary {
    labels: Vec<Label>,
    embeddings: Vec<Embeddings>,
    other: Option<Other>,
    colors: Vec<[u8; 3]>,
    notice: String,
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
        Ok(Self { labels, embeddings, other: None, colors: Vec::new(), notice: String::new() })
    }

    /// The same with a label for points that no other label fits.
    pub fn with_other(self, other: Option<Other>) -> Result<Self> {
        if let Some(Other { label, threshold }) = other {
            if label >= self.len() {
                let message = format!("other is label {label} of {}; give one of them", self.len());
                return Err(Error::argument(message));
            }
            if !threshold.is_finite() {
                return Err(Error::argument(format!("the threshold of other is {threshold}; give a score")));
            }
        }
        Ok(Self { other, ..self })
    }

    /// The same with a colour per label for pictures; none at all leaves them to who draws.
    pub fn with_colors(self, colors: Vec<[u8; 3]>) -> Result<Self> {
        if !colors.is_empty() && colors.len() != self.len() {
            let message = format!("{} colours for {} labels; give each label one", colors.len(), self.len());
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(Self { colors, ..self })
    }

    /// The same with a line that says where names or embeddings come from.
    #[must_use]
    pub fn with_notice(self, notice: String) -> Self {
        Self { notice, ..self }
    }

    /// The label of points that no other label fits, if there is one.
    pub fn other(&self) -> Option<Other> {
        self.other
    }

    /// A colour per label, or none at all.
    pub fn colors(&self) -> &[[u8; 3]] {
        &self.colors
    }

    /// Where names or embeddings come from; empty if nothing was stated.
    pub fn notice(&self) -> &str {
        &self.notice
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
        let other = container.optional("other").map(|text| parse_json("other", text)).transpose()?;
        let colors = container.optional("colors").map(|text| parse_json("colors", text)).transpose()?;
        let notice = container.optional("notice").unwrap_or_default().to_owned();
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
        let bare = Self::new(labels, embeddings).map(|vocabulary| vocabulary.with_notice(notice));
        let other = |vocabulary: Self| vocabulary.with_other(other);
        let colors = |vocabulary: Self| vocabulary.with_colors(colors.unwrap_or_default());
        bare.and_then(other).and_then(colors).map_err(Error::of_file)
    }

    /// The vocabulary file, with embeddings stored as `dtype`.
    pub fn to_bytes(&self, dtype: WeightDtype) -> Result<Vec<u8>> {
        let mut tensors = StateDict::new();
        for set in &self.embeddings {
            let rows = collected(set.rows.iter().copied(), "the vocabulary file")?;
            let full = Weight::f32([self.prompt_count(), set.dim], rows);
            let stored = if dtype == WeightDtype::F16 { full.to_f16()? } else { full };
            tensors.insert(format!("embeddings.{}", set.space), stored);
        }
        let mut metadata = vec![("labels", to_json(&self.labels)?)];
        metadata.extend(self.other.map(|other| Ok(("other", to_json(&other)?))).transpose()?);
        if !self.colors.is_empty() {
            metadata.push(("colors", to_json(&self.colors)?));
        }
        if !self.notice.is_empty() {
            metadata.push(("notice", self.notice.clone()));
        }
        Container::serialise(KIND, metadata, &tensors)
    }

    /// Writes the vocabulary file, with embeddings as they are.
    pub fn save(&self, path: &Path) -> Result<()> {
        self.save_as(path, WeightDtype::F32)
    }

    /// Writes the vocabulary file, with embeddings stored as `dtype`.
    pub fn save_as(&self, path: &Path, dtype: WeightDtype) -> Result<()> {
        write_file(path, &self.to_bytes(dtype)?, "write the vocabulary")
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
    use crate::random::SplitMix64;

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
        assert_eq!(Vocabulary::from_bytes(&vocabulary.to_bytes(WeightDtype::F32).unwrap()).unwrap(), vocabulary);
        assert_eq!(vocabulary.label_of_prompt(), [0, 0, 1]);
        for row in vocabulary.embeddings()[0].rows.chunks(4) {
            assert!((row.iter().map(|v| v * v).sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }

    #[test]
    fn what_belongs_to_the_labels_round_trips() {
        let other = Other { label: 1, threshold: -0.25 };
        let full = grouped().with_other(Some(other)).unwrap().with_colors(vec![[1, 2, 3], [255, 0, 9]]).unwrap();
        let full = full.with_notice("© someone".to_owned());
        assert_eq!(Vocabulary::from_bytes(&full.to_bytes(WeightDtype::F32).unwrap()).unwrap(), full);
        let half = Vocabulary::from_bytes(&full.to_bytes(WeightDtype::F16).unwrap()).unwrap();
        assert_eq!((half.other(), half.colors(), half.notice()), (Some(other), full.colors(), full.notice()));
        let pairs = half.embeddings()[1].rows.iter().zip(&full.embeddings()[1].rows);
        assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) < 1e-3);
        assert!(grouped().with_colors(vec![[0; 3]]).is_err());
        assert!(grouped().with_other(Some(Other { label: 2, threshold: 0.0 })).is_err());
        assert!(grouped().with_other(Some(Other { label: 0, threshold: f32::NAN })).is_err());
    }

    #[test]
    fn damaged_files_are_errors_or_vocabularies() {
        let full = grouped().with_other(Some(Other { label: 1, threshold: -0.25 })).unwrap();
        let full = full.with_colors(vec![[1, 2, 3], [255, 0, 9]]).unwrap();
        for dtype in [WeightDtype::F32, WeightDtype::F16] {
            let file = full.to_bytes(dtype).unwrap();
            let mut random = SplitMix64::new(5);
            for _ in 0..20_000 {
                let Ok(read) = Vocabulary::from_bytes(&random.damaged(&file)) else { continue };
                assert!(read.embeddings().iter().flat_map(|set| &set.rows).all(|value| value.is_finite()));
            }
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
        let bytes = grouped().to_bytes(WeightDtype::F32).unwrap();
        assert!((0..bytes.len()).all(|len| Vocabulary::from_bytes(&bytes[..len]).is_err()));
    }
}
