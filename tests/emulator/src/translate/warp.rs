//! What the lanes of a warp do together: shuffles, votes, matches and reductions.

use super::Result;
use super::function::Writer;
use crate::ast::{Instruction, Operand};
use crate::types::Type;

const WORD: Type = Type::U(4);

impl Writer<'_> {
    pub fn warp(&mut self, i: &Instruction) -> Result<Option<String>> {
        let code = match i.op[0].as_str() {
            "shfl" => self.shuffle(i)?,
            "vote" => self.vote(i)?,
            "match" => self.matching(i)?,
            "redux" => self.reduction(i)?,
            "activemask" => self.write(&i.args[0], "active_mask(t)", WORD)?,
            _ => return Ok(None),
        };
        Ok(Some(code))
    }

    /// Results of a pair `d|p`; without a bar there is no second one.
    fn write_pair(&mut self, target: &Operand, first: &str, ty: Type, second: &str) -> Result<String> {
        match target {
            Operand::Pair(d, p) => {
                let write = self.write(d, first, ty)?;
                Ok(write + " " + &self.write(p, second, Type::Pred)?)
            }
            d => self.write(d, first, ty),
        }
    }

    fn shuffle(&mut self, i: &Instruction) -> Result<String> {
        if !i.has("sync") {
            return Err("not translated".into());
        }
        let modes = [("up", "UP"), ("down", "DOWN"), ("bfly", "BUTTERFLY"), ("idx", "INDEX")];
        let (_, mode) = modes.into_iter().find(|(m, _)| i.has(m)).ok_or("not translated")?;
        let x = self.sources(i, WORD)?;
        let call =
            format!("const Shuffled s_ = shuffle(t, {mode}, {}, {}, {}, {}, {}); ", x[0], x[1], x[2], x[3], i.line);
        Ok(call + &self.write_pair(&i.args[0], "s_.value", WORD, "s_.inside")?)
    }

    fn vote(&mut self, i: &Instruction) -> Result<String> {
        if !i.has("sync") {
            return Err("not translated".into());
        }
        let p = self.read(&i.args[1], Type::Pred)?;
        let mask = self.read(&i.args[2], WORD)?;
        let votes = |p: &str| format!("ballot(t, {p}, {mask}, {})", i.line);
        if i.has("ballot") {
            return self.write(&i.args[0], &votes(&p), WORD);
        }
        let value = if i.has("any") {
            format!("{} != 0", votes(&p))
        } else if i.has("all") {
            format!("{} == 0", votes(&format!("!{p}")))
        } else {
            return Err("not translated".into());
        };
        self.write(&i.args[0], &value, Type::Pred)
    }

    fn matching(&mut self, i: &Instruction) -> Result<String> {
        let ty = Type::U(i.types().last().ok_or("no type")?.size());
        let (value, mask) = (self.read(&i.args[1], ty)?, self.read(&i.args[2], WORD)?);
        let call = format!("const Matched m_ = match(t, {}, {value}, {mask}, {}); ", i.has("all"), i.line);
        Ok(call + &self.write_pair(&i.args[0], "m_.mask", WORD, "m_.all")?)
    }

    fn reduction(&mut self, i: &Instruction) -> Result<String> {
        let names = [
            ("add", "SUM"),
            ("min", "LEAST"),
            ("max", "GREATEST"),
            ("and", "ALL_BITS"),
            ("or", "ANY_BITS"),
            ("xor", "ODD_BITS"),
        ];
        let (_, operation) = names.into_iter().find(|(m, _)| i.has(m)).ok_or("not translated")?;
        let ty = *i.types().last().ok_or("no type")?;
        if ty.is_float() {
            return Err("not translated".into());
        }
        let x = self.sources(i, WORD)?;
        let value = format!("reduce(t, {operation}, {}, {}, {}, {})", ty.is_signed(), x[0], x[1], i.line);
        self.write(&i.args[0], &value, WORD)
    }
}
