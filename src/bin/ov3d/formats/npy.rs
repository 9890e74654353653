//! npy arrays: clouds, embeddings and coordinates in, labels out.

use super::{CloudFile, read_bytes, write_file};
use half::f16;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar, WriterBuilder};
use openvocab3d::error::with_capacity;
use openvocab3d::{Error, ErrorKind, Result};
use std::path::Path;

const MAGIC: &[u8] = b"\x93NUMPY";

pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// A cloud from `[n, 3]` or more columns: x, y, z first. The next three are its colours if they hold nothing but whole
/// numbers from 0 to 255.
pub(super) fn parse_cloud(bytes: &[u8]) -> Result<CloudFile> {
    let array = Array::parse(bytes)?;
    let (rows, columns) = match array.shape[..] {
        [rows, columns] if columns >= 3 => (rows, columns),
        _ => {
            let cure = "reshape it with reshape(-1, 3), or keep the columns x, y, z";
            let message =
                format!("the array has shape {:?}; a cloud needs [n, 3] or more columns: {cure}", array.shape);
            return Err(Error::format(message));
        }
    };
    let mut positions = with_capacity(rows, "the positions")?;
    let triple = |row, first| [0, 1, 2_usize].map(|i| array.value(array.offset(&[row, first + i])));
    positions.extend((0..rows).map(|row| triple(row, 0)));
    let byte = |v: f64| ((0.0..=255.0).contains(&v) && v.fract() == 0.0).then_some(v as u8);
    let color = |row| -> Option<[u8; 3]> {
        let [red, green, blue] = triple(row, 3).map(byte);
        Some([red?, green?, blue?])
    };
    let colors = if columns >= 6 { (0..rows).map(color).collect() } else { None };
    Ok(CloudFile { positions, colors })
}

/// The shape and the values, in C order, of an array of floats, or of whole numbers that FP32 holds exactly.
pub(crate) fn read_npy_f32(path: &Path) -> Result<(Vec<usize>, Vec<f32>)> {
    let convert = |array: &Array<'_>, value: f64| {
        let whole = !matches!(array.kind, TypeChar::Float);
        let fits = if whole {
            value.abs() <= f64::from(1_u32 << 24)
        } else {
            (value as f32).is_finite() || !value.is_finite()
        };
        fits.then_some(value as f32)
    };
    read(path, |array| array.collect("32-bit floats", |v| convert(array, v)))
}

/// The shape and the values, in C order, of an array of whole numbers, of whatever type, that fit 32 bits.
pub(crate) fn read_npy_i32(path: &Path) -> Result<(Vec<usize>, Vec<i32>)> {
    read(path, |array| array.collect("32-bit integers", whole))
}

/// `value` if it is a whole number that FP64 tells from its neighbours.
pub(super) fn exact(value: f64) -> Option<i64> {
    let fits = value.fract() == 0.0 && value.abs() < (1_i64 << 53) as f64;
    fits.then_some(value as i64)
}

/// `value` if it is a whole number of 32 bits.
fn whole(value: f64) -> Option<i32> {
    let fits = value.fract() == 0.0 && value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
    fits.then_some(value as i32)
}

/// Rows `[batch, x, y, z]` of an npy file of whole numbers, `[n, 4]`, or `[n, 3]` with batch 0; none if the file is not
/// npy or holds floats.
pub(crate) fn read_npy_coordinates(path: &Path) -> Result<Option<Vec<[i32; 4]>>> {
    let bytes = read_bytes(path)?;
    if !is_npy(&bytes) {
        return Ok(None);
    }
    let within = |e: Error| e.within(format_args!("coordinates '{}'", path.display()));
    let array = Array::parse(&bytes).map_err(within)?;
    if !matches!(array.kind, TypeChar::Int | TypeChar::Uint) {
        return Ok(None);
    }
    let values = array.collect("32-bit integers", whole).map_err(within)?;
    match array.shape[..] {
        [_, 3] => Ok(Some(values.as_chunks().0.iter().map(|&[x, y, z]| [0, x, y, z]).collect())),
        [_, 4] => Ok(Some(values.as_chunks().0.to_vec())),
        _ => {
            let cure = "give [n, 3], or [n, 4] with the batch first; positions are read from floats";
            let message = format!("the array of whole numbers has shape {:?}; {cure}", array.shape);
            Err(within(Error::format(message)))
        }
    }
}

/// Labels or ids from whole numbers `[n]`.
pub(super) fn parse_labels(bytes: &[u8]) -> Result<Vec<i64>> {
    let array = Array::parse(bytes)?;
    if array.shape.len() != 1 {
        return Err(Error::format(format!("the array has shape {:?}; labels need [n]", array.shape)));
    }
    array.collect("integers of 53 bits", exact)
}

/// Writes labels as int32 `[n]`.
pub(crate) fn write_npy_labels(path: &Path, labels: &[i32]) -> Result<()> {
    write_file(path, |out| {
        let mut writer =
            npyz::WriteOptions::new().default_dtype().shape(&[labels.len() as u64]).writer(out).begin_nd()?;
        writer.extend(labels)?;
        writer.finish()
    })
}

fn read<T>(path: &Path, collect: impl FnOnce(&Array<'_>) -> Result<Vec<T>>) -> Result<(Vec<usize>, Vec<T>)> {
    let bytes = read_bytes(path)?;
    let within = |e: Error| e.within(format_args!("'{}'", path.display()));
    let array = Array::parse(&bytes).map_err(within)?;
    let values = collect(&array).map_err(within)?;
    Ok((array.shape, values))
}

/// An array in the bytes of its file.
struct Array<'a> {
    shape: Vec<usize>,
    /// Elements from one index to the next, per axis.
    strides: Vec<usize>,
    kind: TypeChar,
    width: usize,
    decode: Decode,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn parse(mut bytes: &'a [u8]) -> Result<Self> {
        check_header(bytes)?;
        let header =
            NpyHeader::from_reader(&mut bytes).map_err(|e| Error::format(format!("not a valid npy file: {e}")))?;
        let unknown = || {
            let what = header.dtype().descr();
            let message = format!("the array holds {what}; only plain integers and floats of up to 64 bits are read");
            Error::new(ErrorKind::Unsupported, message)
        };
        let DType::Plain(dtype) = header.dtype() else { return Err(unknown()) };
        let (kind, width) = (dtype.type_char(), dtype.size_field() as usize);
        let decode = decoder(kind, width, dtype.endianness() == Endianness::Big).ok_or_else(unknown)?;
        let shape: Vec<usize> = header.shape().iter().map(|&n| n as usize).collect();
        let size = shape.iter().try_fold(width, |size, &n| size.checked_mul(n));
        let Some(bytes) = size.and_then(|size| bytes.get(..size)) else {
            let message =
                format!("the npy file is cut short: shape {shape:?} of {width} bytes each, {} bytes left", bytes.len());
            return Err(Error::format(message));
        };
        let mut strides = vec![1; shape.len()];
        if header.order() == Order::Fortran {
            (1..shape.len()).for_each(|i| strides[i] = strides[i - 1] * shape[i - 1]);
        } else {
            (1..shape.len()).rev().for_each(|i| strides[i - 1] = strides[i] * shape[i]);
        }
        Ok(Self { shape, strides, kind, width, decode, bytes })
    }

    fn len(&self) -> usize {
        self.bytes.len() / self.width
    }

    fn offset(&self, index: &[usize]) -> usize {
        index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum()
    }

    fn value(&self, offset: usize) -> f64 {
        (self.decode)(&self.bytes[offset * self.width..][..self.width])
    }

    /// All values in C order through `convert`, whose `None` is an error.
    fn collect<T>(&self, what: &str, convert: impl Fn(f64) -> Option<T>) -> Result<Vec<T>> {
        let mut values = with_capacity(self.len(), "the array")?;
        let mut index = vec![0; self.shape.len()];
        for _ in 0..self.len() {
            let value = self.value(self.offset(&index));
            let message = || format!("the value {value} at {index:?} does not fit {what}");
            values.push(convert(value).ok_or_else(|| Error::format(message()))?);
            for (i, &n) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < n {
                    break;
                }
                *i = 0;
            }
        }
        Ok(values)
    }
}

/// Reads one element.
type Decode = fn(&[u8]) -> f64;

/// How elements of a type are read. FP64 holds all but whole numbers beyond 2^53, which only clouds accept.
fn decoder(kind: TypeChar, width: usize, big: bool) -> Option<Decode> {
    macro_rules! number {
        ($type:ty, $widen:expr) => {
            if big {
                |bytes| bytes.try_into().map_or(f64::NAN, |bytes| $widen(<$type>::from_be_bytes(bytes)))
            } else {
                |bytes| bytes.try_into().map_or(f64::NAN, |bytes| $widen(<$type>::from_le_bytes(bytes)))
            }
        };
    }
    let decode: Decode = match (kind, width) {
        (TypeChar::Float, 2) => number!(f16, f16::to_f64),
        (TypeChar::Float, 4) => number!(f32, f64::from),
        (TypeChar::Float, 8) => number!(f64, f64::from),
        (TypeChar::Int, 1) => number!(i8, f64::from),
        (TypeChar::Int, 2) => number!(i16, f64::from),
        (TypeChar::Int, 4) => number!(i32, f64::from),
        (TypeChar::Int, 8) => number!(i64, |v| v as f64),
        (TypeChar::Uint | TypeChar::Bool, 1) => number!(u8, f64::from),
        (TypeChar::Uint, 2) => number!(u16, f64::from),
        (TypeChar::Uint, 4) => number!(u32, f64::from),
        (TypeChar::Uint, 8) => number!(u64, |v| v as f64),
        _ => return None,
    };
    Some(decode)
}

/// Refuses headers that the parser would read at the cost of an overflow, a deep recursion or a huge allocation.
fn check_header(bytes: &[u8]) -> Result<()> {
    let length = match *bytes {
        [_, _, _, _, _, _, 1, _, a, b, ..] => Some((10, usize::from(u16::from_le_bytes([a, b])))),
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] => Some((12, u32::from_le_bytes([a, b, c, d]) as usize)),
        _ => None,
    };
    let text = length.and_then(|(start, length)| bytes[start..].get(..length));
    let text = text.ok_or_else(|| Error::format("the npy file ends within its header"))?;
    // A plain array's header is one dictionary with one tuple.
    let count = |bracket| text.iter().filter(|&&b| b == bracket).count();
    if text.len() > 4096 || [count(b'{'), count(b'('), count(b'[')] != [1, 1, 0] {
        let message = "the npy file's header is not that of a plain array; structured arrays are not read";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let shape = text.split(|&b| b == b'(').nth(1).and_then(|rest| rest.split(|&b| b == b')').next());
    let shape = shape.unwrap_or_default();
    if !shape.iter().all(|b| b"0123456789, ".contains(b)) {
        return Err(Error::format("the shape in the npy file's header is not a list of numbers"));
    }
    // The parser multiplies the axes, and a product has no more digits than its factors together.
    if shape.iter().filter(|b| b.is_ascii_digit()).count() > 18 {
        return Err(Error::format("the shape in the npy file's header is impossibly large"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::mutate;
    use super::*;

    fn file(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let order = if fortran { "True" } else { "False" };
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
        while (10 + text.len() + 1) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes(), data].concat()
    }

    fn read_f32(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_npy_f32(file.path())
    }

    fn read_i32(bytes: &[u8]) -> Result<Vec<i32>> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read_npy_i32(file.path()).map(|(_, values)| values)
    }

    #[test]
    fn every_type_and_byte_order() {
        macro_rules! check {
            ($($descr:literal $type:ty),*) => {$(
                let values = [1 as $type, 100 as $type, 0 as $type];
                for (sign, bytes) in [
                    ("<", values.map(|v| v.to_le_bytes()).concat()),
                    (">", values.map(|v| v.to_be_bytes()).concat()),
                ] {
                    let file = file(&format!("{sign}{}", $descr), false, "(3, 1)", &bytes);
                    assert_eq!(read_f32(&file).unwrap(), (vec![3, 1], vec![1.0, 100.0, 0.0]), $descr);
                    assert_eq!(read_i32(&file).unwrap(), [1, 100, 0], $descr);
                }
            )*};
        }
        check!("f4" f32, "f8" f64, "i2" i16, "i4" i32, "i8" i64, "u2" u16, "u4" u32, "u8" u64);
        let half = [1.5, -2.0].map(|v| f16::from_f32(v).to_le_bytes()).concat();
        assert_eq!(read_f32(&file("<f2", false, "(2,)", &half)).unwrap(), (vec![2], vec![1.5, -2.0]));
        assert_eq!(read_i32(&file("|u1", false, "(2,)", &[7, 255])).unwrap(), [7, 255]);
        assert_eq!(read_i32(&file("|b1", false, "(2,)", &[1, 0])).unwrap(), [1, 0]);
        assert_eq!(read_i32(&file("|i1", false, "()", &[255])).unwrap(), [-1]);
        assert_eq!(read_f32(&file("<f4", false, "(0, 3)", &[])).unwrap(), (vec![0, 3], vec![]));
    }

    #[test]
    fn values_that_do_not_fit_are_refused() {
        let double = |v: f64| file("<f8", false, "(1,)", &v.to_le_bytes());
        assert!(read_i32(&double(0.5)).unwrap_err().to_string().contains("0.5 at [0]"));
        assert!(read_i32(&double(f64::NAN)).is_err() && read_i32(&double(3e9)).is_err());
        assert!(read_f32(&double(1e300)).is_err());
        assert_eq!(read_f32(&double(f64::INFINITY)).unwrap().1, [f32::INFINITY]);
        let long = |v: i64| file("<i8", false, "(1,)", &v.to_le_bytes());
        assert!(read_i32(&long(1 << 31)).is_err() && read_f32(&long((1 << 24) + 1)).is_err());
        assert_eq!(read_i32(&long(-(1 << 31))).unwrap(), [i32::MIN]);
    }

    #[test]
    fn fortran_order_is_turned() {
        assert_eq!(read_i32(&file("|u1", true, "(2, 3)", &[1, 2, 3, 4, 5, 6])).unwrap(), [1, 3, 5, 2, 4, 6]);
        let cloud = parse_cloud(&file("|u1", true, "(2, 3)", &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(cloud.positions, [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]]);
    }

    #[test]
    fn clouds_with_and_without_colors() {
        let cloud = |columns: usize, values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            parse_cloud(&file("<f4", false, &format!("({}, {columns})", values.len() / columns), &bytes))
        };
        let colored = cloud(6, &[0.5, 1.0, 2.0, 0.0, 128.0, 255.0]).unwrap();
        assert_eq!(colored.positions, [[0.5, 1.0, 2.0]]);
        assert_eq!(colored.colors.unwrap(), [[0, 128, 255]]);
        let wider = cloud(7, &[0.5, 1.0, 2.0, 9.0, 8.0, 7.0, -0.5]).unwrap();
        assert_eq!((wider.positions[0], wider.colors.unwrap()[0]), ([0.5, 1.0, 2.0], [9, 8, 7]));
        assert!(cloud(6, &[0.5, 1.0, 2.0, 0.0, 0.6, 0.8]).unwrap().colors.is_none());
        assert_eq!(cloud(4, &[1.0, 2.0, 3.0, 9.0, 4.0, 5.0, 6.0, 9.0]).unwrap().positions[1], [4.0, 5.0, 6.0]);
        assert!(cloud(2, &[1.0, 2.0]).err().unwrap().to_string().contains("[1, 2]"));
    }

    #[test]
    fn coordinates_are_whole_numbers() {
        let npy = tempfile::NamedTempFile::new().unwrap();
        let read = |bytes: &[u8]| {
            std::fs::write(npy.path(), bytes).unwrap();
            read_npy_coordinates(npy.path())
        };
        let short: Vec<u8> = [-3_i16, 4, 5, 6, 7, 8].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(read(&file("<i2", false, "(2, 3)", &short)).unwrap().unwrap(), [[0, -3, 4, 5], [0, 6, 7, 8]]);
        let rows = read(&file("<i2", false, "(1, 4)", &short[4..])).unwrap().unwrap();
        assert_eq!(rows, [[5, 6, 7, 8]]);
        assert!(read(&file("<i2", false, "(3, 2)", &short)).unwrap_err().to_string().contains("[3, 2]"));
        assert!(read(&file("<f4", false, "(1, 3)", &[0; 12])).unwrap().is_none() && read(b"ply").unwrap().is_none());
    }

    #[test]
    fn labels_come_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for labels in [&[][..], &[3, -1, i32::MAX]] {
            write_npy_labels(file.path(), labels).unwrap();
            assert_eq!(read_npy_i32(file.path()).unwrap(), (vec![labels.len()], labels.to_vec()));
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let whole = file("<f4", false, "(2, 6)", &[0; 48]);
        let read = |bytes: &[u8]| parse_cloud(bytes).map(|_| ());
        for at in 0..whole.len() {
            assert!(read(&whole[..at]).is_err(), "{at}");
            for mask in [1, 2, 4, 8, 16, 32, 64, 128, 0x55, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= mask;
                let _ = read(&damaged);
            }
        }
        mutate(&whole, 50_000, |bytes| drop(read(&bytes)));
    }

    #[test]
    fn headers_that_would_overflow_or_exhaust_the_parser_are_errors() {
        for shape in [
            "(4294967296, 4294967296, 0)",
            "(0xffffffffffffffff, 0xffffffffffffffff)",
            "(4_294_967_296, 4_294_967_296)",
            "[4294967296, 4294967296]",
            "(999999999999999, 3)",
            "(99999999999, 9999999)",
            "(-1, 3)",
            "(1, 3",
            "3",
            &"(".repeat(3000),
            &"[".repeat(3000),
            &"{".repeat(3000),
            &"-".repeat(3000),
        ] {
            for fortran in [false, true] {
                assert!(parse_cloud(&file("<f4", fortran, shape, &[0; 64])).is_err(), "{shape}");
            }
        }
        for descr in ["<c8", "|O", "<U3", "<f16", "<f99999999999999999999", "<M8[ns]"] {
            assert!(parse_cloud(&file(descr, false, "(1, 3)", &[0; 64])).is_err(), "{descr}");
        }
        let long = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes(), b"{'descr'"].concat();
        assert!(parse_cloud(&long).err().unwrap().to_string().contains("within its header"));
    }
}
