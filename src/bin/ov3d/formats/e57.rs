//! E57 clouds, by the crate `e57`: the points of all scans, each at its pose.

use super::{CloudFile, contained};
use e57::{CartesianCoordinate, E57Reader, Point, PointCloud, RecordDataType};
use openvocab3d::{Error, ErrorKind, Result};
use std::io::Cursor;

pub(super) fn is_e57(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ASTM-E57")
}

/// The points with a position; colours if all of them have one.
pub(super) fn parse(bytes: Vec<u8>) -> Result<CloudFile> {
    contained("E57", || read(bytes))
}

fn read(bytes: Vec<u8>) -> Result<CloudFile> {
    let damaged = |e: e57::Error| Error::format(format!("the E57 file cannot be read: {e}"));
    let mut reader = E57Reader::new(Cursor::new(bytes)).map_err(damaged)?;
    let (mut positions, mut colors) = (Vec::new(), Vec::new());
    let mut colored = true;
    for scan in reader.pointclouds() {
        check_width(&scan)?;
        let mut points = reader.pointcloud_simple(&scan).map_err(damaged)?;
        points.apply_pose(true);
        points.spherical_to_cartesian(true);
        for point in points {
            let Point { cartesian, color, .. } = point.map_err(damaged)?;
            let CartesianCoordinate::Valid { x, y, z } = cartesian else { continue };
            let more = |_| Error::new(ErrorKind::OutOfMemory, "no memory for the points of the E57 file");
            positions.try_reserve(1).map_err(more)?;
            positions.push([x, y, z]);
            match color {
                Some(color) if colored => {
                    colors.try_reserve(1).map_err(more)?;
                    // NaN becomes 0.
                    colors.push([color.red, color.green, color.blue].map(|v| (v * 255.0).round() as u8));
                }
                _ => colored = false,
            }
        }
    }
    let colored = colored && !positions.is_empty();
    Ok(CloudFile { positions, colors: colored.then_some(colors) })
}

/// Refuses points that take no bits, all their values being constants: nothing would say how many of them a packet holds,
/// and the crate would make them without end.
fn check_width(scan: &PointCloud) -> Result<()> {
    let has_bits = |data: &RecordDataType| match *data {
        RecordDataType::Single { .. } | RecordDataType::Double { .. } => true,
        RecordDataType::ScaledInteger { min, max, .. } | RecordDataType::Integer { min, max } => min < max,
    };
    if scan.records == 0 || scan.prototype.iter().any(|record| has_bits(&record.data_type)) {
        return Ok(());
    }
    let message = format!("the E57 file's scan of {} points stores no value that differs between them", scan.records);
    Err(Error::format(message))
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;
    use e57::{E57Writer, Record, RecordName, RecordValue};

    fn file(points: usize, color: bool) -> Vec<u8> {
        let mut prototype = vec![Record::CARTESIAN_X_F64, Record::CARTESIAN_Y_F64, Record::CARTESIAN_Z_F64];
        if color {
            prototype.extend([Record::COLOR_RED_U8, Record::COLOR_GREEN_U8, Record::COLOR_BLUE_U8]);
        }
        let row = |index: usize| {
            let mut values: Vec<RecordValue> = [index as f64, -0.5, 1e6].map(RecordValue::Double).to_vec();
            if color {
                values.extend([index as i64, 255, 0].map(RecordValue::Integer));
            }
            values
        };
        written(prototype, (0..points).map(row))
    }

    fn written(prototype: Vec<Record>, rows: impl Iterator<Item = Vec<RecordValue>>) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        write(&mut out, prototype, rows);
        out.into_inner()
    }

    fn write(out: &mut Cursor<Vec<u8>>, prototype: Vec<Record>, rows: impl Iterator<Item = Vec<RecordValue>>) {
        let mut writer = E57Writer::new(out, "a file").unwrap();
        let mut scan = writer.add_pointcloud("a scan", prototype).unwrap();
        rows.for_each(|row| scan.add_point(row).unwrap());
        scan.finalize().unwrap();
        writer.finalize().unwrap();
    }

    #[test]
    fn scans_with_and_without_colors() {
        let cloud = parse(file(5, true)).unwrap();
        assert_eq!((cloud.positions[4], cloud.colors.unwrap()[4]), ([4.0, -0.5, 1e6], [4, 255, 0]));
        assert!(parse(file(7, false)).unwrap().colors.is_none());
        assert!(parse(file(0, true)).unwrap().positions.is_empty());
    }

    #[test]
    fn damaged_files_are_errors() {
        let file = file(40, true);
        mutate(&file, 1_000, |bytes| drop(parse(bytes)));
        // Damage that the pages' checksums do not show.
        mutate(&without_checksums(&file), 4_000, |bytes| drop(parse(with_checksums(&bytes))));
        assert!(parse(with_checksums(&without_checksums(&file))).is_ok());
        assert!(parse(file[..file.len() / 2].to_vec()).is_err());
    }

    #[test]
    fn points_without_bits_are_refused() {
        let data_type = RecordDataType::ScaledInteger { min: 0, max: 1, scale: 1.0, offset: 0.0 };
        let axes = [RecordName::CartesianX, RecordName::CartesianY, RecordName::CartesianZ];
        let prototype = axes.map(|name| Record { name, data_type: data_type.clone() }).to_vec();
        let file = written(prototype, (0..3).map(|_| vec![RecordValue::ScaledInteger(0); 3]));
        assert_eq!(parse(file.clone()).unwrap().positions, [[0.0; 3]; 3]);

        let mut content = without_checksums(&file);
        let (one, none) = (b"maximum=\"1\"", b"maximum=\"0\"");
        let places: Vec<usize> = (0..content.len() - one.len()).filter(|&at| content[at..].starts_with(one)).collect();
        assert_eq!(places.len(), 3);
        places[1..].iter().for_each(|&at| content[at..at + none.len()].copy_from_slice(none));
        assert_eq!(parse(with_checksums(&content)).unwrap().positions, [[0.0; 3]; 3], "one axis has bits");
        content[places[0]..][..none.len()].copy_from_slice(none);
        let message = parse(with_checksums(&content)).err().unwrap().to_string();
        assert!(message.contains("3 points"), "{message}");
    }

    /// Bytes of a page, and of those that are not its checksum.
    const PAGE: usize = 1024;
    const CONTENT: usize = PAGE - 4;

    fn without_checksums(file: &[u8]) -> Vec<u8> {
        file.chunks(PAGE).flat_map(|page| &page[..CONTENT.min(page.len())]).copied().collect()
    }

    fn with_checksums(content: &[u8]) -> Vec<u8> {
        let page = |content: &[u8]| {
            let mut page = content.to_vec();
            page.resize(CONTENT, 0);
            // CRC-32C, bit by bit.
            let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
            let crc = !page.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step));
            page.extend(crc.to_be_bytes());
            page
        };
        content.chunks(CONTENT).flat_map(page).collect()
    }
}
