//! Tokens to the tree of `ast`. Anything unknown is an error with its line.

use crate::ast::{Function, Instruction, Module, Operand, Space, Statement, Variable};
use crate::lexer::{Token, tokens};
use crate::types::Type;

type Result<T> = std::result::Result<T, String>;

/// Parses one PTX file.
pub fn parse(source: &str) -> Result<Module> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0 };
    let mut module = Module::default();
    while parser.at < parser.tokens.len() {
        parser.top(&mut module)?;
    }
    Ok(module)
}

struct Parser {
    tokens: Vec<(Token, u32)>,
    at: usize,
}

impl Parser {
    fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |t| t.1)
    }

    fn error<T>(&self, wanted: &str) -> Result<T> {
        let found = match self.tokens.get(self.at) {
            Some((Token::Word(w), _)) => format!("'{w}'"),
            Some((Token::Sign(c), _)) => format!("'{c}'"),
            Some((Token::Text, _)) => "a string".into(),
            None => "the end of the file".into(),
        };
        Err(format!("line {}: {found} where {wanted} was expected", self.line()))
    }

    fn peek(&self) -> Option<&str> {
        match self.tokens.get(self.at) {
            Some((Token::Word(w), _)) => Some(w),
            _ => None,
        }
    }

    fn sees(&self, sign: char) -> bool {
        matches!(self.tokens.get(self.at), Some((Token::Sign(c), _)) if *c == sign)
    }

    fn take(&mut self, sign: char) -> bool {
        let found = self.sees(sign);
        self.at += usize::from(found);
        found
    }

    fn need(&mut self, sign: char) -> Result<()> {
        if self.take(sign) { Ok(()) } else { self.error(&format!("'{sign}'")) }
    }

    fn word(&mut self) -> Result<String> {
        match self.peek() {
            Some(w) => {
                let w = w.to_owned();
                self.at += 1;
                Ok(w)
            }
            None => self.error("a word"),
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn integer(&mut self) -> Result<i128> {
        let negative = self.take('-');
        let word = self.word()?;
        let digits = word.trim_end_matches('U');
        let value = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            Some(hex) => i128::from_str_radix(hex, 16),
            None if digits.len() > 1 && digits.starts_with('0') => i128::from_str_radix(&digits[1..], 8),
            None => digits.parse(),
        };
        match value {
            Ok(v) => Ok(if negative { -v } else { v }),
            Err(_) => {
                self.at -= 1;
                self.error("an integer")
            }
        }
    }

    fn top(&mut self, module: &mut Module) -> Result<()> {
        let line = self.line();
        let mut external = false;
        loop {
            match self.word()?.as_str() {
                ".visible" | ".weak" | ".common" => {}
                ".extern" => external = true,
                ".version" | ".address_size" => return self.word().map(|_| ()),
                ".target" => {
                    module.target = self.word()?;
                    while self.take(',') {
                        self.word()?;
                    }
                    return Ok(());
                }
                ".file" => {
                    self.at += 2;
                    while self.take(',') {
                        self.word()?;
                    }
                    return Ok(());
                }
                ".section" => {
                    while !self.take('}') {
                        self.at += 1;
                        if self.at >= self.tokens.len() {
                            return self.error("'}'");
                        }
                    }
                    return Ok(());
                }
                ".entry" => {
                    let function = self.function(true)?;
                    module.functions.push(function);
                    return Ok(());
                }
                ".func" => {
                    let function = self.function(false)?;
                    module.functions.push(function);
                    return Ok(());
                }
                word => {
                    let Some(space) = space(word) else {
                        return Err(format!("line {line}: directive '{word}' is not known"));
                    };
                    let mut variable = self.variable(space)?;
                    variable.external = external;
                    self.need(';')?;
                    module.variables.push(variable);
                    return Ok(());
                }
            }
        }
    }

    /// After its state space: alignment, type, name, dimensions, initialiser.
    fn variable(&mut self, space: Space) -> Result<Variable> {
        let line = self.line();
        let mut align = None;
        let ty = loop {
            let word = self.word()?;
            match word.as_str() {
                ".align" => align = Some(self.integer()? as u32),
                // Attributes of a kernel parameter that points somewhere.
                ".ptr" | ".global" | ".const" | ".shared" | ".local" => {}
                _ => match Type::parse(word.trim_start_matches('.')) {
                    Some(ty) => break ty,
                    None => return Err(format!("line {line}: type '{word}' is not known")),
                },
            }
        };
        while self.take_word(".ptr") {
            if self.peek().is_some_and(|w| space_of(w).is_some()) {
                self.at += 1;
            }
            if self.take_word(".align") {
                self.integer()?;
            }
        }
        let name = self.word()?;
        let mut count = 1;
        while self.take('[') {
            count *= if self.sees(']') { 0 } else { self.integer()? as u32 };
            self.need(']')?;
        }
        let mut initial = Vec::new();
        if self.take('=') {
            self.initialiser(&mut initial)?;
        }
        let bytes = count * u32::from(ty.size());
        let align = align.unwrap_or(u32::from(ty.size()));
        Ok(Variable { space, name, align, bytes, external: false, ty, initial, line })
    }

    fn initialiser(&mut self, into: &mut Vec<Operand>) -> Result<()> {
        if !self.take('{') {
            into.push(self.operand()?);
            return Ok(());
        }
        while !self.take('}') {
            self.initialiser(into)?;
            self.take(',');
        }
        Ok(())
    }

    fn parameters(&mut self) -> Result<Vec<Variable>> {
        let mut found = Vec::new();
        if !self.take('(') {
            return Ok(found);
        }
        while !self.take(')') {
            match self.word()?.as_str() {
                ".param" => found.push(self.variable(Space::Param)?),
                _ => {
                    self.at -= 1;
                    return self.error("'.param'");
                }
            }
            self.take(',');
        }
        Ok(found)
    }

    fn function(&mut self, entry: bool) -> Result<Function> {
        let returns = if entry { Vec::new() } else { self.parameters()? };
        let name = self.word()?;
        let parameters = self.parameters()?;
        let mut max_threads = None;
        let body = loop {
            if self.take(';') {
                break None;
            }
            if self.take('{') {
                break Some(self.body()?);
            }
            match self.word()?.as_str() {
                ".maxntid" | ".reqntid" => {
                    let mut product = self.integer()? as u32;
                    while self.take(',') {
                        product *= self.integer()? as u32;
                    }
                    max_threads = Some(product);
                }
                ".minnctapersm" | ".maxnreg" | ".maxclusterrank" => {
                    self.integer()?;
                }
                ".reqnctapercluster" => {
                    self.integer()?;
                    while self.take(',') {
                        self.integer()?;
                    }
                }
                ".noreturn" | ".explicitcluster" => {}
                ".pragma" => {
                    self.at += 1;
                    self.take(';');
                }
                _ => {
                    self.at -= 1;
                    return self.error("the body of a function");
                }
            }
        };
        Ok(Function { name, entry, returns, parameters, max_threads, body })
    }

    fn body(&mut self) -> Result<Vec<Statement>> {
        let mut found = Vec::new();
        let mut depth = 1;
        while depth > 0 {
            if self.take('{') {
                depth += 1;
                found.push(Statement::Open);
            } else if self.take('}') {
                depth -= 1;
                if depth > 0 {
                    found.push(Statement::Close);
                }
            } else if !self.take(';') {
                self.statement(&mut found)?;
            }
        }
        Ok(found)
    }

    fn statement(&mut self, found: &mut Vec<Statement>) -> Result<()> {
        let line = self.line();
        let guard = if self.take('@') {
            let negated = self.take('!');
            Some((self.word()?, negated))
        } else {
            None
        };
        let start = self.at;
        let word = self.word()?;
        if guard.is_none() && self.take(':') {
            if self.take_word(".branchtargets") {
                let targets = self.operands()?.into_iter().map(|o| match o {
                    Operand::Name(name) => Ok(name),
                    _ => Err(format!("line {line}: a branch target that is no label")),
                });
                found.push(Statement::Targets(word, targets.collect::<Result<_>>()?));
            } else if self.take_word(".callprototype") {
                return Err(format!("line {line}: calls through pointers are not translated"));
            } else {
                found.push(Statement::Label(word));
            }
            return Ok(());
        }
        match word.as_str() {
            ".reg" => {
                let name = self.word()?;
                let ty = Type::parse(name.trim_start_matches('.'))
                    .ok_or(format!("line {line}: registers of type '{name}' are not translated"))?;
                let mut names = Vec::new();
                loop {
                    let name = self.word()?;
                    let count = if self.take('<') {
                        let count = self.integer()? as u32;
                        self.need('>')?;
                        Some(count)
                    } else {
                        None
                    };
                    names.push((name, count));
                    if !self.take(',') {
                        break;
                    }
                }
                found.push(Statement::Registers(ty, names));
                self.need(';')
            }
            // Positions in the source and hints to the assembler.
            ".loc" => {
                while self.line() == line {
                    self.at += 1;
                }
                Ok(())
            }
            ".pragma" => {
                self.at += 1;
                self.need(';')
            }
            _ if space(&word).is_some() => {
                let variable = self.variable(space(&word).unwrap_or(Space::Local))?;
                found.push(Statement::Variable(variable));
                self.need(';')
            }
            _ if word.starts_with('.') => Err(format!("line {line}: directive '{word}' is not known")),
            _ => {
                let op = word.split('.').map(str::to_owned).collect();
                let args = self.operands()?;
                let text = self.text(start);
                found.push(Statement::Instruction(Instruction { guard, op, args, line, text }));
                Ok(())
            }
        }
    }

    /// The tokens from `start` to before the last, as they were written but for spaces.
    fn text(&self, start: usize) -> String {
        let mut text = String::new();
        for (token, _) in &self.tokens[start..self.at - 1] {
            match token {
                Token::Word(w) => {
                    if text.ends_with(|c: char| c.is_alphanumeric()) {
                        text.push(' ');
                    }
                    text.push_str(w);
                }
                Token::Sign(c) => {
                    if matches!(c, '[' | '{' | '(' | '!') && text.ends_with(|c: char| c.is_alphanumeric()) {
                        text.push(' ');
                    }
                    text.push(*c);
                    if *c == ',' {
                        text.push(' ');
                    }
                }
                Token::Text => text.push_str("\"\""),
            }
        }
        text
    }

    /// Up to and with the semicolon.
    fn operands(&mut self) -> Result<Vec<Operand>> {
        let mut found = Vec::new();
        while !self.take(';') {
            found.push(self.operand()?);
            if !self.take(',') && !self.sees(';') {
                return self.error("',' or ';'");
            }
        }
        Ok(found)
    }

    fn operand(&mut self) -> Result<Operand> {
        let first = self.single()?;
        if self.take('|') {
            return Ok(Operand::Pair(Box::new(first), Box::new(self.single()?)));
        }
        Ok(first)
    }

    fn list(&mut self, end: char) -> Result<Vec<Operand>> {
        let mut found = Vec::new();
        while !self.take(end) {
            found.push(self.operand()?);
            if !self.take(',') && !self.sees(end) {
                return self.error(&format!("',' or '{end}'"));
            }
        }
        Ok(found)
    }

    fn single(&mut self) -> Result<Operand> {
        if self.take('{') {
            return Ok(Operand::Vector(self.list('}')?));
        }
        if self.take('(') {
            return Ok(Operand::List(self.list(')')?));
        }
        if self.take('!') {
            return Ok(Operand::Not(Box::new(self.single()?)));
        }
        if self.take('[') {
            let base = self.single()?;
            if self.take(',') {
                let coordinates = match self.single()? {
                    Operand::Vector(found) => found,
                    _ => return self.error("coordinates in braces"),
                };
                self.need(']')?;
                return Ok(Operand::Tensor(Box::new(base), coordinates));
            }
            self.need(']')?;
            return Ok(match base {
                Operand::Offset(name, offset) => Operand::Address(Box::new(Operand::Name(name)), offset),
                base => Operand::Address(Box::new(base), 0),
            });
        }
        if self.sees('-') {
            return self.integer().map(Operand::Int);
        }
        let Some(word) = self.peek() else { return self.error("an operand") };
        if word == "_" {
            self.at += 1;
            return Ok(Operand::Discard);
        }
        if let Some(bits) = word.strip_prefix("0f").or(word.strip_prefix("0F")) {
            let bits = u32::from_str_radix(bits, 16);
            return bits.map(Operand::Float).or_else(|_| self.error("a float")).inspect(|_| self.at += 1);
        }
        if let Some(bits) = word.strip_prefix("0d").or(word.strip_prefix("0D")) {
            let bits = u64::from_str_radix(bits, 16);
            return bits.map(Operand::Double).or_else(|_| self.error("a double")).inspect(|_| self.at += 1);
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return self.integer().map(Operand::Int);
        }
        let name = self.word()?;
        if self.take('+') {
            let offset = self.integer()? as i64;
            return Ok(Operand::Offset(name, offset));
        }
        if self.sees('-') {
            let offset = self.integer()? as i64;
            return Ok(Operand::Offset(name, offset));
        }
        Ok(Operand::Name(name))
    }
}

fn space(word: &str) -> Option<Space> {
    match word {
        ".param" => Some(Space::Param),
        _ => space_of(word),
    }
}

fn space_of(word: &str) -> Option<Space> {
    Some(match word {
        ".global" => Space::Global,
        ".const" => Space::Const,
        ".shared" => Space::Shared,
        ".local" => Space::Local,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "
.version 8.8
.target sm_80
.address_size 64
.const .align 4 .b8 W[4] = {1, 0x2, 3};
.extern .shared .align 16 .b8 tail[];
.func (.param .b32 r) f(.param .b64 a);
.visible .entry k(
    .param .u64 .ptr .global .align 4 k_0, .param .align 8 .b8 k_1[24]
)
.maxntid 128, 2, 1
{
    .reg .pred %p<3>;
    .reg .b32 %r<4>, tmp;
    { .reg .b32 x; @!%p1 ld.global.v2.u32 {%r1, _}, [%rd1+-8]; }
$L_1: ts: .branchtargets $L_1, $L_2;
    shfl.sync.idx.b32 %r1|%p2, %r2, 0f3F800000, 31, -1;
    call.uni (r), f, (a, b);
    ret;
}";

    #[test]
    fn a_module_is_taken_apart() {
        let module = parse(SAMPLE).unwrap();
        assert_eq!((module.target.as_str(), module.variables.len(), module.functions.len()), ("sm_80", 2, 2));
        assert_eq!(module.variables[0].initial.len(), 3);
        assert!(module.variables[1].external && module.variables[1].bytes == 0);
        let kernel = &module.functions[1];
        assert_eq!((kernel.max_threads, kernel.parameters[1].bytes), (Some(256), 24));
        let body = kernel.body.as_ref().unwrap();
        let instructions: Vec<&Instruction> =
            body.iter().filter_map(|s| if let Statement::Instruction(i) = s { Some(i) } else { None }).collect();
        assert_eq!(instructions[0].guard, Some(("%p1".into(), true)));
        assert_eq!(instructions[0].args[1], Operand::Address(Box::new(Operand::Name("%rd1".into())), -8));
        assert_eq!(instructions[0].text, "ld.global.v2.u32 {%r1, _}, [%rd1+-8]");
        assert_eq!(instructions[1].args[2], Operand::Float(0x3F800000));
        assert_eq!(instructions[2].args.len(), 3);
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(
            parse(".version 8.8\n.target sm_80\n.alias a, b;").unwrap_err(),
            "line 3: directive '.alias' is not known"
        );
        let body = ".entry k() {\n add.s32 %r1 %r2;\n}";
        assert_eq!(parse(body).unwrap_err(), "line 2: '%r2' where ',' or ';' was expected");
    }
}
