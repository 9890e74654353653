//! The compiled kernels in this library, and which of them a device runs. `build/container.rs` writes what is read here.

use crate::error::{Error, Result};

/// Bytes at an address that suits cubins.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static EMBEDDED: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/device_code.bin")));

const MAGIC: &[u8; 8] = b"OV3DCUDA";
const HEAD: usize = 16;
const ENTRY: usize = 32;
const NAME: usize = 16;

/// Drivers before CUDA 12.0 take neither these cubins nor PTX 8.0.
pub const OLDEST_DRIVER: u32 = 12000;

/// A device's compute capability: major and minor.
pub type Capability = (u32, u32);

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// Machine code, for devices of the same major with at least this minor.
    Cubin,
    /// PTX, for every device from this one on; the driver compiles it. Ends with a NUL.
    Ptx,
}

/// One kernel file, compiled for one architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image<'a> {
    /// The kernel file's name without its extension.
    pub module: &'a str,
    /// What the bytes are.
    pub kind: ImageKind,
    /// The architecture it was compiled for.
    pub capability: Capability,
    /// What the driver loads.
    pub bytes: &'a [u8],
}

/// All images of one build.
#[derive(Debug, Clone, Default)]
pub struct Images<'a> {
    images: Vec<Image<'a>>,
    cubin_driver: u32,
}

impl Images<'static> {
    /// Those in this library.
    pub fn embedded() -> Result<Self> {
        Self::parse(&EMBEDDED.0)
    }
}

impl<'a> Images<'a> {
    /// Reads a container.
    pub fn parse(container: &'a [u8]) -> Result<Self> {
        parse(container).ok_or_else(|| Error::internal("the device code in this library is damaged: build it anew"))
    }

    /// Whether there are none: a library for the CPU alone.
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Every image, by module.
    pub fn iter(&self) -> impl Iterator<Item = &Image<'a>> {
        self.images.iter()
    }

    /// The images of `module` for a device of `capability` under a driver of `driver` (1000 times CUDA's major plus ten
    /// times its minor), best first: the cubin of the same major with the highest minor that the device has, the newest PTX.
    pub fn suiting(&self, module: &str, capability: Capability, driver: u32) -> impl Iterator<Item = &Image<'a>> {
        let of_module = || self.images.iter().filter(|image| image.module == module);
        let runs = |image: &&Image<'_>| match image.kind {
            ImageKind::Cubin => {
                driver >= self.cubin_driver && image.capability.0 == capability.0 && image.capability.1 <= capability.1
            }
            ImageKind::Ptx => driver >= OLDEST_DRIVER && image.capability <= capability,
        };
        let best = |kind| of_module().filter(|i| i.kind == kind).filter(runs).max_by_key(|i| i.capability);
        best(ImageKind::Cubin).into_iter().chain(best(ImageKind::Ptx))
    }

    /// The best of them.
    pub fn pick(&self, module: &str, capability: Capability, driver: u32) -> Option<&Image<'a>> {
        self.suiting(module, capability, driver).next()
    }

    /// Whether every module has an image for such a device.
    pub fn run_on(&self, capability: Capability, driver: u32) -> bool {
        !self.is_empty() && self.images.iter().all(|image| self.pick(image.module, capability, driver).is_some())
    }

    /// The oldest architecture of any image.
    pub fn oldest(&self) -> Option<Capability> {
        self.images.iter().map(|image| image.capability).min()
    }
}

fn number(container: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(container.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn parse(container: &[u8]) -> Option<Images<'_>> {
    let count = number(container, 8)? as usize;
    if !container.starts_with(MAGIC) || count > container.len() / ENTRY {
        return None;
    }
    let images = (0..count).map(|index| image(container, HEAD + ENTRY * index)).collect::<Option<_>>()?;
    Some(Images { images, cubin_driver: number(container, 12)? })
}

fn image(container: &[u8], entry: usize) -> Option<Image<'_>> {
    let name = container.get(entry..entry + NAME)?;
    let module = std::str::from_utf8(name).ok()?.trim_end_matches('\0');
    let field = |index: usize| number(container, entry + NAME + 4 * index);
    let kind = match field(0)? {
        0 => ImageKind::Cubin,
        1 => ImageKind::Ptx,
        _ => return None,
    };
    let (capability, start, length) = (field(1)?, field(2)? as usize, field(3)? as usize);
    let bytes = container.get(start..start.checked_add(length)?)?;
    // The driver reads PTX up to its NUL.
    if kind == ImageKind::Ptx && bytes.last() != Some(&0) {
        return None;
    }
    Some(Image { module, kind, capability: (capability / 10, capability % 10), bytes })
}
