//! PTX's fundamental types and the C++ types that carry them.

/// A fundamental type, as it stands at the end of an opcode or in a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Pred,
    B(u8),
    U(u8),
    S(u8),
    F16,
    F16x2,
    BF16,
    BF16x2,
    F32,
    F64,
}

use Type::*;

impl Type {
    /// Parses `u32`, without its dot.
    pub fn parse(word: &str) -> Option<Type> {
        Some(match word {
            "pred" => Pred,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => BF16,
            "bf16x2" => BF16x2,
            "f32" => F32,
            "f64" => F64,
            _ => {
                let make = match word.chars().next()? {
                    'b' => B,
                    'u' => U,
                    's' => S,
                    _ => return None,
                };
                match &word[1..] {
                    "8" => make(1),
                    "16" => make(2),
                    "32" => make(4),
                    "64" => make(8),
                    _ => return None,
                }
            }
        })
    }

    /// In bytes; a predicate counts as one.
    pub fn size(self) -> u8 {
        match self {
            Pred => 1,
            B(n) | U(n) | S(n) => n,
            F16 | BF16 => 2,
            F16x2 | BF16x2 | F32 => 4,
            F64 => 8,
        }
    }

    /// The C++ type of a value of this type; halves travel as their bits.
    pub fn c(self) -> &'static str {
        match self {
            Pred => "bool",
            F32 => "float",
            F64 => "double",
            S(1) => "int8_t",
            S(2) => "int16_t",
            S(4) => "int32_t",
            S(_) => "int64_t",
            _ => match self.size() {
                1 => "uint8_t",
                2 => "uint16_t",
                4 => "uint32_t",
                _ => "uint64_t",
            },
        }
    }

    /// `float` and `double`: what C++ computes with itself.
    pub fn is_native_float(self) -> bool {
        matches!(self, F32 | F64)
    }

    /// Half precision in either format, alone or in pairs.
    pub fn is_half(self) -> bool {
        matches!(self, F16 | F16x2 | BF16 | BF16x2)
    }

    pub fn is_float(self) -> bool {
        self.is_native_float() || self.is_half()
    }

    pub fn is_pair(self) -> bool {
        matches!(self, F16x2 | BF16x2)
    }

    pub fn is_signed(self) -> bool {
        matches!(self, S(_))
    }

    /// The unsigned integer of the same size: C++ arithmetic that wraps.
    pub fn unsigned(self) -> Type {
        U(self.size())
    }

    /// Twice as wide with the same sign: what `mul.wide` produces.
    pub fn wide(self) -> Type {
        match self {
            S(n) => S(2 * n),
            _ => U(2 * self.size()),
        }
    }
}
