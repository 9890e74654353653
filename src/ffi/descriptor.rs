//! Descriptors in and views out: structs that may grow without breaking clients built against older headers.

use crate::error::{Error, ErrorKind, Result};

/// A struct that starts with `uint32_t struct_size`.
///
/// # Safety
/// The type is `repr(C)`, its first field is the `u32` struct size, and every bit pattern of its other fields is a valid
/// value (integers, floats, raw pointers, optional function pointers).
pub(super) unsafe trait Descriptor: Copy + Default {
    /// The C type's name, for messages.
    const NAME: &'static str;
}

/// Bytes of the shortest prefix that any header ever had: the size and one field.
const SHORTEST: usize = 8;

/// Bytes beyond which a struct size is taken for garbage.
const LONGEST: usize = 1 << 16;

fn name_of<T: Descriptor>() -> String {
    format!("{}.struct_size", T::NAME)
}

fn size_at<T: Descriptor>(pointer: *const T) -> Result<usize> {
    // SAFETY: the caller of read or write vouches for at least the size field; any alignment is fine.
    let size = unsafe { pointer.cast::<u32>().read_unaligned() } as usize;
    if !(SHORTEST..=LONGEST).contains(&size) || !size.is_multiple_of(align_of::<T>()) {
        let (name, own) = (name_of::<T>(), size_of::<T>());
        let message = format!("{name} is {size}; this library's struct has {own} bytes: call {}_init first", T::NAME);
        return Err(Error::new(ErrorKind::StructSize, message));
    }
    Ok(size)
}

/// The descriptor at `pointer`: defaults for NULL and for the fields that a shorter struct lacks. A longer struct (of a
/// newer header) is accepted if what this library does not know is zero.
///
/// # Safety
/// `pointer` is NULL or points to as many readable bytes as its first field says.
pub(super) unsafe fn read<T: Descriptor>(pointer: *const T) -> Result<T> {
    let mut value = T::default();
    if pointer.is_null() {
        return Ok(value);
    }
    let size = size_at(pointer)?;
    let known = size.min(size_of::<T>());
    // SAFETY: `known` bytes are readable at the caller's pointer and writable in the local value, for which the trait
    // promises that every bit pattern is valid.
    unsafe { std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), (&raw mut value).cast::<u8>(), known) };
    for offset in known..size {
        // SAFETY: within the size that the caller vouches for.
        if unsafe { pointer.cast::<u8>().add(offset).read() } != 0 {
            let message = format!(
                "{} is {size} and byte {offset} is set, but this library knows only {known} bytes: it is older than the \
                 header; update it or leave the new fields zero",
                name_of::<T>()
            );
            return Err(Error::new(ErrorKind::StructSize, message));
        }
    }
    Ok(value)
}

/// Writes `value` to the struct at `pointer`: the smaller of both sizes, and zeros to the rest of the caller's. The
/// caller's struct size stays.
///
/// # Safety
/// `pointer` is NULL or points to as many writable bytes as its first field says.
pub(super) unsafe fn write<T: Descriptor>(pointer: *mut T, value: &T, argument: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(Error::argument(format!("{argument} is NULL; give a {} with struct_size set", T::NAME)));
    }
    let size = size_at(pointer.cast_const())?;
    let known = size.min(size_of::<T>());
    let (to, from) = (pointer.cast::<u8>(), (&raw const *value).cast::<u8>());
    // SAFETY: the caller vouches for `size` writable bytes; `known` are readable in `value`; the size field is skipped.
    unsafe {
        std::ptr::copy_nonoverlapping(from.add(4), to.add(4), known - 4);
        std::ptr::write_bytes(to.add(known), 0, size - known);
    }
    Ok(())
}

/// Fills at most `size` bytes of the struct at `pointer` with defaults and sets its struct size: what every `_init`
/// function does. NULL and sizes too small to hold a descriptor are left alone.
///
/// # Safety
/// `pointer` is NULL or points to `size` writable bytes.
pub(super) unsafe fn init<T: Descriptor>(pointer: *mut T, size: usize) {
    if pointer.is_null() || size < SHORTEST {
        return;
    }
    let value = T::default();
    let known = size.min(size_of::<T>());
    let to = pointer.cast::<u8>();
    // SAFETY: the caller vouches for `size` writable bytes; `known` are readable in `value`; alignment does not matter.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), to, known);
        std::ptr::write_bytes(to.add(known), 0, size - known);
        to.cast::<u32>().write_unaligned(u32::try_from(size).unwrap_or(u32::MAX));
    }
}

/// Checks an enum's value; `names` lists what is allowed.
pub(super) fn choose<T: Copy>(field: &str, value: i32, names: &[(i32, T)]) -> Result<T> {
    names.iter().find(|(number, _)| *number == value).map(|(_, choice)| *choice).ok_or_else(|| {
        let allowed: Vec<i32> = names.iter().map(|(number, _)| *number).collect();
        Error::argument(format!("{field} is {value}; it must be one of {allowed:?}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    #[repr(C)]
    struct Sample {
        struct_size: u32,
        first: i32,
        second: u64,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self { struct_size: 16, first: 7, second: 9 }
        }
    }

    // SAFETY: repr(C), the size first, integers only.
    unsafe impl Descriptor for Sample {
        const NAME: &'static str = "sample";
    }

    fn read_bytes(bytes: &[u8]) -> Result<Sample> {
        // SAFETY: the tests give as many bytes as the size field says.
        unsafe { read(bytes.as_ptr().cast::<Sample>()) }
    }

    fn with_size(size: u32, rest: &[u8]) -> Vec<u8> {
        [&size.to_ne_bytes()[..], rest].concat()
    }

    #[test]
    fn shorter_structs_get_defaults_and_longer_ones_need_zeros() {
        assert_eq!(
            read_bytes(&with_size(8, &1_i32.to_ne_bytes())).unwrap(),
            Sample { struct_size: 8, first: 1, second: 9 }
        );
        let mut longer = with_size(24, &[0; 20]);
        assert_eq!(read_bytes(&longer).unwrap().second, 0);
        longer[20] = 1;
        assert_eq!(read_bytes(&longer).unwrap_err().kind(), ErrorKind::StructSize);
        for size in [0, 4, 9, 1 << 20] {
            assert_eq!(read_bytes(&with_size(size, &[0; 20])).unwrap_err().kind(), ErrorKind::StructSize, "{size}");
        }
        // SAFETY: NULL is one of the allowed values.
        assert_eq!(unsafe { read::<Sample>(std::ptr::null()) }.unwrap(), Sample::default());
    }

    #[test]
    fn views_are_cut_or_padded_with_zeros() {
        let value = Sample { struct_size: 16, first: 3, second: 5 };
        let mut shorter = with_size(8, &[0xAA; 12]);
        let mut longer = with_size(24, &[0xAA; 20]);
        // SAFETY: both buffers are at least as long as they say.
        unsafe {
            write(shorter.as_mut_ptr().cast::<Sample>(), &value, "view").unwrap();
            write(longer.as_mut_ptr().cast::<Sample>(), &value, "view").unwrap();
        }
        assert_eq!(shorter[..8], with_size(8, &3_i32.to_ne_bytes()));
        assert_eq!(shorter[8..], [0xAA; 8]);
        assert_eq!(longer[..16], [&24_u32.to_ne_bytes()[..], &3_i32.to_ne_bytes(), &5_u64.to_ne_bytes()].concat());
        assert_eq!(longer[16..], [0; 8]);
    }
}
