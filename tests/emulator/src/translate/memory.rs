//! Loads, stores, atomics, address spaces and asynchronous copies.

use super::Result;
use super::function::{Meaning, Writer};
use crate::ast::{Instruction, Operand};
use crate::types::Type;

const WORD: Type = Type::U(4);
const LONG: Type = Type::U(8);

/// Where an instruction looks for its address.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Global,
    Shared,
    Local,
    Param,
    Generic,
}

fn place(i: &Instruction) -> Place {
    let found = i.op[1..].iter().find_map(|m| match m.as_str() {
        "global" | "const" => Some(Place::Global),
        "shared" | "shared::cta" => Some(Place::Shared),
        "local" => Some(Place::Local),
        "param" | "param::entry" | "param::func" => Some(Place::Param),
        _ => None,
    });
    found.unwrap_or(Place::Generic)
}

fn elements(operand: &Operand) -> &[Operand] {
    match operand {
        Operand::Vector(list) => list,
        other => std::slice::from_ref(other),
    }
}

impl Writer<'_> {
    pub fn memory(&mut self, i: &Instruction) -> Result<Option<String>> {
        let code = match i.op[0].as_str() {
            "ld" | "ldu" => self.load(i)?,
            "st" => self.store(i)?,
            "atom" | "red" => self.atomic(i)?,
            "cvta" => self.change_space(i)?,
            "isspacep" => self.in_space(i)?,
            "cp" => self.copy(i)?,
            "createpolicy" => self.write(&i.args[0], "0ull", LONG)?,
            _ => return Ok(None),
        };
        Ok(Some(code))
    }

    /// A C++ pointer to `bytes` checked bytes.
    fn pointer(&mut self, i: &Instruction, operand: &Operand, bytes: u32, kind: &str) -> Result<String> {
        let Operand::Address(base, offset) = operand else { return Err("no address".into()) };
        let line = i.line;
        let place = place(i);
        if let (Place::Param, Operand::Name(name)) = (place, base.as_ref()) {
            match self.meaning(name) {
                Some(Meaning::KernelParameter(at)) => {
                    let at = i64::from(at) + offset;
                    return Ok(format!("const_cast<uint8_t*>(b->launch.parameters) + {at}"));
                }
                Some(Meaning::Pointer(pointer)) => return Ok(format!("{pointer} + {offset}")),
                _ => {}
            }
        }
        let ty = if place == Place::Shared { WORD } else { LONG };
        let mut address = self.read(base, ty)?;
        if *offset != 0 {
            address = format!("static_cast<{}>({address} + {offset}ll)", ty.c());
        }
        Ok(match place {
            Place::Global => format!("global_at<{bytes}>(t, {address}, {line}, {kind})"),
            Place::Shared => format!("shared_at<{bytes}>(t, {address}, {line}, {kind})"),
            Place::Local => format!("local_at(t, {address}, {bytes}, {line})"),
            Place::Param => format!("param_at<{bytes}>(t, {address}, {line})"),
            Place::Generic => format!("generic_at<{bytes}>(t, {address}, {line}, {kind})"),
        })
    }

    /// Whether other threads may be watching: such accesses happen one by one and let the others run.
    fn watched(i: &Instruction) -> bool {
        ["volatile", "relaxed", "acquire", "release"].iter().any(|m| i.has(m))
    }

    fn kind(i: &Instruction, plain: &'static str) -> &'static str {
        // PTX promises order only to the strong operations; volatile ones race like any other.
        if Self::watched(i) && !i.has("volatile") { "ATOMIC" } else { plain }
    }

    fn load(&mut self, i: &Instruction) -> Result<String> {
        let ty = *i.types().last().ok_or("no type")?;
        let results = elements(&i.args[0]);
        let size = u32::from(ty.size());
        let from = self.pointer(i, &i.args[1], size * results.len() as u32, Self::kind(i, "READ"))?;
        let watched = Self::watched(i);
        let get = if watched { "get_shared_state" } else { "get" };
        let mut code =
            if watched { format!("poll_sometimes(t, \"{}\", {}); ", i.op.join("."), i.line) } else { String::new() };
        code += &format!("const uint8_t* const p_ = {from};");
        for (n, result) in results.iter().enumerate() {
            if *result == Operand::Discard {
                continue;
            }
            let value = format!("{get}<{}>(p_ + {})", ty.c(), n as u32 * size);
            code += " ";
            code += &self.write(result, &value, ty)?;
        }
        Ok(code)
    }

    fn store(&mut self, i: &Instruction) -> Result<String> {
        let ty = *i.types().last().ok_or("no type")?;
        let sources = elements(&i.args[1]);
        let size = u32::from(ty.size());
        let to = self.pointer(i, &i.args[0], size * sources.len() as u32, Self::kind(i, "WRITE"))?;
        let put = if Self::watched(i) { "put_shared_state" } else { "put" };
        let mut code = format!("uint8_t* const p_ = {to};");
        for (n, source) in sources.iter().enumerate() {
            let value = self.read(source, ty)?;
            code += &format!(" {put}<{}>(p_ + {}, {value});", ty.c(), n as u32 * size);
        }
        Ok(code)
    }

    fn atomic(&mut self, i: &Instruction) -> Result<String> {
        let ty = *i.types().last().ok_or("no type")?;
        let names = ["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"];
        let operation = names.into_iter().find(|m| i.has(m)).ok_or("not translated")?;
        if ty.is_half() || i.has("vec") {
            return Err("not translated".into());
        }
        let returns = i.op[0] == "atom";
        let first = usize::from(returns);
        let at = self.pointer(i, &i.args[first], u32::from(ty.size()), "ATOMIC")?;
        // A cache policy may follow the values.
        let values = if operation == "cas" { 2 } else { 1 };
        let sources: Vec<String> =
            i.args[first + 1..][..values].iter().map(|a| self.read(a, ty)).collect::<Result<_>>()?;
        let call = format!("atomic_{operation}<{}>({at}, {})", ty.c(), sources.join(", "));
        // Loops around these wait for other threads.
        let turn = if matches!(operation, "cas" | "exch") {
            format!("poll_sometimes(t, \"{}\", {}); ", i.op.join("."), i.line)
        } else {
            String::new()
        };
        if !returns {
            return Ok(format!("{turn}{call};"));
        }
        Ok(turn + &self.write(&i.args[0], &call, ty)?)
    }

    /// `cvta`: device addresses are generic as they are, the other spaces lie in windows.
    fn change_space(&mut self, i: &Instruction) -> Result<String> {
        let ty = *i.types().last().ok_or("no type")?;
        let value = self.read(&i.args[1], ty)?;
        let window = match place(i) {
            Place::Shared => "SHARED_WINDOW",
            Place::Local => "LOCAL_WINDOW",
            Place::Param => "PARAM_WINDOW",
            Place::Global | Place::Generic => return self.write(&i.args[0], &value, ty),
        };
        let sign = if i.has("to") { '-' } else { '+' };
        self.write(&i.args[0], &format!("{value} {sign} {window}"), ty)
    }

    fn in_space(&mut self, i: &Instruction) -> Result<String> {
        let address = self.read(&i.args[1], LONG)?;
        let (first, bytes) = match place(i) {
            Place::Shared => ("SHARED_WINDOW", "WINDOW"),
            Place::Local => ("LOCAL_WINDOW", "WINDOW"),
            Place::Param => ("PARAM_WINDOW", "WINDOW"),
            Place::Global => ("DEVICE", "SPAN"),
            Place::Generic => return Err("not translated".into()),
        };
        self.write(&i.args[0], &format!("{address} - {first} < {bytes}"), Type::Pred)
    }

    fn copy(&mut self, i: &Instruction) -> Result<String> {
        let line = i.line;
        if !i.has("async") || i.has("bulk") || i.has("mbarrier") {
            return Err("not translated".into());
        }
        if i.has("commit_group") {
            return Ok("copies_commit(t);".into());
        }
        if i.has("wait_all") {
            return Ok("copies_wait_all(t);".into());
        }
        if i.has("wait_group") {
            let keep = self.read(&i.args[0], WORD)?;
            return Ok(format!("copies_wait(t, {keep});"));
        }
        let [Operand::Address(to, to_offset), Operand::Address(from, from_offset), Operand::Int(bytes), rest @ ..] =
            i.args.as_slice()
        else {
            return Err("not translated".into());
        };
        let rest = if i.has("L2::cache_hint") { &rest[..rest.len() - 1] } else { rest };
        let (to, from) = (self.read(to, WORD)?, self.read(from, LONG)?);
        let used = match rest {
            [] => bytes.to_string(),
            [size] => match self.read(size, Type::Pred) {
                Ok(ignored) => format!("{ignored} ? 0u : {bytes}u"),
                Err(_) => self.read(size, WORD)?,
            },
            _ => return Err("not translated".into()),
        };
        Ok(format!("copy_async(t, {to} + {to_offset}, {from} + {from_offset}ll, {bytes}, {used}, {line});"))
    }
}
