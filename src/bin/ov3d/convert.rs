//! `ov3d convert`: a checkpoint of the OpenScene family to a model file.

use clap::ValueEnum;
use openvocab3d::model::import::read_checkpoint;
use openvocab3d::model::{Graph, InputFeatures, Model, Provenance, TextSpace, WeightDtype};
use openvocab3d::{Error, Result};
use std::path::PathBuf;

/// Convert a PyTorch or safetensors checkpoint to a model file
///
/// Reads OpenScene-family checkpoints (.pth, .pth.tar of PyTorch's zip and older formats) without executing anything in
/// them, and safetensors state dicts. The network's graph is read off the tensors and every tensor is checked against it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d convert scannet_openseg.pth.tar -o scannet.safetensors
  ov3d convert nuscenes_openseg.pth.tar -o nuscenes.safetensors --voxel-size 0.05")]
pub(crate) struct Args {
    /// The checkpoint
    checkpoint: PathBuf,
    /// The model file to write
    #[arg(short, long)]
    output: PathBuf,
    /// What the network was trained on: constant ones (every published configuration) or colours
    #[arg(long, value_enum, default_value_t = Input::Ones)]
    input: Input,
    /// Edge of a voxel in metres: 0.02 for the published indoor networks, 0.05 for nuScenes
    #[arg(long, default_value_t = 0.02)]
    voxel_size: f64,
    /// Name of the text tower whose space the head maps to [default: by width, 512: clip-vit-b32, 768:
    /// clip-vit-l14-336]
    #[arg(long)]
    text_space: Option<String>,
    /// Width of the stored convolution kernels
    #[arg(long, value_enum, default_value_t = Dtype::F16)]
    dtype: Dtype,
    /// Licence of the weights, kept in the file
    #[arg(long)]
    license: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Input {
    Ones,
    Colors,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F16,
    F32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let checkpoint = read_checkpoint(&args.checkpoint)?;
    let input = match args.input {
        Input::Ones => InputFeatures::Ones,
        Input::Colors => InputFeatures::Colors,
    };
    let within = |e: Error| e.within(format_args!("checkpoint '{}'", args.checkpoint.display()));
    let graph = Graph::infer(&checkpoint.tensors, input).map_err(within)?;
    let mut text_space = TextSpace::published(graph.head_channels);
    if let Some(name) = &args.text_space {
        text_space.name.clone_from(name);
    }
    let provenance = Provenance { source_sha256: Some(checkpoint.sha256), license: args.license.clone() };
    let model = Model::new(graph, checkpoint.tensors, args.voxel_size, text_space, provenance).map_err(within)?;
    let dtype = match args.dtype {
        Dtype::F16 => WeightDtype::F16,
        Dtype::F32 => WeightDtype::F32,
    };
    model.save(&args.output, dtype)?;
    say!(
        "{} ({} checkpoint, prefix '{}', {} counters skipped)\n-> {}: {} parameters",
        args.checkpoint.display(),
        checkpoint.format,
        checkpoint.prefix,
        checkpoint.skipped.len(),
        args.output.display(),
        model.parameter_count()
    );
    super::info::print(&model);
    Ok(())
}
