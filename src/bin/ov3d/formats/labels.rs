//! Labels of points: npy, PLY with a label property, SemanticKITTI's `.label`, text with a number a line.

use super::{npy, ply, read_bytes};
use openvocab3d::error::with_capacity;
use openvocab3d::{Error, ErrorKind, Result};
use std::path::Path;

/// Reads one whole number per point.
pub(crate) fn read_labels(path: &Path) -> Result<Vec<i32>> {
    let ids = read_ids(path)?;
    let mut labels = with_capacity(ids.len(), "the labels")?;
    for (point, &id) in ids.iter().enumerate() {
        let label = i32::try_from(id).map_err(|_| {
            Error::format(format!(
                "labels '{}': that of point {point} is {id}, which 32 bits do not hold",
                path.display()
            ))
        })?;
        labels.push(label);
    }
    Ok(labels)
}

/// The same of ids, which may be larger.
pub(crate) fn read_ids(path: &Path) -> Result<Vec<i64>> {
    let bytes = read_bytes(path)?;
    let has = |extension: &str| path.extension().is_some_and(|found| found == extension);
    let labels = match () {
        () if npy::is_npy(&bytes) => npy::parse_labels(&bytes),
        () if ply::is_ply(&bytes) => ply::parse_labels(&bytes),
        () if has("label") => kitti(&bytes),
        () if has("txt") => lines(&bytes),
        () => {
            let message = "labels are read from npy, PLY, SemanticKITTI's .label and .txt; this is none of them";
            Err(Error::new(ErrorKind::Unsupported, message))
        }
    };
    labels.map_err(|e| e.within(format_args!("labels '{}'", path.display())))
}

/// The lower halves of 32-bit numbers: the upper ones are instances.
fn kitti(bytes: &[u8]) -> Result<Vec<i64>> {
    let (rows, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(Error::format(format!("{} bytes are no 32-bit numbers", bytes.len())));
    }
    let mut labels = with_capacity(rows.len(), "the labels")?;
    labels.extend(rows.iter().map(|row| i64::from(u16::from_le_bytes([row[0], row[1]]))));
    Ok(labels)
}

fn lines(bytes: &[u8]) -> Result<Vec<i64>> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::format("the file is no text"))?;
    let mut labels = with_capacity(text.lines().count(), "the labels")?;
    for (index, line) in text.lines().enumerate() {
        let shown: String = line.chars().filter(|c| !c.is_control()).take(40).collect();
        let message = || Error::format(format!("line {} is '{shown}', no whole number", index + 1));
        labels.push(line.trim().parse().map_err(|_| message())?);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;

    #[test]
    fn every_kind_of_file() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            read_labels(&path)
        };
        let kitti: Vec<u8> = [0x0001_000A_u32, 0x0007_0000, 0xFFFF].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read("a.label", &kitti).unwrap(), [10, 0, 65_535]);
        assert_eq!(read("a.txt", b"3\n -1\n255").unwrap(), [3, -1, 255]);
        let ply = b"ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty ushort label\nend_header\n0.5 7\n1 300\n";
        assert_eq!(read("a.ply", ply).unwrap(), [7, 300]);
        assert!(read("a.label", &[0; 6]).unwrap_err().to_string().contains("6 bytes"));
        assert!(read("a.txt", b"1\nx").unwrap_err().to_string().contains("line 2"));
        assert!(read("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n1").is_err());
        let two = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty int label\nproperty int class\nend_header\n1 2\n";
        assert!(read("a.ply", two).unwrap_err().to_string().contains("class"));
        let text = b"3\n -1\n255\n+7\r\n 0 \n\xC3\xA9";
        mutate(text, 20_000, |bytes| drop(lines(&bytes)));
        mutate(&kitti, 20_000, |bytes| drop(super::kitti(&bytes)));
        for file in [&ply[..], two] {
            mutate(file, 20_000, |bytes| drop(ply::parse_labels(&bytes)));
        }
        let large = b"5000000000\n-1\n";
        assert!(read("a.txt", large).unwrap_err().to_string().contains("5000000000"));
        assert_eq!(read_ids(&folder.path().join("a.txt")).unwrap(), [5_000_000_000, -1]);
        assert_eq!(read("a.bin", &[0; 8]).unwrap_err().kind(), ErrorKind::Unsupported);
        crate::formats::write_npy_labels(&folder.path().join("a.npy"), &[5, -1]).unwrap();
        assert_eq!(read_labels(&folder.path().join("a.npy")).unwrap(), [5, -1]);
        let npy = std::fs::read(folder.path().join("a.npy")).unwrap();
        mutate(&npy, 20_000, |bytes| drop(npy::parse_labels(&bytes)));
    }
}
