//! `ov3d info`: what a model file holds.

use openvocab3d::model::{Graph, InputFeatures, Model, TextSpace};
use openvocab3d::{Error, Result};
use serde::Serialize;
use std::path::PathBuf;

/// Show what a model file holds: graph, sizes, text space, provenance
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d info scannet.safetensors
  ov3d info scannet.safetensors --json")]
pub(crate) struct Args {
    /// The model file
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Info<'a> {
    variant: Option<&'static str>,
    graph: &'a Graph,
    voxel_size: f64,
    text_space: &'a TextSpace,
    parameters: usize,
    tensors: usize,
    weight_bytes: usize,
    source_sha256: Option<&'a str>,
    license: Option<&'a str>,
}

fn info(model: &Model) -> Info<'_> {
    Info {
        variant: model.graph().variant().map(|v| v.name),
        graph: model.graph(),
        voxel_size: model.voxel_size(),
        text_space: model.text_space(),
        parameters: model.parameter_count(),
        tensors: model.weights().count(),
        weight_bytes: model.plan().weight_bytes(),
        source_sha256: model.provenance().source_sha256.as_deref(),
        license: model.provenance().license.as_deref(),
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let model = Model::load(&args.model)?;
    if args.json {
        let text = serde_json::to_string_pretty(&info(&model)).map_err(|e| Error::internal(e.to_string()))?;
        say!("{text}");
    } else {
        print(&model);
    }
    Ok(())
}

/// Prints the model for people.
pub(crate) fn print(model: &Model) {
    let info = info(model);
    let graph = info.graph;
    let input = match graph.input {
        InputFeatures::Ones => "constant ones (colours are not read)",
        InputFeatures::Colors => "colours",
    };
    let mebibytes = info.weight_bytes as f64 / f64::from(1 << 20);
    say!("  network     {}", info.variant.unwrap_or("MinkUNet with its own widths"));
    say!("  planes      {} -> {:?}", graph.stem_channels, graph.planes);
    say!("  blocks      {:?}, stem kernel {}", graph.blocks, graph.stem_kernel);
    say!("  input       {input}");
    say!("  voxel size  {} m", info.voxel_size);
    say!(
        "  text space  '{}', {} wide, \"{}\"",
        info.text_space.name,
        info.text_space.dim,
        info.text_space.prompt_template
    );
    say!("  parameters  {} in {} tensors, {mebibytes:.1} MiB", info.parameters, info.tensors);
    say!("  source      {}", info.source_sha256.map_or("not imported".to_owned(), |sha| format!("sha256 {sha}")));
    say!("  licence     {}", info.license.unwrap_or("not stated"));
}
