//! Handles: pointer-typed numbers that carry kind, slot and generation, and are never dereferenced.
//!
//! A stale, doubly freed, foreign or wrong-kind handle is found out by the table, whatever the caller did with it.

use super::model::ModelObject;
use super::result::ResultObject;
use super::session::SessionObject;
use super::text_encoder::TextEncoderObject;
use super::vocabulary::VocabularyObject;
use crate::error::{Error, ErrorKind, Result};
use parking_lot::RwLock;
use std::sync::Arc;

/// An object behind a handle.
#[derive(Clone)]
pub(super) enum Object {
    Model(Arc<ModelObject>),
    TextEncoder(Arc<TextEncoderObject>),
    Vocabulary(Arc<VocabularyObject>),
    Session(Arc<SessionObject>),
    Result(Arc<ResultObject>),
}

/// A kind of object that handles stand for.
pub(super) trait Kind: Sized {
    const NAME: &'static str;

    fn wrap(this: Arc<Self>) -> Object;
    fn unwrap(object: Object) -> Option<Arc<Self>>;
}

macro_rules! kind {
    ($type:ty, $variant:ident, $name:literal) => {
        impl Kind for $type {
            const NAME: &'static str = $name;

            fn wrap(this: Arc<Self>) -> Object {
                Object::$variant(this)
            }

            fn unwrap(object: Object) -> Option<Arc<Self>> {
                match object {
                    Object::$variant(this) => Some(this),
                    _ => None,
                }
            }
        }
    };
}

kind!(ModelObject, Model, "model");
kind!(TextEncoderObject, TextEncoder, "text encoder");
kind!(VocabularyObject, Vocabulary, "vocabulary");
kind!(SessionObject, Session, "session");
kind!(ResultObject, Result, "result");

impl Object {
    fn name(&self) -> &'static str {
        match self {
            Self::Model(_) => ModelObject::NAME,
            Self::TextEncoder(_) => TextEncoderObject::NAME,
            Self::Vocabulary(_) => VocabularyObject::NAME,
            Self::Session(_) => SessionObject::NAME,
            Self::Result(_) => ResultObject::NAME,
        }
    }
}

const SLOT_BITS: u32 = 28;
const SLOT_MASK: usize = (1 << SLOT_BITS) - 1;
/// Marks a number as a handle of this library; the low bits of small integers and the high bits of addresses differ.
const TAG: usize = 0x0D << 57;
const GENERATION_MASK: u32 = (1 << 28) - 1;

struct Slot {
    generation: u32,
    object: Option<Object>,
}

struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

static TABLE: RwLock<Table> = RwLock::new(Table { slots: Vec::new(), free: Vec::new() });

/// A new handle for `object`.
pub(super) fn insert<T: Kind, H>(object: Arc<T>) -> Result<*mut H> {
    let mut table = TABLE.write();
    let slot = match table.free.pop() {
        Some(slot) => slot,
        None if table.slots.len() > SLOT_MASK => {
            return Err(Error::new(ErrorKind::OutOfMemory, "too many live handles; free some"));
        }
        None => {
            let full = |_| Error::new(ErrorKind::OutOfMemory, "no memory for another handle; free some");
            table.slots.try_reserve(1).map_err(full)?;
            // Room for every slot's return, so that freeing a handle never needs memory.
            let slots = table.slots.len() + 1;
            let missing = slots - table.free.len();
            table.free.try_reserve(missing).map_err(full)?;
            table.slots.push(Slot { generation: 0, object: None });
            table.slots.len() - 1
        }
    };
    let entry = &mut table.slots[slot];
    entry.object = Some(T::wrap(object));
    let bits = TAG | (entry.generation as usize) << SLOT_BITS | slot;
    Ok(std::ptr::without_provenance_mut(bits))
}

fn slot_of<H>(handle: *mut H) -> Option<(usize, u32)> {
    let bits = handle.addr();
    let tagged = bits >> 57 == TAG >> 57 && bits >> (2 * SLOT_BITS) & 1 == 0;
    tagged.then_some((bits & SLOT_MASK, (bits >> SLOT_BITS) as u32 & GENERATION_MASK))
}

fn lookup<H>(table: &Table, handle: *mut H) -> Option<(usize, &Object)> {
    let (slot, generation) = slot_of(handle)?;
    let entry = table.slots.get(slot).filter(|entry| entry.generation == generation)?;
    entry.object.as_ref().map(|object| (slot, object))
}

/// The object behind `handle`; `argument` names it for messages.
pub(super) fn get<T: Kind, H>(handle: *mut H, argument: &str) -> Result<Arc<T>> {
    let wanted = T::NAME;
    if handle.is_null() {
        return Err(Error::argument(format!("{argument} is NULL; give a {wanted} handle")));
    }
    let table = TABLE.read();
    let Some((_, object)) = lookup(&table, handle) else {
        let message = format!("{argument} is no live handle of this library; it was freed or never created");
        return Err(Error::new(ErrorKind::InvalidHandle, message));
    };
    let found = object.name();
    T::unwrap(object.clone()).ok_or_else(|| {
        Error::new(ErrorKind::InvalidHandle, format!("{argument} is a {found} handle; give a {wanted} handle"))
    })
}

/// Takes the object out of the table, so that the handle is stale from now on. None, and a line in the log, for handles
/// that are not live or of another kind.
pub(super) fn remove<T: Kind, H>(handle: *mut H) -> Option<Arc<T>> {
    if handle.is_null() {
        return None;
    }
    let mut table = TABLE.write();
    let found = lookup(&table, handle).and_then(|(slot, object)| Some((slot, T::unwrap(object.clone())?)));
    let Some((slot, object)) = found else {
        drop(table);
        super::log::warning(&format!("a {} was freed through a handle that is not live or of another kind", T::NAME));
        return None;
    };
    let entry = &mut table.slots[slot];
    entry.object = None;
    entry.generation = (entry.generation + 1) & GENERATION_MASK;
    // A slot whose generations are used up is retired: a stale handle must never become live again.
    if entry.generation != 0 {
        table.free.push(slot);
    }
    Some(object)
}
