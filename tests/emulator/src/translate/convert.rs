//! `cvt` between integers, floats and halves.

use super::Result;
use super::arithmetic::rounding;
use super::function::Writer;
use crate::ast::Instruction;
use crate::types::Type;

impl Writer<'_> {
    pub fn convert(&mut self, i: &Instruction) -> Result<Option<String>> {
        if i.op[0] != "cvt" {
            return Ok(None);
        }
        if i.has("tf32") {
            let x = self.read(&i.args[1], Type::F32)?;
            return self.write(&i.args[0], &format!("to_tf32({x})"), Type::U(4)).map(Some);
        }
        let types = i.types();
        let &[to, from] = types.as_slice() else { return Err("not translated".into()) };
        if i.has("pack") || (to.is_pair() && from != Type::F32) {
            return Err("not translated".into());
        }
        if to.is_pair() {
            // The first source is the upper half.
            let half = if to == Type::F16x2 { Type::F16 } else { Type::BF16 };
            let (high, low) = (self.read(&i.args[1], from)?, self.read(&i.args[2], from)?);
            let (high, low) = (float_to_half(i, &high, half), float_to_half(i, &low, half));
            let value = format!("static_cast<uint32_t>({low}) | static_cast<uint32_t>({high}) << 16");
            return self.write(&i.args[0], &value, Type::U(4)).map(Some);
        }
        let mut x = self.read(&i.args[1], from)?;
        if i.has("ftz") && from == Type::F32 {
            x = format!("ftz({x})");
        }
        let value = match (to.is_float(), from.is_float()) {
            (false, false) if i.has("sat") => format!("clamped<{}>({x})", to.c()),
            (false, false) => format!("static_cast<{}>({x})", to.c()),
            (false, true) => {
                let rounded = integral(i, &wide(&x, from)).ok_or("a conversion without rounding")?;
                format!("to_integer<{}>({rounded})", to.c())
            }
            (true, false) => integer_to_float(i, &x, to),
            (true, true) => float_to_float(i, &x, to, from),
        };
        self.write(&i.args[0], &value, to).map(Some)
    }
}

/// A float or half as what the host computes with.
fn wide(x: &str, from: Type) -> String {
    match from {
        Type::F16 => format!("from_f16({x})"),
        Type::BF16 => format!("from_bf16({x})"),
        _ => x.into(),
    }
}

/// `.rni` and its sisters: rounded to an integer in the same format.
fn integral(i: &Instruction, x: &str) -> Option<String> {
    let modes = [("rni", "round_even"), ("rzi", "std::trunc"), ("rmi", "std::floor"), ("rpi", "std::ceil")];
    modes.into_iter().find(|(m, _)| i.has(m)).map(|(_, function)| format!("{function}({x})"))
}

fn float_to_half(i: &Instruction, x: &str, half: Type) -> String {
    let name = if half == Type::F16 { "f16" } else { "bf16" };
    let value = match rounding(i) {
        None => format!("to_{name}({x})"),
        Some(mode) => format!("to_{name}_rounded<{mode}>({x})"),
    };
    let class = name.to_uppercase();
    let value = format!("half_canonical<{class}>({value})");
    let value = if i.has("relu") { format!("half_relu<{class}>({value})") } else { value };
    if i.has("sat") { format!("half_saturate<{class}>({value})") } else { value }
}

fn integer_to_float(i: &Instruction, x: &str, to: Type) -> String {
    let c = to.c();
    match (to, rounding(i)) {
        (Type::F32 | Type::F64, None) => format!("static_cast<{c}>({x})"),
        (Type::F32 | Type::F64, Some(mode)) => {
            format!("rounded<{mode}>([](auto v) {{ return static_cast<{c}>(v); }}, {x})")
        }
        (Type::F16, Some(mode)) => format!("to_f16_rounded<{mode}>(static_cast<double>({x}))"),
        (Type::F16, None) => format!("to_f16(narrowed(static_cast<double>({x})))"),
        _ => format!("to_bf16(narrowed(static_cast<double>({x})))"),
    }
}

fn float_to_float(i: &Instruction, x: &str, to: Type, from: Type) -> String {
    let mut x = wide(x, from);
    if let Some(whole) = integral(i, &x) {
        x = whole;
    }
    if to.is_half() {
        return match (from, rounding(i)) {
            (Type::F64, None) => float_to_half(i, &format!("narrowed({x})"), to),
            _ => float_to_half(i, &x, to),
        };
    }
    let c = to.c();
    let narrows = from == Type::F64 && to == Type::F32;
    let value = match rounding(i) {
        Some(mode) if narrows => format!("rounded<{mode}>([](double v) {{ return static_cast<float>(v); }}, {x})"),
        _ => format!("static_cast<{c}>({x})"),
    };
    let value = if i.has("ftz") && to == Type::F32 { format!("ftz<float>({value})") } else { value };
    if i.has("sat") { format!("saturate<{c}>({value})") } else { value }
}
