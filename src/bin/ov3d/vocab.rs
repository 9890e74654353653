//! `ov3d vocab`: makes and lists vocabulary files.

use super::formats;
use clap::Subcommand;
use openvocab3d::model::Vocabulary;
use openvocab3d::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// Make and list vocabulary files
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a vocabulary from ready-made text embeddings
    #[command(after_help = "Example:
  ov3d vocab make --names names.txt --embeddings embeddings.npy --space clip-vit-b32 -o vocabulary.safetensors")]
    Make {
        /// Text file with one name a line
        #[arg(long)]
        names: PathBuf,
        /// npy array [names, dim] of text embeddings, one row per name
        #[arg(long)]
        embeddings: PathBuf,
        /// Name of the text tower, as `ov3d info` shows it for the model
        #[arg(long)]
        space: String,
        /// The vocabulary file to write
        #[arg(short, long)]
        output: PathBuf,
    },
    /// List the labels of a vocabulary file
    List {
        /// The vocabulary file
        vocabulary: PathBuf,
    },
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Make { names, embeddings, space, output } => {
            let text = std::fs::read_to_string(names).map_err(|e| Error::io(names, "read the names", &e))?;
            let names: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let (shape, values) = formats::read_npy_f32(embeddings)?;
            let [rows, dim] = shape[..] else {
                let message = format!("'{}' has shape {shape:?}; it needs [names, dim]", embeddings.display());
                return Err(Error::format(message));
            };
            if rows != names.len() {
                let message = format!(
                    "'{}' has {rows} rows for {} names; give one row per name",
                    embeddings.display(),
                    names.len()
                );
                return Err(Error::new(ErrorKind::Mismatch, message));
            }
            Vocabulary::from_embeddings(&names, &values, dim, space)?.save(output)?;
            say!("{}: {} labels, {dim} wide, space '{space}'", output.display(), names.len());
        }
        Command::List { vocabulary } => {
            let vocabulary = Vocabulary::load(vocabulary)?;
            for set in vocabulary.embeddings() {
                say!("space '{}', {} wide", set.space, set.dim);
            }
            for (index, label) in vocabulary.labels().iter().enumerate() {
                say!("{index:>5}  {}{}", label.name, prompts(&label.prompts, &label.name));
            }
        }
    }
    Ok(())
}

/// The prompts, unless they are just the name.
fn prompts(prompts: &[String], name: &str) -> String {
    if prompts == [name] { String::new() } else { format!("  ({})", prompts.join("; ")) }
}
