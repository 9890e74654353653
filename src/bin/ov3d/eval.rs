//! `ov3d eval`: intersection over union and accuracy of labels, by OpenScene's published rules.

use super::formats::read_labels;
use super::segment::write_json;
use super::words::load_vocabulary;
use openvocab3d::text::Preset;
use openvocab3d::{Error, ErrorKind, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Compare labels with the truth: IoU and accuracy per label and their means
///
/// All pairs of files count together, point by point. As in OpenScene's `util/metric.py`: points whose truth is ignored are
/// left out; a label without any true point contributes 0 to the means, which are over all labels; points without a
/// predicted label (-1) are no false negatives of the IoU but count in the accuracy.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d eval --predicted labels.npy --truth scene0011.label --preset scannet20
  ov3d eval --predicted a.ply --truth a.ply.txt --predicted b.ply --truth b.ply.txt --preset scannet200 --truth-ids")]
pub(crate) struct Args {
    /// Predicted labels: npy, a PLY with `label`, .label or .txt; once per scene
    #[arg(long, required = true)]
    predicted: Vec<PathBuf>,
    /// True labels of the same points, in the same order of scenes
    #[arg(long, required = true)]
    truth: Vec<PathBuf>,
    /// Published label set that the numbers stand for
    #[arg(long, required_unless_present = "vocab", conflicts_with = "vocab")]
    preset: Option<String>,
    /// Vocabulary file that the numbers stand for, or names:vit-b-32
    #[arg(long)]
    vocab: Option<PathBuf>,
    /// The truth holds the data set's own ids, which become labels as the preset says; others are ignored
    #[arg(long, requires = "preset")]
    truth_ids: bool,
    /// True labels to ignore, besides negative ones
    #[arg(long, default_values_t = [255], conflicts_with = "truth_ids")]
    ignore: Vec<i32>,
    /// JSON summary to write
    #[arg(long)]
    json: Option<PathBuf>,
}

/// How often each predicted label met each true one.
struct Confusion {
    labels: usize,
    /// `[predicted, true]`.
    counts: Vec<u64>,
    /// True points of each label, those without a predicted one included.
    truth: Vec<u64>,
}

/// The scores of one label.
#[derive(Serialize, Clone)]
struct LabelScore {
    name: String,
    points: u64,
    /// None without true points.
    iou: Option<f64>,
    accuracy: Option<f64>,
}

/// Means over labels, whether they have true points or not, and over those that do.
#[derive(Serialize)]
struct Means {
    name: String,
    labels: usize,
    iou: f64,
    accuracy: f64,
    labels_present: usize,
    iou_of_present: f64,
}

#[derive(Serialize)]
struct Evaluation {
    points: u64,
    means: Vec<Means>,
    labels: Vec<LabelScore>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.predicted.len() != args.truth.len() {
        let message = format!(
            "{} predicted files for {} true ones; give a pair for every scene",
            args.predicted.len(),
            args.truth.len()
        );
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let preset = args.preset.as_deref().map(Preset::find).transpose()?;
    let (names, subsets) = match (&preset, &args.vocab) {
        (Some(preset), _) => (preset.labels.iter().map(|label| label.name.clone()).collect(), preset.subsets.clone()),
        (None, Some(path)) => (load_vocabulary(path)?.labels().iter().map(|l| l.name.clone()).collect(), Vec::new()),
        (None, None) => (Vec::new(), Vec::new()),
    };
    let ids = match &preset {
        Some(preset) if args.truth_ids => Some(label_of_id(preset)?),
        _ => None,
    };
    let mut confusion = Confusion::new(names.len());
    for (predicted, truth) in args.predicted.iter().zip(&args.truth) {
        let (got, mut want) = (read_labels(predicted)?, read_labels(truth)?);
        for label in &mut want {
            *label = match &ids {
                Some(ids) => ids.get(label).copied().unwrap_or(-1),
                None if args.ignore.contains(label) => -1,
                None => *label,
            };
        }
        let pair = format!("'{}' and '{}'", predicted.display(), truth.display());
        confusion.add(&got, &want).map_err(|e| e.within(pair))?;
    }
    let evaluation = confusion.evaluate(&names, &subsets);
    print(&evaluation);
    args.json.as_deref().map_or(Ok(()), |path| write_json(path, &evaluation))
}

fn label_of_id(preset: &Preset) -> Result<BTreeMap<i32, i32>> {
    if preset.ids.is_empty() {
        return Err(Error::argument(format!(
            "the data set of '{}' has no ids of its own; leave out --truth-ids",
            preset.name
        )));
    }
    let pairs =
        preset.ids.iter().enumerate().flat_map(|(label, ids)| ids.iter().map(move |id| (*id as i32, label as i32)));
    Ok(pairs.collect())
}

impl Confusion {
    fn new(labels: usize) -> Self {
        Self { labels, counts: vec![0; labels * labels], truth: vec![0; labels] }
    }

    /// Counts points; a negative true label is ignored, a negative predicted one is none.
    fn add(&mut self, predicted: &[i32], truth: &[i32]) -> Result<()> {
        if predicted.len() != truth.len() {
            let message = format!("{} labels are predicted for {} points", predicted.len(), truth.len());
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        let known = |what: &str, cure: &str, point: usize, label: i32| match usize::try_from(label) {
            Ok(label) if label >= self.labels => {
                let message = format!("point {point} has the {what} label {label} of {}; {cure}", self.labels);
                Err(Error::argument(message))
            }
            label => Ok(label.ok()),
        };
        for (point, (&got, &want)) in predicted.iter().zip(truth).enumerate() {
            let Some(want) = known("true", "--ignore leaves it out, --truth-ids takes a data set's ids", point, want)?
            else {
                continue;
            };
            let got = known("predicted", "give the label set that it was predicted with", point, got)?;
            self.truth[want] += 1;
            if let Some(got) = got {
                self.counts[got * self.labels + want] += 1;
            }
        }
        Ok(())
    }

    fn score(&self, label: usize, name: &str) -> LabelScore {
        let right = self.counts[label * self.labels + label];
        let predicted: u64 = self.counts[label * self.labels..][..self.labels].iter().sum();
        let labelled: u64 = self.counts.iter().skip(label).step_by(self.labels).sum();
        let points = self.truth[label];
        // Right and wrong ones of either side.
        let union = predicted + labelled - right;
        let share = |of: u64| if of > 0 { right as f64 / of as f64 } else { 0.0 };
        let (iou, accuracy) = (share(union), share(points));
        let present = points > 0;
        LabelScore { name: name.to_owned(), points, iou: present.then_some(iou), accuracy: present.then_some(accuracy) }
    }

    fn evaluate(&self, names: &[String], subsets: &[&str]) -> Evaluation {
        let labels: Vec<LabelScore> = names.iter().enumerate().map(|(label, name)| self.score(label, name)).collect();
        let mut groups: Vec<&str> = Vec::new();
        for subset in subsets.iter().filter(|subset| !subset.is_empty()) {
            if !groups.contains(subset) {
                groups.push(subset);
            }
        }
        let mut means = vec![mean("all", &labels)];
        for group in groups {
            let members = labels.iter().zip(subsets).filter(|(_, subset)| **subset == group);
            means.push(mean(group, &members.map(|(label, _)| label.clone()).collect::<Vec<_>>()));
        }
        Evaluation { points: self.truth.iter().sum(), means, labels }
    }
}

fn mean(name: &str, labels: &[LabelScore]) -> Means {
    let present = labels.iter().filter(|label| label.points > 0).count();
    let sum = |value: fn(&LabelScore) -> Option<f64>| labels.iter().filter_map(value).sum::<f64>();
    let (iou, accuracy) = (sum(|label| label.iou), sum(|label| label.accuracy));
    let count = labels.len().max(1) as f64;
    Means {
        name: name.to_owned(),
        labels: labels.len(),
        iou: iou / count,
        accuracy: accuracy / count,
        labels_present: present,
        iou_of_present: iou / present.max(1) as f64,
    }
}

fn print(evaluation: &Evaluation) {
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{:.2}", 100.0 * value));
    say!("{:<28} {:>8} {:>8} {:>12}", "label", "IoU %", "acc %", "points");
    for label in &evaluation.labels {
        say!("{:<28} {:>8} {:>8} {:>12}", label.name, percent(label.iou), percent(label.accuracy), label.points);
    }
    for means in &evaluation.means {
        let name = format!("mean of {} ({})", means.name, means.labels);
        say!("{name:<28} {:>8} {:>8}", percent(Some(means.iou)), percent(Some(means.accuracy)));
    }
    let all = &evaluation.means[0];
    if all.labels_present < all.labels {
        let missing = all.labels - all.labels_present;
        let present = percent(Some(all.iou_of_present));
        say!(
            "{missing} labels have no true points and count as 0, as published; the mean IoU of the others is {present} %"
        );
    }
    say!("{} points", evaluation.points);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|label| format!("label {label}")).collect()
    }

    #[test]
    fn published_rules() {
        // Label 0: 3 true, 2 found, 1 without a label; label 1: 2 true, 1 found, 1 taken for 0; label 2 is absent but
        // predicted once, where the truth is ignored.
        let mut confusion = Confusion::new(3);
        confusion.add(&[0, 0, -1, 1], &[0, 0, 0, 1]).unwrap();
        confusion.add(&[0, 2], &[1, -1]).unwrap();
        let evaluation = confusion.evaluate(&names(3), &["head", "tail", "tail"]);
        let scores: Vec<_> = evaluation.labels.iter().map(|label| (label.iou, label.accuracy)).collect();
        assert_eq!(scores, [(Some(2.0 / 3.0), Some(2.0 / 3.0)), (Some(0.5), Some(0.5)), (None, None)]);
        let all = &evaluation.means[0];
        assert!((all.iou - (2.0 / 3.0 + 0.5) / 3.0).abs() < 1e-12 && all.labels_present == 2);
        assert!((all.iou_of_present - (2.0 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        let subsets: Vec<(&str, usize)> =
            evaluation.means[1..].iter().map(|mean| (mean.name.as_str(), mean.labels)).collect();
        assert_eq!(subsets, [("head", 1), ("tail", 2)]);
        assert!((evaluation.means[2].iou - 0.25).abs() < 1e-12);
        assert_eq!(evaluation.points, 5);
    }

    #[test]
    fn wrong_labels_are_named() {
        let mut confusion = Confusion::new(2);
        assert!(confusion.add(&[0], &[0, 1]).unwrap_err().to_string().contains("2 points"));
        let message = confusion.add(&[2], &[0]).unwrap_err().to_string();
        assert!(message.contains("predicted label 2") && !message.contains("--ignore"), "{message}");
        assert!(confusion.add(&[0], &[7]).unwrap_err().to_string().contains("true label 7"));
        assert_eq!(label_of_id(&Preset::find("scannet20").unwrap()).unwrap()[&39], 19);
        assert!(label_of_id(&Preset::find("matterport40").unwrap()).is_err());
    }

    #[test]
    fn nothing_to_count() {
        let evaluation = Confusion::new(2).evaluate(&names(2), &[]);
        assert_eq!((evaluation.means[0].iou, evaluation.points), (0.0, 0));
    }
}
