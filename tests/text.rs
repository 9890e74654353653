//! Words to tokens, tokens to vectors, against references made once with the original programs: `tests/text/README.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "tests fail by panicking")]

#[path = "text/towers.rs"]
mod towers;

use openvocab3d::ErrorKind;
use openvocab3d::cancel::Cancel;
use openvocab3d::model::{Vocabulary, WeightDtype};
use openvocab3d::random::SplitMix64;
use openvocab3d::text::{
    EncoderOptions, Overflow, Preset, PromptedLabel, TextEncoder, Tokeniser, WeightWidth, names_vit_b32,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;
use towers::{GOLDENS, PUBLISHED, SMALL, Shape};

#[test]
fn tokens_are_those_of_clip() {
    let tokeniser = Tokeniser::new().unwrap();
    let lines: Vec<(String, Vec<u32>)> =
        include_str!("text/tokens.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() > 600);
    let wrong: Vec<_> = lines.iter().filter(|(text, want)| tokeniser.tokens(text) != *want).collect();
    for (text, want) in &wrong {
        println!("{text:?}: {:?}, not {want:?}", tokeniser.tokens(text));
    }
    assert!(wrong.is_empty(), "{} of {} differ", wrong.len(), lines.len());
}

#[test]
fn tokens_are_those_of_the_shared_goldens() {
    let Some(shared) = std::env::var_os("OV3D_SHARED") else {
        println!("shared token goldens: OV3D_SHARED is not set, nothing to compare with");
        return;
    };
    let file = PathBuf::from(shared).join("data/clip_text_vitb32/token_ids.tsv");
    let text = std::fs::read_to_string(file).unwrap();
    let tokeniser = Tokeniser::new().unwrap();
    let lines: Vec<(&str, &str)> = text.lines().skip(1).map(|line| line.split_once('\t').unwrap()).collect();
    for (text, ids) in &lines {
        let want: Vec<u32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
        assert_eq!(tokeniser.tokens(text), want, "{text}");
    }
    assert!(lines.len() > 10);
}

/// Names, overrides and groups as the list that was compiled from the data sets' own code.
#[test]
fn presets_are_those_of_the_shared_list() {
    let Some(shared) = std::env::var_os("OV3D_SHARED") else {
        println!("shared label sets: OV3D_SHARED is not set, nothing to compare with");
        return;
    };
    let text = std::fs::read_to_string(PathBuf::from(shared).join("reference/labelsets.json")).unwrap();
    let sets: serde_json::Value = serde_json::from_str(&text).unwrap();
    let strings = |value: &serde_json::Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let mut compared = 0;
    for preset in Preset::names().map(|name| Preset::find(name).unwrap()) {
        let set = &sets[preset.name];
        let Some(names) = set.get("names").map(strings) else { continue };
        assert_eq!(preset.labels.iter().map(|label| label.name.clone()).collect::<Vec<_>>(), names, "{}", preset.name);
        let overrides = set.get("prompt_override").or(set.get("prompt_override_as_coded"));
        for (index, label) in preset.labels.iter().enumerate() {
            let wanted = overrides.and_then(|overrides| overrides.get(index.to_string()));
            let prompts: Vec<(&str, bool)> = label.prompts.iter().map(|p| (p.words.as_str(), p.bare)).collect();
            match wanted {
                Some(words) => assert_eq!(prompts, [(words.as_str().unwrap(), true)]),
                None if preset.name == "nuscenes16" => {
                    let details = &sets["nuscenes_detail_prompts"];
                    let own = details["to_nuscenes16"].as_array().unwrap().iter().zip(strings(&details["names"]));
                    let own = own.filter(|(label, _)| **label == index).map(|(_, name)| name);
                    assert!(own.eq(prompts.iter().map(|(words, _)| (*words).to_owned())), "{prompts:?}");
                }
                None => assert_eq!(prompts, [(label.name.as_str(), false)]),
            }
        }
        if let Some(ids) = set.get("raw_ids").or(set.get("nyu40_ids")) {
            let want: Vec<Vec<u32>> =
                ids.as_array().unwrap().iter().map(|id| vec![id.as_u64().unwrap() as u32]).collect();
            assert_eq!(preset.ids, want, "{}", preset.name);
        }
        for subset in ["head", "common", "tail"].into_iter().filter(|subset| set.get(*subset).is_some()) {
            let own = preset.labels.iter().zip(&preset.subsets).filter(|(_, own)| **own == subset);
            assert!(own.map(|(label, _)| label.name.clone()).eq(strings(&set[subset])), "{subset}");
        }
        compared += 1;
    }
    assert_eq!(compared, 7);
}

#[test]
fn the_names_that_ship() {
    let names = names_vit_b32().unwrap();
    assert_eq!((names.len(), names.prompt_count()), (1412, 1424));
    let distinct: BTreeSet<String> = names.labels().iter().map(|label| label.name.to_lowercase()).collect();
    assert_eq!(distinct.len(), 1412);
    assert!(distinct.iter().all(|name| !name.is_empty() && name.trim() == name));
    let [set] = names.embeddings() else { panic!("more than one text space") };
    assert_eq!((set.space.as_str(), set.dim), ("clip-vit-b32", 512));
    for row in set.rows.chunks_exact(512) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }
    assert!(names.notice().contains("Apache-2.0"));
    let nearest = names.nearest(set, set.row(names.prompts_of(names.find("sofa").unwrap()).start));
    assert!(["couch", "sofa bed"].contains(&names.labels()[nearest[1].0].name.as_str()));
    // Written again at FP16 they are the same but for that width's rounding, at FP32 exactly.
    let half = Vocabulary::from_bytes(&names.to_bytes(WeightDtype::F16).unwrap()).unwrap();
    assert_eq!(half.labels(), names.labels());
    let pairs = half.embeddings()[0].rows.iter().zip(&set.rows);
    assert!(pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) <= 0.0005);
    let full = Vocabulary::from_bytes(&names.to_bytes(WeightDtype::F32).unwrap()).unwrap();
    assert_eq!(full, names);
    // All of ScanNet's labels are there; the space of another network is an error that names both.
    let labels: Vec<PromptedLabel> = Preset::find("scannet20").unwrap().labels;
    let words: Vec<PromptedLabel> = labels.iter().map(|label| PromptedLabel::named(&label.name)).collect();
    assert_eq!(names.look_up(&words).unwrap().len(), 20);
    let error = names.embeddings_for("clip-vit-l14-336", 768).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Mismatch);
    assert!(error.to_string().contains("clip-vit-l14-336") && error.to_string().contains("clip-vit-b32"));
}

/// Every row is that of the shared sets, but for FP16's rounding of its unit length; every name of them is there.
#[test]
fn the_names_that_ship_are_those_of_the_shared_sets() {
    let Some(shared) = std::env::var_os("OV3D_SHARED") else {
        println!("shared text vectors: OV3D_SHARED is not set, nothing to compare with");
        return;
    };
    let folder = PathBuf::from(shared).join("data/clip_text_vitb32");
    let names = names_vit_b32().unwrap();
    let set = &names.embeddings()[0];
    let mut used = BTreeSet::new();
    for (source, style) in [("lvis1203", "a "), ("objects365", "a "), ("coco80", "a "), ("scannet20_ceiling", "")] {
        let text = std::fs::read_to_string(folder.join(source).with_extension("txt")).unwrap();
        let npy = std::fs::read(folder.join(source).with_extension("npy")).unwrap();
        // FP16, behind a header.
        let values = &npy[npy.len() - text.lines().count() * 512 * 2..];
        let half = |bytes: &[u8; 2]| half::f16::from_le_bytes(*bytes).to_f32();
        let rows: Vec<f32> = values.as_chunks::<2>().0.iter().map(half).collect();
        for (name, row) in text.lines().zip(rows.chunks_exact(512)) {
            let label = names.find(name).unwrap();
            let prompts = names.labels()[label].prompts.iter().zip(names.prompts_of(label));
            let (_, prompt) = prompts.clone().find(|(words, _)| words.starts_with("a ") == (style == "a ")).unwrap();
            if !used.insert(prompt) {
                continue;
            }
            let worst = row.iter().zip(set.row(prompt)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= 0.0005, "{source} {name}: {worst}");
        }
    }
    assert_eq!(used.len(), 1424);
}

fn load(path: &Path, width: WeightWidth) -> TextEncoder {
    let options = EncoderOptions { threads: Some(2), width, ..EncoderOptions::default() };
    TextEncoder::load(path, &options).unwrap()
}

fn golden_texts() -> Vec<String> {
    (0..GOLDENS).map(towers::text).collect()
}

fn check_golden(shape: &Shape, encoder: &TextEncoder, what: &str) {
    let embeddings = encoder.encode(&golden_texts(), Cancel::default()).unwrap();
    let worst = shape.worst_difference(&embeddings);
    println!("{} {what}: worst difference {worst:.1e}, {} bytes of weights", shape.name, encoder.weight_bytes());
    assert!(worst <= 1e-4, "{} {what}: {worst}", shape.name);
    for row in embeddings.chunks_exact(shape.dim) {
        let length = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        assert!((length - 1.0).abs() < 1e-6);
    }
}

#[test]
fn small_towers_at_every_width() {
    let folder = tempfile::tempdir().unwrap();
    for shape in &SMALL {
        for dtype in ["F32", "F16", "BF16"] {
            let path = shape.save(&folder.path().join(dtype), dtype);
            check_golden(shape, &load(&path, WeightWidth::Stored), dtype);
            let whole = load(&path.join("model.safetensors"), WeightWidth::F32);
            check_golden(shape, &whole, "widened");
            assert!(whole.weight_bytes() >= 4 * 3_000_000);
        }
        let path = folder.path().join("F32");
        for width in [WeightWidth::F16, WeightWidth::Bf16] {
            let narrow = load(&path, width);
            check_golden(shape, &narrow, "narrowed");
            assert!(narrow.weight_bytes() < 3 * load(&path, WeightWidth::Stored).weight_bytes() / 5);
        }
    }
}

/// The published shapes, 60 and 124 million weights; `cargo test -- --nocapture` shows the times.
#[test]
fn published_shapes() {
    let folder = tempfile::tempdir().unwrap();
    for shape in &PUBLISHED {
        let path = shape.save(&folder.path().join(shape.name), "F16");
        let encoder = load(&path, WeightWidth::Stored);
        check_golden(shape, &encoder, "F16");
        let prompts: Vec<String> =
            (0..20).map(|index| format!("a {} in a scene", towers::text(1 + index % 2))).collect();
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let start = Instant::now();
            encoder.encode(&prompts, Cancel::default()).unwrap();
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{}: 20 prompts in {:.3} s", shape.name, best);
        assert_eq!(encoder.space().name, if shape.dim == 512 { "clip-vit-b32" } else { "clip-vit-l14-336" });
    }
}

#[test]
fn embeddings_do_not_depend_on_company_or_threads() {
    let folder = tempfile::tempdir().unwrap();
    let path = SMALL[0].save(folder.path(), "F16");
    let texts = golden_texts();
    let together = load(&path, WeightWidth::Stored).encode(&texts, Cancel::default()).unwrap();
    let options = EncoderOptions { threads: Some(1), ..EncoderOptions::default() };
    let single = TextEncoder::load(&path, &options).unwrap();
    for (index, text) in texts.iter().enumerate().step_by(7) {
        let alone = single.encode(&[text], Cancel::default()).unwrap();
        assert_eq!(alone, together[index * single.dim()..][..single.dim()], "{index}");
    }
    assert!(single.encode::<&str>(&[], Cancel::default()).unwrap().is_empty());
    let ended = single.encode(&["a <|endoftext|> b", "a"], Cancel::default()).unwrap();
    assert_eq!(ended[..single.dim()], ended[single.dim()..], "the first end token counts, as in CLIP");
}

#[test]
fn long_texts_and_cancelled_calls() {
    let folder = tempfile::tempdir().unwrap();
    let path = SMALL[0].save(folder.path(), "F16");
    let long = towers::text(80);
    let error = load(&path, WeightWidth::Stored).encode(&["chair", &long], Cancel::default()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("text 1") && message.contains("80") && message.contains("75"), "{message}");
    let options = EncoderOptions { overflow: Overflow::Truncate, ..EncoderOptions::default() };
    let encoder = TextEncoder::load(&path, &options).unwrap();
    let cut = encoder.tokens_of(&long);
    assert_eq!(cut, 77);
    assert!(encoder.encode(&[&long], Cancel::default()).is_ok());
    let stop = AtomicBool::new(true);
    let error = encoder.encode(&["chair"], Cancel::when(&stop)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

#[test]
fn damaged_files_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let shape = Shape { layers: 1, width: 16, heads: 2, inner: 16, dim: 8, ..SMALL[0] };
    let good = shape.file("F16");
    let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        TextEncoder::load(&path, &EncoderOptions { threads: Some(1), ..EncoderOptions::default() })
    };
    std::fs::write(folder.path().join("config.json"), r#"{"num_attention_heads": 2}"#).unwrap();
    assert!(load(&good).is_ok());
    for length in (0..8 + header).step_by(61).chain([good.len() - 1, good.len() / 2]) {
        assert!(load(&good[..length]).is_err(), "cut to {length}");
    }
    // The tensors' own bytes can be any numbers; what lies before them is what is read with care.
    let mut random = SplitMix64::new(3);
    for _ in 0..1_000 {
        let _ = load(&[&random.damaged(&good[..8 + header])[..], &good[8 + header..]].concat());
    }
    let mut infinite = good.clone();
    let end = infinite.len();
    infinite[end - 2..].copy_from_slice(&half::f16::INFINITY.to_le_bytes());
    assert!(load(&infinite).unwrap_err().to_string().contains("not finite"));
    let renamed = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let mut file = good.clone();
        let text = String::from_utf8_lossy(&file[8..8 + header]).replacen(from, to, 1);
        file[8..8 + header].copy_from_slice(text.as_bytes());
        load(&file).unwrap_err().to_string()
    };
    assert!(renamed("final_layer_norm.bias", "final_layer_norm.bios").contains("final_layer_norm.bias"));
    assert!(renamed("text_projection", "text_projektion").contains("CLIPTextModelWithProjection"));
    assert!(renamed("\"F16\"", "\"I16\"").contains("I16"));
    std::fs::write(folder.path().join("config.json"), r#"{"num_hidden_layers": 3}"#).unwrap();
    assert!(load(&good).unwrap_err().to_string().contains("config.json"));
    let nowhere = TextEncoder::load(Path::new("no/such/tower"), &EncoderOptions::default()).unwrap_err();
    assert!(nowhere.kind() == ErrorKind::Io && nowhere.to_string().contains("no/such/tower"));
}
