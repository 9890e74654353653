//! Matrix instructions in batches: a run of `ldmatrix` and `mma` costs one meeting of the warp, not one each.
//!
//! A batch exchanges registers through words of 32 lanes (`Warp::wide`): every lane writes its inputs, the last one to
//! come does all the work, every lane reads its results. Plain instructions between those of a batch run before it
//! when they neither read nor write a register of the batch, which is what the compiler's address arithmetic does.

use super::Result;
use super::function::{Writer, unknown};
use crate::ast::{Instruction, Operand, Statement};
use crate::types::Type;
use std::collections::{HashMap, HashSet};
use std::fmt::Write;

/// `WIDE` in `runtime/emulator.h`.
const WORDS: usize = 512;

pub enum Step<'a> {
    Statement(&'a Statement),
    Batch(Vec<&'a Instruction>),
}

/// Names of registers in an operand.
pub fn names<'a>(operand: &'a Operand, into: &mut Vec<&'a str>) {
    match operand {
        Operand::Name(name) | Operand::Offset(name, _) => into.push(name),
        Operand::Vector(list) | Operand::List(list) => list.iter().for_each(|o| names(o, into)),
        Operand::Address(base, _) | Operand::Not(base) => names(base, into),
        Operand::Pair(first, second) => {
            names(first, into);
            names(second, into);
        }
        Operand::Tensor(base, list) => {
            names(base, into);
            list.iter().for_each(|o| names(o, into));
        }
        Operand::Int(_) | Operand::Float(_) | Operand::Double(_) | Operand::Discard => {}
    }
}

/// What an instruction writes and reads; the first operand is the result of all but stores.
fn effects(i: &Instruction) -> (Vec<&str>, Vec<&str>) {
    let (mut writes, mut reads) = (Vec::new(), Vec::new());
    let results = usize::from(!matches!(i.op[0].as_str(), "st" | "red" | "stmatrix"));
    for (n, operand) in i.args.iter().enumerate() {
        names(operand, if n < results { &mut writes } else { &mut reads });
    }
    if let Some((guard, _)) = &i.guard {
        reads.push(guard);
    }
    (writes, reads)
}

fn literals(i: &Instruction) -> usize {
    let of = |o: &Operand| match o {
        Operand::Vector(list) => list.iter().filter(|o| !matches!(o, Operand::Name(_))).count(),
        _ => 1,
    };
    i.args.iter().map(of).sum()
}

fn is_matrix(i: &Instruction) -> bool {
    matches!(i.op[0].as_str(), "ldmatrix" | "stmatrix" | "mma" | "movmatrix")
}

/// Whether an instruction has no effect but on its registers, so that it may run before a batch that it follows.
fn is_plain(i: &Instruction) -> bool {
    let pure =
        "mov add sub mul mad and or xor not shl shr shf lop3 prmt bfe bfi selp setp cvt cvta min max neg abs fma";
    if i.op[0] == "ld" {
        return !["volatile", "relaxed", "acquire"].iter().any(|m| i.has(m));
    }
    pure.split(' ').any(|p| p == i.op[0]) && !i.has("cc")
}

/// Statements with runs of matrix instructions taken together.
pub fn gather(body: &[Statement]) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut batch: Vec<&Instruction> = Vec::new();
    let (mut written, mut touched): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
    let mut used = 0;
    for statement in body {
        if let Statement::Instruction(i) = statement {
            let (writes, reads) = effects(i);
            if is_matrix(i) {
                // Addresses are read before the batch; each also takes a word.
                let address_known = i.args.iter().all(|o| match o {
                    Operand::Address(base, _) => {
                        let mut found = Vec::new();
                        names(base, &mut found);
                        found.iter().all(|name| !written.contains(name))
                    }
                    _ => true,
                });
                let stores = batch.last().is_some_and(|last| last.op[0] == "stmatrix") && i.op[0] == "ldmatrix";
                // At most: a word for every operand, for a row address and for every result.
                let room = used + reads.len() + writes.len() + literals(i) < WORDS;
                if !batch.is_empty() && (!address_known || stores || !room) {
                    steps.push(Step::Batch(std::mem::take(&mut batch)));
                    written.clear();
                    touched.clear();
                    used = 0;
                }
                let new = reads.iter().filter(|name| !touched.contains(*name)).count();
                used += new + writes.len() + literals(i) + 1;
                touched.extend(&reads);
                touched.extend(&writes);
                written.extend(&writes);
                batch.push(i);
                continue;
            }
            let free =
                reads.iter().all(|name| !written.contains(name)) && writes.iter().all(|name| !touched.contains(name));
            let no_store = i.op[0] != "ld" || batch.iter().all(|b| b.op[0] != "stmatrix");
            if batch.is_empty() || (is_plain(i) && free && no_store) {
                steps.push(Step::Statement(statement));
                continue;
            }
        }
        if !batch.is_empty() {
            steps.push(Step::Batch(std::mem::take(&mut batch)));
            written.clear();
            touched.clear();
            used = 0;
        }
        steps.push(Step::Statement(statement));
    }
    if !batch.is_empty() {
        steps.push(Step::Batch(batch));
    }
    steps
}

/// How often each register is read in a function.
pub fn count_reads(body: &[Statement]) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for statement in body {
        if let Statement::Instruction(i) = statement {
            for name in effects(i).1 {
                *counts.entry(name.to_owned()).or_insert(0) += 1;
            }
        }
    }
    counts
}

/// The words of one batch while it is written.
#[derive(Default)]
struct Words {
    next: usize,
    /// Where the present value of a register stands.
    of: HashMap<String, usize>,
    produced: HashSet<String>,
    /// How often the batch reads each register.
    read: HashMap<String, usize>,
    inputs: String,
    work: String,
    /// Products that are not in `work` yet, all by the same function.
    products: Vec<String>,
    function: String,
}

impl Words {
    fn fresh(&mut self) -> usize {
        self.next += 1;
        self.next - 1
    }

    fn flush(&mut self) {
        if self.products.is_empty() {
            return;
        }
        let (count, list) = (self.products.len(), self.products.join(", "));
        let (name, format) = self.function.split_once(' ').unwrap_or_default();
        let _ = writeln!(
            self.work,
            "            {{ static constexpr Product P_[] = {{{list}}}; {name}(w_, P_, {count}, Half::{format}); }}"
        );
        self.products.clear();
    }

    fn result(&mut self, name: &str, word: usize) {
        self.of.insert(name.to_owned(), word);
        self.produced.insert(name.to_owned());
    }
}

fn registers(operand: &Operand) -> Result<&[Operand]> {
    match operand {
        Operand::Vector(list) => Ok(list),
        other => Ok(std::slice::from_ref(other)),
    }
}

fn register(operand: &Operand) -> Result<&str> {
    match operand {
        Operand::Name(name) => Ok(name),
        other => Err(format!("result {other:?}")),
    }
}

impl Writer<'_> {
    pub fn batch(&mut self, batch: &[&Instruction]) -> Result<()> {
        let mut words = Words::default();
        for i in batch {
            if i.guard.is_some() {
                return Err(unknown(i, "a matrix instruction under a predicate"));
            }
            self.matrix(i, &mut words).map_err(|e| unknown(i, &e))?;
        }
        words.flush();
        if words.next > WORDS {
            return Err(unknown(batch[0], "a batch of too many registers"));
        }
        let last = batch[batch.len() - 1];
        let _ = write!(
            self.code,
            "    {{ auto& x_ = t->warp->wide; const uint32_t l_ = t->lane;\n      {}\n      together(t, [](Warp* w_) {{\n{}      \
             }}, \"{}\", {});\n      ",
            words.inputs, words.work, last.op[0], last.line
        );
        let mut outputs: Vec<(&String, usize)> = words.produced.iter().map(|name| (name, words.of[name])).collect();
        outputs.sort_by_key(|&(name, word)| (word, name));
        for (name, word) in outputs {
            let total = self.reads.get(name).copied().unwrap_or(0);
            if total > words.read.get(name).copied().unwrap_or(0) {
                let write = self.write(&Operand::Name(name.clone()), &format!("x_[{word}][l_]"), Type::U(4))?;
                self.code.push_str(&write);
                self.code.push(' ');
            }
        }
        self.code.push_str("}\n");
        Ok(())
    }

    /// The word that holds an operand's present value.
    fn word(&mut self, operand: &Operand, words: &mut Words) -> Result<usize> {
        if let Operand::Name(name) = operand {
            *words.read.entry(name.clone()).or_insert(0) += 1;
            if let Some(&word) = words.of.get(name) {
                return Ok(word);
            }
        }
        let value = self.read(operand, Type::U(4))?;
        let word = words.fresh();
        let _ = write!(words.inputs, "x_[{word}][l_] = {value}; ");
        if let Operand::Name(name) = operand {
            words.of.insert(name.clone(), word);
        }
        Ok(word)
    }

    fn address_word(&mut self, i: &Instruction, operand: &Operand, words: &mut Words) -> Result<usize> {
        let Operand::Address(base, offset) = operand else { return Err("no address".into()) };
        let shared = i.op.iter().any(|m| m == "shared" || m == "shared::cta");
        let value = self.read(base, Type::U(8))?;
        let window = if shared { "" } else { " - SHARED_WINDOW" };
        let word = words.fresh();
        let _ = write!(words.inputs, "x_[{word}][l_] = static_cast<uint32_t>({value} + {offset}ll{window}); ");
        Ok(word)
    }

    fn matrix(&mut self, i: &Instruction, words: &mut Words) -> Result<()> {
        if i.op[0] == "mma" {
            return self.product_words(i, words);
        }
        words.flush();
        let (trans, line) = (i.has("trans"), i.line);
        if !i.has("m8n8") || !i.has("b16") {
            return Err("not translated".into());
        }
        match i.op[0].as_str() {
            "ldmatrix" => {
                let rows = self.address_word(i, &i.args[1], words)?;
                let to = words.next;
                let results = registers(&i.args[0])?;
                for result in results {
                    let word = words.fresh();
                    words.result(register(result)?, word);
                }
                let count = results.len();
                let _ = writeln!(words.work, "            load_matrices(w_, {rows}, {to}, {count}, {trans}, {line});");
            }
            "stmatrix" => {
                let rows = self.address_word(i, &i.args[0], words)?;
                for (n, source) in registers(&i.args[1])?.iter().enumerate() {
                    let from = self.word(source, words)?;
                    let _ = writeln!(words.work, "            store_matrix(w_, {rows}, {from}, {n}, {trans}, {line});");
                }
            }
            _ => {
                let from = self.word(&i.args[1], words)?;
                let to = words.fresh();
                words.result(register(&i.args[0])?, to);
                let _ = writeln!(words.work, "            transpose_matrix(w_, {from}, {to});");
            }
        }
        Ok(())
    }

    fn product_words(&mut self, i: &Instruction, words: &mut Words) -> Result<()> {
        let depth = if i.has("m16n8k16") { 16 } else { 8 };
        let types = i.types();
        let form = |half| i.has("row") && i.has("col") && types == [Type::F32, half, half, Type::F32];
        let format = match (form(Type::F16), form(Type::BF16)) {
            (true, _) => "F16",
            (_, true) => "BF16",
            _ => return Err("not translated".into()),
        };
        if !i.has("m16n8k16") && !i.has("m16n8k8") {
            return Err("not translated".into());
        }
        let function = format!("multiply_k{depth} {format}");
        if function != words.function {
            words.flush();
            words.function = function;
        }
        let (d, c) = (registers(&i.args[0])?, registers(&i.args[3])?);
        let mut list = |operands: &[Operand], wanted: usize| -> Result<Vec<usize>> {
            if operands.len() != wanted {
                return Err(format!("{} registers where {wanted} belong", operands.len()));
            }
            operands.iter().map(|o| self.word(o, words)).collect()
        };
        let (a, b) = (list(registers(&i.args[1])?, depth / 4)?, list(registers(&i.args[2])?, depth / 8)?);
        let before = list(c, 4)?;
        let mut after = Vec::new();
        for (n, result) in d.iter().enumerate() {
            let name = register(result)?;
            // The sum may stand where its addend stood when nothing else asks for that again.
            let last = |o: &Operand| match o {
                Operand::Name(old) => d.contains(o) || self.reads.get(old) == Some(&1),
                _ => true,
            };
            let once = before.iter().filter(|&&w| w == before[n]).count() == 1;
            let word =
                if once && last(&c[n]) && d.contains(&c[n]) == (d[n] == c[n]) { before[n] } else { words.fresh() };
            after.push((name.to_owned(), word));
        }
        for (name, word) in &after {
            words.result(name, *word);
        }
        let join = |list: &[usize]| list.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        let after: Vec<usize> = after.iter().map(|(_, word)| *word).collect();
        words.products.push(format!(
            "{{{{{}}},{{{}}},{{{}}},{{{}}}}}",
            join(&a),
            join(&b),
            join(&before),
            join(&after)
        ));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The opcodes of the steps; those of a batch in brackets.
    fn steps(body: &str) -> String {
        let module = crate::parser::parse(&format!(".entry k() {{ {body} }}")).unwrap();
        let of = |i: &Instruction| i.op[0].clone();
        let step = |step: Step<'_>| match step {
            Step::Batch(batch) => format!("[{}]", batch.into_iter().map(of).collect::<Vec<_>>().join(" ")),
            Step::Statement(Statement::Instruction(i)) => of(i),
            Step::Statement(_) => "-".into(),
        };
        gather(module.functions[0].body.as_deref().unwrap()).into_iter().map(step).collect::<Vec<_>>().join(" ")
    }

    const LOAD: &str = "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, %r2}, [%r9];";
    const MMA: &str =
        "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%f1,%f2,%f3,%f4}, {%r1,%r2}, {%r3}, {%f1,%f2,%f3,%f4};";

    #[test]
    fn matrix_instructions_gather_and_what_they_do_not_touch_goes_before_them() {
        assert_eq!(
            steps(&format!("{LOAD} add.s32 %r8, %r9, 4; {MMA} bar.sync 0; {LOAD}")),
            "add [ldmatrix mma] bar [ldmatrix]"
        );
    }

    #[test]
    fn nothing_passes_that_reads_or_writes_a_register_of_the_batch() {
        assert_eq!(steps(&format!("{LOAD} add.s32 %r8, %r1, 4; {MMA}")), "[ldmatrix] add [mma]");
        assert_eq!(steps(&format!("{LOAD} add.s32 %r9, %r9, 4; {LOAD}")), "[ldmatrix] add [ldmatrix]");
        assert_eq!(steps(&format!("{MMA} mov.f32 %f1, %f9; {MMA}")), "[mma] mov [mma]");
    }

    #[test]
    fn stores_and_labels_end_a_batch() {
        assert_eq!(steps(&format!("{LOAD} st.shared.u32 [%r7], %r6; {LOAD}")), "[ldmatrix] st [ldmatrix]");
        assert_eq!(steps(&format!("{LOAD} L: {LOAD}")), "[ldmatrix] - [ldmatrix]");
        assert_eq!(steps(&format!("{LOAD} ld.volatile.shared.u32 %r6, [%r7]; {LOAD}")), "[ldmatrix] ld [ldmatrix]");
    }

    #[test]
    fn an_address_out_of_the_batch_starts_the_next_one() {
        let from_result = "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r5}, [%r2];";
        assert_eq!(steps(&format!("{LOAD} {from_result}")), "[ldmatrix] [ldmatrix]");
    }
}
