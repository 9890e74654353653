//! The points of ascii and binary PLY files.

use super::CloudFile;
use super::npy::exact;
use super::vertex::{LABEL_NAMES, Vertex};
use openvocab3d::error::with_capacity;
use openvocab3d::{Error, Result};
use ply_rs_bw::parser::{ParseError, Parser, Reader};
use ply_rs_bw::ply::{ElementDef, Encoding, Header, PropertyType, ScalarType};
use std::io::ErrorKind::UnexpectedEof;

pub(super) fn is_ply(bytes: &[u8]) -> bool {
    bytes.starts_with(b"ply\n") || bytes.starts_with(b"ply\r")
}

/// The points of a PLY file; faces and other properties are passed over.
pub(super) fn parse(bytes: &[u8]) -> Result<CloudFile> {
    parse_points(bytes, read_vertices)
}

/// The labels or ids of the points of a PLY file, which must have one property that is called so.
pub(super) fn parse_labels(bytes: &[u8]) -> Result<Vec<i64>> {
    parse_points(bytes, |payload, element| {
        let named: Vec<&str> = LABEL_NAMES.into_iter().filter(|name| element.properties.contains_key(*name)).collect();
        let [_] = named[..] else {
            let message = format!(
                "the points have the properties {named:?}; exactly one of {LABEL_NAMES:?} is needed for labels"
            );
            return Err(Error::format(message));
        };
        let mut labels = with_capacity(element.count, "the labels")?;
        payload.read(element, |vertex| {
            labels.push(exact(vertex.label).ok_or_else(|| Error::format("its label is no whole number"))?);
            Ok(())
        })?;
        Ok(labels)
    })
}

/// What `read` makes of the element of points.
fn parse_points<T>(bytes: &[u8], mut read: impl FnMut(&mut Payload<'_>, &ElementDef) -> Result<T>) -> Result<T> {
    let (text, bytes) = split_header(bytes)?;
    // Comments may be in any 8-bit encoding; the parser takes only UTF-8.
    let text = String::from_utf8_lossy(text);
    let header = Parser::<Vertex>::new().read_header(&mut Reader::new(text.as_bytes()));
    let header = header.map_err(|e| Error::format(format!("the PLY file's header is damaged: {}", summary(&e))))?;
    check_header(&header, &text)?;
    let mut payload = Payload { encoding: header.encoding, bytes };
    for (name, element) in &header.elements {
        payload.check_size(element)?;
        if name == "vertex" {
            return read(&mut payload, element);
        }
        if !element.properties.is_empty() {
            payload.read(element, |_| Ok(()))?;
        }
    }
    Err(Error::format("the PLY file has no element 'vertex'; only files with points can be read"))
}

fn read_vertices(payload: &mut Payload<'_>, element: &ElementDef) -> Result<CloudFile> {
    let scalar =
        |name: &&str| matches!(element.properties.get(*name).map(|p| &p.data_type), Some(PropertyType::Scalar(_)));
    let missing: Vec<&str> = ["x", "y", "z"].into_iter().filter(|name| !scalar(name)).collect();
    if !missing.is_empty() {
        let message =
            format!("the points of the PLY file have no number '{}'; they need x, y and z", missing.join("', '"));
        return Err(Error::format(message));
    }
    let mut positions = with_capacity(element.count, "the positions")?;
    if !["red", "green", "blue"].iter().all(scalar) {
        payload.read(element, |vertex| {
            positions.push(vertex.position);
            Ok(())
        })?;
        return Ok(CloudFile { positions, colors: None });
    }
    let mut colors = with_capacity(element.count, "the colours")?;
    let unit =
        ["red", "green", "blue"].map(|name| element.properties.get(name).is_some_and(|p| is_float(&p.data_type)));
    payload.read(element, |vertex| {
        positions.push(vertex.position);
        colors.push(vertex.color_bytes(unit)?);
        Ok(())
    })?;
    Ok(CloudFile { positions, colors: Some(colors) })
}

fn is_float(data_type: &PropertyType) -> bool {
    matches!(data_type, PropertyType::Scalar(ScalarType::Float | ScalarType::Double))
}

/// The header with its last line, and what follows.
fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let mut end = 0;
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        end += line.len();
        if line.trim_ascii_end() == b"end_header" {
            return Ok(bytes.split_at(end));
        }
    }
    Err(Error::format("the PLY file's header has no line 'end_header'; its lines must end with LF or CR LF"))
}

/// Refuses repeated names: the parser keeps one of each, and would read every later value from the wrong place.
fn check_header(header: &Header, text: &str) -> Result<()> {
    let lines = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    let properties: usize = header.elements.values().map(|e| e.properties.len()).sum();
    if lines("element") != header.elements.len() || lines("property") != properties {
        return Err(Error::format("the header of the PLY file names an element or a property twice"));
    }
    Ok(())
}

/// What follows the header and has not been read yet.
struct Payload<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
}

impl<'a> Payload<'a> {
    /// Refuses a count that the rest of the file cannot hold, before memory is reserved for it.
    fn check_size(&self, element: &ElementDef) -> Result<()> {
        let width = |data_type: &PropertyType| match (self.encoding, data_type) {
            (Encoding::Ascii, _) => 1,
            (_, PropertyType::Scalar(scalar) | PropertyType::List(scalar, _)) => scalar_width(scalar),
        };
        let least: usize = element.properties.values().map(|p| width(&p.data_type)).sum();
        if element.count > self.bytes.len() / least.max(1) {
            return Err(Error::format(format!(
                "the PLY file is cut short: {} '{}' of at least {least} bytes are announced, {} bytes are left",
                element.count,
                element.name,
                self.bytes.len()
            )));
        }
        Ok(())
    }

    fn read(&mut self, element: &ElementDef, mut accept: impl FnMut(Vertex) -> Result<()>) -> Result<()> {
        let parser = Parser::<Vertex>::new();
        for index in 0..element.count {
            let vertex = match self.encoding {
                Encoding::Ascii => self.read_ascii(element),
                Encoding::BinaryBigEndian => {
                    parser.read_big_endian_element(&mut self.bytes, element).map_err(|e| summary(&e))
                }
                Encoding::BinaryLittleEndian => {
                    parser.read_little_endian_element(&mut self.bytes, element).map_err(|e| summary(&e))
                }
            };
            let place = |e: &dyn std::fmt::Display| format!("'{}' {index} of {}: {e}", element.name, element.count);
            accept(vertex.map_err(|e| Error::format(place(&e)))?).map_err(|e| Error::format(place(&e)))?;
        }
        Ok(())
    }

    /// One element as a line of text. Not the parser's own way, which knows neither `nan` nor `.5` and which is slower.
    /// Numbers are read as FP64 whatever the header says: files with map coordinates often declare `float` and hold
    /// more.
    fn read_ascii(&mut self, element: &ElementDef) -> std::result::Result<Vertex, String> {
        let line = self.line().ok_or(ENDS_EARLY)?;
        let mut tokens = line.split(u8::is_ascii_whitespace).filter(|token| !token.is_empty());
        let mut next = || number(tokens.next().ok_or("its line has fewer values than the header names")?);
        let mut vertex = Vertex::default();
        for (name, property) in &element.properties {
            let value = next()?;
            match property.data_type {
                PropertyType::Scalar(_) => {
                    vertex.set(name, value);
                }
                PropertyType::List(..) => {
                    for _ in 0..value as usize {
                        next()?;
                    }
                }
            }
        }
        // Values that are too many mean that the header is another file's: the columns would be mistaken.
        match tokens.next() {
            Some(_) => Err("its line has more values than the header names".to_owned()),
            None => Ok(vertex),
        }
    }

    /// The next line that is not empty.
    fn line(&mut self) -> Option<&'a [u8]> {
        self.bytes = self.bytes.trim_ascii_start();
        let end = self.bytes.iter().position(|&b| b == b'\n').unwrap_or(self.bytes.len());
        let (line, rest) = self.bytes.split_at(end);
        self.bytes = rest;
        (!line.is_empty()).then_some(line)
    }
}

const ENDS_EARLY: &str = "the file ends too early";

fn number(token: &[u8]) -> std::result::Result<f64, String> {
    let number = std::str::from_utf8(token).ok().and_then(|text| text.parse().ok());
    let shown = || String::from_utf8_lossy(&token[..token.len().min(40)]).escape_debug().to_string();
    number.ok_or_else(|| format!("'{}' is not a number", shown()))
}

fn scalar_width(scalar: &ScalarType) -> usize {
    match scalar {
        ScalarType::Char | ScalarType::UChar => 1,
        ScalarType::Short | ScalarType::UShort => 2,
        ScalarType::Int | ScalarType::UInt | ScalarType::Float => 4,
        ScalarType::Double => 8,
    }
}

/// The parser's message with the beginning of the line it quotes, as one line.
fn summary(error: &ParseError) -> String {
    if error.kind() == UnexpectedEof {
        return ENDS_EARLY.to_owned();
    }
    let text = error.to_string();
    let words: Vec<&str> = text.lines().take(2).flat_map(str::split_whitespace).collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;
    use openvocab3d::ErrorKind;

    const HEADER: &str = "element vertex 2\nproperty uchar red\nproperty double z\nproperty list uchar short extra\n\
        property uchar green\nproperty float x\nproperty uchar blue\nproperty short y\n\
        element face 1\nproperty list uchar int vertex_indices\nend_header\n";

    fn binary(big: bool) -> Vec<u8> {
        let name = if big { "big" } else { "little" };
        let mut file = format!("ply\nformat binary_{name}_endian 1.0\ncomment x\n{HEADER}").into_bytes();
        for (color, x, y, z) in [([1, 2, 3], 0.5_f32, -7_i16, 1e7_f64), ([255, 0, 9], f32::NAN, 3, 0.1)] {
            file.push(color[0]);
            file.extend(if big { z.to_be_bytes() } else { z.to_le_bytes() });
            file.extend([2, 0, 0, 0, 0, color[1]]);
            file.extend(if big { x.to_be_bytes() } else { x.to_le_bytes() });
            file.push(color[2]);
            file.extend(if big { y.to_be_bytes() } else { y.to_le_bytes() });
        }
        file.extend([0]);
        file
    }

    fn ascii() -> Vec<u8> {
        format!("ply\r\nformat ascii 1.0\n{HEADER}1 1e7 2 8 8 2 .5 3 -7\n255 0.1 2 0 0 0 nan 9 3.\n3 0 1 1\n")
            .into_bytes()
    }

    fn check(cloud: &CloudFile) {
        assert_eq!(cloud.positions[0], [0.5, -7.0, 1e7]);
        assert!(cloud.positions[1][0].is_nan());
        assert_eq!(cloud.positions[1][1..], [3.0, 0.1]);
        assert_eq!(cloud.colors.as_deref().unwrap(), [[1, 2, 3], [255, 0, 9]]);
    }

    #[test]
    fn every_encoding_and_order_of_properties() {
        for file in [binary(false), binary(true), ascii()] {
            check(&parse(&file).unwrap());
        }
    }

    /// Reads `file` cut at every length and with every byte changed in several ways.
    fn damage(file: &[u8], mut check: impl FnMut(usize, Result<CloudFile>)) {
        for length in 0..file.len() {
            check(length, parse(&file[..length]));
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0x55, 0xff] {
                let mut damaged = file.to_vec();
                damaged[length] ^= mask;
                let _ = parse(&damaged);
            }
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        for big in [false, true] {
            // The face's list is after the points and is not read.
            let file = binary(big);
            damage(&file, |length, cloud| assert_eq!(cloud.is_err(), length < file.len() - 1, "{length}"));
        }
        let file = ascii();
        let points = file.len() - "\n3 0 1 1\n".len();
        // A cut within the last number leaves a number.
        damage(&file, |length, cloud| assert_eq!(cloud.is_err(), length < points - 1, "{length}"));
    }

    #[test]
    fn several_damaged_places() {
        for file in [binary(false), binary(true), ascii()] {
            mutate(&file, 20_000, |bytes| drop(parse(&bytes)));
        }
    }

    #[test]
    fn elements_before_the_points_are_passed_over() {
        let rest = "element none 0\nelement vertex 1\nproperty uchar x\nproperty char y\nproperty uint z\nend_header\n";
        let lists = "element face 2\nproperty list int ushort corners\nproperty char flag\n";
        let mut file = format!("ply\nformat binary_big_endian 1.0\n{lists}{rest}").into_bytes();
        let faces = [&[0, 0, 0, 2, 0, 1, 0, 2, 9][..], &[0, 0, 0, 0, 9]].concat();
        file.extend(faces.iter().chain(&[200, 0xff, 0x80, 0, 0, 1]));
        assert_eq!(parse(&file).unwrap().positions, [[200.0, -1.0, 2_147_483_649.0]]);
        let file = format!("ply\nformat ascii 1.0\n{lists}{rest}2 1 2 9\n0 9\n\n 200\t-1 2147483649 ");
        assert_eq!(parse(file.as_bytes()).unwrap().positions, [[200.0, -1.0, 2_147_483_649.0]]);
        for count in [0xff_u8, 0x7f] {
            let mut file = format!("ply\nformat binary_big_endian 1.0\n{lists}{rest}").into_bytes();
            file.extend([count, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            assert!(parse(&file).err().unwrap().to_string().contains("'face' 0 of 2"));
        }
    }

    #[test]
    fn comments_of_any_encoding() {
        let mut file = b"ply\nformat ascii 1.0\ncomment 20 \xb0C\nobj_info \xff\nelement vertex 1\n".to_vec();
        file.extend(b"property float x\nproperty float y\nproperty float z\nend_header \r\n1 2 3");
        assert_eq!(parse(&file).unwrap().positions, [[1.0, 2.0, 3.0]]);
    }

    fn with_header(header: &str) -> Error {
        let file = format!(
            "ply\nformat binary_little_endian 1.0\n{header}\nend_header\n1234567890123456789012345678901234567"
        );
        parse(file.as_bytes()).err().unwrap()
    }

    #[test]
    fn messages_name_what_is_wrong() {
        let xyz = "property float x\nproperty float y\nproperty float z";
        let cases = [
            ("element face 0", "no element 'vertex'"),
            ("element vertex 2\nproperty float x\nproperty list uchar float z", "'y', 'z'"),
            (&format!("element vertex 18446744073709551615\n{xyz}"), "cut short"),
            ("element nothing 18446744073709551615\nelement vertex 1", "cut short"),
            ("element vertex 18446744073709551615", "cut short"),
            ("element vertex 2\nproperty flot x", "Line 4: Couldn't parse line. String: 'property flot x"),
            (&format!("element vertex 1\n{xyz}\nproperty float x"), "twice"),
            (&format!("element vertex 1\n{xyz}\nelement vertex 1"), "twice"),
            (&format!("element vertex 1\n{xyz}\nproperty int red\nproperty int green\nproperty int blue"), "0 to 255"),
        ];
        for (header, words) in cases {
            let error = with_header(header);
            assert_eq!(error.kind(), ErrorKind::Format);
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn lines_must_fit_the_header() {
        let header = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\n";
        for (lines, words) in [
            ("1 2 3\n4 5\n", "'vertex' 1 of 2: its line has fewer"),
            ("1 2 3 4\n5 6 7\n", "'vertex' 0 of 2: its line has more"),
            ("1 2 3\n\n\n", "'vertex' 1 of 2: the file ends too early"),
            ("1 2 3\n1 2 3,5\n", "'3,5' is not a number"),
        ] {
            let error = parse(format!("{header}end_header\n{lines}").as_bytes()).err().unwrap();
            assert!(error.to_string().contains(words), "{error}");
        }
        let old = parse(format!("{header}end_header\n1 2 3\n4 5 6\n").replace('\n', "\r").as_bytes());
        assert!(old.err().unwrap().to_string().contains("LF"));
    }

    #[test]
    fn float_colors_empty_clouds_and_colorless_ones() {
        let header = |count, colors| {
            format!(
                "ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\n{colors}end_header\n"
            )
        };
        let colors = "property float red\nproperty double green\nproperty float blue\n";
        let file = header(2, colors) + "0 0 0 0 0.5 1\n0 0 0 nan 1.001 0.25";
        assert_eq!(parse(file.as_bytes()).unwrap().colors.unwrap(), [[0, 128, 255], [0, 255, 64]]);
        assert!(parse((header(1, colors) + "0 0 0 10 128 255").as_bytes()).is_err());
        let empty = parse(header(0, colors).as_bytes()).unwrap();
        assert_eq!((empty.positions.len(), empty.colors.map(|c| c.len())), (0, Some(0)));
        assert!(parse((header(1, "") + "1 2 3").as_bytes()).unwrap().colors.is_none());
    }
}
