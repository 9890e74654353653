//! `ov3d query`: how well every point fits a text, as a heat map.

use super::formats::{self, HeatCloud};
use super::picture;
use super::progress::Progress;
use super::segment::RunArgs;
use super::words::{WordArgs, any_text};
use openvocab3d::backend::Control;
use openvocab3d::cancel::Cancel;
use openvocab3d::model::{Model, TextSpace, Vocabulary};
use openvocab3d::pipeline::{Kept, SegmentOptions, Segmentation, relevance};
use openvocab3d::plan::Similarity;
use openvocab3d::session::Session;
use openvocab3d::text::{Preset, Prompt, PromptedLabel};
use openvocab3d::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Show how well every point of a cloud fits a text
///
/// Runs the network once; every text is then scored from what was kept of that run. The value of a point is its cosine
/// with the text against the best of the other texts, as a share of the two: 50 % means that both fit alike.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  ov3d query room.ply -m scannet.safetensors --encoder clip-vit-l14-336 --text \"a red chair\" -o heat.ply --picture heat.png
  ov3d query room.ply -m scannet.safetensors --vocab words.safetensors --text sofa --against chair --against floor --picture heat.png")]
pub(crate) struct Args {
    /// The cloud: PLY, PCD, LAS, LAZ, E57, npy or .bin
    cloud: PathBuf,
    /// The model file (see `ov3d convert`)
    #[arg(short, long)]
    model: PathBuf,
    #[command(flatten)]
    words: WordArgs,
    /// A word that the texts are compared with, once for each [default: all other labels of --vocab; with --encoder
    /// object, things, stuff and texture; with names:vit-b-32 the words of the preset scannet20]
    #[arg(long, value_name = "WORDS")]
    against: Vec<String>,
    /// PLY with the property `relevance` to write; with several texts their numbers are added to the name
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Picture (PNG) to write; likewise
    #[arg(long)]
    picture: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
}

/// What LERF (Kerr et al., ICCV 2023) compares with.
const NEUTRAL: [&str; 4] = ["object", "things", "stuff", "texture"];
/// CLIP's own temperature.
const TEMPERATURE: f32 = 0.01;

pub(crate) fn run(args: &Args) -> Result<()> {
    args.words.refuse_label_sets()?;
    let texts = args.words.labels()?;
    if texts.is_empty() {
        return Err(Error::argument("there is no text to look for; give --text"));
    }
    for (number, text) in texts.iter().enumerate() {
        if texts[..number].iter().any(|before| same(&before.name, &text.name)) {
            let message = format!("two texts are named '{}'; write 'name=prompt;prompt' with another name", text.name);
            return Err(Error::argument(message));
        }
    }
    let place = |path: &PathBuf, number| numbered(path, (texts.len() > 1).then_some(number));
    let outputs: Vec<PathBuf> = [&args.output, &args.picture]
        .into_iter()
        .flatten()
        .flat_map(|path| (0..texts.len()).map(move |number| place(path, number)))
        .collect();
    formats::check_outputs([&args.cloud, &args.model].into_iter().chain(args.words.files()), &outputs)?;
    let cloud = formats::read_cloud(&args.cloud)?;
    let model = Arc::new(Model::load(&args.model)?);
    let (vocabulary, others) = vocabularies(args, model.text_space(), args.run.engine.threads())?;
    let asked = texts.iter().map(|text| compared(&vocabulary, text, &others)).collect::<Result<Vec<_>>>()?;
    let mut session = Session::on(model, args.run.engine.open()?);
    session.set_vocabulary(vocabulary)?;
    let frame = args.run.frame();
    let view = cloud.view(frame);
    let progress = Progress::new("running the network");
    let report = |fraction| progress.report(fraction);
    let options = SegmentOptions { keep_trunk: true, ..args.run.options() };
    let start = Instant::now();
    let mut run = session.segment(&[view], &options, Control { progress: Some(&report), ..Control::default() })?;
    drop(progress);
    let (Some(points), Some(kept)) = (run.clouds.pop(), run.kept.pop()) else {
        return Err(Error::internal("no result for the cloud"));
    };
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    say!("{}: {} points, {milliseconds:.1} ms", args.cloud.display(), points.labels.len());
    let metres: Vec<[f64; 3]> = cloud.positions.iter().map(|&p| frame.to_metres(p)).collect();
    for (number, (text, asked)) in texts.iter().map(|text| &text.name).zip(asked).enumerate() {
        let start = Instant::now();
        let values = query(&mut session, &points, &kept, asked)?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        let above = values.iter().filter(|value| **value > 0.5).count();
        let share = 100.0 * above as f64 / values.len().max(1) as f64;
        say!("  {text}: {above} points above 50 % ({share:.1} %), {milliseconds:.1} ms");
        let colors: Vec<[u8; 3]> = values.iter().map(|value| picture::heat_color(*value)).collect();
        if let Some(path) = &args.output {
            let path = place(path, number);
            let heat = HeatCloud { positions: &cloud.positions, colors: &colors, relevance: &values, text };
            formats::write_heat_ply(&path, &heat)?;
            say!("wrote {}", path.display());
        }
        if let Some(path) = &args.picture {
            let path = place(path, number);
            let title = format!("'{text}' in {}", args.cloud.display());
            picture::save(&path, &picture::draw_heat(&metres, &colors, &title))?;
            say!("wrote {}", path.display());
        }
    }
    Ok(())
}

/// All words there are, and those that every text is compared with.
fn vocabularies(args: &Args, space: &TextSpace, threads: Option<usize>) -> Result<(Arc<Vocabulary>, Vec<String>)> {
    match args.words.encoder(threads)? {
        Some(encoder) => {
            let templates = args.words.templates()?;
            let mut labels = args.words.labels()?;
            let (words, bare): (Vec<&str>, bool) = match args.against.is_empty() {
                true => (NEUTRAL.to_vec(), true),
                false => (args.against.iter().map(String::as_str).collect(), false),
            };
            for word in &words {
                let prompt = Prompt { words: (*word).to_owned(), bare };
                labels.push(PromptedLabel { name: (*word).to_owned(), prompts: vec![prompt] });
            }
            let vocabulary = encoder.vocabulary(&labels, &templates, Cancel::default())?;
            Ok((Arc::new(vocabulary), words.into_iter().map(str::to_owned).collect()))
        }
        None => {
            let all = args.words.known_words(Some(space))?;
            let others: Vec<String> = match (args.against.is_empty(), args.words.uses_names()) {
                (true, false) => all.labels().iter().map(|label| label.name.clone()).collect(),
                // Among a thousand names many mean the same.
                (true, true) => Preset::find("scannet20")?.labels.into_iter().map(|label| label.name).collect(),
                (false, _) => args.against.clone(),
            };
            let mut labels = args.words.labels()?;
            let rest = others.iter().filter(|other| labels.iter().all(|label| !same(&label.name, other)));
            let rest: Vec<PromptedLabel> = rest.map(|other| PromptedLabel::named(other)).collect();
            labels.extend(rest);
            Ok((Arc::new(all.look_up(&labels).map_err(any_text)?), others))
        }
    }
}

/// Whether two words are one to CLIP.
fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// `text` first, then the others that are none of its own words.
fn compared(vocabulary: &Vocabulary, text: &PromptedLabel, others: &[String]) -> Result<Arc<Vocabulary>> {
    let own = |other: &str| same(other, &text.name) || text.prompts.iter().any(|prompt| same(other, &prompt.words));
    let others = others.iter().map(String::as_str).filter(|other| !own(other));
    let labels: Vec<PromptedLabel> =
        std::iter::once(text.name.as_str()).chain(others).map(PromptedLabel::named).collect();
    if labels.len() < 2 {
        let message = format!("there is no other word than '{}' to compare it with; give --against", text.name);
        return Err(Error::argument(message));
    }
    Ok(Arc::new(vocabulary.look_up(&labels)?.with_other(None)?))
}

/// The relevance of the vocabulary's first label at every point; 0 where there is no voxel.
fn query(session: &mut Session, points: &Segmentation, kept: &Kept, vocabulary: Arc<Vocabulary>) -> Result<Vec<f32>> {
    let options = SegmentOptions { similarity: Similarity::Cosine, logits: true, ..SegmentOptions::default() };
    let labels = vocabulary.len();
    let answer = session.query(kept, &points.voxel_of_point, vocabulary, &options, Control::default())?;
    let voxels = relevance(&answer.logits, labels, 0, TEMPERATURE)?;
    let of_point = |voxel: &i32| usize::try_from(*voxel).ok().and_then(|voxel| voxels.get(voxel)).copied();
    Ok(points.voxel_of_point.iter().map(|voxel| of_point(voxel).unwrap_or(0.0)).collect())
}

/// `heat.ply`, or `heat-2.ply` for the third of several texts.
fn numbered(path: &Path, number: Option<usize>) -> PathBuf {
    let Some(number) = number else { return path.to_owned() };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|extension| format!(".{}", extension.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{number}{extension}"))
}
