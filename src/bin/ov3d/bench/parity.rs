//! Whether a device computes what the CPU does, within what FP16 explains.

use super::record::Record;
use super::workload::Workload;
use crate::agreement::Agreement;
use openvocab3d::backend::cpu::{CpuBackend, CpuOptions};
use openvocab3d::backend::{Control, FeatureSpace};
use openvocab3d::model::{Model, Vocabulary};
use openvocab3d::pipeline::{SegmentOptions, Segmentation};
use openvocab3d::session::Session;
use openvocab3d::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Largest relative L2 error of the trunk's features.
const MOST_ERROR: f64 = 1e-2;
/// Least mean cosine of the features of a voxel.
const LEAST_COSINE: f64 = 0.9995;
/// Part of the spread of all scores: labels whose score leads by more on the CPU must be the same.
const MARGIN: f32 = 0.03;

/// One cloud on the device and on the CPU in f32.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parity {
    pub(crate) relative_l2: f64,
    pub(crate) mean_cosine: f64,
    pub(crate) least_cosine: f64,
    /// Points with a voxel.
    pub(crate) points: usize,
    pub(crate) equal_labels: usize,
    /// Points whose best score leads by a margin, and those of them with another label.
    pub(crate) sure_points: usize,
    pub(crate) sure_points_wrong: usize,
    /// Whether every point has the same voxel.
    pub(crate) same_voxels: bool,
    /// Whether two runs on the device had the same bits.
    pub(crate) same_bits: bool,
}

/// What a session says of `workload`.
fn run(session: &mut Session, workload: &Workload, options: &SegmentOptions) -> Result<Vec<Segmentation>> {
    Ok(session.segment(&workload.clouds(), options, Control::default())?.clouds.into_iter().collect())
}

impl Parity {
    /// Of `device`'s session on `workload`.
    pub(crate) fn of(
        model: &Arc<Model>,
        vocabulary: &Arc<Vocabulary>,
        device: &mut Session,
        workload: &Workload,
    ) -> Result<Self> {
        let labels = workload.options();
        let all = SegmentOptions { logits: true, features: Some(FeatureSpace::Trunk), ..labels.clone() };
        let mut cpu = Session::on(model.clone(), Arc::new(CpuBackend::new(CpuOptions::default())?));
        cpu.set_vocabulary(vocabulary.clone())?;
        let want = run(&mut cpu, workload, &all)?;
        drop(cpu);
        let (got, again) = (run(device, workload, &all)?, run(device, workload, &all)?);
        // The way that is measured, on which scores never reach memory.
        let (short, short_again) = (run(device, workload, &labels)?, run(device, workload, &labels)?);

        let same = |a: &[f32], b: &[f32]| a.iter().map(|v| v.to_bits()).eq(b.iter().map(|v| v.to_bits()));
        let same_run = |(a, b): (&Segmentation, &Segmentation)| {
            a.labels == b.labels
                && same(&a.scores, &b.scores)
                && same(&a.logits, &b.logits)
                && same(&a.features, &b.features)
        };
        let rows = |cloud: &Segmentation| cloud.coordinates.len().max(1);
        let pairs = got.iter().zip(&want).flat_map(|(got, want)| {
            let width = (want.features.len() / rows(want)).max(1);
            got.features.chunks(width).zip(want.features.chunks(width))
        });
        let agreement = Agreement::of(pairs);
        let mut this = Self {
            relative_l2: agreement.overall.min(f64::MAX),
            mean_cosine: agreement.mean_cosine,
            least_cosine: agreement.cosine.max(-1.0),
            points: 0,
            equal_labels: 0,
            sure_points: 0,
            sure_points_wrong: 0,
            same_voxels: got.iter().zip(&want).all(|(got, want)| got.voxel_of_point == want.voxel_of_point),
            same_bits: got.iter().zip(&again).all(same_run) && short.iter().zip(&short_again).all(same_run),
        };
        for (short, want) in short.iter().zip(&want) {
            this.count_labels(short, want, vocabulary.len());
        }
        Ok(this)
    }

    fn count_labels(&mut self, got: &Segmentation, want: &Segmentation, labels: usize) {
        let (low, high) = want.logits.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        for (point, &voxel) in want.voxel_of_point.iter().enumerate() {
            let Ok(voxel) = usize::try_from(voxel) else { continue };
            let (mut first, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
            for &score in &want.logits[voxel * labels..][..labels] {
                second = second.max(score.min(first));
                first = first.max(score);
            }
            let (sure, equal) = (first - second > MARGIN * (high - low), got.labels[point] == want.labels[point]);
            self.points += 1;
            self.equal_labels += usize::from(equal);
            self.sure_points += usize::from(sure);
            self.sure_points_wrong += usize::from(sure && !equal);
        }
    }

    /// Whether all bars hold.
    pub(crate) fn holds(&self) -> bool {
        let close = self.relative_l2 <= MOST_ERROR && self.mean_cosine >= LEAST_COSINE;
        close && self.sure_points_wrong == 0 && self.same_voxels && self.same_bits
    }

    /// For people.
    pub(crate) fn lines(&self) -> [String; 3] {
        let verdict = if self.holds() { "holds" } else { "FAILS" };
        let bits = if self.same_bits { "two runs had the same bits" } else { "two runs DIFFER" };
        let voxels = if self.same_voxels { "same voxels" } else { "OTHER voxels" };
        let percent = 100.0 * self.equal_labels as f64 / self.points.max(1) as f64;
        [
            format!(
                "parity with the CPU in f32 {verdict}: trunk relative L2 {:.1e} (at most {MOST_ERROR:.0e}), mean cosine {:.6} \
                 (at least {LEAST_COSINE}), smallest {:.6}",
                self.relative_l2, self.mean_cosine, self.least_cosine
            ),
            format!(
                "  labels of {} points: {percent:.2} % equal; of {} that lead by {:.0} % of the scores' spread {} differ (at most 0)",
                self.points,
                self.sure_points,
                100.0 * MARGIN,
                self.sure_points_wrong
            ),
            format!("  {voxels}; {bits}"),
        ]
    }
}

/// An error if a device did not compute what the CPU did.
pub(crate) fn require(record: &Record) -> Result<()> {
    let failed = record.measurements.iter().filter(|m| m.parity.as_ref().is_some_and(|parity| !parity.holds())).count();
    if failed == 0 {
        return Ok(());
    }
    let message = format!(
        "{} computes other values than the CPU on {failed} of {} clouds: please report this with the --json file",
        record.engine.device,
        record.measurements.len()
    );
    Err(Error::new(ErrorKind::Mismatch, message))
}
