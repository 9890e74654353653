//! A Python pickle as plain values. Nothing in it is run: a call is recorded, never made.

use super::quoted;
use std::borrow::Cow;

/// The place of a value in its [`Pickle`].
///
/// Values refer to each other by number, so sharing costs nothing and cycles are harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueId(pub(super) u32);

/// One value of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'a> {
    None,
    Bool(bool),
    Int(i128),
    /// An integer of more than 128 bits.
    HugeInt,
    Float(f64),
    Str(Cow<'a, str>),
    Bytes(&'a [u8]),
    /// A list or a set.
    List(Vec<ValueId>),
    Tuple(Vec<ValueId>),
    /// A dict or an OrderedDict; a later entry replaces an earlier one of the same key.
    Dict(Vec<(ValueId, ValueId)>),
    /// A class or function, by name.
    Global {
        module: ValueId,
        name: ValueId,
    },
    /// What calling `function` with the tuple `arguments` would have given.
    Call {
        function: ValueId,
        arguments: ValueId,
    },
    /// An object that the pickle names but does not contain, such as a tensor's storage.
    Persistent(ValueId),
}

static ABSENT: Value<'static> = Value::None;

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: ValueId,
}

impl<'a> Pickle<'a> {
    /// The value numbered `id`.
    pub(super) fn get(&self, id: ValueId) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&ABSENT)
    }

    /// The string `id`.
    pub(super) fn text(&self, id: ValueId) -> Option<&str> {
        match self.get(id) {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer `id`, where it is neither negative nor too large for a size.
    pub(super) fn size(&self, id: ValueId) -> Option<usize> {
        match self.get(id) {
            Value::Int(value) => usize::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The items of the tuple or list `id`.
    pub(super) fn items(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.get(id) {
            Value::Tuple(items) | Value::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of the dict `id`.
    pub(super) fn entries(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        match self.get(id) {
            Value::Dict(entries) => Some(entries),
            _ => None,
        }
    }

    /// What the dict `id` holds for `key`.
    pub(super) fn lookup(&self, id: ValueId, key: &str) -> Option<ValueId> {
        self.entries(id)?.iter().rev().find(|&&(name, _)| self.text(name) == Some(key)).map(|&(_, value)| value)
    }

    /// Module and name of the class or function `id`.
    pub(super) fn global(&self, id: ValueId) -> Option<(&str, &str)> {
        match *self.get(id) {
            Value::Global { module, name } => Some((self.text(module)?, self.text(name)?)),
            _ => None,
        }
    }

    /// Function and arguments of the recorded call `id`, where the function is a plain global.
    pub(super) fn call(&self, id: ValueId) -> Option<((&str, &str), &[ValueId])> {
        match *self.get(id) {
            Value::Call { function, arguments } => Some((self.global(function)?, self.items(arguments)?)),
            _ => None,
        }
    }

    /// What `id` is, for an error message.
    pub(super) fn describe(&self, id: ValueId) -> String {
        match self.get(id) {
            Value::None => "None".to_owned(),
            Value::Bool(_) => "a bool".to_owned(),
            Value::Int(value) => format!("the integer {value}"),
            Value::HugeInt => "an integer of more than 128 bits".to_owned(),
            Value::Float(value) => format!("the number {value}"),
            Value::Str(text) => format!("the string {}", quoted(text)),
            Value::Bytes(_) => "a byte string".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Tuple(_) => "a tuple".to_owned(),
            Value::Dict(_) => "a dict".to_owned(),
            Value::Persistent(_) => "a storage".to_owned(),
            Value::Global { .. } => format!("the class or function {}", self.global_name(id)),
            Value::Call { function, .. } => format!("a call of {} (not run)", self.global_name(*function)),
        }
    }

    fn global_name(&self, id: ValueId) -> String {
        match self.global(id) {
            Some((module, name)) => quoted(&format!("{}.{}", head(module), head(name))),
            None => "a computed object".to_owned(),
        }
    }
}

/// The first part of a name that may be megabytes long.
fn head(text: &str) -> &str {
    text.char_indices().nth(80).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
