//! LAS and LAZ clouds, by the crate `las`.

use super::{CloudFile, contained};
use las::{Header, PointDataBuilder, Reader};
use laz::LazItemType;
use laz::laszip::ChunkTable;
use openvocab3d::error::with_capacity;
use openvocab3d::{Error, Result};
use std::io::{Cursor, Seek, SeekFrom};
use std::sync::Arc;

/// Bytes of points read at a time: a damaged header may announce any number of points of any size.
const BATCH: u64 = 1 << 22;

/// What marks a file whose chunks have layers.
const LAYERED: u64 = 3;

pub(super) fn is_las(bytes: &[u8]) -> bool {
    bytes.starts_with(b"LASF")
}

/// The points of a LAS or LAZ file. 16-bit colours become 8-bit ones; files that hold 8-bit ones in 16 bits are known by
/// having no larger value.
pub(super) fn parse(bytes: Vec<u8>) -> Result<CloudFile> {
    contained("LAS", || read(bytes))
}

/// The little-endian number of `width` bytes at `place`.
fn number(bytes: &[u8], place: u64, width: u64) -> Option<u64> {
    let start = usize::try_from(place).ok()?;
    let field = bytes.get(start..start.checked_add(width as usize)?)?;
    Some(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// Refuses sizes for which the crate would reserve memory before it finds that the file does not hold them: those of the
/// first extended record and of the table of compressed chunks.
fn check_sizes(bytes: &[u8]) -> Result<()> {
    let at = |place, width| number(bytes, place, width);
    let size = bytes.len() as u64;
    let damaged = |what: &str, value: u64| Error::format(format!("the LAS file's {what} is {value} in {size} bytes"));
    // Version 1.4 may have extended records.
    if at(25, 1) == Some(4) && at(243, 4).is_some_and(|records| records > 0) {
        let length = at(235, 8).and_then(|first| at(first.checked_add(20)?, 8));
        if let Some(length) = length.filter(|length| *length > size) {
            return Err(damaged("extended record's length", length));
        }
    }
    if at(104, 1).is_some_and(|format| format & 0xC0 != 0) {
        let start = at(96, 4).unwrap_or(0);
        let beyond = |table: &u64| *table > start;
        let table = at(start, 8).filter(beyond).or_else(|| at(size.saturating_sub(8), 8)).filter(beyond);
        let chunks = table.and_then(|table| at(table.checked_add(4)?, 4));
        if let Some(chunks) = chunks.filter(|chunks| *chunks > size) {
            return Err(damaged("number of chunks", chunks));
        }
    }
    Ok(())
}

/// Refuses chunks of formats 6 to 10 whose layers are larger than the file, for which the crate would reserve memory. Such
/// a chunk is a point, the number of points, the size of every layer, and the layers.
fn check_layers(bytes: &[u8], header: &Header) -> Result<()> {
    let damaged = |e: String| Error::format(format!("the LAZ file cannot be read: {e}"));
    let compression = header.laz_vlr().map_err(|e| damaged(e.to_string()))?;
    let (mut point, mut layers) = (0, 0);
    for item in compression.items() {
        let (bytes, of_item) = match item.item_type() {
            LazItemType::Point14 => (30, 9),
            LazItemType::RGB14 => (6, 1),
            LazItemType::RGBNIR14 => (8, 2),
            LazItemType::WavePacket14 => (29, 1),
            LazItemType::Byte14(count) => (u64::from(count), u64::from(count)),
            // Items of formats 0 to 5 have no layers, and no file may mix both.
            _ => return Ok(()),
        };
        (point, layers) = (point + bytes, layers + of_item);
    }
    let mut fields = Vec::new();
    compression.write_to(&mut fields).map_err(|e| damaged(e.to_string()))?;
    if number(&fields, 0, 2) != Some(LAYERED) {
        return Err(damaged("its points have layers, but it is not marked so".to_owned()));
    }
    let start = number(bytes, 96, 4).unwrap_or(0);
    let mut source = Cursor::new(bytes);
    source.seek(SeekFrom::Start(start)).map_err(|e| damaged(e.to_string()))?;
    let chunks = ChunkTable::read_from(&mut source, &compression).map_err(|e| damaged(e.to_string()))?;
    let (mut chunk_at, mut points) = (start + ChunkTable::OFFSET_SIZE as u64, 0);
    for chunk in 0.. {
        if points >= header.number_of_points() {
            break;
        }
        let sizes_at = chunk_at + point + 4;
        let sizes: Option<u64> = (0..layers).map(|layer| number(bytes, sizes_at + 4 * layer, 4)).sum();
        let end = sizes.map(|sizes| sizes_at + 4 * layers + sizes).filter(|end| *end <= bytes.len() as u64);
        let Some(end) = end else {
            let message = format!("chunk {chunk}, after {points} points, goes beyond its {} bytes", bytes.len());
            return Err(damaged(message));
        };
        chunk_at = end;
        points += match compression.uses_variable_size_chunks() {
            true => chunks.as_ref().get(chunk).map_or(0, |chunk| chunk.point_count),
            false => u64::from(compression.chunk_size()),
        };
    }
    Ok(())
}

fn read(bytes: Vec<u8>) -> Result<CloudFile> {
    check_sizes(&bytes)?;
    let damaged = |e: las::Error| Error::format(format!("the LAS file cannot be read: {e}"));
    let bytes: Arc<[u8]> = bytes.into();
    let size = bytes.len() as u64;
    let mut reader = Reader::new(Cursor::new(bytes.clone())).map_err(damaged)?;
    let header = reader.header();
    let (format, count) = (*header.point_format(), header.number_of_points());
    if !format.is_compressed && count.saturating_mul(u64::from(format.len())) > size {
        let message = format!("the LAS file is cut short: {count} points of {} bytes in {size}", format.len());
        return Err(Error::format(message));
    }
    if format.is_compressed {
        check_layers(&bytes, header)?;
    }
    let batch = (BATCH / u64::from(format.len()).max(1)).max(1);
    let mut points = PointDataBuilder::new().for_header(header).build();
    let (mut positions, mut wide) = (Vec::new(), Vec::new());
    while (positions.len() as u64) < count {
        let asked = batch.min(count - positions.len() as u64);
        if reader.fill_points(asked, &mut points).map_err(damaged)? == 0 {
            return Err(Error::format(format!("the LAS file is cut short: {} of {count} points", positions.len())));
        }
        let more = |_| Error::new(openvocab3d::ErrorKind::OutOfMemory, "no memory for the points of the LAS file");
        positions.try_reserve(points.len()).map_err(more)?;
        positions.extend(points.x().zip(points.y()).zip(points.z()).map(|((x, y), z)| [x, y, z]));
        if let Some(colors) = points.rgb() {
            wide.try_reserve(points.len()).map_err(more)?;
            wide.extend(colors.map(|(red, green, blue)| [red, green, blue]));
        }
    }
    let shift = if wide.iter().flatten().any(|value| *value > 255) { 8 } else { 0 };
    let mut colors = with_capacity(wide.len(), "the colours")?;
    colors.extend(wide.into_iter().map(|color| color.map(|value| (value >> shift) as u8)));
    Ok(CloudFile { positions, colors: format.has_color.then_some(colors) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;
    use las::{Builder, Color, Point, Writer, point::Format};

    fn file(compressed: bool, format: u8, colors: &[u16]) -> Vec<u8> {
        let mut builder = Builder::from((1, 4));
        builder.point_format = Format::new(format).unwrap();
        builder.point_format.is_compressed = compressed;
        let out = Cursor::new(Vec::new());
        let mut writer = Writer::new(out, builder.into_header().unwrap()).unwrap();
        for (index, &value) in colors.iter().enumerate() {
            let color = Some(Color::new(value, 0, value / 2));
            let color = color.filter(|_| Format::new(format).unwrap().has_color);
            writer
                .write_point(Point {
                    x: index as f64 + 0.25,
                    y: -2.0,
                    z: 1e3,
                    color,
                    gps_time: Format::new(format).unwrap().has_gps_time.then_some(0.0),
                    nir: Format::new(format).unwrap().has_nir.then_some(0),
                    ..Point::default()
                })
                .unwrap();
        }
        writer.into_inner().unwrap().into_inner()
    }

    #[test]
    fn plain_and_compressed_points() {
        for compressed in [false, true] {
            let cloud = parse(file(compressed, 2, &[0xFF00, 0x0100, 7])).unwrap();
            assert_eq!(cloud.colors.unwrap(), [[255, 0, 127], [1, 0, 0], [0, 0, 0]]);
            assert_eq!((cloud.positions.len(), cloud.positions[2][1..].to_vec()), (3, vec![-2.0, 1e3]));
            assert!((cloud.positions[2][0] - 2.25).abs() < 1e-3);
            let narrow = parse(file(compressed, 3, &[200, 3])).unwrap();
            assert_eq!(narrow.colors.unwrap(), [[200, 0, 100], [3, 0, 1]], "8-bit colours");
            let plain = parse(file(compressed, 0, &[0])).unwrap();
            assert!(plain.colors.is_none() && plain.positions.len() == 1);
            assert!(parse(file(compressed, 0, &[])).unwrap().positions.is_empty());
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        for (compressed, format) in [(false, 3), (true, 3), (true, 6), (true, 7)] {
            let file = file(compressed, format, &[9; 40]);
            assert_eq!(parse(file.clone()).unwrap().positions.len(), 40);
            mutate(&file, 3_000, |bytes| drop(parse(bytes)));
            assert!(parse(file[..file.len() - 1].to_vec()).is_err() || compressed);
            assert!(parse(file[..300].to_vec()).is_err());
        }
    }

    /// A chunk of formats 6 to 10 begins with a point and its number of points; then come the sizes of its layers.
    #[test]
    fn layers_beyond_the_file_are_refused() {
        for (format, point, layers) in [(6, 30, 9), (7, 36, 10), (8, 38, 11)] {
            let file = file(true, format, &[9; 40]);
            let start = number(&file, 96, 4).unwrap() as usize + 8;
            for layer in 0..layers {
                let mut file = file.clone();
                let place = start + point + 4 + 4 * layer;
                file[place..place + 4].fill(0xFF);
                let message = parse(file).err().unwrap().to_string();
                assert!(message.contains("chunk 0") && message.contains("bytes"), "{message}");
            }
        }
    }
}
