//! From labels to the texts that are encoded: templates, synonyms, and averages over templates.

use super::encoder::TextEncoder;
use crate::cancel::Cancel;
use crate::error::{Error, Result, with_capacity};
use crate::model::{Embeddings, Label, Vocabulary};

/// What stands for the name in a template.
const PLACE: &str = "{}";

/// A text that stands for a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The words.
    pub words: String,
    /// Whether they are encoded as they are, without a template.
    pub bare: bool,
}

/// A label and the prompts that stand for it; its score is the largest of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptedLabel {
    /// What a result calls it.
    pub name: String,
    /// At least one.
    pub prompts: Vec<Prompt>,
}

/// What words are put into before they are encoded. The embeddings of several templates are averaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates(Vec<String>);

impl PromptedLabel {
    /// The label `name` that its own name stands for.
    pub fn named(name: &str) -> Self {
        Self::grouped(name, &[name])
    }

    /// The label `name` that several texts stand for.
    pub fn grouped(name: &str, words: &[&str]) -> Self {
        let prompts = words.iter().map(|words| Prompt { words: (*words).to_owned(), bare: false }).collect();
        Self { name: name.to_owned(), prompts }
    }
}

impl Default for Templates {
    /// OpenScene's `a {} in a scene`.
    fn default() -> Self {
        Self(vec!["a {} in a scene".to_owned()])
    }
}

impl Templates {
    /// Templates that hold `{}` once each, in whose place the words come; none at all leaves words as they are.
    pub fn new(templates: Vec<String>) -> Result<Self> {
        if let Some(wrong) = templates.iter().find(|template| template.matches(PLACE).count() != 1) {
            let message = format!("the template '{wrong}' must hold '{PLACE}' once, such as 'a {PLACE} in a scene'");
            return Err(Error::argument(message));
        }
        Ok(Self(templates))
    }

    /// Words as they are.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The texts that are encoded for `prompt`.
    pub fn texts(&self, prompt: &Prompt) -> Vec<String> {
        if prompt.bare || self.0.is_empty() {
            return vec![prompt.words.clone()];
        }
        self.0.iter().map(|template| template.replacen(PLACE, &prompt.words, 1)).collect()
    }
}

impl TextEncoder {
    /// A vocabulary of `labels` in the encoder's text space. The embedding of a prompt is the mean, brought to unit
    /// length, of those of its texts; the vocabulary tells these joined by ` | `.
    pub fn vocabulary(
        &self,
        labels: &[PromptedLabel],
        templates: &Templates,
        cancel: Cancel<'_>,
    ) -> Result<Vocabulary> {
        let prompts: usize = labels.iter().map(|label| label.prompts.len()).sum();
        let mut counts = with_capacity(prompts, "the prompts")?;
        let mut texts = with_capacity(prompts.saturating_mul(templates.0.len().max(1)), "the prompts")?;
        let mut encoded = with_capacity(labels.len(), "the labels")?;
        for label in labels {
            let mut prompts = Vec::new();
            for prompt in &label.prompts {
                let forms = templates.texts(prompt);
                prompts.push(forms.join(" | "));
                counts.push(forms.len());
                texts.extend(forms);
            }
            encoded.push(Label { name: label.name.clone(), prompts });
        }
        let embeddings = self.encode(&texts, cancel)?;
        let dim = self.dim();
        let mut rest = &embeddings[..];
        let mut rows = with_capacity(counts.len() * dim, "the text embeddings")?;
        for count in counts {
            let (forms, after) = rest.split_at(count * dim);
            let sum = |column: usize| forms.iter().skip(column).step_by(dim).sum::<f32>();
            rows.extend((0..dim).map(sum));
            rest = after;
        }
        Vocabulary::new(encoded, vec![Embeddings { space: self.space().name.clone(), dim, rows }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_hold_the_words_once() {
        let prompt = Prompt { words: "night stand {}".to_owned(), bare: false };
        assert_eq!(Templates::default().texts(&prompt), ["a night stand {} in a scene"]);
        let two = Templates::new(vec!["a {}".to_owned(), "{}!".to_owned()]).unwrap();
        assert_eq!(two.texts(&prompt), ["a night stand {}", "night stand {}!"]);
        assert_eq!(two.texts(&Prompt { bare: true, ..prompt.clone() }), ["night stand {}"]);
        assert_eq!(Templates::none().texts(&prompt), ["night stand {}"]);
        for wrong in ["", "a", "{} {}"] {
            assert!(Templates::new(vec![wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
