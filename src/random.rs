//! Reproducible pseudo-random numbers: Steele, Lea and Flood's SplitMix64 (OOPSLA 2014), the same on every machine.

/// A generator whose numbers depend on its seed alone.
#[derive(Debug, Clone)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform between `low` and `high`.
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// A damaged copy of a file, for the tests of what reads such files: cut, bits flipped, bytes set, parts doubled.
    pub fn damaged(&mut self, file: &[u8]) -> Vec<u8> {
        let mut damaged = file.to_vec();
        let mut below = |limit: usize| (self.bits() % limit.max(1) as u64) as usize;
        for _ in 0..1 + below(4) {
            let at = below(damaged.len());
            match below(6) {
                0 => damaged.truncate(at),
                1 | 2 if at < damaged.len() => damaged[at] ^= 1 << below(8),
                3 if at < damaged.len() => damaged[at] = [0, 0xFF, 0x7F, 0x80][below(4)],
                4 => {
                    let end = damaged.len().min(at + below(16));
                    let part = damaged[at..end].to_vec();
                    damaged.splice(at..at, part);
                }
                _ => {
                    let end = damaged.len().min(at + 8);
                    damaged[at..end].fill(0xFF);
                }
            }
        }
        damaged
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_sequence() {
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!(random.bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.bits(), 3_203_168_211_198_807_973);
        assert!((0..1000).map(|_| random.range(-2.0, 3.0)).all(|v| (-2.0..3.0).contains(&v)));
    }
}
