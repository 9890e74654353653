//! The state of the pickle machine: input, stack, marks, memo, and the limits on each.

use super::pickle::{Value, ValueId};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Most bytes of one pickle that are read; a checkpoint's has under a hundred thousand.
pub(super) const MAX_PICKLE: usize = 64 << 20;

/// Most values of one pickle; a checkpoint with its optimizer has some ten thousand.
pub(super) const MAX_VALUES: usize = 1 << 20;

/// Most values, and most marks, on the stack.
pub(super) const MAX_STACK: usize = 1 << 20;

/// A pickle being read.
#[derive(Default)]
pub(super) struct Machine<'a> {
    pub(super) input: &'a [u8],
    pub(super) at: usize,
    /// Where the current opcode began.
    pub(super) opcode_at: usize,
    pub(super) values: Vec<Value<'a>>,
    /// Values made so far, and entries copied from one container to another.
    pub(super) spent: usize,
    pub(super) stack: Vec<ValueId>,
    /// Stack heights at the open marks.
    pub(super) marks: Vec<usize>,
    pub(super) memo: HashMap<u32, ValueId>,
}

/// The input.
impl<'a> Machine<'a> {
    fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    fn cut_short(&self) -> Error {
        Error::format(if self.input.len() < MAX_PICKLE {
            "the file ends within the pickle; fetch the file again".to_owned()
        } else {
            format!("the pickle has more than the {MAX_PICKLE} bytes that are read; save the state dict alone")
        })
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|&[byte]| byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        let bytes = self.rest().first_chunk().ok_or_else(|| self.cut_short())?;
        self.at += N;
        Ok(bytes)
    }

    /// An error unless `len` more bytes are there.
    pub(super) fn fits(&self, len: u64) -> Result<()> {
        if len <= self.rest().len() as u64 { Ok(()) } else { Err(self.cut_short()) }
    }

    /// Bytes preceded by their number, which is `W` bytes wide.
    pub(super) fn sized<const W: usize>(&mut self) -> Result<&'a [u8]> {
        let len = self.array::<W>()?.iter().rev().fold(0u64, |len, &byte| (len << 8) | u64::from(byte));
        self.fits(len)?;
        let bytes = self.rest().get(..len as usize).ok_or_else(|| self.cut_short())?;
        self.at += bytes.len();
        Ok(bytes)
    }

    /// Bytes up to the next line feed, without it.
    pub(super) fn line(&mut self) -> Result<&'a [u8]> {
        let line = self.rest().split(|&byte| byte == b'\n').next().unwrap_or_default();
        self.fits(line.len() as u64 + 1)?;
        self.at += line.len() + 1;
        Ok(line)
    }
}

/// The values.
impl<'a> Machine<'a> {
    /// What is spent once `count` more values are made; an error where that is beyond the limit.
    pub(super) fn spent_after(&self, count: usize) -> Result<usize> {
        let spent = self.spent.saturating_add(count);
        if spent > MAX_VALUES {
            return Err(Error::format(format!(
                "the pickle has more than the {MAX_VALUES} values that are read; save the state dict alone"
            )));
        }
        Ok(spent)
    }

    pub(super) fn new_value(&mut self, value: Value<'a>) -> Result<ValueId> {
        self.spent = self.spent_after(1)?;
        let id = u32::try_from(self.values.len()).map_err(|_| Error::internal("more values than the limit"))?;
        self.values.push(value);
        Ok(ValueId(id))
    }

    pub(super) fn value(&self, id: ValueId) -> Option<&Value<'a>> {
        self.values.get(id.0 as usize)
    }

    pub(super) fn text(&self, id: ValueId) -> Option<&str> {
        match self.value(id) {
            Some(Value::Str(text)) => Some(text),
            _ => None,
        }
    }
}

/// The stack.
impl<'a> Machine<'a> {
    pub(super) fn push(&mut self, id: ValueId) -> Result<()> {
        if self.stack.len() >= MAX_STACK {
            return Err(Error::format(format!("more than {MAX_STACK} values on the stack; the file is damaged")));
        }
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn push_new(&mut self, value: Value<'a>) -> Result<()> {
        let id = self.new_value(value)?;
        self.push(id)
    }

    /// The stack height below which an opcode may not reach.
    pub(super) fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<ValueId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// The topmost `count` values, lowest first.
    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<ValueId>> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.fence()).ok_or_else(underflow)?;
        Ok(self.stack.split_off(start))
    }

    /// The values above the topmost mark, which is removed.
    pub(super) fn pop_to_mark(&mut self) -> Result<Vec<ValueId>> {
        let start = self.marks.pop().ok_or_else(|| Error::format("no mark is open; the file is damaged"))?;
        Ok(self.stack.drain(start.min(self.stack.len())..).collect())
    }

    pub(super) fn top(&self) -> Result<ValueId> {
        self.stack.get(self.fence()..).and_then(<[_]>::last).copied().ok_or_else(underflow)
    }

    pub(super) fn top_value(&mut self) -> Result<&mut Value<'a>> {
        let top = self.top()?;
        self.values.get_mut(top.0 as usize).ok_or_else(underflow)
    }
}

fn underflow() -> Error {
    Error::format("an opcode finds too few values on the stack; the file is damaged")
}
