//! Operands to C++ expressions, and results to registers.

use super::Result;
use super::function::{Meaning, Writer};
use crate::ast::{Instruction, Operand};
use crate::types::Type;

/// Special registers that are plain reads of the machine's state.
fn special(name: &str) -> Option<String> {
    let (stem, axis) = name.split_once('.').unwrap_or((name, ""));
    let index = match axis {
        "x" => 0,
        "y" => 1,
        "z" => 2,
        _ => usize::MAX,
    };
    let of = |dim: &str| format!("{dim}.{axis}");
    Some(match stem {
        "%tid" => format!("t->tid[{index}]"),
        "%ntid" => of("b->launch.block"),
        "%ctaid" => of("b->id"),
        "%nctaid" => of("b->launch.grid"),
        "%laneid" => "t->lane".into(),
        "%warpid" => "t->index / 32".into(),
        "%nwarpid" => "b->warps".into(),
        "%lanemask_eq" => "1u << t->lane".into(),
        "%lanemask_lt" => "(1u << t->lane) - 1".into(),
        "%lanemask_le" => "(2u << t->lane) - 1".into(),
        "%lanemask_gt" => "~((2u << t->lane) - 1)".into(),
        "%lanemask_ge" => "~((1u << t->lane) - 1)".into(),
        "%dynamic_smem_size" => "b->launch.dynamic_shared".into(),
        "%total_smem_size" => "b->shared_bytes".into(),
        "%smid" => "0u".into(),
        "%nsmid" => "1u".into(),
        "%gridid" => "0u".into(),
        "%clusterid" => of("b->id"),
        "%nclusterid" => of("b->launch.grid"),
        "%cluster_ctaid" | "%cluster_ctarank" => "0u".into(),
        "%cluster_nctaid" | "%cluster_nctarank" => "1u".into(),
        "%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo" => "__builtin_ia32_rdtsc()".into(),
        _ => return None,
    })
}

impl Writer<'_> {
    /// The operand as a value of type `ty`.
    pub fn read(&mut self, operand: &Operand, ty: Type) -> Result<String> {
        match operand {
            Operand::Name(name) => {
                if let Some(value) = special(name) {
                    return Ok(format!("static_cast<{}>({value})", ty.c()));
                }
                self.read_name(name, 0, ty)
            }
            Operand::Offset(name, offset) => self.read_name(name, *offset, ty),
            Operand::Not(inner) if ty == Type::Pred => Ok(format!("!{}", self.read(inner, ty)?)),
            Operand::Int(v) if ty == Type::Pred => Ok((*v != 0).to_string()),
            Operand::Int(v) if ty.is_native_float() => Ok(format!("static_cast<{}>({v})", ty.c())),
            Operand::Int(v) => {
                let size = 8 * u32::from(ty.size());
                let bits = (*v as u64) & (u64::MAX >> (64 - size));
                Ok(format!("static_cast<{}>(0x{bits:x}ull)", ty.c()))
            }
            Operand::Float(bits) => Ok(match ty {
                Type::F32 => format!("bits<float>(0x{bits:08x}u)"),
                Type::F64 => format!("static_cast<double>(bits<float>(0x{bits:08x}u))"),
                _ if ty.size() == 4 => format!("static_cast<{}>(0x{bits:08x}u)", ty.c()),
                _ => return Err("a float literal of another size".into()),
            }),
            Operand::Double(bits) => Ok(match ty {
                Type::F64 => format!("bits<double>(0x{bits:016x}ull)"),
                Type::F32 => format!("static_cast<float>(bits<double>(0x{bits:016x}ull))"),
                _ if ty.size() == 8 => format!("static_cast<{}>(0x{bits:016x}ull)", ty.c()),
                _ => return Err("a double literal of another size".into()),
            }),
            other => Err(format!("operand {other:?}")),
        }
    }

    fn read_name(&mut self, name: &str, offset: i64, ty: Type) -> Result<String> {
        let Some(meaning) = self.meaning(name) else { return Err(format!("'{name}' is not declared")) };
        let plus = if offset == 0 { String::new() } else { format!(" + {offset}ll") };
        let value = match meaning {
            Meaning::Register(c_name, own) => return cast(&c_name, own, ty),
            Meaning::Shared(at) => format!("SHARED_FIRST + {at}u"),
            Meaning::Dynamic => "b->dynamic_offset".into(),
            Meaning::Local(at) => format!("frame + {at}u"),
            Meaning::Global(at) => format!("b->launch.globals + {at}u"),
            Meaning::KernelParameter(at) => format!("{at}u"),
            Meaning::Pointer(_) => return Err(format!("the address of parameter '{name}'")),
        };
        Ok(format!("static_cast<{}>({value}{plus})", ty.c()))
    }

    /// Operands from the second on, all as `ty`.
    pub fn sources(&mut self, i: &Instruction, ty: Type) -> Result<Vec<String>> {
        i.args[1..].iter().map(|a| self.read(a, ty)).collect()
    }

    /// A statement that puts a value of type `ty` into a register.
    pub fn write(&mut self, target: &Operand, value: &str, ty: Type) -> Result<String> {
        let name = match target {
            Operand::Discard => return Ok(format!("(void)({value});")),
            Operand::Name(name) => name,
            other => return Err(format!("result {other:?}")),
        };
        let Some(Meaning::Register(c_name, own)) = self.meaning(name) else {
            return Err(format!("'{name}' is no register"));
        };
        let value = format!("({value})");
        if own == Type::Pred || ty == Type::Pred {
            return Ok(format!("{c_name} = {value};"));
        }
        // Registers hold raw bits but for native floats: a value of another kind is reinterpreted, never converted.
        let raw = if ty.is_native_float() {
            if own == ty {
                return Ok(format!("{c_name} = {value};"));
            }
            format!("bits<{}>({value})", ty.unsigned().c())
        } else {
            format!("static_cast<{}>({value})", ty.c())
        };
        if own.is_native_float() {
            if own.size() != ty.size() {
                return Err(format!("a value of {} bytes for '{name}'", ty.size()));
            }
            return Ok(format!("{c_name} = bits<{}>(static_cast<{}>({raw}));", own.c(), own.unsigned().c()));
        }
        // The detour widens signed values by their sign.
        Ok(format!("{c_name} = static_cast<{}>({raw});", own.unsigned().c()))
    }
}

/// A register's value as another type: bits are kept, longer registers are cut.
fn cast(c_name: &str, own: Type, ty: Type) -> Result<String> {
    if own == Type::Pred || ty == Type::Pred {
        return if own == ty { Ok(c_name.into()) } else { Err(format!("predicate and number mixed at {c_name}")) };
    }
    if own == ty {
        return Ok(c_name.into());
    }
    let raw = if own.is_native_float() { format!("bits<{}>({c_name})", own.unsigned().c()) } else { c_name.into() };
    if ty.is_native_float() {
        return Ok(format!("bits<{}>(static_cast<{}>({raw}))", ty.c(), ty.unsigned().c()));
    }
    Ok(format!("static_cast<{}>({raw})", ty.c()))
}
