//! A parsed module to C++: one function per kernel or device function, on the runtime under `runtime/`.

mod arithmetic;
mod batch;
mod control;
mod convert;
mod function;
mod half;
mod memory;
mod operand;
mod warp;

use crate::ast::{Module, Operand, Space, Variable};
use std::collections::HashMap;
use std::fmt::Write;

pub type Result<T> = std::result::Result<T, String>;

/// FNV-1a over the text without trailing space and zeros: what the stand-in driver knows an image by.
pub fn hash(text: &str) -> u64 {
    let text = text.trim_end_matches(|c: char| c == '\0' || c.is_ascii_whitespace());
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// What all functions of a module share.
pub struct Unit<'a> {
    pub module: &'a Module,
    /// Offsets of `.global` and `.const` variables in the module's memory.
    globals: HashMap<&'a str, u32>,
    global_bytes: u32,
    /// Offsets of statically sized shared variables: those of the module, then those of each function.
    shared: HashMap<(usize, &'a str), u32>,
    /// Module-wide shared variables come first; this is where those of functions begin.
    common_shared: u32,
    common_align: u32,
}

/// The owner of shared variables declared outside functions.
const MODULE: usize = usize::MAX;

fn align_up(value: u32, align: u32) -> u32 {
    value.div_ceil(align) * align
}

/// A PTX name as part of a C++ one.
pub fn identifier(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// Translates one file. `file` is its name for reports.
pub fn translate(source: &str, file: &str) -> Result<String> {
    let module = crate::parser::parse(source).map_err(|e| format!("{file}: {e}"))?;
    Unit::new(&module).and_then(|unit| unit.emit(source, file)).map_err(|e| format!("{file}: {e}"))
}

impl<'a> Unit<'a> {
    fn new(module: &'a Module) -> Result<Unit<'a>> {
        let mut unit = Unit {
            module,
            globals: HashMap::new(),
            global_bytes: 0,
            shared: HashMap::new(),
            common_shared: 0,
            common_align: 16,
        };
        for variable in &module.variables {
            match variable.space {
                Space::Global | Space::Const => {
                    let at = align_up(unit.global_bytes, variable.align.max(16));
                    unit.globals.insert(&variable.name, at);
                    unit.global_bytes = at + variable.bytes;
                }
                Space::Shared if !variable.external && variable.bytes > 0 => unit.place_shared(MODULE, variable),
                Space::Shared => unit.common_align = unit.common_align.max(variable.align),
                _ => return Err(format!("line {}: a {:?} variable outside functions", variable.line, variable.space)),
            }
        }
        // Device functions may be called by any kernel, so theirs count as the module's.
        for (number, function) in module.functions.iter().enumerate().filter(|(_, f)| !f.entry) {
            for variable in function::shared_variables(function) {
                unit.place_shared(number, variable);
            }
        }
        Ok(unit)
    }

    fn place_shared(&mut self, owner: usize, variable: &'a Variable) {
        let at = align_up(self.common_shared, variable.align);
        self.shared.insert((owner, &variable.name), at);
        self.common_shared = at + variable.bytes;
        self.common_align = self.common_align.max(variable.align);
    }

    fn emit(&self, source: &str, file: &str) -> Result<String> {
        let mut out = String::new();
        let _ = writeln!(out, "// Translated from {file}.\n#include \"memory.h\"\n#include \"scalar.h\"\n");
        let _ = writeln!(out, "using namespace emu;\nnamespace {{\n");
        let bodies: Vec<_> = self.module.functions.iter().enumerate().filter(|(_, f)| f.body.is_some()).collect();
        for (_, function) in bodies.iter().filter(|(_, f)| !f.entry) {
            let _ = writeln!(out, "{};", function::signature(function));
        }
        let mut kernels = Vec::new();
        for &(number, function) in &bodies {
            let emitted = function::emit(self, number, function)?;
            out.push_str(&emitted.code);
            if function.entry {
                kernels.push((function, emitted));
            }
        }
        self.emit_tables(&mut out, source, file, &kernels)?;
        out.push_str("}  // namespace\n");
        Ok(out)
    }

    fn emit_tables(
        &self,
        out: &mut String,
        source: &str,
        file: &str,
        kernels: &[(&crate::ast::Function, function::Emitted)],
    ) -> Result<()> {
        for (function, _) in kernels {
            let layout: Vec<String> = function::parameter_layout(&function.parameters)
                .iter()
                .zip(&function.parameters)
                .map(|(at, p)| format!("{{{at}, {}}}", p.bytes))
                .collect();
            let name = identifier(&function.name);
            let _ = writeln!(out, "const uint32_t LAYOUT_{name}[][2] = {{{}{{0, 0}}}};", join_each(&layout, ", "));
        }
        let _ = writeln!(out, "const Kernel KERNELS[] = {{");
        for (function, emitted) in kernels {
            let name = identifier(&function.name);
            let bytes = function::parameter_bytes(&function.parameters);
            let local = function::local_bytes(self, function)?;
            let _ = writeln!(
                out,
                "    {{\"{}\", \"{file}\", K_{name}, {bytes}, {}, {}, {local}, {}, {}, LAYOUT_{name}}},",
                function.name,
                emitted.shared_bytes,
                emitted.shared_align,
                function.max_threads.unwrap_or(1024),
                function.parameters.len()
            );
        }
        out.push_str("    {}};\n");
        self.emit_globals(out)?;
        let target: String = self.module.target.chars().filter(char::is_ascii_digit).collect();
        let _ = writeln!(
            out,
            "const Image IMAGE = {{0x{:x}ull, {target}, \"{file}\", KERNELS, {}, GLOBALS, {}, {}, INITIAL, RELOCATIONS,\n    \
             sizeof RELOCATIONS / sizeof *RELOCATIONS - 1}};\n\
             __attribute__((constructor)) void announce() {{ register_image(&IMAGE); }}",
            hash(source),
            kernels.len(),
            self.globals.len(),
            self.global_bytes
        );
        Ok(())
    }

    fn emit_globals(&self, out: &mut String) -> Result<()> {
        let mut initial = vec![0u8; self.global_bytes as usize];
        let mut relocations = Vec::new();
        let mut entries = String::new();
        for variable in &self.module.variables {
            let Some(&at) = self.globals.get(variable.name.as_str()) else { continue };
            let _ = write!(entries, "{{\"{}\", {at}, {}}}, ", variable.name, variable.bytes);
            let size = usize::from(variable.ty.size());
            for (i, value) in variable.initial.iter().enumerate() {
                let start = at as usize + i * size;
                let value = match value {
                    Operand::Int(v) => *v as u64,
                    Operand::Float(bits) => u64::from(*bits),
                    Operand::Double(bits) => *bits,
                    Operand::Name(name) if self.globals.contains_key(name.as_str()) => {
                        relocations.push(start);
                        u64::from(self.globals[name.as_str()])
                    }
                    _ => return Err(format!("line {}: initialiser of '{}'", variable.line, variable.name)),
                };
                initial[start..start + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
        }
        let _ = writeln!(out, "const Global GLOBALS[] = {{{entries}{{}}}};");
        let bytes: Vec<String> = initial.iter().map(u8::to_string).collect();
        let _ = writeln!(out, "const uint8_t INITIAL[] = {{{}0}};", join_each(&bytes, ","));
        let words: Vec<String> = relocations.iter().map(usize::to_string).collect();
        let _ = writeln!(out, "const uint32_t RELOCATIONS[] = {{{}0}};", join_each(&words, ", "));
        Ok(())
    }
}

/// Every part with the separator after it.
fn join_each(parts: &[String], separator: &str) -> String {
    parts.iter().map(|p| format!("{p}{separator}")).collect()
}
