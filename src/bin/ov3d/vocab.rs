//! `ov3d vocab`: makes, lists, merges and compares vocabulary files.

use super::formats;
use super::picture;
use super::words::{NAMES, WordArgs, any_text, load_vocabulary};
use clap::Subcommand;
use openvocab3d::model::{Embeddings, Label, Vocabulary, WeightDtype};
use openvocab3d::text::{Preset, PromptedLabel};
use openvocab3d::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

/// Make, list, merge and compare vocabulary files
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a vocabulary of words, or of ready-made text embeddings
    #[command(after_help = "Examples:
  ov3d vocab make --encoder clip-vit-l14-336 --text sofa --text \"vehicle=car;truck\" -o words.safetensors
  ov3d vocab make --encoder clip-vit-l14-336 --preset scannet20 -o scannet20.safetensors
  ov3d vocab make --names names.txt --embeddings embeddings.npy --space clip-vit-b32 -o words.safetensors")]
    Make {
        #[command(flatten)]
        words: Box<WordArgs>,
        /// npy array [prompts, dim] of text embeddings, one row per prompt of --names, instead of an encoder
        #[arg(long, requires = "names", requires = "space", conflicts_with_all = ["encoder", "vocab", "preset"])]
        embeddings: Option<PathBuf>,
        /// Name of the text tower of --embeddings, as `ov3d info` shows it for the model
        #[arg(long, requires = "embeddings")]
        space: Option<String>,
        #[command(flatten)]
        out: OutArgs,
    },
    /// List the labels of a vocabulary, or what ships with this tool
    #[command(after_help = "Examples:
  ov3d vocab list
  ov3d vocab list names:vit-b-32
  ov3d vocab list words.safetensors")]
    List {
        /// The vocabulary file, or names:vit-b-32; without it, the names of these and of the published label sets
        vocabulary: Option<PathBuf>,
    },
    /// Join vocabularies of one text space; labels of one name become one, with the prompts of all
    #[command(after_help = "Example:
  ov3d vocab merge indoor.safetensors street.safetensors -o both.safetensors")]
    Merge {
        /// The vocabulary files
        #[arg(required = true)]
        vocabularies: Vec<PathBuf>,
        #[command(flatten)]
        out: OutArgs,
    },
    /// Show the labels most like a label, or like a text
    #[command(after_help = "Examples:
  ov3d vocab nearest words.safetensors sofa
  ov3d vocab nearest names:vit-b-32 lamp
  ov3d vocab nearest words.safetensors \"something to sit on\" --encoder clip-vit-l14-336")]
    Nearest {
        /// The vocabulary file, or names:vit-b-32
        vocabulary: PathBuf,
        /// A label of it; any text with an encoder
        text: String,
        /// Text encoder of the vocabulary's space
        #[arg(long)]
        encoder: Option<PathBuf>,
        /// How many labels to show
        #[arg(short, long, default_value_t = 10)]
        count: usize,
    },
    /// Draw how alike the labels are
    #[command(after_help = "Example:
  ov3d vocab similarity words.safetensors -o similarity.png")]
    Similarity {
        /// The vocabulary file, or names:vit-b-32
        vocabulary: PathBuf,
        /// Picture (PNG) to write
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// The file to write.
#[derive(clap::Args)]
struct OutArgs {
    /// The vocabulary file to write
    #[arg(short, long)]
    output: PathBuf,
    /// Store embeddings as FP16: half the size, cosines change by less than 0.001
    #[arg(long)]
    half: bool,
    /// Line on where words or embeddings come from, kept in the file
    #[arg(long)]
    notice: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.command {
        Command::Make { words, embeddings, space, out } => {
            let vocabulary = match (embeddings, space) {
                (Some(embeddings), Some(space)) => from_embeddings(&words.labels()?, embeddings, space)?,
                _ => words.vocabulary(None, None)?,
            };
            save(vocabulary, out)
        }
        Command::List { vocabulary } => {
            match vocabulary {
                Some(path) => list(&load_vocabulary(path)?),
                None => list_shipped()?,
            }
            Ok(())
        }
        Command::Merge { vocabularies, out } => {
            let parts = vocabularies.iter().map(|path| load_vocabulary(path)).collect::<Result<Vec<_>>>()?;
            save(Vocabulary::merge(&parts)?, out)
        }
        Command::Nearest { vocabulary, text, encoder, count } => nearest(vocabulary, text, encoder.as_ref(), *count),
        Command::Similarity { vocabulary, output } => similarity(vocabulary, output),
    }
}

fn from_embeddings(labels: &[PromptedLabel], embeddings: &Path, space: &str) -> Result<Vocabulary> {
    let (shape, rows) = formats::read_npy_f32(embeddings)?;
    let [count, dim] = shape[..] else {
        let message = format!("'{}' has shape {shape:?}; it needs [prompts, dim]", embeddings.display());
        return Err(Error::format(message));
    };
    let prompts: usize = labels.iter().map(|label| label.prompts.len()).sum();
    if count != prompts {
        let message =
            format!("'{}' has {count} rows for {prompts} prompts; give one row per prompt", embeddings.display());
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    let label = |label: &PromptedLabel| Label {
        name: label.name.clone(),
        prompts: label.prompts.iter().map(|prompt| prompt.words.clone()).collect(),
    };
    let set = Embeddings { space: space.to_owned(), dim, rows };
    Vocabulary::new(labels.iter().map(label).collect(), vec![set])
}

fn save(vocabulary: Vocabulary, out: &OutArgs) -> Result<()> {
    let vocabulary = match &out.notice {
        Some(notice) => vocabulary.with_notice(notice.clone()),
        None => vocabulary,
    };
    vocabulary.save_as(&out.output, if out.half { WeightDtype::F16 } else { WeightDtype::F32 })?;
    let spaces = vocabulary.embeddings().iter().map(|set| format!("{} wide, space '{}'", set.dim, set.space));
    say!("{}: {} labels, {}", out.output.display(), vocabulary.len(), spaces.collect::<Vec<_>>().join("; "));
    Ok(())
}

/// What there is without any file.
fn list_shipped() -> Result<()> {
    let names = load_vocabulary(Path::new(NAMES))?;
    let set = &names.embeddings()[0];
    say!("vocabulary for --vocab:");
    say!("  {NAMES:<16}{:>5} labels, {} wide, space '{}'", names.len(), set.dim, set.space);
    say!("label sets for --preset, which need a text encoder or a vocabulary that has their words:");
    for preset in Preset::names().map(Preset::find) {
        let preset = preset?;
        say!("  {:<16}{:>5} labels", preset.name, preset.labels.len());
    }
    Ok(())
}

fn list(vocabulary: &Vocabulary) {
    for set in vocabulary.embeddings() {
        say!("space '{}', {} wide", set.space, set.dim);
    }
    if !vocabulary.notice().is_empty() {
        say!("{}", vocabulary.notice());
    }
    for (index, label) in vocabulary.labels().iter().enumerate() {
        let other = vocabulary.other().filter(|other| other.label == index);
        let other = other.map_or(String::new(), |other| format!("  for scores below {}", other.threshold));
        say!("{index:>5}  {}{}{other}", label.name, prompts(&label.prompts, &label.name));
    }
}

/// The prompts, unless they are just the name.
fn prompts(prompts: &[String], name: &str) -> String {
    if prompts == [name] { String::new() } else { format!("  ({})", prompts.join("; ")) }
}

fn nearest(path: &Path, text: &str, encoder: Option<&PathBuf>, count: usize) -> Result<()> {
    let vocabulary = load_vocabulary(path)?;
    let asked = match encoder {
        Some(encoder) => WordArgs::of(encoder.clone(), text).vocabulary(None, None)?,
        None => vocabulary.look_up(&[PromptedLabel::named(text)]).map_err(any_text)?,
    };
    let asked = &asked.embeddings()[0];
    let set = vocabulary.embeddings_for(&asked.space, asked.dim)?;
    for (label, cosine) in vocabulary.nearest(set, asked.row(0)).into_iter().take(count) {
        say!("{cosine:.3}  {}", vocabulary.labels()[label].name);
    }
    Ok(())
}

fn similarity(path: &Path, output: &Path) -> Result<()> {
    let vocabulary = load_vocabulary(path)?;
    let set: &Embeddings = &vocabulary.embeddings()[0];
    let names: Vec<String> = vocabulary.labels().iter().map(|label| label.name.clone()).collect();
    let matrix = vocabulary.similarity(set)?;
    let title = format!("{}: {} labels in '{}'", path.display(), names.len(), set.space);
    picture::save(output, &picture::draw_matrix(&names, &matrix, &title))?;
    say!("wrote {}", output.display());
    Ok(())
}
