//! The literals of a pickle: numbers and strings in their binary and text forms.

use super::pickle::{Value, ValueId};
use super::quoted;
use crate::error::{Error, Result};
use std::str::FromStr;

/// A two's-complement integer of any length.
pub(super) fn little_endian<'a>(bytes: &[u8]) -> Value<'a> {
    let Some(&highest) = bytes.last() else { return Value::Int(0) };
    let mut wide = if highest >= 0x80 { [0xff; 16] } else { [0; 16] };
    match wide.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => return Value::HugeInt,
    }
    Value::Int(i128::from_le_bytes(wide))
}

/// A number written in text.
pub(super) fn parsed<T: FromStr>(digits: &[u8]) -> Result<T> {
    let text = utf8(digits)?;
    text.trim().parse().map_err(|_| Error::format(format!("{} is not a number; the file is damaged", quoted(text))))
}

/// A string of UTF-8.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::format("a string is not UTF-8; the file is damaged"))
}

/// A `str` of Python 2, which may be text or raw bytes.
pub(super) fn python2_string(bytes: &[u8]) -> Value<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::Str(text.into()),
        Err(_) => Value::Bytes(bytes),
    }
}

/// What a pair of equal quotes encloses.
pub(super) fn unquoted(line: &[u8]) -> Result<&[u8]> {
    match line {
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => Ok(inner),
        _ => Err(Error::format("a string is not in quotes; the file is damaged")),
    }
}

/// A string of protocol 0: of Latin-1 characters, with `\uhhhh` escapes if `unicode` and those of `repr` if not.
pub(super) fn unescaped(bytes: &[u8], unicode: bool) -> Result<String> {
    let mut text = String::new();
    let mut rest = bytes;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let escape = if byte == b'\\' { rest.first().copied() } else { None };
        let digits = match (escape, unicode) {
            (Some(b'u'), true) => 4,
            (Some(b'U'), true) => 8,
            (Some(b'x'), false) => 2,
            (Some(escape @ (b'n' | b'r' | b't' | b'\\' | b'\'' | b'"')), false) => {
                text.push(match escape {
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    other => char::from(other),
                });
                rest = rest.get(1..).unwrap_or_default();
                continue;
            }
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        let code = rest.get(1..=digits).and_then(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        text.push(code.and_then(char::from_u32).ok_or_else(|| Error::format("a string has a damaged escape"))?);
        rest = rest.get(1 + digits..).unwrap_or_default();
    }
    Ok(text)
}

/// Keys and values that alternate.
pub(super) fn pairs(items: &[ValueId]) -> Result<Vec<(ValueId, ValueId)>> {
    let (pairs, rest) = items.as_chunks();
    if !rest.is_empty() {
        return Err(Error::format("a dict has a key without a value; the file is damaged"));
    }
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_any_length() {
        assert_eq!(little_endian(&[]), Value::Int(0));
        assert_eq!(little_endian(&[0xff]), Value::Int(-1));
        assert_eq!(little_endian(&[0xff, 0]), Value::Int(255));
        assert_eq!(little_endian(&[0xff; 16]), Value::Int(-1));
        assert_eq!(little_endian(&[1; 17]), Value::HugeInt);
    }

    #[test]
    fn text_forms() {
        assert_eq!(parsed::<i128>(b"-12").unwrap(), -12);
        assert!(parsed::<u32>(b"-1").is_err());
        assert!(parsed::<i128>(b"").is_err());
        assert_eq!(unescaped(b"a\\x41\\n\\\\\\'", false).unwrap(), "aA\n\\'");
        assert_eq!(unescaped(b"\\u00e9\\n\xe9", true).unwrap(), "\u{e9}\\n\u{e9}");
        assert!(unescaped(b"\\u00", true).is_err());
        assert!(unescaped(b"\\x+1", false).is_ok_and(|text| text == "\u{1}"));
        assert_eq!(unquoted(b"'a'").unwrap(), b"a");
        assert!(unquoted(b"'").is_err());
    }
}
