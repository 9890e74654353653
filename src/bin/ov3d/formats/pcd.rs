//! PCD clouds of the Point Cloud Library: ascii, binary and binary_compressed.

use super::CloudFile;
use openvocab3d::error::{filled, with_capacity};
use openvocab3d::{Error, ErrorKind, Result};

pub(super) fn is_pcd(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.starts_with(b"# .PCD") || line.starts_with(b"VERSION ")
}

/// One field of a point.
struct Field {
    name: String,
    /// `'F'`, `'I'` or `'U'`.
    kind: u8,
    size: usize,
    count: usize,
    /// Bytes before it in a binary point, values before it in a line.
    offset: usize,
    column: usize,
}

#[derive(Clone, Copy)]
enum Encoding {
    Ascii,
    Binary,
    Compressed,
}

struct Header {
    fields: Vec<Field>,
    points: usize,
    encoding: Encoding,
}

/// The points of a PCD file; those that the sensor did not see are NaN, as the file has them.
pub(super) fn parse(bytes: &[u8]) -> Result<CloudFile> {
    let (header, data) = Header::parse(bytes)?;
    match header.encoding {
        Encoding::Ascii => header.read_ascii(data),
        Encoding::Binary => {
            let Some(data) = data.get(..header.points * header.point_size()) else {
                return Err(cut_short(header.points, header.point_size(), data.len()));
            };
            header.read(|point, field| &data[point * header.point_size() + field.offset..][..field.size])
        }
        Encoding::Compressed => {
            let data = header.decompress(data)?;
            // Column after column.
            header.read(|point, field| {
                let start = field.offset * header.points + point * field.size * field.count;
                &data[start..][..field.size]
            })
        }
    }
}

fn cut_short(points: usize, size: usize, left: usize) -> Error {
    Error::format(format!("the PCD file is cut short: {points} points of {size} bytes, {left} bytes left"))
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<(Self, &[u8])> {
        let (mut names, mut sizes, mut kinds, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut points, mut width, mut height) = (None, None, Some(1));
        let mut end = 0;
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            end += line.len();
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_whitespace();
            let Some(key) = words.next().filter(|key| !key.starts_with('#')) else { continue };
            let words: Vec<&str> = words.collect();
            let number = || words.first().and_then(|word| word.parse::<usize>().ok());
            match key {
                "FIELDS" | "COLUMNS" => names = words.iter().map(|name| (*name).to_owned()).collect(),
                "SIZE" => sizes = numbers(&words)?,
                "TYPE" => kinds = words.iter().map(|kind| kind.as_bytes()[0]).collect(),
                "COUNT" => counts = numbers(&words)?,
                "WIDTH" => width = number(),
                "HEIGHT" => height = number(),
                "POINTS" => points = number(),
                "VERSION" | "VIEWPOINT" => {}
                "DATA" => {
                    let encoding = match words[..] {
                        ["ascii"] => Encoding::Ascii,
                        ["binary"] => Encoding::Binary,
                        ["binary_compressed"] => Encoding::Compressed,
                        _ => {
                            let message = format!("the PCD file's data is '{}', which is not read", words.join(" "));
                            return Err(Error::new(ErrorKind::Unsupported, message));
                        }
                    };
                    let product = width.and_then(|width| height.and_then(|height| width.checked_mul(height)));
                    let points = points.or(product).ok_or_else(|| Error::format("the PCD header states no POINTS"))?;
                    let header = Self { fields: fields(&names, &sizes, &kinds, &counts)?, points, encoding };
                    if points.checked_mul(header.point_size()).is_none_or(|size| size > isize::MAX as usize) {
                        return Err(Error::format(format!("the PCD header states {points} points, more than fit")));
                    }
                    return Ok((header, &bytes[end..]));
                }
                other => {
                    let shown: String = other.chars().filter(|c| !c.is_control()).take(40).collect();
                    return Err(Error::format(format!("the PCD header has the unknown entry '{shown}'")));
                }
            }
        }
        Err(Error::format("the PCD header has no entry DATA"))
    }

    /// Bytes of a point.
    fn point_size(&self) -> usize {
        self.fields.last().map_or(0, |field| field.offset + field.size * field.count)
    }

    fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    fn position(&self) -> Result<[&Field; 3]> {
        match ["x", "y", "z"].map(|name| self.field(name)) {
            [Some(x), Some(y), Some(z)] => Ok([x, y, z]),
            _ => Err(Error::format("the points of the PCD file have no x, y and z")),
        }
    }

    /// The colour's field, four bytes of blue, green, red and alpha.
    fn color(&self) -> Option<&Field> {
        ["rgb", "rgba"].iter().find_map(|name| self.field(name)).filter(|field| field.size == 4 && field.count == 1)
    }

    /// Reads binary points, `value(point, field)` being the bytes of a field.
    fn read<'a>(&self, value: impl Fn(usize, &Field) -> &'a [u8]) -> Result<CloudFile> {
        let axes = self.position()?;
        let mut positions = with_capacity(self.points, "the positions")?;
        positions.extend((0..self.points).map(|point| axes.map(|axis| number(axis, value(point, axis)))));
        let Some(field) = self.color() else { return Ok(CloudFile { positions, colors: None }) };
        let mut colors = with_capacity(self.points, "the colours")?;
        colors.extend((0..self.points).map(|point| {
            let bytes = value(point, field);
            [bytes[2], bytes[1], bytes[0]]
        }));
        Ok(CloudFile { positions, colors: Some(colors) })
    }

    fn read_ascii(&self, data: &[u8]) -> Result<CloudFile> {
        let axes = self.position()?;
        let values = self.fields.last().map_or(0, |field| field.column + field.count);
        if self.points > data.len() {
            return Err(cut_short(self.points, 1, data.len()));
        }
        let mut positions = with_capacity(self.points, "the positions")?;
        let color = self.color();
        let mut colors = with_capacity(if color.is_some() { self.points } else { 0 }, "the colours")?;
        let mut lines = data.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for point in 0..self.points {
            let line = lines.next().ok_or_else(|| {
                Error::format(format!("the PCD file is cut short: {point} of {} points", self.points))
            })?;
            let line = std::str::from_utf8(line).map_err(|_| Error::format(format!("point {point} is no text")))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            if words.len() != values {
                let message = format!("point {point} has {} values; the header names {values}", words.len());
                return Err(Error::format(message));
            }
            let mut position = [0.0; 3];
            for (value, axis) in position.iter_mut().zip(axes) {
                let word = words[axis.column];
                *value = word.parse().map_err(|_| wrong_number(point, word))?;
            }
            positions.push(position);
            if let Some(field) = color {
                let word = words[field.column];
                // The bytes of a colour are written as the float or the integer they make.
                let bits = match field.kind {
                    b'F' => word.parse::<f32>().ok().map(f32::to_bits),
                    b'I' => word.parse::<i32>().ok().map(i32::cast_unsigned),
                    _ => word.parse::<u32>().ok(),
                };
                let [blue, green, red, _] = bits.ok_or_else(|| wrong_number(point, word))?.to_le_bytes();
                colors.push([red, green, blue]);
            }
        }
        Ok(CloudFile { positions, colors: color.map(|_| colors) })
    }

    /// The columns of a compressed file.
    fn decompress(&self, data: &[u8]) -> Result<Vec<u8>> {
        let size =
            |at: usize| data.get(at..at + 4).and_then(|bytes| bytes.first_chunk()).map(|b| u32::from_le_bytes(*b));
        let want = self.points * self.point_size();
        let (Some(packed), Some(plain)) = (size(0), size(4)) else { return Err(cut_short(self.points, 8, data.len())) };
        if plain as usize != want {
            let message = format!("the PCD file's data has {plain} bytes uncompressed; its points need {want}");
            return Err(Error::format(message));
        }
        let Some(packed) = data[8..].get(..packed as usize) else {
            return Err(cut_short(self.points, self.point_size(), data.len()));
        };
        // LZF makes at most 264 bytes of 3: a claim beyond that is damage, not a reason to reserve memory.
        if want / 88 > packed.len() {
            return Err(Error::format("the PCD file's compressed data is too short for its points"));
        }
        let mut columns = filled(want, 0, "the points")?;
        match lzf(packed, &mut columns) {
            Some(()) => Ok(columns),
            None => Err(Error::format("the PCD file's compressed data is damaged")),
        }
    }
}

fn wrong_number(point: usize, word: &str) -> Error {
    let shown: String = word.chars().filter(|c| !c.is_control()).take(40).collect();
    Error::format(format!("'{shown}' of point {point} is not a number that its field can hold"))
}

fn numbers(words: &[&str]) -> Result<Vec<usize>> {
    let number =
        |word: &&str| word.parse().map_err(|_| Error::format(format!("'{word}' in the PCD header is no size")));
    words.iter().map(number).collect()
}

fn fields(names: &[String], sizes: &[usize], kinds: &[u8], counts: &[usize]) -> Result<Vec<Field>> {
    let counts = if counts.is_empty() { vec![1; names.len()] } else { counts.to_vec() };
    if [sizes.len(), kinds.len(), counts.len()] != [names.len(); 3] {
        return Err(Error::format("the PCD header's FIELDS, SIZE, TYPE and COUNT differ in number"));
    }
    let (mut offset, mut column) = (0_usize, 0_usize);
    let mut fields = Vec::with_capacity(names.len());
    for (((name, &size), &kind), &count) in names.iter().zip(sizes).zip(kinds).zip(&counts) {
        let known =
            matches!((kind, size), (b'F', 4 | 8) | (b'I' | b'U', 1 | 2 | 4 | 8)) && (1..1 << 20).contains(&count);
        if !known {
            let kind = kind as char;
            return Err(Error::format(format!("the PCD field '{name}' is {kind}{size} x {count}, which is not read")));
        }
        fields.push(Field { name: name.clone(), kind, size, count, offset, column });
        offset += size * count;
        column += count;
    }
    Ok(fields)
}

fn number(field: &Field, bytes: &[u8]) -> f64 {
    let mut wide = [0; 8];
    wide[..field.size].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    // Moves the sign to the top and back.
    let shift = 64 - 8 * field.size as u32;
    match (field.kind, field.size) {
        (b'F', 4) => f64::from(f32::from_bits(unsigned as u32)),
        (b'F', _) => f64::from_bits(unsigned),
        (b'I', _) => ((unsigned << shift).cast_signed() >> shift) as f64,
        _ => unsigned as f64,
    }
}

/// Expands LibLZF's format into all of `out`.
fn lzf(packed: &[u8], out: &mut [u8]) -> Option<()> {
    let (mut read, mut write) = (0, 0);
    while read < packed.len() {
        let control = usize::from(packed[read]);
        read += 1;
        if control < 32 {
            let length = control + 1;
            out.get_mut(write..write + length)?.copy_from_slice(packed.get(read..read + length)?);
            (read, write) = (read + length, write + length);
            continue;
        }
        let mut length = (control >> 5) + 2;
        if length == 9 {
            length += usize::from(*packed.get(read)?);
            read += 1;
        }
        let back = ((control & 0x1F) << 8 | usize::from(*packed.get(read)?)) + 1;
        read += 1;
        let from = write.checked_sub(back)?;
        if write + length > out.len() {
            return None;
        }
        // Source and destination may overlap: that is how runs are written.
        for index in 0..length {
            out[write + index] = out[from + index];
        }
        write += length;
    }
    (write == out.len()).then_some(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;

    const FIELDS: &str = "FIELDS rgb x _ y z label\nSIZE 4 4 1 8 4 2\nTYPE U F U F I I\nCOUNT 1 1 3 1 1 1\n";

    fn header(data: &str) -> Vec<u8> {
        format!("# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\n{FIELDS}WIDTH 2\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 2\nDATA {data}\n").into_bytes()
    }

    /// Columns of the two points.
    fn columns() -> [Vec<u8>; 6] {
        let both = |a: &[u8], b: &[u8]| [a, b].concat();
        [
            both(&[3, 2, 1, 9], &[0, 0, 255, 0]),
            both(&0.5_f32.to_le_bytes(), &f32::NAN.to_le_bytes()),
            both(&[7; 3], &[8; 3]),
            both(&1e6_f64.to_le_bytes(), &(-0.25_f64).to_le_bytes()),
            both(&(-7_i32).to_le_bytes(), &3_i32.to_le_bytes()),
            both(&[1, 0], &[2, 0]),
        ]
    }

    fn binary() -> Vec<u8> {
        let mut file = header("binary");
        for point in 0..2 {
            for column in columns() {
                let size = column.len() / 2;
                file.extend(&column[point * size..][..size]);
            }
        }
        file
    }

    fn compressed() -> Vec<u8> {
        let plain = columns().concat();
        // Literals of 32 at most, then a run made of one back reference.
        let mut packed = Vec::new();
        for literal in plain.chunks(20) {
            packed.push(literal.len() as u8 - 1);
            packed.extend(literal);
        }
        let mut file = header("binary_compressed");
        file.extend((packed.len() as u32).to_le_bytes());
        file.extend((plain.len() as u32).to_le_bytes());
        file.extend(packed);
        file
    }

    fn ascii() -> Vec<u8> {
        let mut file = header("ascii");
        file.extend(b"151060995 0.5 7 7 7 1e6 -7 1\n16711680 nan 8 8 8 -0.25 3 2\n");
        file
    }

    #[test]
    fn every_encoding() {
        for (name, file) in [("ascii", ascii()), ("binary", binary()), ("compressed", compressed())] {
            let cloud = parse(&file).unwrap();
            assert_eq!(cloud.positions[0], [0.5, 1e6, -7.0], "{name}");
            assert!(cloud.positions[1][0].is_nan() && cloud.positions[1][1..] == [-0.25, 3.0], "{name}");
            assert_eq!(cloud.colors.unwrap(), [[1, 2, 3], [255, 0, 0]], "{name}");
        }
    }

    #[test]
    fn runs_overlap_their_source() {
        let mut out = [0; 12];
        assert!(lzf(&[1, 5, 6, 0b1110_0000, 1, 1], &mut out).is_some());
        assert_eq!(out, [5, 6, 5, 6, 5, 6, 5, 6, 5, 6, 5, 6]);
        assert!(lzf(&[1, 5, 6, 0b0010_0000, 2], &mut out).is_none(), "before the start");
        assert!(lzf(&[0, 5], &mut out).is_none(), "too short");
    }

    #[test]
    fn damaged_files_are_errors() {
        for file in [ascii(), binary(), compressed()] {
            mutate(&file, 20_000, |bytes| drop(parse(&bytes)));
            for length in 0..file.len() - 12 {
                assert!(parse(&file[..length]).is_err(), "{length}");
            }
        }
        let with = |from: &str, to: &str| {
            let text = String::from_utf8_lossy(&header("ascii")).replace(from, to);
            parse(text.as_bytes()).err().unwrap().to_string()
        };
        assert!(with("POINTS 2", "POINTS 18446744073709551615").contains("18446744073709551615"));
        assert!(with("SIZE 4 4 1 8 4 2", "SIZE 4 4 1 8 4").contains("SIZE"));
        assert!(with("TYPE U F", "TYPE U X").contains("'x'"));
        assert!(with("FIELDS rgb x", "FIELDS rgb w").contains("no x, y and z"));
        assert!(with("DATA ascii", "DATA octal").contains("octal"));
    }
}
