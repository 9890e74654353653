//! The library's one error type, and the only place that maps errors to status numbers.

use std::collections::BinaryHeap;
use std::fmt;

/// What went wrong, in the granularity a caller can act on.
///
/// The discriminants are the C status numbers: grouped in hundreds by cause, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An argument's value is outside what the function accepts.
    InvalidArgument = -100,
    /// Two arguments that must agree in size or kind do not.
    Mismatch = -101,
    /// A coordinate lies outside the range the voxel keys can hold.
    OutOfRange = -102,
    /// The object lacks something the call needs, such as a vocabulary.
    InvalidState = -103,
    /// A handle is stale, foreign or of another kind.
    InvalidHandle = -104,
    /// A descriptor's `struct_size` is not one this library can read.
    StructSize = -105,
    /// An output buffer is too small; the message names the size needed.
    Capacity = -106,
    /// A file could not be opened, read or written.
    Io = -200,
    /// A file is damaged or is not of the expected format.
    Format = -201,
    /// A file is well-formed but of a kind or version this library does not know.
    Unsupported = -202,
    /// Memory for a buffer whose size depends on the input could not be had.
    OutOfMemory = -300,
    /// The run needs more memory than the session's budget.
    Budget = -301,
    /// The caller asked to stop.
    Cancelled = -400,
    /// Another call on the same session is in flight.
    Busy = -401,
    /// The result was not ready in time.
    Timeout = -402,
    /// A device or its driver failed.
    Device = -500,
    /// A defect of this library; the object concerned should be freed.
    Internal = -900,
}

/// An error: its kind, and a sentence that names the argument, its value, the limit and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// The result of every fallible function of this library.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Shorthand for [`ErrorKind::InvalidArgument`].
    pub fn argument(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Shorthand for [`ErrorKind::Format`].
    pub fn format(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Format, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// A failed read or write of `path`.
    pub fn io(path: &std::path::Path, action: &str, cause: &std::io::Error) -> Self {
        let kind = match cause.kind() {
            std::io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("cannot {action} '{}': {cause}", path.display()))
    }

    /// The same error as a fault of the file that the values came from, not of an argument.
    #[must_use]
    pub fn of_file(self) -> Self {
        match self.kind {
            ErrorKind::InvalidArgument | ErrorKind::Mismatch => Self { kind: ErrorKind::Format, ..self },
            _ => self,
        }
    }

    /// The cause, for callers that branch on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The C status number of this error.
    pub fn status(&self) -> i32 {
        self.kind as i32
    }

    /// The same error with `context` put before its message, as in `"model 'a.safetensors': ..."`.
    #[must_use]
    pub fn within(self, context: impl fmt::Display) -> Self {
        Self { kind: self.kind, message: format!("{context}: {}", self.message) }
    }
}

impl ErrorKind {
    /// Every kind, for tables and tests.
    pub const ALL: [Self; 17] = [
        Self::InvalidArgument,
        Self::Mismatch,
        Self::OutOfRange,
        Self::InvalidState,
        Self::InvalidHandle,
        Self::StructSize,
        Self::Capacity,
        Self::Io,
        Self::Format,
        Self::Unsupported,
        Self::OutOfMemory,
        Self::Budget,
        Self::Cancelled,
        Self::Busy,
        Self::Timeout,
        Self::Device,
        Self::Internal,
    ];

    /// Whether the objects concerned can go on being used: true for all but a defect of the library and a device's failure.
    pub fn is_recoverable(self) -> bool {
        !matches!(self, Self::Device | Self::Internal)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// A vector of `len` copies of `value`, or [`ErrorKind::OutOfMemory`] naming `what`.
pub fn filled<T: Clone>(len: usize, value: T, what: &str) -> Result<Vec<T>> {
    let mut vec = with_capacity(len, what)?;
    vec.resize(len, value);
    Ok(vec)
}

/// `len` zeros, or [`ErrorKind::OutOfMemory`] naming `what`. The system clears the pages of large buffers as they are
/// first touched, so this takes no time, but not for types whose alignment is more than that of numbers.
pub fn zeroed<T: bytemuck::Zeroable>(len: usize, what: &str) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| out_of_memory::<T>(len, what))
}

/// The items as a vector, or [`ErrorKind::OutOfMemory`] naming `what`.
pub fn collected<T>(items: impl ExactSizeIterator<Item = T>, what: &str) -> Result<Vec<T>> {
    let mut vec = with_capacity(items.len(), what)?;
    vec.extend(items);
    Ok(vec)
}

/// An empty vector with room for `len` elements, or [`ErrorKind::OutOfMemory`] naming `what`.
pub fn with_capacity<T>(len: usize, what: &str) -> Result<Vec<T>> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(len).map_err(|_| out_of_memory::<T>(len, what))?;
    Ok(vec)
}

/// [`ErrorKind::Budget`] if a run that needs `needed` bytes may have only `budget`.
pub fn over_budget(needed: u64, budget: u64) -> Result<()> {
    if needed <= budget {
        return Ok(());
    }
    let message = format!(
        "the run needs {needed} bytes or more but memory_budget is {budget}; raise it, ask for fewer outputs, use larger \
         voxels or split the cloud"
    );
    Err(Error::new(ErrorKind::Budget, message))
}

/// Makes room for `more` elements, ahead of time as [`Vec::push`] does, or [`ErrorKind::OutOfMemory`] naming `what`.
pub fn reserve<T>(vec: &mut Vec<T>, more: usize, what: &str) -> Result<()> {
    vec.try_reserve(more).map_err(|_| out_of_memory::<T>(vec.len() + more, what))
}

/// The same for a heap.
pub fn reserve_heap<T: Ord>(heap: &mut BinaryHeap<T>, more: usize, what: &str) -> Result<()> {
    heap.try_reserve(more).map_err(|_| out_of_memory::<T>(heap.len() + more, what))
}

fn out_of_memory<T>(len: usize, what: &str) -> Error {
    let bytes = len as u128 * size_of::<T>() as u128;
    Error::new(
        ErrorKind::OutOfMemory,
        format!("no memory for {what} ({bytes} bytes); free memory or give a smaller input"),
    )
}
