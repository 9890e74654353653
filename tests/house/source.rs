//! Rust source as a list of code tokens and a list of comments: enough to read rules off it.

/// A word, a number or one punctuation character outside comments and literals; literals are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// The comments that start on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    pub text: String,
    pub line: usize,
}

#[derive(Debug, Default)]
pub struct Source {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Source {
    pub fn parse(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let mut source = Self::default();
        let (mut at, mut line) = (0, 1);
        while at < chars.len() {
            let end = source.item(&chars, at, line);
            line += chars[at..end].iter().filter(|&&c| c == '\n').count();
            at = end;
        }
        source
    }

    /// Reads what starts at `at`, records it, and returns where it ends.
    fn item(&mut self, chars: &[char], at: usize, line: usize) -> usize {
        let rest = &chars[at..];
        let text = |end: usize| chars[at..end].iter().collect::<String>();
        let end = match rest {
            ['/', '/', ..] => at + rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => at + block_comment(rest),
            ['"', ..] => return at + quoted(rest, '"'),
            ['\'', ..] => return at + tick(rest),
            [c, ..] if is_word(*c) => return self.word(chars, at, line),
            [c, ..] => {
                if !c.is_whitespace() {
                    self.tokens.push(Token { text: c.to_string(), line });
                }
                return at + 1;
            }
            [] => return at,
        };
        self.comments.push(Comment { text: text(end), line });
        end
    }

    fn word(&mut self, chars: &[char], at: usize, line: usize) -> usize {
        let end = at + chars[at..].iter().position(|&c| !is_word(c)).unwrap_or(chars.len() - at);
        let text: String = chars[at..end].iter().collect();
        let hashes = chars[end..].iter().take_while(|&&c| c == '#').count();
        let opens = chars.get(end + hashes) == Some(&'"');
        match text.as_str() {
            "r" | "br" | "cr" if opens => return raw_string_end(chars, end + hashes + 1, hashes),
            "b" | "c" if opens && hashes == 0 => return end + quoted(&chars[end..], '"'),
            "b" if chars.get(end) == Some(&'\'') => return end + quoted(&chars[end..], '\''),
            "r" if hashes == 1 => return self.word(chars, end + 1, line),
            _ => self.tokens.push(Token { text, line }),
        }
        end
    }

    /// The texts of `tokens[at..]`, as many as there are up to `N`, then empty ones.
    pub fn texts<const N: usize>(&self, at: usize) -> [&str; N] {
        std::array::from_fn(|i| self.tokens.get(at + i).map_or("", |t| t.text.as_str()))
    }
}

/// The length of a block comment, which may hold others.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a literal in `quote`s, escapes honoured.
fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of what a tick starts: a character, or only the tick of a lifetime.
fn tick(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted(rest, '\''),
        _ => 1,
    }
}

fn raw_string_end(chars: &[char], body: usize, hashes: usize) -> usize {
    let closes = |at: &usize| chars[*at] == '"' && chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    (body..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes)
}
