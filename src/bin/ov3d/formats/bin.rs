//! Bare rows of 32-bit floats: KITTI's `x y z intensity`, or nuScenes' `x y z intensity ring`.

use super::CloudFile;
use openvocab3d::error::with_capacity;
use openvocab3d::{Error, Result};

const VALUE: usize = 4;

/// A cloud of the one number of columns, 4 or 5, that the file's size and values allow. Nothing in the file states it, so a
/// file that allows both, or neither, is refused.
pub(super) fn parse(bytes: &[u8]) -> Result<CloudFile> {
    let allowed = |columns: usize| bytes.len().is_multiple_of(columns * VALUE) && fits(bytes, columns);
    let columns = match (allowed(4), allowed(5)) {
        (true, false) => 4,
        (false, true) => 5,
        // No points of either kind.
        _ if bytes.is_empty() => 4,
        (neither_or_both, _) => {
            let what = if neither_or_both { "may be rows of 4 floats or of 5" } else { "are no rows of 4 floats or 5" };
            let size = bytes.len();
            let message = format!(
                "{size} bytes {what} (KITTI: x y z intensity; nuScenes: x y z intensity ring); save the cloud as PLY or npy"
            );
            return Err(Error::format(message));
        }
    };
    let mut positions = with_capacity(bytes.len() / (columns * VALUE), "the positions")?;
    positions.extend(bytes.chunks_exact(columns * VALUE).map(|row| [0, 1, 2].map(|axis| f64::from(value(row, axis)))));
    Ok(CloudFile { positions, colors: None })
}

/// Whether the values of the columns past the position are what they stand for.
fn fits(bytes: &[u8], columns: usize) -> bool {
    let ring = |value: f32| value.fract() == 0.0 && (0.0..4096.0).contains(&value);
    let intensity = |value: f32| (0.0..=65_535.0).contains(&value);
    bytes.chunks_exact(columns * VALUE).all(|row| intensity(value(row, 3)) && (columns < 5 || ring(value(row, 4))))
}

fn value(row: &[u8], column: usize) -> f32 {
    row[column * VALUE..].first_chunk().map_or(f32::NAN, |bytes| f32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;

    fn file(columns: usize, rows: usize, extra: impl Fn(usize) -> [f32; 2]) -> Vec<u8> {
        let row = |row: usize| {
            let values = [row as f32 - 3.5, -2.0, 0.25].into_iter().chain(extra(row)).take(columns);
            values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
        };
        (0..rows).flat_map(row).collect()
    }

    #[test]
    fn columns_are_told_apart() {
        // 20 rows: every number of columns divides the size.
        for columns in [4, 5] {
            let file = file(columns, 20, |row| [row as f32 / 20.0, (row % 4) as f32]);
            let cloud = parse(&file).unwrap();
            assert_eq!((cloud.positions.len(), cloud.positions[19]), (20, [15.5, -2.0, 0.25]), "{columns}");
        }
        let bare = file(3, 20, |_| [0.0; 2]);
        assert!(parse(&bare).err().unwrap().to_string().contains("240 bytes are no rows"), "x y z alone");
        assert!(parse(&[0; 80]).err().unwrap().to_string().contains("may be rows of 4 floats or of 5"));
        assert!(parse(&[]).unwrap().positions.is_empty());
        assert!(parse(&[0; 13]).err().unwrap().to_string().contains("13 bytes"));
        mutate(&file(5, 20, |row| [0.5, row as f32]), 20_000, |bytes| drop(parse(&bytes)));
        let nan = file(4, 1, |_| [f32::NAN, 0.0]);
        assert!(parse(&nan).is_err(), "an intensity that is no number");
    }
}
