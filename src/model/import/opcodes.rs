//! The pickle machine: turns the opcodes of protocols 0 to 5 into the values of a [`Pickle`].

use super::literals::{little_endian, pairs, parsed, python2_string, unescaped, unquoted, utf8};
use super::machine::{MAX_PICKLE, MAX_STACK, MAX_VALUES, Machine};
use super::pickle::{Pickle, Value, ValueId};
use crate::error::{Error, Result};

impl<'a> Pickle<'a> {
    /// Reads the pickle at the start of `bytes`; also the number of bytes it takes.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, usize)> {
        let input = bytes.get(..MAX_PICKLE).unwrap_or(bytes);
        let mut machine = Machine { input, ..Machine::default() };
        let root = machine.run().map_err(|e| e.within(format!("pickle byte {}", machine.opcode_at)))?;
        Ok((Self { values: machine.values, root }, machine.at))
    }
}

impl<'a> Machine<'a> {
    fn run(&mut self) -> Result<ValueId> {
        loop {
            self.opcode_at = self.at;
            match self.byte()? {
                b'.' => return self.pop(),
                opcode => self.step(opcode)?,
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 | 0x95 => self.frame(opcode),
            b'N' | 0x88 | 0x89 | b'F' | b'G' => self.scalar(opcode),
            b'I' | b'L' | b'J' | b'K' | b'M' | 0x8a | 0x8b => self.integer(opcode),
            b'S' | b'V' | b'T' | b'U' | b'X' | 0x8c | 0x8d => self.string(opcode),
            b'B' | b'C' | 0x8e | 0x96 => self.byte_string(opcode),
            b'(' | b'0' | b'1' | b'2' => self.stack_only(opcode),
            b')' | b't' | 0x85..=0x87 | 0x91 => self.tuple(opcode),
            b']' | b'l' | b'}' | b'd' | 0x8f => self.container(opcode),
            b'a' | b'e' | 0x90 => self.append(opcode),
            b's' | b'u' => self.set_items(opcode),
            b'c' | 0x93 => self.global(opcode),
            b'R' | 0x81 | 0x92 | b'i' | b'o' | b'b' => self.object(opcode),
            b'P' | b'Q' => self.persistent(opcode),
            b'p' | b'q' | b'r' | 0x94 => self.memorise(opcode),
            b'g' | b'h' | b'j' => self.recall(opcode),
            _ => Err(Error::format(format!(
                "unknown opcode 0x{opcode:02x}; protocols 0 to 5 are read, without extensions and out-of-band buffers"
            ))),
        }
    }

    fn frame(&mut self, opcode: u8) -> Result<()> {
        if opcode == 0x95 {
            // Frames only tell a reader how much to fetch at once.
            return self.array().and_then(|len| self.fits(u64::from_le_bytes(*len)));
        }
        match self.byte()? {
            0..=5 => Ok(()),
            protocol => Err(Error::format(format!("pickle protocol {protocol}; 0 to 5 are read"))),
        }
    }

    fn scalar(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'N' => Value::None,
            b'G' => Value::Float(f64::from_be_bytes(*self.array()?)),
            b'F' => Value::Float(parsed(self.line()?)?),
            flag => Value::Bool(flag == 0x88),
        };
        self.push_new(value)
    }

    fn integer(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(*self.array()?).into()),
            b'J' => Value::Int(i32::from_le_bytes(*self.array()?).into()),
            0x8a => little_endian(self.sized::<1>()?),
            0x8b => little_endian(self.sized::<4>()?),
            _ => match self.line()? {
                b"00" if opcode == b'I' => Value::Bool(false),
                b"01" if opcode == b'I' => Value::Bool(true),
                digits if digits.len() > 38 => Value::HugeInt,
                digits => Value::Int(parsed(digits.strip_suffix(b"L").unwrap_or(digits))?),
            },
        };
        self.push_new(value)
    }

    fn string(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'S' => Value::Str(unescaped(unquoted(self.line()?)?, false)?.into()),
            b'V' => Value::Str(unescaped(self.line()?, true)?.into()),
            b'T' => python2_string(self.sized::<4>()?),
            b'U' => python2_string(self.sized::<1>()?),
            b'X' => Value::Str(utf8(self.sized::<4>()?)?.into()),
            0x8c => Value::Str(utf8(self.sized::<1>()?)?.into()),
            _ => Value::Str(utf8(self.sized::<8>()?)?.into()),
        };
        self.push_new(value)
    }

    fn byte_string(&mut self, opcode: u8) -> Result<()> {
        let bytes = match opcode {
            b'B' => self.sized::<4>()?,
            b'C' => self.sized::<1>()?,
            _ => self.sized::<8>()?,
        };
        self.push_new(Value::Bytes(bytes))
    }

    fn stack_only(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            b'(' if self.marks.len() >= MAX_STACK => Err(Error::format(format!("more than {MAX_STACK} open marks"))),
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'2' => {
                let top = self.top()?;
                self.push(top)
            }
            // Python lets POP remove a mark that nothing lies upon.
            b'0' if self.stack.len() > self.fence() => self.pop().map(drop),
            _ => self.pop_to_mark().map(drop),
        }
    }

    fn tuple(&mut self, opcode: u8) -> Result<()> {
        let items = match opcode {
            b')' => Vec::new(),
            0x85..=0x87 => self.pop_many(usize::from(opcode - 0x84))?,
            _ => self.pop_to_mark()?,
        };
        self.push_new(Value::Tuple(items))
    }

    fn container(&mut self, opcode: u8) -> Result<()> {
        let value = match opcode {
            b'l' => Value::List(self.pop_to_mark()?),
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)?),
            b'}' => Value::Dict(Vec::new()),
            _ => Value::List(Vec::new()),
        };
        self.push_new(value)
    }

    fn append(&mut self, opcode: u8) -> Result<()> {
        let mut items = if opcode == b'a' { vec![self.pop()?] } else { self.pop_to_mark()? };
        match self.top_value()? {
            Value::List(list) => list.append(&mut items),
            // What a recorded call would have made takes items that are of no use here.
            Value::Call { .. } => {}
            _ => return Err(Error::format("items are appended to something that is not a list")),
        }
        Ok(())
    }

    fn set_items(&mut self, opcode: u8) -> Result<()> {
        let items = if opcode == b's' { self.pop_many(2)? } else { self.pop_to_mark()? };
        let mut pairs = pairs(&items)?;
        match self.top_value()? {
            Value::Dict(entries) => entries.append(&mut pairs),
            Value::Call { .. } => {}
            _ => return Err(Error::format("entries are added to something that is not a dict")),
        }
        Ok(())
    }

    fn global(&mut self, opcode: u8) -> Result<()> {
        let id = if opcode == b'c' {
            self.named_global()?
        } else {
            let name = self.pop()?;
            let module = self.pop()?;
            if self.text(module).is_none() || self.text(name).is_none() {
                return Err(Error::format("a class or function is named by something that is not a string"));
            }
            self.new_value(Value::Global { module, name })?
        };
        self.push(id)
    }

    fn named_global(&mut self) -> Result<ValueId> {
        let module = utf8(self.line()?)?;
        let name = utf8(self.line()?)?;
        let module = self.new_value(Value::Str(module.into()))?;
        let name = self.new_value(Value::Str(name.into()))?;
        self.new_value(Value::Global { module, name })
    }

    fn object(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            // BUILD sets attributes; an OrderedDict's are PyTorch's `_metadata`, which says nothing about the values.
            b'b' => {
                self.pop()?;
                self.top().map(drop)
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.call(function, arguments)
            }
            0x92 => {
                self.pop()?; // Keyword arguments.
                let arguments = self.pop()?;
                let function = self.pop()?;
                self.call(function, arguments)
            }
            b'i' => {
                let function = self.named_global()?;
                let arguments = self.pop_to_mark()?;
                let arguments = self.new_value(Value::Tuple(arguments))?;
                self.call(function, arguments)
            }
            _ => {
                let mut items = self.pop_to_mark()?.into_iter();
                let function = items.next().ok_or_else(|| Error::format("an object without a class"))?;
                let arguments = self.new_value(Value::Tuple(items.collect()))?;
                self.call(function, arguments)
            }
        }
    }

    /// Records a call. Only an OrderedDict is made, since the values wanted are in one.
    fn call(&mut self, function: ValueId, arguments: ValueId) -> Result<()> {
        if !matches!(self.value(arguments), Some(Value::Tuple(_))) {
            return Err(Error::format("the arguments of a call are not a tuple"));
        }
        let value = match self.value(function) {
            Some(&Value::Global { module, name })
                if self.text(module) == Some("collections") && self.text(name) == Some("OrderedDict") =>
            {
                self.ordered_dict(arguments)?
            }
            Some(Value::Global { .. } | Value::Call { .. } | Value::Persistent(_)) => {
                Value::Call { function, arguments }
            }
            _ => return Err(Error::format("something is called that is not a class or function")),
        };
        self.push_new(value)
    }

    /// `OrderedDict()`, or `OrderedDict([[key, value], ...])` as Python 2 wrote it.
    fn ordered_dict(&mut self, arguments: ValueId) -> Result<Value<'a>> {
        let bad = || Error::format("an OrderedDict is made of something that is not a list of pairs");
        let list = match self.value(arguments) {
            Some(Value::Tuple(items)) if items.is_empty() => return Ok(Value::Dict(Vec::new())),
            Some(Value::Tuple(items)) if items.len() == 1 => items.first().copied().ok_or_else(bad)?,
            _ => return Err(bad()),
        };
        let Some(Value::List(items)) = self.value(list) else { return Err(bad()) };
        let pair = |&item: &ValueId| match self.value(item) {
            Some(Value::List(pair) | Value::Tuple(pair)) => <[ValueId; 2]>::try_from(pair.as_slice()).ok(),
            _ => None,
        };
        // Copies count as values: one list may be named again and again.
        let spent = self.spent_after(items.len())?;
        let entries = items.iter().map(|item| pair(item).map(|[key, value]| (key, value)).ok_or_else(bad));
        let entries = entries.collect::<Result<Vec<_>>>()?;
        self.spent = spent;
        Ok(Value::Dict(entries))
    }

    fn persistent(&mut self, opcode: u8) -> Result<()> {
        let id = if opcode == b'Q' {
            self.pop()?
        } else {
            let name = utf8(self.line()?)?;
            self.new_value(Value::Str(name.into()))?
        };
        self.push_new(Value::Persistent(id))
    }

    fn memorise(&mut self, opcode: u8) -> Result<()> {
        let slot = match opcode {
            0x94 => self.memo.len() as u32,
            b'q' => self.byte()?.into(),
            b'r' => u32::from_le_bytes(*self.array()?),
            _ => parsed(self.line()?)?,
        };
        let top = self.top()?;
        self.memo.insert(slot, top);
        if self.memo.len() > MAX_VALUES {
            return Err(Error::format(format!("more than {MAX_VALUES} memo slots")));
        }
        Ok(())
    }

    fn recall(&mut self, opcode: u8) -> Result<()> {
        let slot = match opcode {
            b'h' => self.byte()?.into(),
            b'j' => u32::from_le_bytes(*self.array()?),
            _ => parsed(self.line()?)?,
        };
        let id = self.memo.get(&slot).copied();
        self.push(id.ok_or_else(|| Error::format(format!("memo slot {slot} is empty")))?)
    }
}
