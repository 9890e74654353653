//! Published label sets: names, prompts, colours, ids and subsets, as `presets/*.tsv` have them with their sources.

use super::encoder::TextEncoder;
use super::prompt::{Prompt, PromptedLabel, Templates};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::Vocabulary;

/// Every preset by name, with its table: comments, a heading, then a line per label.
const TABLES: [(&str, &str); 8] = [
    ("scannet20", include_str!("presets/scannet20.tsv")),
    ("scannet200", include_str!("presets/scannet200.tsv")),
    ("matterport21", include_str!("presets/matterport21.tsv")),
    ("matterport40", include_str!("presets/matterport40.tsv")),
    ("matterport80", include_str!("presets/matterport80.tsv")),
    ("matterport160", include_str!("presets/matterport160.tsv")),
    ("nuscenes16", include_str!("presets/nuscenes16.tsv")),
    ("replica", include_str!("presets/replica.tsv")),
];

/// A published label set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preset {
    /// Its name, such as `"scannet20"`.
    pub name: &'static str,
    /// Where names and colours come from.
    pub notice: String,
    /// The labels with their published prompts.
    pub labels: Vec<PromptedLabel>,
    /// Their colours; empty if none are published.
    pub colors: Vec<[u8; 3]>,
    /// Per label the numbers that stand for it in the data set's own ground truth; empty where those are the labels'.
    pub ids: Vec<Vec<u32>>,
    /// Per label the part of the set it belongs to (`"head"`, `"common"`, `"tail"`), or nothing.
    pub subsets: Vec<&'static str>,
}

impl Preset {
    /// The names of all presets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLES.iter().map(|(name, _)| *name)
    }

    /// The preset `name`.
    pub fn find(name: &str) -> Result<Self> {
        let table = TABLES.iter().find(|(known, _)| *known == name);
        table.and_then(|&(name, table)| Self::parse(name, table)).ok_or_else(|| {
            let known: Vec<&str> = Self::names().collect();
            Error::argument(format!("there is no preset '{name}'; there are {}", known.join(", ")))
        })
    }

    fn parse(name: &'static str, table: &'static str) -> Option<Self> {
        let comments: Vec<&str> = table.lines().map_while(|line| line.strip_prefix("# ")).collect();
        let mut preset = Self {
            name,
            notice: comments.join(" "),
            labels: Vec::new(),
            colors: Vec::new(),
            ids: Vec::new(),
            subsets: Vec::new(),
        };
        for line in table.lines().skip(comments.len() + 1) {
            let [label, color, prompts, ids, subset] = line.split('\t').collect::<Vec<_>>().try_into().ok()?;
            let prompts = if prompts.is_empty() { label } else { prompts };
            let prompt = |words: &str| match words.strip_prefix('=') {
                Some(words) => Prompt { words: words.to_owned(), bare: true },
                None => Prompt { words: words.to_owned(), bare: false },
            };
            let prompts = prompts.split(';').map(prompt).collect();
            preset.labels.push(PromptedLabel { name: label.to_owned(), prompts });
            if !color.is_empty() {
                let channels: Vec<u8> = color.split(',').map_while(|channel| channel.parse().ok()).collect();
                preset.colors.push(channels.try_into().ok()?);
            }
            let ids = ids.split(';').filter(|id| !id.is_empty());
            preset.ids.push(ids.map(|id| id.parse().ok()).collect::<Option<_>>()?);
            preset.subsets.push(subset);
        }
        if preset.ids.iter().all(Vec::is_empty) {
            preset.ids.clear();
        }
        Some(preset)
    }
}

impl TextEncoder {
    /// The vocabulary of a published label set, with its colours and where it comes from.
    pub fn preset(&self, preset: &Preset, templates: &Templates, cancel: Cancel<'_>) -> Result<Vocabulary> {
        let vocabulary = self.vocabulary(&preset.labels, templates, cancel)?;
        vocabulary.with_notice(preset.notice.clone()).with_colors(preset.colors.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_whole() {
        for (name, count) in Preset::names().zip([20, 200, 21, 40, 80, 160, 16, 102]) {
            let preset = Preset::find(name).unwrap();
            assert_eq!(preset.labels.len(), count, "{name}");
            assert!(preset.colors.len() == count || preset.colors.is_empty(), "{name}");
            assert!(preset.ids.len() == count || preset.ids.is_empty(), "{name}");
            assert!(preset.notice.contains(')') && preset.labels.iter().all(|label| !label.prompts.is_empty()));
            let mut names: Vec<&str> = preset.labels.iter().map(|label| label.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{name}");
        }
        assert!(Preset::find("scannet21").unwrap_err().to_string().contains("scannet200"));
    }

    #[test]
    fn published_overrides_and_groups() {
        let bare = |name: &str| -> Vec<usize> {
            let labels = Preset::find(name).unwrap().labels;
            (0..labels.len()).filter(|&label| labels[label].prompts[0].bare).collect()
        };
        for (name, label) in [
            ("scannet20", 19),
            ("matterport21", 19),
            ("matterport40", 38),
            ("matterport80", 78),
            ("matterport160", 158),
        ] {
            assert_eq!(bare(name), [label], "{name}");
        }
        assert!(bare("scannet200").is_empty() && bare("nuscenes16").is_empty());
        let nuscenes = Preset::find("nuscenes16").unwrap();
        assert_eq!(nuscenes.labels.iter().map(|label| label.prompts.len()).sum::<usize>(), 43);
        assert_eq!(nuscenes.ids[6], [2, 3, 4, 6]);
        let subsets = Preset::find("scannet200").unwrap().subsets;
        let count = |subset: &str| subsets.iter().filter(|found| **found == subset).count();
        assert_eq!(["head", "common", "tail"].map(count), [66, 68, 66]);
    }
}
