//! Arithmetic in half precision, alone and in pairs.

use super::Result;
use super::function::Writer;
use crate::ast::Instruction;
use crate::types::Type;

impl Writer<'_> {
    pub fn half(&mut self, i: &Instruction) -> Result<Option<String>> {
        let Some(&ty) = i.types().last() else { return Ok(None) };
        let op = i.op[0].as_str();
        if !ty.is_half() || !"add sub mul fma min max neg abs ex2 tanh".split(' ').any(|known| known == op) {
            return Ok(None);
        }
        if i.has("xorsign") || i.has("oob") {
            return Err("not translated".into());
        }
        let class = if matches!(ty, Type::F16 | Type::F16x2) { "F16" } else { "BF16" };
        let suffix = if i.has("NaN") { "_nan" } else { "" };
        let parameters: Vec<String> = (0..i.args.len() - 1).map(|n| format!("x{n}_")).collect();
        let mut value = format!("half_{op}{suffix}<{class}>({})", parameters.join(", "));
        for (modifier, function) in [("sat", "half_saturate"), ("relu", "half_relu")] {
            if i.has(modifier) {
                value = format!("{function}<{class}>({value})");
            }
        }
        let declared: Vec<String> = parameters.iter().map(|p| format!("uint16_t {p}")).collect();
        let formula = format!("[]({}) {{ return {value}; }}", declared.join(", "));
        let sources = self.sources(i, ty)?.join(", ");
        let call =
            if ty.is_pair() { format!("pairwise({formula}, {sources})") } else { format!("({formula})({sources})") };
        self.write(&i.args[0], &call, ty).map(Some)
    }
}
