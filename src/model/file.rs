//! The model file: safetensors with the graph and what belongs to it in the metadata.
//!
//! Keys: `openvocab3d.schema`, `.kind`, `.graph`, `.voxel_size`, `.text_space`, `.source_sha256`, `.license`. Tensors
//! keep their published names; batch norm stays unfolded FP32, so that a model can be trained further.

use super::container::{Container, parse_json, to_json, write_file};
use super::graph::Graph;
use super::model::{Model, Provenance};
use super::weights::{StateDict, Weight, WeightData};
use crate::error::{Error, Result};
use std::path::Path;

/// The `kind` of a model file.
const KIND: &str = "model";

/// The width convolution kernels are stored at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightDtype {
    /// As they are.
    F32,
    /// Rounded to FP16, the default of model files.
    #[default]
    F16,
}

impl Model {
    /// Reads a model file.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, "read the model", &e))?;
        Self::from_bytes(&bytes).map_err(|e| e.within(format_args!("model '{}'", path.display())))
    }

    /// Reads a model file from memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let container = Container::parse(bytes, KIND)?;
        let graph: Graph = parse_json("graph", container.required("graph")?)?;
        let voxel_size = container.required("voxel_size")?;
        let voxel_size = voxel_size
            .parse()
            .map_err(|_| Error::format(format!("voxel_size is '{voxel_size}', which is no number")))?;
        let provenance = Provenance {
            source_sha256: container.optional("source_sha256").map(str::to_owned),
            license: container.optional("license").map(str::to_owned),
        };
        let text_space = parse_json("text_space", container.required("text_space")?)?;
        let tensors = container.into_tensors()?;
        Self::new(graph, tensors, voxel_size, text_space, provenance).map_err(Error::of_file)
    }

    /// The model file, with convolution kernels stored as `dtype`.
    pub fn to_bytes(&self, dtype: WeightDtype) -> Result<Vec<u8>> {
        let mut metadata = vec![
            ("graph", to_json(self.graph())?),
            ("voxel_size", self.voxel_size().to_string()),
            ("text_space", to_json(self.text_space())?),
        ];
        metadata.extend(self.provenance().source_sha256.clone().map(|v| ("source_sha256", v)));
        metadata.extend(self.provenance().license.clone().map(|v| ("license", v)));
        let tensors = self.weights().map(|(name, weight)| Ok((name.to_owned(), stored(name, weight, dtype)?)));
        Container::serialise(KIND, metadata, &tensors.collect::<Result<StateDict>>()?)
    }

    /// Writes the model file.
    pub fn save(&self, path: &Path, dtype: WeightDtype) -> Result<()> {
        write_file(path, &self.to_bytes(dtype)?, "write the model")
    }
}

/// Kernels at the asked width, everything else as FP32.
fn stored(name: &str, weight: &Weight, dtype: WeightDtype) -> Result<Weight> {
    if !name.ends_with(".kernel") || dtype == WeightDtype::F32 {
        return weight.to_f32();
    }
    let half = weight.to_f16()?;
    match &half.data {
        WeightData::F16(values) if values.iter().any(|v| !v.is_finite()) => {
            Err(Error::format(format!("tensor '{name}' has weights beyond FP16's 65504; store FP32 instead")))
        }
        _ => Ok(half),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Variant;

    fn model() -> Model {
        let graph = Graph::published(Variant::ALL[4], 48, 8);
        Model::untrained(graph, 0.05, 3).unwrap()
    }

    #[test]
    fn files_round_trip() {
        let model = model();
        let full = Model::from_bytes(&model.to_bytes(WeightDtype::F32).unwrap()).unwrap();
        assert!(full.weights().eq(model.weights()));
        assert_eq!((full.graph(), full.voxel_size()), (model.graph(), 0.05));
        let half = Model::from_bytes(&model.to_bytes(WeightDtype::F16).unwrap()).unwrap();
        for ((name, got), (_, want)) in half.weights().zip(model.weights()) {
            let rounded = if name.ends_with(".kernel") { want.to_f16().unwrap() } else { want.clone() };
            assert_eq!(*got, rounded, "{name}");
        }
        let again = half.to_bytes(WeightDtype::F16).unwrap();
        assert_eq!(again, model.to_bytes(WeightDtype::F16).unwrap(), "files are reproducible");
    }

    #[test]
    fn damaged_files_are_errors() {
        let bytes = model().to_bytes(WeightDtype::F16).unwrap();
        for len in (0..bytes.len()).step_by(997).chain([7, 8, 9, bytes.len() - 1]) {
            assert!(Model::from_bytes(&bytes[..len]).is_err(), "truncated to {len}");
        }
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for at in (0..8 + header).step_by(13) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            let _ = Model::from_bytes(&damaged);
        }
        let mut huge = bytes.clone();
        huge[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(Model::from_bytes(&huge).is_err());
        assert!(Model::from_bytes(b"ply\nformat ascii").is_err());
    }

    #[test]
    fn unknown_schemas_and_missing_files_are_named() {
        let error = Model::load(Path::new("no/such/model.safetensors")).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Io);
        assert!(error.to_string().contains("no/such/model.safetensors"));
        let text = String::from_utf8_lossy(&model().to_bytes(WeightDtype::F32).unwrap()).into_owned();
        assert!(text.contains("\"openvocab3d.schema\":\"1\""));
    }

    #[test]
    fn weights_too_large_for_half_are_refused() {
        let graph = Graph::published(Variant::ALL[0], 8, 8);
        let mut tensors: StateDict = Model::untrained(graph.clone(), 0.02, 1)
            .unwrap()
            .weights()
            .map(|(n, w)| (n.to_owned(), w.clone()))
            .collect();
        tensors.insert("final.kernel".into(), Weight::f32([12, 8], vec![70_000.0; 96]));
        let space = super::super::TextSpace::published(8);
        let model = Model::new(graph, tensors, 0.02, space, Provenance::default()).unwrap();
        assert!(model.to_bytes(WeightDtype::F16).unwrap_err().to_string().contains("65504"));
        assert!(model.to_bytes(WeightDtype::F32).is_ok());
    }
}
