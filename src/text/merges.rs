//! CLIP's byte-pair encoding (Sennrich, Haddow, Birch 2016; MIT licence in `merges.LICENSE`).
//!
//! Token 0..256 is a byte within a word, 256..512 a byte that ends one, and 512 + i the i-th merge of two tokens.
//! `merges.bin` holds those pairs in order of rank, two little-endian 16-bit numbers each: all that the 1.3 MB of
//! `bpe_simple_vocab_16e6.txt.gz` say of them.

use crate::error::{Error, ErrorKind, Result};
use std::collections::HashMap;

const PAIRS: &[u8; 195_576] = include_bytes!("merges.bin");

/// The first merge's token.
const FIRST_MERGE: u16 = 512;

/// What pairs of tokens become.
#[derive(Debug)]
pub(super) struct Merges {
    /// The merged token; the smaller one is merged first.
    merged: HashMap<(u16, u16), u16>,
}

impl Merges {
    pub(super) fn new() -> Result<Self> {
        let mut merged = HashMap::new();
        let full = |_| Error::new(ErrorKind::OutOfMemory, "no memory for the tokeniser's merges; free some");
        merged.try_reserve(PAIRS.len() / 4).map_err(full)?;
        let number = |bytes: [u8; 2]| u16::from_le_bytes(bytes);
        let pairs = PAIRS.as_chunks::<4>().0.iter().map(|&[a, b, c, d]| (number([a, b]), number([c, d])));
        merged.extend(pairs.zip(FIRST_MERGE..));
        Ok(Self { merged })
    }

    /// Appends the tokens of `word`, which is not empty.
    pub(super) fn encode(&self, word: &str, tokens: &mut Vec<u32>) {
        let mut parts: Vec<u16> = word.bytes().map(byte_token).collect();
        if let Some(last) = parts.last_mut() {
            *last += 256;
        }
        while let Some(best) = parts.windows(2).filter_map(|pair| self.merged.get(&(pair[0], pair[1]))).min().copied() {
            self.merge(best, &mut parts);
        }
        tokens.extend(parts.into_iter().map(u32::from));
    }

    /// Replaces the pairs that become `token`, from the left.
    fn merge(&self, token: u16, parts: &mut Vec<u16>) {
        let (mut read, mut write) = (0, 0);
        while read < parts.len() {
            let pair = parts.get(read + 1).map(|&next| (parts[read], next));
            let merges = pair.is_some_and(|pair| self.merged.get(&pair) == Some(&token));
            parts[write] = if merges { token } else { parts[read] };
            read += if merges { 2 } else { 1 };
            write += 1;
        }
        parts.truncate(write);
    }
}

/// The token of a byte: the printable ones of Latin-1 first, then the others.
fn byte_token(byte: u8) -> u16 {
    let byte = u16::from(byte);
    match byte {
        0x21..=0x7E => byte - 0x21,
        0xA1..=0xAC => byte - 0xA1 + 94,
        0xAE..=0xFF => byte - 0xAE + 106,
        0x00..=0x20 => byte + 188,
        0x7F..=0xA0 => byte - 0x7F + 221,
        _ => 255,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_its_token() {
        let tokens: std::collections::BTreeSet<u16> = (0..=255).map(byte_token).collect();
        assert!(tokens.into_iter().eq(0..256));
        assert_eq!((byte_token(b'!'), byte_token(b'a'), byte_token(0xAD)), (0, 64, 255));
    }

    #[test]
    fn a_merge_joins_earlier_tokens() {
        let merges = Merges::new().unwrap();
        assert_eq!(merges.merged.len(), PAIRS.len() / 4, "no pair twice");
        assert!(merges.merged.iter().all(|(&(a, b), &token)| a < token && b < token));
    }
}
