//! `ov3d verify`: a model against stored inputs and outputs.

use super::agreement::Agreement;
use super::engine::EngineArgs;
use super::formats;
use super::progress::Progress;
use openvocab3d::backend::{Control, FeatureSpace};
use openvocab3d::model::{InputFeatures, Model};
use openvocab3d::session::Session;
use openvocab3d::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Check a model against stored inputs and outputs
///
/// Runs the network on ready-made voxel coordinates and compares its text-space features with expected ones, such as
/// those the training framework computed. Exits with 1 if the worst row differs by more than the tolerance.
#[derive(clap::Args)]
#[command(after_help = "Example:
  ov3d verify --model scannet.safetensors --coordinates coords.npy --expected out.npy")]
pub(crate) struct Args {
    /// The model file
    #[arg(short, long)]
    model: PathBuf,
    /// npy array [n, 4] of int32 rows batch, x, y, z (or [n, 3] for one cloud)
    #[arg(long)]
    coordinates: PathBuf,
    /// npy array [n, input channels] of features, for networks whose input is not constant
    #[arg(long)]
    features: Option<PathBuf>,
    /// npy array [n, d] of expected text-space features, or [r, d] with --rows
    #[arg(long)]
    expected: PathBuf,
    /// npy array of the r row numbers that --expected holds
    #[arg(long)]
    rows: Option<PathBuf>,
    /// Largest relative error of any row
    #[arg(long, default_value_t = 1e-4)]
    tolerance: f64,
    #[command(flatten)]
    engine: EngineArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = Arc::new(Model::load(&args.model)?);
    let coordinates = read_coordinates(&args.coordinates)?;
    let features = match (&args.features, model.graph().input) {
        (Some(path), InputFeatures::Colors) => Some(formats::read_npy_f32(path)?.1),
        _ => None,
    };
    let mut session = Session::on(model, args.engine.open()?);
    let progress = Progress::new("running");
    let report = |fraction| progress.report(fraction);
    let control = Control { progress: Some(&report), ..Control::default() };
    let got = session.forward(&coordinates, features.as_deref(), FeatureSpace::Text, control)?;
    drop(progress);
    let rows = match &args.rows {
        Some(path) => read_rows(path, coordinates.len())?,
        None => (0..coordinates.len()).collect(),
    };
    let (shape, expected) = formats::read_npy_f32(&args.expected)?;
    if shape != [rows.len(), got.dim] {
        return Err(Error::new(
            ErrorKind::Mismatch,
            format!("'{}' has shape {shape:?}; it needs [{}, {}]", args.expected.display(), rows.len(), got.dim),
        ));
    }
    let pairs = rows.iter().map(|&row| &got.features[row * got.dim..][..got.dim]).zip(expected.chunks_exact(got.dim));
    let agreement = Agreement::of(pairs);
    say!("{} rows of {} features on {}", rows.len(), got.dim, session.describe_device());
    say!("  worst row         {:.2e} relative error (tolerance {:.0e})", agreement.worst, args.tolerance);
    say!("  all rows          {:.2e} relative L2", agreement.overall);
    say!("  smallest cosine   {:.7}", agreement.cosine);
    if agreement.worst <= args.tolerance {
        say!("equal within the tolerance");
        return Ok(());
    }
    let message = format!(
        "the features differ by {:.2e} on the worst row, more than {:.0e}; is this the model, the input and the width \
         of weights that the expected values were computed with?",
        agreement.worst, args.tolerance
    );
    Err(Error::new(ErrorKind::Mismatch, message))
}

fn read_coordinates(path: &Path) -> Result<Vec<[i32; 4]>> {
    let (shape, values) = formats::read_npy_i32(path)?;
    match shape[..] {
        [_, 4] => Ok(values.chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect()),
        [_, 3] => Ok(values.chunks_exact(3).map(|c| [0, c[0], c[1], c[2]]).collect()),
        _ => Err(Error::format(format!("'{}' has shape {shape:?}; it needs [n, 4] or [n, 3]", path.display()))),
    }
}

fn read_rows(path: &Path, count: usize) -> Result<Vec<usize>> {
    let rows = formats::read_npy_i32(path)?.1;
    let row = |&row: &i32| usize::try_from(row).ok().filter(|&row| row < count);
    rows.iter()
        .map(|r| row(r).ok_or_else(|| Error::argument(format!("row {r} of --rows is not in 0..{count}"))))
        .collect()
}
