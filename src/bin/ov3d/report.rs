//! What a segmentation gave and what it took, as a table for people and as JSON.

use openvocab3d::backend::Stage;
use serde::Serialize;

/// The summary of one run.
#[derive(Serialize)]
pub(crate) struct Summary {
    pub(crate) cloud: String,
    pub(crate) model: String,
    pub(crate) device: String,
    pub(crate) points: usize,
    /// Points whose position is not finite.
    pub(crate) unlabelled: usize,
    pub(crate) voxels: usize,
    /// Those whose points voted, if there was a vote.
    pub(crate) superpoints: Option<usize>,
    pub(crate) milliseconds: f64,
    /// Bytes of working memory, beyond the model.
    pub(crate) working_bytes: u64,
    pub(crate) labels: Vec<LabelCount>,
    pub(crate) stages: Vec<StageTime>,
}

/// How many points a label has.
#[derive(Serialize)]
pub(crate) struct LabelCount {
    pub(crate) label: usize,
    pub(crate) name: String,
    pub(crate) points: usize,
}

/// What one stage took.
#[derive(Serialize)]
pub(crate) struct StageTime {
    pub(crate) stage: String,
    pub(crate) milliseconds: f64,
    pub(crate) gflop: f64,
}

impl From<&Stage> for StageTime {
    fn from(stage: &Stage) -> Self {
        let milliseconds = stage.time.as_secs_f64() * 1e3;
        Self { stage: stage.name.to_string(), milliseconds, gflop: stage.work.flop as f64 / 1e9 }
    }
}

/// Points per label, in the order of the vocabulary.
pub(crate) fn count_labels(labels: &[i32], names: &[String]) -> Vec<LabelCount> {
    let mut counts = vec![0; names.len()];
    for count in labels.iter().filter_map(|&label| usize::try_from(label).ok()) {
        counts[count] += 1;
    }
    let entry = |(label, (name, points)): (usize, (&String, usize))| LabelCount { label, name: name.clone(), points };
    names.iter().zip(counts).enumerate().map(entry).collect()
}

/// The network's layers summed under one name, everything else as it is.
fn by_stage(stages: &[StageTime]) -> Vec<StageTime> {
    let mut sums: Vec<StageTime> = Vec::new();
    for stage in stages {
        let layer = stage.stage.contains("conv");
        let name = if layer { "network" } else { &stage.stage };
        match sums.iter_mut().find(|sum| sum.stage == name) {
            Some(sum) => {
                sum.milliseconds += stage.milliseconds;
                sum.gflop += stage.gflop;
            }
            None => sums.push(StageTime { stage: name.to_owned(), ..*stage }),
        }
    }
    sums
}

/// Prints the summary for people.
pub(crate) fn print(summary: &Summary) {
    say!("{}: {} points, {} voxels", summary.cloud, summary.points, summary.voxels);
    if let Some(superpoints) = summary.superpoints {
        say!("  the points of each of {superpoints} superpoints agreed on a label");
    }
    if summary.unlabelled > 0 {
        say!("  {} points have no finite position and no label", summary.unlabelled);
    }
    let mut labels: Vec<&LabelCount> = summary.labels.iter().filter(|label| label.points > 0).collect();
    labels.sort_by_key(|label| std::cmp::Reverse(label.points));
    for label in labels.iter().take(12) {
        let share = 100.0 * label.points as f64 / summary.points as f64;
        say!("  {:<24} {:>9} points {share:>5.1} %", label.name, label.points);
    }
    if labels.len() > 12 {
        say!("  and {} labels more", labels.len() - 12);
    }
    let mebibytes = summary.working_bytes as f64 / f64::from(1 << 20);
    say!("{:.1} ms and {mebibytes:.0} MiB of working memory on {}", summary.milliseconds, summary.device);
    for stage in by_stage(&summary.stages) {
        let rate = stage.gflop / (stage.milliseconds / 1e3);
        let rate =
            if stage.gflop > 0.0 { format!("{:>8.2} GFLOP {rate:>7.1} GFLOP/s", stage.gflop) } else { String::new() };
        say!("  {:<14} {:>9.1} ms{rate}", stage.stage, stage.milliseconds);
    }
}
