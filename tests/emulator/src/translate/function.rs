//! One function: registers, scopes, frames of local memory, and the walk over its statements.

use super::batch::{count_reads, gather};
use super::{MODULE, Result, Unit, align_up, identifier};
use crate::ast::{Function, Instruction, Operand, Space, Statement, Variable};
use crate::types::Type;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// A translated function.
pub struct Emitted {
    pub code: String,
    pub shared_bytes: u32,
    pub shared_align: u32,
}

/// What a name means inside a function.
#[derive(Clone)]
pub enum Meaning {
    /// C++ variable and its type.
    Register(String, Type),
    /// Offset in shared memory, from its first byte.
    Shared(u32),
    /// The dynamic part of shared memory.
    Dynamic,
    /// Offset in the function's frame of local memory.
    Local(u32),
    /// Offset in the module's memory.
    Global(u32),
    /// Offset in the parameters of a kernel.
    KernelParameter(u32),
    /// C++ pointer to a parameter or result of a call.
    Pointer(String),
}

/// The state while one function is written.
pub struct Writer<'a> {
    pub unit: &'a Unit<'a>,
    number: usize,
    pub function: &'a Function,
    scopes: Vec<HashMap<String, Meaning>>,
    /// Ranges such as `%r<60>`, by scope.
    ranges: Vec<HashMap<String, (Type, u32, String)>>,
    scope_count: u32,
    declarations: String,
    pub code: String,
    own_shared: u32,
    shared_align: u32,
    pub frame: u32,
    pub targets: HashMap<String, Vec<String>>,
    used: HashSet<String>,
    /// How often each register is read.
    pub reads: HashMap<String, usize>,
}

pub fn shared_variables(function: &Function) -> impl Iterator<Item = &Variable> {
    let body = function.body.as_deref().unwrap_or_default();
    body.iter().filter_map(|s| match s {
        Statement::Variable(v) if v.space == Space::Shared => Some(v),
        _ => None,
    })
}

/// Offsets of a kernel's parameters in the buffer of a launch.
pub fn parameter_layout(parameters: &[Variable]) -> Vec<u32> {
    let mut end = 0;
    let mut place = |p: &Variable| {
        let at = align_up(end, p.align);
        end = at + p.bytes;
        at
    };
    parameters.iter().map(&mut place).collect()
}

pub fn parameter_bytes(parameters: &[Variable]) -> u32 {
    parameter_layout(parameters).last().map_or(0, |at| at + parameters[parameters.len() - 1].bytes)
}

fn local_variables(function: &Function) -> impl Iterator<Item = &Variable> {
    let body = function.body.as_deref().unwrap_or_default();
    body.iter().filter_map(|s| match s {
        Statement::Variable(v) if v.space == Space::Local => Some(v),
        _ => None,
    })
}

fn frame_bytes(function: &Function) -> u32 {
    let end = local_variables(function).fold(0, |end, v| align_up(end, v.align) + v.bytes);
    align_up(end, 16)
}

fn callees(function: &Function) -> HashSet<&str> {
    let body = function.body.as_deref().unwrap_or_default();
    let calls = body.iter().filter_map(|s| match s {
        Statement::Instruction(i) if i.op[0] == "call" => Some(i),
        _ => None,
    });
    let mut names = HashSet::new();
    for i in calls {
        // The first name is the function's; parameters stand in lists.
        names.extend(i.args.iter().find_map(|a| if let Operand::Name(name) = a { Some(name.as_str()) } else { None }));
    }
    names
}

/// Local memory of one thread: the frames along the deepest chain of calls.
pub fn local_bytes(unit: &Unit, function: &Function) -> Result<u32> {
    fn depth(unit: &Unit, function: &Function, above: usize) -> Result<u32> {
        if above > 64 {
            return Err(format!("'{}' calls itself", function.name));
        }
        let mut deepest = 0;
        for name in callees(function) {
            let called = unit.module.functions.iter().find(|f| f.name == name && f.body.is_some());
            if let Some(called) = called {
                deepest = deepest.max(depth(unit, called, above + 1)?);
            }
        }
        Ok(frame_bytes(function) + deepest)
    }
    depth(unit, function, 0)
}

/// The C++ head of a function.
pub fn signature(function: &Function) -> String {
    let name = identifier(&function.name);
    if function.entry {
        return format!("void K_{name}(Thread* const t)");
    }
    let mut text = format!("void F_{name}(Thread* const t");
    for p in function.returns.iter().chain(&function.parameters) {
        let _ = write!(text, ", uint8_t* P_{}", identifier(&p.name));
    }
    text + ")"
}

pub fn emit(unit: &Unit, number: usize, function: &Function) -> Result<Emitted> {
    let owner_is_kernel = function.entry;
    let mut writer = Writer {
        unit,
        number,
        function,
        scopes: vec![HashMap::new()],
        ranges: vec![HashMap::new()],
        scope_count: 0,
        declarations: String::new(),
        code: String::new(),
        own_shared: unit.common_shared,
        shared_align: unit.common_align,
        frame: 0,
        targets: HashMap::new(),
        used: HashSet::new(),
        reads: count_reads(function.body.as_deref().unwrap_or_default()),
    };
    writer.bind_parameters();
    let body = function.body.as_deref().unwrap_or_default();
    for statement in body {
        if let Statement::Targets(name, labels) = statement {
            writer.targets.insert(name.clone(), labels.clone());
        }
    }
    writer.walk(body)?;
    let mut code = format!("{} {{\n", signature(function));
    code.push_str("    [[maybe_unused]] Block* const b = t->block;\n    [[maybe_unused]] bool carry = false;\n");
    if writer.frame > 0 {
        let frame = align_up(writer.frame, 16);
        let _ = writeln!(code, "    const Frame frame_(t, {frame});\n    const uint32_t frame = frame_.start;");
    }
    code.push_str(&writer.declarations);
    code.push_str(&writer.code);
    code.push_str("}\n\n");
    let shared_bytes = if owner_is_kernel { writer.own_shared } else { 0 };
    Ok(Emitted { code, shared_bytes, shared_align: writer.shared_align })
}

impl<'a> Writer<'a> {
    fn bind_parameters(&mut self) {
        if self.function.entry {
            let layout = parameter_layout(&self.function.parameters);
            for (p, at) in self.function.parameters.iter().zip(layout) {
                self.scopes[0].insert(p.name.clone(), Meaning::KernelParameter(at));
            }
            return;
        }
        for p in self.function.returns.iter().chain(&self.function.parameters) {
            self.scopes[0].insert(p.name.clone(), Meaning::Pointer(format!("P_{}", identifier(&p.name))));
        }
    }

    fn walk(&mut self, body: &[Statement]) -> Result<()> {
        for statement in gather(body) {
            match statement {
                super::batch::Step::Statement(statement) => self.statement(statement)?,
                super::batch::Step::Batch(batch) => self.batch(&batch)?,
            }
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement) -> Result<()> {
        match statement {
            Statement::Open => {
                self.scopes.push(HashMap::new());
                self.ranges.push(HashMap::new());
                self.scope_count += 1;
            }
            Statement::Close => {
                self.scopes.pop();
                self.ranges.pop();
            }
            Statement::Label(name) => {
                let _ = writeln!(self.code, "{}:;", label(name));
            }
            Statement::Registers(ty, names) => self.registers(*ty, names),
            Statement::Variable(variable) => self.variable(variable)?,
            Statement::Targets(..) => {}
            Statement::Instruction(instruction) => self.instruction(instruction)?,
        }
        Ok(())
    }

    /// The C++ names of registers in inner scopes carry the number of their scope, as all are declared at the top.
    fn suffix(&self) -> String {
        if self.scopes.len() == 1 { String::new() } else { format!("_s{}", self.scope_count) }
    }

    fn declare(&mut self, ty: Type, name: &str) {
        if !self.used.insert(name.to_owned()) {
            return;
        }
        // What is read before it is written should not look like an innocent zero.
        let poison = match ty {
            Type::Pred => "true".into(),
            Type::F32 => "bits<float>(~0u)".into(),
            Type::F64 => "bits<double>(~0ull)".into(),
            _ => format!("static_cast<{}>(~0ull)", ty.unsigned().c()),
        };
        let c = if ty.is_native_float() || ty == Type::Pred { ty.c() } else { ty.unsigned().c() };
        let _ = writeln!(self.declarations, "    {c} {name} = {poison};");
    }

    fn registers(&mut self, ty: Type, names: &[(String, Option<u32>)]) {
        let suffix = self.suffix();
        for (name, count) in names {
            let stem = format!("R{}", identifier(name));
            match count {
                Some(count) => {
                    let entry = (ty, *count, suffix.clone());
                    self.ranges.last_mut().map(|r| r.insert(name.clone(), entry));
                }
                None => {
                    let c_name = format!("{stem}{suffix}");
                    self.declare(ty, &c_name);
                    self.bind(name, Meaning::Register(c_name, ty));
                }
            }
        }
    }

    fn bind(&mut self, name: &str, meaning: Meaning) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), meaning);
        }
    }

    fn variable(&mut self, variable: &Variable) -> Result<()> {
        let meaning = match variable.space {
            Space::Shared if variable.external || variable.bytes == 0 => Meaning::Dynamic,
            Space::Shared => match self.unit.shared.get(&(self.number, variable.name.as_str())) {
                Some(&at) => Meaning::Shared(at),
                None => {
                    let at = align_up(self.own_shared, variable.align);
                    self.own_shared = at + variable.bytes;
                    self.shared_align = self.shared_align.max(variable.align);
                    Meaning::Shared(at)
                }
            },
            Space::Local => {
                let at = align_up(self.frame, variable.align);
                self.frame = at + variable.bytes;
                Meaning::Local(at)
            }
            Space::Param => {
                let name = format!("A_{}_{}", identifier(&variable.name), self.scope_count);
                if self.used.insert(name.clone()) {
                    let bytes = variable.bytes.max(1);
                    let _ = writeln!(self.declarations, "    alignas(16) uint8_t {name}[{bytes}];");
                }
                Meaning::Pointer(name)
            }
            _ => return Err(format!("line {}: a {:?} variable in a function", variable.line, variable.space)),
        };
        self.bind(&variable.name, meaning);
        Ok(())
    }

    /// What a name stands for: innermost scope first, then the module.
    pub fn meaning(&mut self, name: &str) -> Option<Meaning> {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        for depth in (0..self.scopes.len()).rev() {
            if let Some(found) = self.scopes[depth].get(name) {
                return Some(found.clone());
            }
            if stem.len() < name.len()
                && let Some((ty, count, suffix)) = self.ranges[depth].get(stem).cloned()
                && name[stem.len()..].parse::<u32>().is_ok_and(|n| n < count)
            {
                let c_name = format!("R{}{suffix}", identifier(name));
                self.declare(ty, &c_name);
                return Some(Meaning::Register(c_name, ty));
            }
        }
        if let Some(&at) = self.unit.globals.get(name) {
            return Some(Meaning::Global(at));
        }
        if let Some(&at) = self.unit.shared.get(&(MODULE, name)) {
            return Some(Meaning::Shared(at));
        }
        let dynamic = |v: &&Variable| v.space == Space::Shared && v.name == name;
        self.unit.module.variables.iter().find(dynamic).map(|_| Meaning::Dynamic)
    }

    fn instruction(&mut self, i: &Instruction) -> Result<()> {
        let guard = match &i.guard {
            None => String::new(),
            Some((name, negated)) => {
                let register = self.read(&Operand::Name(name.clone()), Type::Pred).map_err(|e| unknown(i, &e))?;
                format!("if ({}{register}) ", if *negated { "!" } else { "" })
            }
        };
        let code = self.code_of(i).map_err(|e| unknown(i, &e))?;
        let _ = writeln!(self.code, "    {guard}{{ {code} }}");
        Ok(())
    }

    fn code_of(&mut self, i: &Instruction) -> Result<String> {
        for translate in
            [Writer::arithmetic, Writer::convert, Writer::memory, Writer::control, Writer::warp, Writer::half]
                as [Translate<'a>; 6]
        {
            if let Some(code) = translate(self, i)? {
                return Ok(code);
            }
        }
        Err("not translated".into())
    }
}

/// The families of instructions: `None` when the opcode is of another one.
type Translate<'a> = fn(&mut Writer<'a>, &Instruction) -> Result<Option<String>>;

pub fn label(name: &str) -> String {
    format!("L{}", identifier(name))
}

/// The message that stops the translation.
pub fn unknown(i: &Instruction, reason: &str) -> String {
    format!("line {}: {} [{reason}]", i.line, i.text)
}
