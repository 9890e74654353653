//! PTX text to tokens.

/// A word (identifier, opcode, directive or number), a string or one character.
#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    Word(String),
    Text,
    Sign(char),
}

/// Tokens with the lines they stand on, counted from 1.
pub fn tokens(source: &str) -> Result<Vec<(Token, u32)>, String> {
    let bytes = source.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'%' | b'.');
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest[0] == b'\n' {
            line += 1;
            at += 1;
        } else if rest[0].is_ascii_whitespace() || rest[0] == 0 {
            at += 1;
        } else if rest.starts_with(b"//") {
            at += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let end = source[at..].find("*/").ok_or(format!("line {line}: comment without an end"))? + 2;
            line += source[at..at + end].matches('\n').count() as u32;
            at += end;
        } else if rest[0] == b'"' {
            let end = source[at + 1..].find('"').ok_or(format!("line {line}: string without an end"))? + 2;
            found.push((Token::Text, line));
            at += end;
        } else if is_word(rest[0]) {
            let start = at;
            // `shared::cta` is one word; the colon after a label is none.
            while at < bytes.len()
                && (is_word(bytes[at])
                    || (bytes[at..].starts_with(b"::") && is_word(*bytes.get(at + 2).unwrap_or(&b' '))))
            {
                at += if bytes[at] == b':' { 2 } else { 1 };
            }
            let word = &source[start..at];
            match word.strip_prefix('.') {
                // Directives may stand without space between them: `.reg.b32`.
                Some(rest) => found.extend(rest.split('.').map(|part| (Token::Word(format!(".{part}")), line))),
                None => found.push((Token::Word(word.to_owned()), line)),
            }
        } else if rest[0].is_ascii() {
            found.push((Token::Sign(rest[0] as char), line));
            at += 1;
        } else {
            return Err(format!("line {line}: a character that PTX has no use for"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_dots_and_double_colons() {
        let found = tokens("$L:\n ld.shared::cta.u32 %r1, [x+-4]; // end\n/* a\n */ .reg.b32").unwrap();
        let text: Vec<String> = found
            .iter()
            .map(|(t, line)| match t {
                Token::Word(w) => format!("{line}:{w}"),
                Token::Sign(c) => format!("{line}:{c}"),
                Token::Text => "\"".into(),
            })
            .collect();
        let wanted = "1:$L 1:: 2:ld.shared::cta.u32 2:%r1 2:, 2:[ 2:x 2:+ 2:- 2:4 2:] 2:; 4:.reg 4:.b32";
        assert_eq!(text.join(" "), wanted);
    }
}
