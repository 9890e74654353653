//! Integer and float arithmetic, logic, comparison and selection.

use super::Result;
use super::function::Writer;
use crate::ast::{Instruction, Operand};
use crate::types::Type;

/// `.rm`, `.rp`, `.rz`; to nearest otherwise.
pub fn rounding(i: &Instruction) -> Option<&'static str> {
    [("rm", "RM"), ("rp", "RP"), ("rz", "RZ")].into_iter().find(|(m, _)| i.has(m)).map(|(_, name)| name)
}

impl Writer<'_> {
    pub fn arithmetic(&mut self, i: &Instruction) -> Result<Option<String>> {
        let op = i.op[0].as_str();
        if matches!(op, "setp" | "set") {
            return self.comparison(i).map(Some);
        }
        let Some(&ty) = i.types().last() else { return Ok(None) };
        if op == "mov" {
            return self.move_bits(i, ty).map(Some);
        }
        if matches!(op, "and" | "or" | "xor" | "not" | "cnot" | "selp" | "slct") {
            return self.logic(i, ty).map(Some);
        }
        if ty.is_native_float() {
            return self.float(i, ty);
        }
        if ty.is_half() || ty == Type::Pred { Ok(None) } else { self.integer(i, ty) }
    }

    /// `mov`, which also packs registers into one and takes one apart.
    fn move_bits(&mut self, i: &Instruction, ty: Type) -> Result<String> {
        let ty = if ty == Type::Pred { ty } else { ty.unsigned() };
        match (&i.args[0], &i.args[1]) {
            (Operand::Vector(parts), whole) => {
                let part = Type::U(ty.size() / parts.len() as u8);
                let mut code = format!("const {} v_ = {};", ty.c(), self.read(whole, ty)?);
                for (n, target) in parts.iter().enumerate().filter(|(_, target)| **target != Operand::Discard) {
                    let value = format!("static_cast<{}>(v_ >> {})", part.c(), 8 * n * usize::from(part.size()));
                    code = code + " " + &self.write(target, &value, part)?;
                }
                Ok(code)
            }
            (target, Operand::Vector(parts)) => {
                let part = Type::U(ty.size() / parts.len() as u8);
                let mut terms = Vec::new();
                for (n, source) in parts.iter().enumerate() {
                    let value = self.read(source, part)?;
                    terms.push(format!("static_cast<{}>({value}) << {}", ty.c(), 8 * n * usize::from(part.size())));
                }
                self.write(target, &terms.join(" | "), ty)
            }
            (target, source) => {
                let value = self.read(source, ty)?;
                self.write(target, &value, ty)
            }
        }
    }

    fn logic(&mut self, i: &Instruction, ty: Type) -> Result<String> {
        let a = match i.op[0].as_str() {
            "selp" => {
                let (x, y) = (self.read(&i.args[1], ty)?, self.read(&i.args[2], ty)?);
                let p = self.read(&i.args[3], Type::Pred)?;
                return self.write(&i.args[0], &format!("{p} ? {x} : {y}"), ty);
            }
            "slct" => {
                let of = i.types();
                let (result, by) = (of[0], of[1]);
                let (x, y) = (self.read(&i.args[1], result)?, self.read(&i.args[2], result)?);
                let c = self.read(&i.args[3], by)?;
                return self.write(&i.args[0], &format!("{c} >= 0 ? {x} : {y}"), result);
            }
            _ => self.sources(i, ty)?,
        };
        let value = match (i.op[0].as_str(), ty) {
            ("and", _) => format!("{} & {}", a[0], a[1]),
            ("or", _) => format!("{} | {}", a[0], a[1]),
            ("xor", _) => format!("{} ^ {}", a[0], a[1]),
            ("not", Type::Pred) => format!("!{}", a[0]),
            ("not", _) => format!("~{}", a[0]),
            _ => format!("{} == 0", a[0]),
        };
        self.write(&i.args[0], &value, ty)
    }

    fn float(&mut self, i: &Instruction, ty: Type) -> Result<Option<String>> {
        let op = i.op[0].as_str();
        let flush = i.has("ftz");
        let known = "add sub mul mad fma div rcp sqrt rsqrt ex2 lg2 sin cos tanh min max neg abs copysign testp";
        if !known.split(' ').any(|k| k == op) {
            return Ok(None);
        }
        let mut a = self.sources(i, ty)?;
        if flush {
            a.iter_mut().for_each(|x| *x = format!("ftz({x})"));
        }
        let c = ty.c();
        let one = format!("static_cast<{c}>(1)");
        let nan = if i.has("NaN") { "nan" } else { "ptx" };
        let formula = |x: &[String]| -> Option<String> {
            Some(match op {
                "add" => format!("{} + {}", x[0], x[1]),
                "sub" => format!("{} - {}", x[0], x[1]),
                "mul" => format!("{} * {}", x[0], x[1]),
                "mad" | "fma" => format!("std::fma({}, {}, {})", x[0], x[1], x[2]),
                "div" => format!("{} / {}", x[0], x[1]),
                "rcp" => format!("{one} / {}", x[0]),
                "sqrt" => format!("std::sqrt({})", x[0]),
                "rsqrt" => format!("{one} / std::sqrt({})", x[0]),
                "ex2" => format!("std::exp2({})", x[0]),
                "lg2" => format!("std::log2({})", x[0]),
                "sin" | "cos" | "tanh" => format!("std::{op}({})", x[0]),
                "min" | "max" => format!("f{op}_{nan}({}, {})", x[0], x[1]),
                "neg" => format!("-{}", x[0]),
                "abs" => format!("std::fabs({})", x[0]),
                "copysign" => format!("std::copysign({}, {})", x[1], x[0]),
                _ => return None,
            })
        };
        if op == "testp" {
            let test = match i.op[1].as_str() {
                "finite" => format!("std::isfinite({})", a[0]),
                "infinite" => format!("std::isinf({})", a[0]),
                "number" => format!("!std::isnan({})", a[0]),
                "notanumber" => format!("std::isnan({})", a[0]),
                "normal" => format!("testp_normal({})", a[0]),
                "subnormal" => format!("std::fpclassify({}) == FP_SUBNORMAL", a[0]),
                _ => return Err("not translated".into()),
            };
            return self.write(&i.args[0], &test, Type::Pred).map(Some);
        }
        if i.has("xorsign") {
            return Err("not translated".into());
        }
        let mut value = match rounding(i) {
            None => formula(&a).ok_or("not translated")?,
            Some(mode) => {
                let names: Vec<String> = (0..a.len()).map(|n| format!("x{n}")).collect();
                let parameters: Vec<String> = names.iter().map(|n| format!("{c} {n}")).collect();
                let body = formula(&names).ok_or("not translated")?;
                format!("rounded<{mode}>([]({}) {{ return {body}; }}, {})", parameters.join(", "), a.join(", "))
            }
        };
        if flush {
            value = format!("ftz<{c}>({value})");
        }
        if i.has("sat") {
            value = format!("saturate<{c}>({value})");
        }
        self.write(&i.args[0], &value, ty).map(Some)
    }

    fn integer(&mut self, i: &Instruction, ty: Type) -> Result<Option<String>> {
        let op = i.op[0].as_str();
        let (c, u) = (ty.c(), ty.unsigned());
        let args = &i.args;
        // What a shift counts and where a field lies are 32-bit numbers whatever the type.
        let word = Type::U(4);
        let value = match op {
            "add" | "sub" | "addc" | "subc" if i.has("cc") || op.ends_with('c') => {
                let x = self.sources(i, u)?;
                let carry_in = if op.ends_with('c') { "carry" } else { "false" };
                let name = if op.starts_with("add") { "add_carry" } else { "sub_borrow" };
                let out = if i.has("cc") { "carry" } else { "ignored" };
                let value = format!("{name}<{}>({}, {}, {carry_in}, {out})", u.c(), x[0], x[1]);
                let write = self.write(&args[0], &value, u)?;
                return Ok(Some(format!("[[maybe_unused]] bool ignored; {write}")));
            }
            "add" | "sub" if i.has("sat") => {
                let x = self.sources(i, ty)?;
                let sign = if op == "add" { '+' } else { '-' };
                format!("clamped<{c}>(static_cast<__int128>({}) {sign} {})", x[0], x[1])
            }
            "add" | "sub" => {
                let x = self.sources(i, u)?;
                let sign = if op == "add" { '+' } else { '-' };
                return self.write(&args[0], &format!("{} {sign} {}", x[0], x[1]), u).map(Some);
            }
            "mul" | "mad" | "madc" => return self.product(i, ty).map(Some),
            "mul24" | "mad24" => {
                let x = self.sources(i, ty)?;
                let shift = if i.has("hi") { " >> 16" } else { "" };
                let plus = if op == "mad24" { format!(" + {}", x[2]) } else { String::new() };
                format!("static_cast<{c}>(product24<{c}>({}, {}){shift}){plus}", x[0], x[1])
            }
            "div" | "rem" => {
                let x = self.sources(i, ty)?;
                format!("{op}<{c}>({}, {})", x[0], x[1])
            }
            "min" | "max" => {
                let x = self.sources(i, ty)?;
                format!("std::{op}<{c}>({}, {})", x[0], x[1])
            }
            "abs" => format!("abs_int<{c}>({})", self.read(&args[1], ty)?),
            "neg" => format!("0 - {}", self.read(&args[1], u)?),
            "sad" => {
                let x = self.sources(i, ty)?;
                format!("sad<{c}>({}, {}, {})", x[0], x[1], x[2])
            }
            "shl" | "shr" => {
                let (x, n) = (self.read(&args[1], ty)?, self.read(&args[2], word)?);
                format!("{op}<{c}>({x}, {n})")
            }
            "shf" => {
                let x = self.sources(i, word)?;
                format!("shf_{}_{}({}, {}, {})", i.op[1], i.op[2], x[0], x[1], x[2])
            }
            "lop3" => {
                let Operand::Int(table) = args[4] else { return Err("a table that is no number".into()) };
                let x: Vec<String> = args[1..4].iter().map(|a| self.read(a, word)).collect::<Result<_>>()?;
                format!("lop3<{}>({}, {}, {})", table & 255, x[0], x[1], x[2])
            }
            "prmt" if i.op.len() == 2 => {
                let x = self.sources(i, word)?;
                format!("prmt({}, {}, {})", x[0], x[1], x[2])
            }
            "bfe" => {
                let (x, p, n) = (self.read(&args[1], ty)?, self.read(&args[2], word)?, self.read(&args[3], word)?);
                format!("bfe<{c}>({x}, {p}, {n})")
            }
            "bfi" => {
                let (x, y) = (self.read(&args[1], u)?, self.read(&args[2], u)?);
                let (p, n) = (self.read(&args[3], word)?, self.read(&args[4], word)?);
                format!("bfi<{}>({x}, {y}, {p}, {n})", u.c())
            }
            "bmsk" => {
                let x = self.sources(i, word)?;
                format!("bmsk<uint32_t>({}, {}, {})", i.has("wrap"), x[0], x[1])
            }
            "popc" | "clz" => {
                let x = self.read(&args[1], u)?;
                return self.write(&args[0], &format!("{op}<{}>({x})", u.c()), word).map(Some);
            }
            "bfind" => {
                let x = self.read(&args[1], ty)?;
                return self.write(&args[0], &format!("bfind<{c}>({x}, {})", i.has("shiftamt")), word).map(Some);
            }
            "fns" => {
                let x = self.sources(i, word)?;
                format!("fns({}, {}, static_cast<int32_t>({}))", x[0], x[1], x[2])
            }
            "brev" => format!("brev<{}>({})", u.c(), self.read(&args[1], u)?),
            "dp4a" | "dp2a" => {
                let of = i.types();
                let x = [self.read(&args[1], word)?, self.read(&args[2], word)?, self.read(&args[3], Type::S(4))?];
                let signs = format!("{}, {}", of[0].is_signed(), of[1].is_signed());
                let high = if op == "dp2a" { format!(", {}", i.has("hi")) } else { String::new() };
                format!("{op}<{signs}{high}>({}, {}, {})", x[0], x[1], x[2])
            }
            _ => return Ok(None),
        };
        self.write(&args[0], &value, ty).map(Some)
    }

    fn product(&mut self, i: &Instruction, ty: Type) -> Result<String> {
        let (args, adds) = (&i.args, i.op[0] != "mul");
        let u = ty.unsigned();
        if i.has("wide") {
            let wide = ty.wide();
            let (x, y) = (self.read(&args[1], ty)?, self.read(&args[2], ty)?);
            let mut value = format!("static_cast<{}>({x}) * static_cast<{}>({y})", wide.c(), wide.c());
            if adds {
                value = format!(
                    "static_cast<{0}>({value}) + {1}",
                    wide.unsigned().c(),
                    self.read(&args[3], wide.unsigned())?
                );
            }
            return self.write(&args[0], &value, wide);
        }
        let mut value = if i.has("hi") {
            let (x, y) = (self.read(&args[1], ty)?, self.read(&args[2], ty)?);
            format!("static_cast<{}>(mul_hi<{}>({x}, {y}))", u.c(), ty.c())
        } else {
            let (x, y) = (self.read(&args[1], u)?, self.read(&args[2], u)?);
            // 16-bit factors would be promoted to a signed int, whose product can overflow.
            let wide = if u.size() < 4 { "uint32_t" } else { u.c() };
            format!("static_cast<{}>(static_cast<{wide}>({x}) * {y})", u.c())
        };
        if !adds {
            return self.write(&args[0], &value, u);
        }
        let z = self.read(&args[3], u)?;
        if i.has("sat") {
            return Err("not translated".into());
        }
        if i.has("cc") || i.op[0] == "madc" {
            let carry_in = if i.op[0] == "madc" { "carry" } else { "false" };
            let out = if i.has("cc") { "carry" } else { "ignored" };
            value = format!("add_carry<{}>({value}, {z}, {carry_in}, {out})", u.c());
            return Ok(format!("[[maybe_unused]] bool ignored; {}", self.write(&args[0], &value, u)?));
        }
        self.write(&args[0], &format!("{value} + {z}"), u)
    }

    fn comparison(&mut self, i: &Instruction) -> Result<String> {
        let types = i.types();
        let ty = *types.last().ok_or("no type")?;
        if ty.is_pair() {
            return self.pair_comparison(i, ty);
        }
        let (mut x, mut y) = (self.read(&i.args[1], ty)?, self.read(&i.args[2], ty)?);
        if ty.is_half() {
            let from = if ty == Type::F16 { "from_f16" } else { "from_bf16" };
            (x, y) = (format!("{from}({x})"), format!("{from}({y})"));
        } else if i.has("ftz") {
            (x, y) = (format!("ftz({x})"), format!("ftz({y})"));
        }
        let test = compare(&i.op[1], "x_", "y_", ty.is_float())?;
        let mut code = format!("const auto x_ = {x}; const auto y_ = {y}; const bool c_ = {test}; ");
        let combine = [("and", "&"), ("or", "|"), ("xor", "^")].into_iter().find(|(m, _)| i.has(m));
        let with = match combine {
            Some((_, sign)) => format!(" {sign} {}", self.read(&i.args[3], Type::Pred)?),
            None => String::new(),
        };
        if i.op[0] == "set" {
            let result = types[0];
            let ones = match result {
                Type::F32 => "1.0f",
                Type::F16 => "0x3c00",
                Type::BF16 => "0x3f80",
                _ => "~0u",
            };
            let zero = if result == Type::F32 { "0.0f" } else { "0" };
            code += &self.write(&i.args[0], &format!("(c_{with}) ? {ones} : {zero}"), result)?;
            return Ok(code);
        }
        match &i.args[0] {
            Operand::Pair(first, second) => {
                code += &format!("const bool p_ = c_{with}, q_ = !c_{with}; ");
                code += &self.write(first, "p_", Type::Pred)?;
                code += &self.write(second, "q_", Type::Pred)?;
            }
            single => code += &self.write(single, &format!("c_{with}"), Type::Pred)?,
        }
        Ok(code)
    }

    fn pair_comparison(&mut self, i: &Instruction, ty: Type) -> Result<String> {
        let (x, y) = (self.read(&i.args[1], ty)?, self.read(&i.args[2], ty)?);
        let from = if ty == Type::F16x2 { "from_f16" } else { "from_bf16" };
        let test = compare(&i.op[1], "x_", "y_", true)?;
        if ["and", "or", "xor"].iter().any(|m| i.has(m)) {
            return Err("not translated".into());
        }
        let mut code = format!(
            "const uint32_t xs_ = {x}, ys_ = {y}; const auto test_ = [](uint16_t xh, uint16_t yh) {{ \
             const float x_ = {from}(xh), y_ = {from}(yh); return {test}; }}; \
             const bool low_ = test_(xs_, ys_), high_ = test_(xs_ >> 16, ys_ >> 16); "
        );
        if i.op[0] == "setp" {
            let Operand::Pair(first, second) = &i.args[0] else { return Err("one predicate for two".into()) };
            code += &self.write(first, "low_", Type::Pred)?;
            code += &self.write(second, "high_", Type::Pred)?;
            return Ok(code);
        }
        let (low, high) = match i.types()[0] {
            Type::F16x2 => (0x3c00u32, 0x3c00_0000u32),
            Type::BF16x2 => (0x3f80, 0x3f80_0000),
            _ => (0xffff, 0xffff_0000),
        };
        code += &self.write(&i.args[0], &format!("(low_ ? {low}u : 0u) | (high_ ? {high}u : 0u)"), Type::U(4))?;
        Ok(code)
    }
}

/// A comparison of two names; floats know ordered and unordered ones.
fn compare(op: &str, x: &str, y: &str, float: bool) -> Result<String> {
    let sign = |op: &str| {
        Some(match op {
            "eq" => "==",
            "ne" => "!=",
            "lt" | "lo" => "<",
            "le" | "ls" => "<=",
            "gt" | "hi" => ">",
            "ge" | "hs" => ">=",
            _ => return None,
        })
    };
    if !float {
        return sign(op).map(|s| format!("{x} {s} {y}")).ok_or(format!("comparison '{op}'"));
    }
    let unordered = format!("({x} != {x} || {y} != {y})");
    Ok(match op {
        "num" => format!("!{unordered}"),
        "nan" => unordered,
        // In C++ `!=` holds for NaN, in PTX `ne` does not.
        "ne" => format!("({x} < {y} || {x} > {y})"),
        _ => match (sign(op), op.strip_suffix('u').and_then(sign)) {
            (Some(s), _) => format!("{x} {s} {y}"),
            (None, Some(s)) => format!("({unordered} || {x} {s} {y})"),
            _ => return Err(format!("comparison '{op}'")),
        },
    })
}
