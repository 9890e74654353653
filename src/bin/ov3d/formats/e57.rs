//! E57 clouds, by the crate `e57`: the points of all scans, each at its pose.

use super::{CloudFile, contained};
use e57::{CartesianCoordinate, E57Reader, Point};
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

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;
    use e57::{E57Writer, Record, RecordValue};

    fn file(points: usize, color: bool) -> Vec<u8> {
        let mut out = Cursor::new(Vec::new());
        write(&mut out, points, color);
        out.into_inner()
    }

    fn write(out: &mut Cursor<Vec<u8>>, points: usize, color: bool) {
        let mut writer = E57Writer::new(out, "a file").unwrap();
        let mut prototype = vec![Record::CARTESIAN_X_F64, Record::CARTESIAN_Y_F64, Record::CARTESIAN_Z_F64];
        if color {
            prototype.extend([Record::COLOR_RED_U8, Record::COLOR_GREEN_U8, Record::COLOR_BLUE_U8]);
        }
        let mut scan = writer.add_pointcloud("a scan", prototype).unwrap();
        for index in 0..points {
            let mut values: Vec<RecordValue> = [index as f64, -0.5, 1e6].map(RecordValue::Double).to_vec();
            if color {
                values.extend([index as i64, 255, 0].map(RecordValue::Integer));
            }
            scan.add_point(values).unwrap();
        }
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
        mutate(&file, 4_000, |bytes| drop(parse(bytes)));
        assert!(parse(file[..file.len() / 2].to_vec()).is_err());
    }
}
