//! The fixtures of the shared folder, where there is one: readers, and the measures by which results are judged.

use super::generate::{fnv1a32, hash_unit};
use super::oracle::{Coordinate, Matrix, Params};
use half::{bf16, f16};
use npyz::{Deserialize, NpyFile, NpyHeader, Order};
use safetensors::{Dtype, SafeTensors};
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// The shared folder named by `OV3D_SHARED`; none where the variable is unset.
pub fn shared() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("OV3D_SHARED")?);
    assert!(path.is_dir(), "OV3D_SHARED names '{}', which is no folder: correct or unset it", path.display());
    Some(path)
}

/// The MinkowskiEngine fixtures of the shared folder.
pub fn minkunet() -> Option<PathBuf> {
    Some(shared()?.join("fixtures/minkunet"))
}

fn open(path: &Path) -> BufReader<fs::File> {
    BufReader::new(fs::File::open(path).unwrap_or_else(|e| panic!("cannot open '{}': {e}", path.display())))
}

fn c_order_shape(path: &Path, order: Order, shape: &[u64]) -> Vec<usize> {
    assert_eq!(order, Order::C, "'{}' is not in C order", path.display());
    shape.iter().map(|&extent| extent as usize).collect()
}

fn read_npy<T: Deserialize>(path: &Path) -> (Vec<usize>, Vec<T>) {
    let file = NpyFile::new(open(path)).unwrap_or_else(|e| panic!("'{}': {e}", path.display()));
    let shape = c_order_shape(path, file.order(), file.shape());
    (shape, file.into_vec().unwrap_or_else(|e| panic!("'{}': {e}", path.display())))
}

pub fn read_f32(path: &Path) -> (Vec<usize>, Vec<f32>) {
    read_npy(path)
}

pub fn read_i32(path: &Path) -> (Vec<usize>, Vec<i32>) {
    read_npy(path)
}

pub fn read_i64(path: &Path) -> (Vec<usize>, Vec<i64>) {
    read_npy(path)
}

pub fn read_i16(path: &Path) -> (Vec<usize>, Vec<i16>) {
    read_npy(path)
}

pub fn read_u8(path: &Path) -> (Vec<usize>, Vec<u8>) {
    read_npy(path)
}

/// Half-precision values, which `npyz` reads only with a feature that nothing else needs.
pub fn read_f16(path: &Path) -> (Vec<usize>, Vec<f16>) {
    let mut file = open(path);
    let header = NpyHeader::from_reader(&mut file).unwrap_or_else(|e| panic!("'{}': {e}", path.display()));
    assert_eq!(header.dtype().descr().trim_matches('\''), "<f2", "'{}'", path.display());
    let shape = c_order_shape(path, header.order(), header.shape());
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let values: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
    assert_eq!(values.len(), shape.iter().product::<usize>(), "'{}' is cut short", path.display());
    (shape, values)
}

/// Coordinates `[n, 4]`: batch, x, y, z.
pub fn read_coordinates(path: &Path) -> Vec<Coordinate> {
    let (shape, values) = read_i32(path);
    assert_eq!(shape[1..], [4], "'{}'", path.display());
    values.chunks_exact(4).map(|c| [c[0], c[1], c[2], c[3]]).collect()
}

/// A matrix `[n, c]` of f32 values.
pub fn read_matrix(path: &Path) -> Matrix {
    let (shape, values) = read_f32(path);
    assert_eq!(shape.len(), 2, "'{}'", path.display());
    Matrix::from_f32(shape[1], &values)
}

/// Row numbers.
pub fn read_rows(path: &Path) -> Vec<usize> {
    read_i32(path).1.into_iter().map(|row| row as usize).collect()
}

/// A case's description, `case.json`.
pub fn read_case(folder: &Path) -> serde_json::Value {
    serde_json::from_reader(open(&folder.join("case.json"))).unwrap_or_else(|e| panic!("'{}': {e}", folder.display()))
}

/// A checkpoint key without the prefixes of its training script's wrappers.
pub fn bare(name: &str) -> &str {
    let name = name.strip_prefix("module.").unwrap_or(name);
    name.strip_prefix("net3d.").unwrap_or(name)
}

/// The floating tensors of a safetensors file by bare name; integers (counters) are left out.
pub fn read_params(path: &Path) -> Params {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("cannot open '{}': {e}", path.display()));
    params_from_bytes(&bytes)
}

/// [`read_params`] of a file in memory.
pub fn params_from_bytes(bytes: &[u8]) -> Params {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let mut params = Params::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::F16 => data.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f64()).collect(),
            Dtype::BF16 => data.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f64()).collect(),
            Dtype::I64 => continue,
            other => panic!("tensor '{name}' has the unexpected type {other:?}"),
        };
        params.insert(bare(&name).to_owned(), (view.shape().to_vec(), values));
    }
    params
}

/// The matrix `[channels, 4]` whose products with all rows the fixtures keep as a digest.
pub fn projection(channels: usize) -> Matrix {
    Matrix::new(channels, 4, hash_unit(fnv1a32("proj"), channels * 4).map(|u| 2.0 * u - 1.0).collect())
}

/// `|got - want| / |want|`; infinite where the lengths differ or a value is not finite.
pub fn relative_l2(got: &[f32], want: &[f32]) -> f64 {
    relative_l2_f64(&widen(got), &widen(want))
}

/// [`relative_l2`] of f64 values.
pub fn relative_l2_f64(got: &[f64], want: &[f64]) -> f64 {
    if got.len() != want.len() {
        return f64::INFINITY;
    }
    ratio(difference(got, want), norm(want))
}

/// The worst row's `|got - want| / |want|`, where a row counts at least a thousandth of the typical row's norm.
///
/// Infinite where the shapes differ or a value is not finite.
pub fn worst_row_relative_error(got: &[f32], want: &[f32], cols: usize) -> f64 {
    if got.len() != want.len() || cols == 0 || !want.len().is_multiple_of(cols) {
        return f64::INFINITY;
    }
    let (got, want) = (widen(got), widen(want));
    let rows = (want.len() / cols).max(1);
    let floor = 1e-3 * norm(&want) / (rows as f64).sqrt();
    let row_error = |(g, w): (&[f64], &[f64])| ratio(difference(g, w), norm(w).max(floor));
    got.chunks_exact(cols).zip(want.chunks_exact(cols)).map(row_error).fold(0.0, f64::max)
}

fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn difference(got: &[f64], want: &[f64]) -> f64 {
    got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum::<f64>().sqrt()
}

/// `error / size`: zero where both are, infinite where either is not finite or only the size is zero.
fn ratio(error: f64, size: f64) -> f64 {
    match (error.is_finite() && size.is_finite(), error == 0.0, size == 0.0) {
        (false, ..) => f64::INFINITY,
        (true, true, _) => 0.0,
        (true, false, true) => f64::INFINITY,
        (true, false, false) => error / size,
    }
}
