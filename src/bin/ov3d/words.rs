//! The words of a command: given on the command line, in a file, as a published label set, or in a vocabulary file.

use super::picture::label_colors;
use clap::Args;
use openvocab3d::cancel::Cancel;
use openvocab3d::model::{Other, TextSpace, Vocabulary};
use openvocab3d::text::{EncoderOptions, Preset, Prompt, PromptedLabel, Templates, TextEncoder, names_vit_b32};
use openvocab3d::{Error, Result};
use std::path::{Path, PathBuf};

/// What names the vocabulary that ships with the tool.
pub(crate) const NAMES: &str = "names:vit-b-32";

/// Which labels there are; shared by commands that need some.
#[derive(Args, Default)]
pub(crate) struct WordArgs {
    /// A label: `sofa`, or `vehicle=car;truck` with the prompts that stand for it; once for every label
    #[arg(long = "text", value_name = "WORDS")]
    texts: Vec<String>,
    /// Text file with such labels, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) names: Option<PathBuf>,
    /// Published label set with its prompts: scannet20, scannet200, matterport21, matterport40, matterport80,
    /// matterport160, nuscenes16 or replica
    #[arg(long)]
    preset: Option<String>,
    /// Text encoder: a CLIP text model's safetensors file (Hugging Face layout) or its folder
    #[arg(long, value_name = "PATH", conflicts_with = "vocab")]
    encoder: Option<PathBuf>,
    /// Vocabulary file (see `ov3d vocab`), or names:vit-b-32; with --text, --names or --preset the words are looked up in it.
    /// Without this and --encoder, networks in the space of CLIP ViT-B/32 take words from names:vit-b-32
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,
    /// What words are put into before they are encoded, `{}` standing for them; several are averaged [default: "a {} in a
    /// scene"]
    #[arg(long = "template", value_name = "TEXT", requires = "encoder")]
    templates: Vec<String>,
    /// Encode words as they are, without a template
    #[arg(long, conflicts_with = "templates", requires = "encoder")]
    bare: bool,
    /// Label for points whose best score is below --threshold
    #[arg(long, value_name = "LABEL", requires = "threshold")]
    other: Option<String>,
    /// Least score that is not --other, in the unit of the scores asked for
    #[arg(long, value_name = "SCORE", requires = "other", allow_negative_numbers = true)]
    threshold: Option<f32>,
}

impl WordArgs {
    /// One text for an encoder.
    pub(crate) fn of(encoder: PathBuf, text: &str) -> Self {
        Self { encoder: Some(encoder), texts: vec![text.to_owned()], ..Self::default() }
    }

    /// The files that words come from.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.names, &self.encoder, &self.vocab].into_iter().flatten()
    }

    /// An error if something is given that only sets of labels have.
    pub(crate) fn refuse_label_sets(&self) -> Result<()> {
        let given = [("--preset", self.preset.is_some()), ("--other", self.other.is_some())];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => {
                Err(Error::argument(format!("{name} is for `segment`; give words with --text or --names")))
            }
            None => Ok(()),
        }
    }

    /// The vocabulary that the arguments ask for, for a network whose text space is `space`; `threads` are the encoder's.
    pub(crate) fn vocabulary(&self, space: Option<&TextSpace>, threads: Option<usize>) -> Result<Vocabulary> {
        let vocabulary = match &self.encoder {
            Some(encoder) => self.encoded(&self.load_encoder(encoder, threads)?)?,
            None => self.looked_up(self.known_words(space)?)?,
        };
        self.with_other(vocabulary)
    }

    /// The vocabulary file, whole; or the names that ship with the tool, if they are of the network's text space.
    pub(crate) fn known_words(&self, space: Option<&TextSpace>) -> Result<Vocabulary> {
        if let Some(path) = &self.vocab {
            return load_vocabulary(path);
        }
        let cure = "give a text encoder with --encoder, or a vocabulary file with --vocab";
        let space = space.ok_or_else(|| Error::argument(format!("nothing to take words from; {cure}")))?;
        let names = names_vit_b32()?;
        match names.embeddings_for(&space.name, space.dim) {
            Ok(_) => Ok(names),
            Err(wrong) => Err(Error::argument(format!("no words without a source: of {NAMES}, {wrong}; {cure}"))),
        }
    }

    /// Whether words come from the names that ship with the tool.
    pub(crate) fn uses_names(&self) -> bool {
        self.encoder.is_none() && self.vocab.as_deref().is_none_or(|path| path == Path::new(NAMES))
    }

    fn load_encoder(&self, path: &Path, threads: Option<usize>) -> Result<TextEncoder> {
        TextEncoder::load(path, &EncoderOptions { threads, ..EncoderOptions::default() })
    }

    /// The encoder, if one is named.
    pub(crate) fn encoder(&self, threads: Option<usize>) -> Result<Option<TextEncoder>> {
        self.encoder.as_deref().map(|path| self.load_encoder(path, threads)).transpose()
    }

    /// What words are put into.
    pub(crate) fn templates(&self) -> Result<Templates> {
        match (self.bare, self.templates.is_empty()) {
            (true, _) => Ok(Templates::none()),
            (false, true) => Ok(Templates::default()),
            (false, false) => Templates::new(self.templates.clone()),
        }
    }

    /// The labels given as words.
    pub(crate) fn labels(&self) -> Result<Vec<PromptedLabel>> {
        let mut labels = self.texts.iter().map(|words| parse_label(words)).collect::<Result<Vec<_>>>()?;
        if let Some(path) = &self.names {
            let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read the names", &e))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            for line in lines {
                labels.push(parse_label(line).map_err(|e| e.within(format_args!("'{}'", path.display())))?);
            }
        }
        Ok(labels)
    }

    fn encoded(&self, encoder: &TextEncoder) -> Result<Vocabulary> {
        let templates = self.templates()?;
        let mut labels = self.labels()?;
        let preset = self.preset.as_deref().map(Preset::find).transpose()?;
        if labels.is_empty() && preset.is_none() {
            return Err(Error::argument("there are no words; give --text, --names or --preset"));
        }
        // The label of other points may be one that no word stands for yet.
        let known = labels.iter().chain(preset.iter().flat_map(|preset| &preset.labels)).map(|label| &label.name);
        if let Some(other) = self.other.as_ref().filter(|other| !known.clone().any(|name| name == *other)) {
            labels.push(PromptedLabel {
                name: other.clone(),
                prompts: vec![Prompt { words: other.clone(), bare: true }],
            });
        }
        let (mut parts, mut published) = (Vec::new(), 0);
        let colors = preset.as_ref().map_or(&[][..], |preset| &preset.colors);
        let colors = extended(colors, colors.len() + labels.len());
        if let Some(preset) = &preset {
            parts.push(encoder.preset(preset, &templates, Cancel::default())?);
            published = preset.colors.len();
        }
        if !labels.is_empty() {
            let words = encoder.vocabulary(&labels, &templates, Cancel::default())?;
            parts.push(words.with_colors(colors[published..].to_vec())?);
        }
        Vocabulary::merge(&parts)
    }

    /// The whole vocabulary, or those of its labels that are asked for.
    fn looked_up(&self, vocabulary: Vocabulary) -> Result<Vocabulary> {
        let preset = self.preset.as_deref().map(Preset::find).transpose()?;
        let mut labels: Vec<PromptedLabel> =
            preset.iter().flat_map(|preset| &preset.labels).map(|label| PromptedLabel::named(&label.name)).collect();
        labels.extend(self.labels()?);
        if labels.is_empty() && self.vocab.is_some() {
            return Ok(vocabulary);
        }
        if labels.is_empty() {
            return Err(Error::argument("there are no words; give --text, --names or --preset"));
        }
        let other = self.other.as_ref().filter(|other| labels.iter().all(|label| label.name != **other));
        labels.extend(other.map(|other| PromptedLabel::named(other)));
        let words = vocabulary.look_up(&labels).map_err(|e| {
            let source = self.vocab.as_deref().unwrap_or(Path::new(NAMES));
            any_text(e.within(format_args!("'{}'", source.display())))
        })?;
        let words = match preset {
            Some(preset) => words.with_colors(extended(&preset.colors, labels.len()))?,
            None => words,
        };
        Vocabulary::merge(&[words])
    }

    fn with_other(&self, vocabulary: Vocabulary) -> Result<Vocabulary> {
        let (Some(name), Some(threshold)) = (&self.other, self.threshold) else { return Ok(vocabulary) };
        let label = vocabulary
            .find(name)
            .ok_or_else(|| Error::argument(format!("the vocabulary has no label '{name}' for --other; add it")))?;
        vocabulary.with_other(Some(Other { label, threshold }))
    }
}

/// `published` colours, if there are some, and the tool's own for the labels after theirs.
fn extended(published: &[[u8; 3]], labels: usize) -> Vec<[u8; 3]> {
    match published {
        [] => Vec::new(),
        _ => published.iter().copied().chain(label_colors(labels).into_iter().skip(published.len())).collect(),
    }
}

/// `name`, or `name=prompt;prompt`.
fn parse_label(words: &str) -> Result<PromptedLabel> {
    let (name, prompts) = words.split_once('=').unwrap_or((words, words));
    let prompts: Vec<&str> =
        if words.contains('=') { prompts.split(';').map(str::trim).collect() } else { vec![prompts] };
    let name = name.trim();
    if name.is_empty() || prompts.iter().any(|prompt| prompt.is_empty()) {
        return Err(Error::argument(format!("'{words}' is no label; write 'name' or 'name=prompt;prompt'")));
    }
    Ok(PromptedLabel::grouped(name, &prompts))
}

/// What takes words that a vocabulary does not have.
pub(crate) fn any_text(error: Error) -> Error {
    Error::argument(format!("{error}; or give --encoder, which takes any text"))
}

/// The vocabulary file at `path`, or the one that ships with the tool.
pub(crate) fn load_vocabulary(path: &Path) -> Result<Vocabulary> {
    match path.to_str() {
        Some(NAMES) => names_vit_b32(),
        Some(name) if name.starts_with("names:") => {
            Err(Error::argument(format!("there are no names '{name}'; there are {NAMES}")))
        }
        _ => Vocabulary::load(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_with_or_without_prompts() {
        let plain = parse_label(" red fire extinguisher ").unwrap();
        assert_eq!((plain.name.as_str(), plain.prompts.len()), ("red fire extinguisher", 1));
        let grouped = parse_label("vehicle = car; pick-up truck").unwrap();
        assert_eq!((grouped.name.as_str(), grouped.prompts[1].words.as_str()), ("vehicle", "pick-up truck"));
        for wrong in ["", " ", "=car", "vehicle=", "vehicle=car;"] {
            assert!(parse_label(wrong).is_err(), "{wrong}");
        }
    }
}
