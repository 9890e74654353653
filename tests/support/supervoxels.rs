//! The point cloud library's supervoxels in the shared folder, where there is one: clouds, cases and stages.

use super::shared::shared;
use std::fs;
use std::path::{Path, PathBuf};

/// The supervoxel fixtures of the shared folder.
pub fn vccs() -> Option<PathBuf> {
    Some(shared()?.join("fixtures/vccs"))
}

/// A cloud as the fixtures store it.
#[derive(Clone, Default)]
pub struct StoredCloud {
    pub positions: Vec<[f32; 3]>,
    pub colors: Vec<[u8; 3]>,
    pub normals: Option<Vec<[f32; 3]>>,
}

pub fn read_bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("cannot open '{}': {e}", path.display()))
}

pub fn read_u16(path: &Path) -> Vec<u16> {
    read_bytes(path).as_chunks().0.iter().map(|&b| u16::from_le_bytes(b)).collect()
}

pub fn read_u32(path: &Path) -> Vec<u32> {
    read_bytes(path).as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
}

pub fn read_f32_rows<const N: usize>(path: &Path) -> Vec<[f32; N]> {
    let values: Vec<f32> = read_u32(path).into_iter().map(f32::from_bits).collect();
    values.as_chunks().0.to_vec()
}

/// A cloud: counts, positions, colours and, where the flags say so, normals.
pub fn read_cloud(root: &Path, name: &str) -> StoredCloud {
    read_cloud_at(&root.join(format!("clouds/{name}.bin")))
}

/// Writes a cloud as the fixtures store it, without normals.
pub fn write_cloud(path: &Path, cloud: &StoredCloud) {
    let mut bytes = [cloud.positions.len() as u32, 0].map(u32::to_le_bytes).concat();
    bytes.extend(cloud.positions.iter().flatten().flat_map(|v| v.to_le_bytes()));
    bytes.extend(cloud.colors.iter().flatten());
    fs::write(path, bytes).unwrap_or_else(|e| panic!("cannot write '{}': {e}", path.display()));
}

/// The cloud in a file.
pub fn read_cloud_at(path: &Path) -> StoredCloud {
    let bytes = read_bytes(path);
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let count = word(0) as usize;
    let rows = |at: usize| -> Vec<[f32; 3]> {
        (0..count).map(|i| [0, 4, 8].map(|k| f32::from_bits(word(at + 12 * i + k)))).collect()
    };
    let colors = bytes[8 + 12 * count..][..3 * count].as_chunks().0.to_vec();
    let normals = (word(4) & 1 == 1).then(|| rows(8 + 15 * count));
    StoredCloud { positions: rows(8), colors, normals }
}

/// The true labels of a cloud.
pub fn read_truth(root: &Path, name: &str) -> Vec<u8> {
    read_bytes(&root.join(format!("clouds/{name}.gt.u8")))
}

/// Positions, colours and labels of a binary PLY file whose vertices begin with x, y, z and red, green, blue.
pub fn read_ply(path: &Path) -> (StoredCloud, Vec<u8>) {
    let bytes = read_bytes(path);
    let marker = b"end_header\n";
    let start = bytes.windows(marker.len()).position(|window| window == marker).unwrap() + marker.len();
    let header = String::from_utf8(bytes[..start].to_vec()).unwrap();
    let size = |kind: &str| match kind {
        "uchar" | "uint8" => 1,
        "ushort" | "uint16" => 2,
        _ => 4,
    };
    let properties = header.lines().filter_map(|line| line.strip_prefix("property "));
    let mut width = 0;
    let mut places = std::collections::HashMap::new();
    for (kind, name) in properties.filter_map(|property| property.split_once(' ')) {
        places.insert(name, width);
        width += size(kind);
    }
    let rows = bytes[start..].chunks_exact(width);
    let real = |row: &[u8], name: &str| f32::from_le_bytes(row[places[name]..][..4].try_into().unwrap());
    let positions = rows.clone().map(|row| ["x", "y", "z"].map(|name| real(row, name))).collect();
    let colors = rows.clone().map(|row| ["red", "green", "blue"].map(|name| row[places[name]])).collect();
    let labels = rows.map(|row| row[places["label"]]).collect();
    (StoredCloud { positions, colors, normals: None }, labels)
}

/// Parameters and expected values of all cases, and of the votes.
pub fn read_expected(root: &Path) -> serde_json::Value {
    serde_json::from_slice(&read_bytes(&root.join("expected.json"))).unwrap()
}
