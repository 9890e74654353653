//! `ov3d demo`: the whole path on a generated room, without any file.

use super::formats::CloudFile;
use super::report;
use super::segment::{RunArgs, ScoreArgs, VoteArgs, label};
use openvocab3d::cloud::{RoomOptions, room};
use openvocab3d::model::{Graph, Model, TextSpace, Variant, Vocabulary, WeightDtype};
use openvocab3d::random::SplitMix64;
use openvocab3d::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// Try the whole path on a generated room: no files needed
///
/// Generates a furnished room, makes a small network with random weights and a vocabulary with random embeddings, and
/// writes what `ov3d segment` would. The weights are untrained, so the labels mean nothing; the times are real.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d demo -o demo-output
  ov3d demo --full --threads 1     # MinkUNet18A at its published widths on one thread")]
pub(crate) struct Args {
    /// Folder for the model, the vocabulary, the labelled cloud, the picture and the summary
    #[arg(short, long, default_value = "demo-output")]
    output: PathBuf,
    /// Seed of the room and of the network
    #[arg(long, default_value_t = 1)]
    scene: u64,
    /// Use the published widths instead of a quarter of them
    #[arg(long)]
    full: bool,
    #[command(flatten)]
    vote: VoteArgs,
    #[command(flatten)]
    scores: ScoreArgs,
    #[command(flatten)]
    run: RunArgs,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    std::fs::create_dir_all(&args.output).map_err(|e| Error::io(&args.output, "create the folder", &e))?;
    let scene = room(&RoomOptions { seed: args.scene, ..RoomOptions::default() });
    let published = Variant::ALL.into_iter().find(|v| v.name == "MinkUNet18A");
    let variant = published.ok_or_else(|| Error::internal("the table of variants lost MinkUNet18A"))?;
    // A quarter of the published widths: a second's work on any machine.
    let graph = Graph::published(variant, 512, if args.full { 1 } else { 4 });
    let model = Arc::new(Model::untrained(graph, 0.02, args.scene)?);
    let vocabulary = random_vocabulary(scene.names, model.text_space(), args.scene)?;
    model.save(&args.output.join("model.safetensors"), WeightDtype::F16)?;
    vocabulary.save(&args.output.join("vocabulary.safetensors"))?;
    let cloud =
        CloudFile { positions: scene.positions.iter().map(|p| p.map(f64::from)).collect(), colors: Some(scene.colors) };
    let request = args.vote.request(args.scores.apply(args.run.options()), cloud.positions.len())?;
    let vocabulary = Arc::new(vocabulary);
    let labelled = label(cloud, "generated room", &model, "untrained demo network", vocabulary, &args.run, &request)?;
    report::print(&labelled.summary);
    labelled.write_ply(&args.output.join("labelled.ply"))?;
    labelled
        .write_picture(&args.output.join("labelled.png"), "generated room, untrained weights: labels mean nothing")?;
    labelled.write_json(&args.output.join("summary.json"))?;
    say!(
        "\nThe demo's weights are untrained, so its labels mean nothing: it shows that the whole path works and what it\n\
         takes. A trained starter model will replace it; meanwhile `ov3d convert` imports a published checkpoint."
    );
    Ok(())
}

/// Labels with random embeddings in `space`.
pub(crate) fn random_vocabulary(names: &[&str], space: &TextSpace, seed: u64) -> Result<Vocabulary> {
    let mut random = SplitMix64::new(seed);
    let rows: Vec<f32> = (0..names.len() * space.dim).map(|_| random.range(-1.0, 1.0) as f32).collect();
    Vocabulary::from_embeddings(names, &rows, space.dim, &space.name)
}
