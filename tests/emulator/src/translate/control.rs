//! Branches, calls, barriers and the ends of threads.

use super::function::{Meaning, Writer, label};
use super::{Result, identifier};
use crate::ast::{Instruction, Operand};
use crate::types::Type;

fn name_of(operand: &Operand) -> Result<&str> {
    match operand {
        Operand::Name(name) => Ok(name),
        other => Err(format!("operand {other:?} where a name belongs")),
    }
}

impl Writer<'_> {
    pub fn control(&mut self, i: &Instruction) -> Result<Option<String>> {
        let line = i.line;
        let code = match i.op[0].as_str() {
            "bra" => format!("goto {};", label(name_of(&i.args[0])?)),
            "brx" => {
                let targets = name_of(&i.args[1])?;
                let labels = self.targets.get(targets).cloned().ok_or(format!("'{targets}' is no list of labels"))?;
                let index = self.read(&i.args[0], Type::U(4))?;
                let cases: String =
                    labels.iter().enumerate().map(|(n, to)| format!("case {n}: goto {}; ", label(to))).collect();
                format!(
                    "switch ({index}) {{ {cases}default: fail(t, Fault::Failed, {line}, \"brx.idx beyond its labels\"); }}"
                )
            }
            "ret" => "return;".into(),
            "exit" => "exit_kernel(t);".into(),
            "trap" => format!("fail(t, Fault::Failed, {line}, \"trap\");"),
            "call" => self.call(i)?,
            "bar" | "barrier" => self.barrier(i)?,
            "nanosleep" => format!("poll(t, \"nanosleep\", {line});"),
            "membar" | "fence" => "__atomic_thread_fence(__ATOMIC_SEQ_CST);".into(),
            // Hints, and launches that wait for each other anyway.
            "brkpt" | "pmevent" | "prefetch" | "prefetchu" | "applypriority" | "griddepcontrol" | "setmaxnreg" => {
                "".into()
            }
            _ => return Ok(None),
        };
        Ok(Some(code))
    }

    fn barrier(&mut self, i: &Instruction) -> Result<String> {
        let line = i.line;
        let word = Type::U(4);
        if i.has("warp") {
            let mask = self.read(&i.args[0], word)?;
            return Ok(format!("warp_barrier(t, {mask}, {line});"));
        }
        if i.has("cluster") {
            return Err("not translated".into());
        }
        let aligned = i.op[0] == "bar" || i.has("aligned");
        if i.has("red") {
            let ty = *i.types().last().ok_or("no type")?;
            let operation = match i.op.iter().find(|m| matches!(m.as_str(), "popc" | "and" | "or")).map(String::as_str)
            {
                Some("popc") => "COUNT",
                Some("and") => "AND",
                _ => "OR",
            };
            let id = self.read(&i.args[1], word)?;
            let (count, value) = match &i.args[2..] {
                [value] => ("0".into(), self.read(value, Type::Pred)?),
                [count, value] => (self.read(count, word)?, self.read(value, Type::Pred)?),
                _ => return Err("not translated".into()),
            };
            let value = format!("barrier_reduce(t, {id}, {count}, {operation}, {value}, {line})");
            let value = if ty == Type::Pred { format!("{value} != 0") } else { value };
            return self.write(&i.args[0], &value, ty);
        }
        let id = self.read(&i.args[0], word)?;
        let count = i.args.get(1).map_or(Ok("0".into()), |count| self.read(count, word))?;
        if i.has("arrive") {
            return Ok(format!("barrier_arrive(t, {id}, {count}, {line});"));
        }
        Ok(format!("barrier_sync(t, {id}, {count}, {aligned}, {line});"))
    }

    fn call(&mut self, i: &Instruction) -> Result<String> {
        let position = i.args.iter().position(|a| matches!(a, Operand::Name(_))).ok_or("a call of nothing")?;
        let name = name_of(&i.args[position])?;
        let mut passed = Vec::new();
        for operand in &i.args {
            let Operand::List(list) = operand else { continue };
            for parameter in list {
                match self.meaning(name_of(parameter)?) {
                    Some(Meaning::Pointer(pointer)) => passed.push(pointer),
                    _ => return Err(format!("'{}' is no parameter", name_of(parameter)?)),
                }
            }
        }
        if name == "__assertfail" {
            let [message, file, at, ..] = passed.as_slice() else { return Err("too few parameters".into()) };
            return Ok(format!(
                "assert_failed(t, get<uint64_t>({message}), get<uint64_t>({file}), get<uint32_t>({at}), {});",
                i.line
            ));
        }
        let known = self.unit.module.functions.iter().any(|f| f.name == name && !f.entry && f.body.is_some());
        if !known {
            return Err(format!("'{name}' has no body"));
        }
        let parameters: String = passed.iter().map(|p| format!(", {p}")).collect();
        Ok(format!("F_{}(t{parameters});", identifier(name)))
    }
}
