//! The token by which a long computation learns that it is to stop.

use crate::error::{Error, ErrorKind, Result};
use std::sync::atomic::{AtomicBool, Ordering};

/// Becomes an error once the flag behind it is set; without a flag it never does.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cancel<'a>(Option<&'a AtomicBool>);

impl<'a> Cancel<'a> {
    /// A token that `flag` sets off.
    pub fn when(flag: &'a AtomicBool) -> Self {
        Self(Some(flag))
    }

    /// An error if the computation is to stop. Cheap: call it every few thousand elements.
    pub fn check(self) -> Result<()> {
        match self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) => {
                Err(Error::new(ErrorKind::Cancelled, "the run was cancelled"))
            }
            _ => Ok(()),
        }
    }
}
