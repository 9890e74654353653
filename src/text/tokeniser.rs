//! CLIP's tokeniser: texts to the numbers of OpenAI's `simple_tokenizer.py`, without its call of `ftfy`.

use super::clean::clean;
use super::merges::Merges;
use crate::error::{Error, Result};
use unicode_general_category::{GeneralCategory, get_general_category};

/// Most tokens of a sequence, start and end included.
pub const CONTEXT: usize = 77;
/// The token every sequence begins with.
pub const START_TOKEN: u32 = 49_406;
/// The token every sequence ends with; its row is the text's embedding.
pub const END_TOKEN: u32 = 49_407;

/// Most bytes of a text that becomes a sequence: more is an error, or left out where texts are truncated.
const LONGEST: usize = 1 << 13;

/// Number of tokens.
pub(super) const TOKENS: usize = 49_408;

const SPECIAL: [(&str, u32); 2] = [("<|startoftext|>", START_TOKEN), ("<|endoftext|>", END_TOKEN)];
const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// What happens to a text of more tokens than fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// It is an error.
    #[default]
    Refuse,
    /// Its last tokens are left out.
    Truncate,
}

/// CLIP's byte-pair encoding with its merges.
#[derive(Debug)]
pub struct Tokeniser {
    merges: Merges,
}

impl Tokeniser {
    /// The tokeniser.
    pub fn new() -> Result<Self> {
        Ok(Self { merges: Merges::new()? })
    }

    /// The tokens of `text`, without start and end; HTML's entities are resolved and letters made small first.
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        let text = clean(text);
        let mut tokens = Vec::new();
        let mut rest = text.as_str();
        while let Some(start) = rest.find(|character: char| !character.is_whitespace()) {
            rest = &rest[start..];
            let (word, after) = rest.split_at(word_length(rest));
            match SPECIAL.iter().find(|(name, _)| *name == word) {
                Some(&(_, token)) => tokens.push(token),
                None => self.merges.encode(word, &mut tokens),
            }
            rest = after;
        }
        tokens
    }

    /// The sequence that a text tower reads: start, tokens, end; at most `context` in all.
    pub fn sequence(&self, text: &str, context: usize, overflow: Overflow) -> Result<Vec<u32>> {
        let shown = || text.chars().take(40).collect::<String>();
        let text = match overflow {
            Overflow::Truncate => &text[..text.floor_char_boundary(LONGEST)],
            Overflow::Refuse => text,
        };
        if text.len() > LONGEST {
            let message = format!("the text '{}...' has {} bytes; at most {LONGEST} are read", shown(), text.len());
            return Err(Error::argument(message));
        }
        let mut tokens = self.tokens(text);
        let room = context.saturating_sub(2);
        if tokens.len() > room {
            if overflow == Overflow::Refuse {
                return Err(Error::argument(format!(
                    "the text '{}...' has {} tokens; at most {room} fit: shorten it or choose truncation",
                    shown(),
                    tokens.len()
                )));
            }
            tokens.truncate(room);
        }
        tokens.insert(0, START_TOKEN);
        tokens.push(END_TOKEN);
        Ok(tokens)
    }
}

/// Bytes of the word that `text`, which does not begin with white space, begins with: a special token, a contraction's
/// end, letters, one digit, or a run of anything else.
fn word_length(text: &str) -> usize {
    let fixed = SPECIAL.iter().map(|(name, _)| *name).chain(CONTRACTIONS);
    if let Some(length) = fixed.filter_map(|word| prefix_length(text, word)).next() {
        return length;
    }
    let kind = text.chars().next().map_or(Kind::Other, Kind::of);
    match kind {
        Kind::Digit => text.chars().next().map_or(0, char::len_utf8),
        _ => text.find(|character| Kind::of(character) != kind).unwrap_or(text.len()),
    }
}

/// Bytes of `word` at the beginning of `text`, letters of either case: after `clean` only `ſ` is still another `s`.
fn prefix_length(text: &str, word: &str) -> Option<usize> {
    let mut characters = text.chars();
    let equal = |wanted: char| characters.next().is_some_and(|found| found == wanted || (found, wanted) == ('ſ', 's'));
    word.chars().all(equal).then(|| text.len() - characters.as_str().len())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Letter,
    Digit,
    Space,
    Other,
}

impl Kind {
    fn of(character: char) -> Self {
        use GeneralCategory::*;
        if character.is_whitespace() {
            return Self::Space;
        }
        match get_general_category(character) {
            UppercaseLetter | LowercaseLetter | TitlecaseLetter | ModifierLetter | OtherLetter => Self::Letter,
            DecimalNumber | LetterNumber | OtherNumber => Self::Digit,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn sequences_have_room_for_start_and_end() {
        let tokeniser = Tokeniser::new().unwrap();
        assert_eq!(tokeniser.sequence("", 77, Overflow::Refuse).unwrap(), [START_TOKEN, END_TOKEN]);
        let long = "word ".repeat(75);
        assert_eq!(tokeniser.sequence(&long, 77, Overflow::Refuse).unwrap().len(), 77);
        let longer = "word ".repeat(76);
        let message = tokeniser.sequence(&longer, 77, Overflow::Refuse).unwrap_err().to_string();
        assert!(message.contains("76") && message.contains("75") && message.contains("word"), "{message}");
        let cut = tokeniser.sequence(&longer, 77, Overflow::Truncate).unwrap();
        assert_eq!((cut.len(), cut[76]), (77, END_TOKEN));
        assert_eq!(cut, tokeniser.sequence(&long, 77, Overflow::Refuse).unwrap());
        let message = tokeniser.sequence(&"a".repeat(9000), 77, Overflow::Refuse).unwrap_err().to_string();
        assert!(message.contains("9000") && message.contains("8192"), "{message}");
        // A character that lies across the last byte is left out whole.
        let wide = format!("a{}", "\u{e9}".repeat(9000));
        assert_eq!(tokeniser.sequence(&wide, 77, Overflow::Truncate).unwrap().len(), 77);
        assert_eq!(tokeniser.sequence(&"word ".repeat(9000), 77, Overflow::Truncate).unwrap(), cut);
    }

    #[test]
    fn any_text_has_tokens_that_the_tower_knows() {
        let tokeniser = Tokeniser::new().unwrap();
        let text = "A café &amp; l\u{2019}été's &#x41; 3D\t\u{1F600}<|endoftext|> \u{5B57} I'll naïve\u{301}";
        let mut random = SplitMix64::new(4);
        for _ in 0..20_000 {
            let text = String::from_utf8_lossy(&random.damaged(text.as_bytes())).into_owned();
            assert!(tokeniser.tokens(&text).iter().all(|token| (*token as usize) < TOKENS), "{text:?}");
        }
    }
}
