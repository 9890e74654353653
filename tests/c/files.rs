//! The model and vocabulary files that the C programs load, made through the Rust interface.

#[allow(dead_code, reason = "the C programs need one small tower")]
#[path = "../text/towers.rs"]
mod towers;

use openvocab3d::model::{Graph, InputFeatures, Model, Variant, Vocabulary, WeightDtype};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Width of the text space of all models.
const DIM: usize = 32;
const VOXEL_SIZE: f64 = 0.05;
const WORDS: [&str; 6] = ["wall", "floor", "chair", "table", "plant", "été"];

fn save(folder: &Path, name: &str, graph: Graph, seed: u64) {
    let model = Model::untrained(graph, VOXEL_SIZE, seed).unwrap();
    model.save(&folder.join(name), WeightDtype::F16).unwrap();
}

/// `names` with embeddings that are all different.
fn vocabulary(names: &[&str], dim: usize) -> Vocabulary {
    let value = |i: usize| ((i * 7919 + 13) % 101) as f32 - 50.0;
    let rows: Vec<f32> = (0..names.len() * dim).map(value).collect();
    Vocabulary::from_embeddings(names, &rows, dim, "").unwrap()
}

/// The folder with all of them.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = super::kit::scratch("files");
        let narrow = Graph::published(Variant::ALL[0], DIM, 8);
        save(&folder, "ones.safetensors", narrow.clone(), 1);
        save(&folder, "colors.safetensors", Graph { input: InputFeatures::Colors, ..narrow }, 2);
        // At published widths: a run takes long enough to be stopped.
        save(&folder, "wide.safetensors", Graph::published(Variant::ALL[4], DIM, 1), 3);
        vocabulary(&WORDS, DIM).save(&folder.join("words.safetensors")).unwrap();
        vocabulary(&WORDS[..3], DIM).save(&folder.join("few.safetensors")).unwrap();
        vocabulary(&WORDS, DIM + 1).save(&folder.join("misfit.safetensors")).unwrap();
        // A text tower into the models' own text space.
        let tower = towers::Shape { name: "", width: 32, heads: 2, layers: 2, inner: 48, dim: DIM, activation: "gelu" };
        tower.save(&folder.join("tower"), "F16");
        std::fs::write(folder.join("ply.ply"), "ply\nformat ascii 1.0\nend_header\n").unwrap();
        folder
    })
}
