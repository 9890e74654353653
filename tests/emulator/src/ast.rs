//! What the parser makes of a PTX file.

use crate::types::Type;

/// One translation unit.
#[derive(Debug, Default)]
pub struct Module {
    /// `sm_80`, `sm_90a`.
    pub target: String,
    pub variables: Vec<Variable>,
    pub functions: Vec<Function>,
}

/// State spaces of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A declared array or scalar outside the registers.
#[derive(Clone, Debug)]
pub struct Variable {
    pub space: Space,
    pub name: String,
    pub align: u32,
    /// Zero for `.extern .shared` arrays without a length.
    pub bytes: u32,
    pub external: bool,
    pub ty: Type,
    /// Numbers of the initialiser; what it leaves out is zero.
    pub initial: Vec<Operand>,
    pub line: u32,
}

/// An entry (a kernel) or a device function.
#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub entry: bool,
    pub returns: Vec<Variable>,
    pub parameters: Vec<Variable>,
    /// Product of `.maxntid` or `.reqntid`.
    pub max_threads: Option<u32>,
    /// Absent for declarations.
    pub body: Option<Vec<Statement>>,
}

#[derive(Debug)]
pub enum Statement {
    Open,
    Close,
    Label(String),
    /// `.reg .b32 %r<60>` gives `("%r", Some(60))`, `.reg .b32 x` gives `("x", None)`.
    Registers(Type, Vec<(String, Option<u32>)>),
    Variable(Variable),
    /// The label list of a `brx.idx`.
    Targets(String, Vec<String>),
    Instruction(Instruction),
}

#[derive(Clone, Debug)]
pub struct Instruction {
    /// Register and whether it is negated.
    pub guard: Option<(String, bool)>,
    /// The opcode without its dots: `["ld", "global", "v4", "u32"]`.
    pub op: Vec<String>,
    pub args: Vec<Operand>,
    pub line: u32,
    /// As it was written, for messages.
    pub text: String,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, special register, variable, label or function.
    Name(String),
    Int(i128),
    /// Bits of `0f3F800000`.
    Float(u32),
    /// Bits of `0d3FF0000000000000`.
    Double(u64),
    /// `{%r1, %r2}`.
    Vector(Vec<Operand>),
    /// `[%rd1+8]`.
    Address(Box<Operand>, i64),
    /// `[map, {x, y}]`.
    Tensor(Box<Operand>, Vec<Operand>),
    /// `!%p1`.
    Not(Box<Operand>),
    /// `%r1|%p1`.
    Pair(Box<Operand>, Box<Operand>),
    /// `symbol+4`.
    Offset(String, i64),
    /// `(param0, param1)`.
    List(Vec<Operand>),
    /// `_`.
    Discard,
}

impl Instruction {
    /// Whether the opcode has this modifier.
    pub fn has(&self, modifier: &str) -> bool {
        self.op[1..].iter().any(|m| m == modifier)
    }

    /// The modifiers that are types, in their order.
    pub fn types(&self) -> Vec<Type> {
        self.op[1..].iter().filter_map(|m| Type::parse(m)).collect()
    }
}
