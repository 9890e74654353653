//! What CLIP does to a text before it is cut into tokens: entities of HTML, white space at the ends, lower case.
//!
//! As OpenAI's `simple_tokenizer.py`, but for the repair of wrongly decoded texts by `ftfy` (mojibake such as `Ã©`,
//! curled quotes, ligatures, full-width letters): words typed by a person or a program do not need it.

use std::borrow::Cow;

/// Most characters of an entity's name, as Python's `html.unescape` takes them.
const LONGEST_NAME: usize = 32;

/// `text` as CLIP's tokeniser sees it. White space within stays as it is: tokens never contain any.
pub(super) fn clean(text: &str) -> String {
    let text = unescape(text);
    let text = unescape(&text);
    text.trim_matches(is_space).to_lowercase()
}

/// Python's `str.isspace`.
fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1C}'..='\u{1F}').contains(&character)
}

/// Python's `html.unescape`: HTML 5's entities, also those that lack their semicolon.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = numeric(rest, &mut plain).or_else(|| named(rest, &mut plain)).unwrap_or_else(|| {
            plain.push('&');
            1
        });
        rest = &rest[length..];
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Appends what a numeric reference at the start of `text` stands for; returns the bytes it takes.
fn numeric(text: &str, plain: &mut String) -> Option<usize> {
    let digits = text.strip_prefix("&#")?;
    let (digits, radix, before) = match digits.strip_prefix(['x', 'X']) {
        Some(hexadecimal) => (hexadecimal, 16, 3),
        None => (digits, 10, 2),
    };
    let count = digits.bytes().take_while(|byte| (*byte as char).is_digit(radix)).count();
    if count == 0 {
        return None;
    }
    let number = digits[..count].bytes().fold(0_u32, |number, digit| {
        number.saturating_mul(radix).saturating_add((digit as char).to_digit(radix).unwrap_or(0))
    });
    let replaced = match number {
        // HTML's own rules for these: NUL, carriage return, Windows-1252, surrogates, numbers past Unicode's end.
        0 | 0x0D | 0x80..=0x9F | 0xD800..=0xDFFF | 0x11_0000.. => {
            htmlize::unescape(format!("&#{number};")).into_owned()
        }
        0x01..=0x08 | 0x0B | 0x0E..=0x1F | 0x7F | 0xFDD0..=0xFDEF => String::new(),
        _ if number & 0xFFFE == 0xFFFE => String::new(),
        _ => char::from_u32(number).map(String::from).unwrap_or_default(),
    };
    plain.push_str(&replaced);
    Some(before + count + usize::from(digits[count..].starts_with(';')))
}

/// The same for a named entity: the longest name that the text begins with.
fn named(text: &str, plain: &mut String) -> Option<usize> {
    let stops = |character: char| matches!(character, '\t' | '\n' | '\u{C}' | ' ' | '<' | '&' | '#' | ';');
    let name = text[1..].char_indices().take(LONGEST_NAME).take_while(|(_, character)| !stops(*character));
    let end = 1 + name.last().map(|(at, character)| at + character.len_utf8())?;
    let entity = |length: usize| htmlize::ENTITIES.get(&text.as_bytes()[..length]).copied();
    let whole = end + usize::from(text[end..].starts_with(';'));
    // Python tries prefixes of two characters and more.
    let lengths = std::iter::once(whole).chain((3..whole).rev());
    let (length, expansion) = lengths.filter_map(|length| Some((length, entity(length)?))).next()?;
    plain.push_str(std::str::from_utf8(expansion).ok()?);
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_as_html_5_has_them() {
        for (text, want) in [
            ("&amp;lt;", "<"),
            ("&notit; &notin;", "¬it; ∉"),
            ("&#65;&#x42;&#X43 &#99", "abc c"),
            ("&#0;&#128;&#x110000;&#xD800;", "\u{FFFD}€\u{FFFD}\u{FFFD}"),
            ("a&#1;b&#xFFFF;c&#99999999999999;", "abc\u{FFFD}"),
            ("&; & &# &#x &nosuch; &é;", "&; & &# &#x &nosuch; &é;"),
            ("\u{1C} A\u{A0}\u{3000}", "a"),
            ("ΟΔΟΣ", "οδος"),
        ] {
            assert_eq!(clean(text), want, "{text}");
        }
    }
}
