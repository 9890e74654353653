//! The container of all images: what `src/backend/cuda/images.rs` reads back.
//!
//! Little-endian: the magic, the number of images, the oldest driver for the cubins (both u32), then per image its module's
//! name (16 bytes, zero-padded), its kind (0 cubin, 1 PTX), ten times its compute capability, its offset and its length
//! (u32 each), then the images, each at a multiple of 64 bytes.

use super::target::Target;

const MAGIC: &[u8; 8] = b"OV3DCUDA";
const HEAD: usize = 16;
const ENTRY: usize = 32;
const ALIGNMENT: usize = 64;
const NAME: usize = 16;

/// One compiled kernel file.
pub struct Image {
    pub module: String,
    pub target: Target,
    pub bytes: Vec<u8>,
}

pub fn pack(driver_needed: u32, images: &[Image]) -> Result<Vec<u8>, String> {
    let number = |value: usize| u32::try_from(value).map_err(|_| "the kernels exceed 4 GiB".to_owned());
    let mut bytes = MAGIC.to_vec();
    bytes.extend(number(images.len())?.to_le_bytes());
    bytes.extend(driver_needed.to_le_bytes());
    let mut offset = (HEAD + ENTRY * images.len()).next_multiple_of(ALIGNMENT);
    for image in images {
        if image.module.len() > NAME {
            return Err(format!("'{}': the name of a kernel file has at most {NAME} letters", image.module));
        }
        let mut name = [0; NAME];
        name[..image.module.len()].copy_from_slice(image.module.as_bytes());
        bytes.extend(name);
        let fields =
            [u32::from(image.target.is_ptx()), image.target.capability(), number(offset)?, number(image.bytes.len())?];
        bytes.extend(fields.into_iter().flat_map(u32::to_le_bytes));
        offset = (offset + image.bytes.len()).next_multiple_of(ALIGNMENT);
    }
    for image in images {
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend(&image.bytes);
    }
    Ok(bytes)
}
