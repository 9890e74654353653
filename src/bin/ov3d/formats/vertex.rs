//! One point of a PLY file, as its properties arrive.

use openvocab3d::{Error, Result};
use ply_rs_bw::ply::{Property, PropertyAccess, PropertyAccessResult};

/// What is kept of one point.
#[derive(Default)]
pub(super) struct Vertex {
    pub(super) position: [f64; 3],
    color: [f64; 3],
    pub(super) label: f64,
}

/// Names under which programs keep a point's label.
pub(super) const LABEL_NAMES: [&str; 6] =
    ["label", "class", "classification", "scalar_Classification", "semantic", "category"];

impl Vertex {
    pub(super) fn set(&mut self, name: &str, value: f64) -> PropertyAccessResult {
        let slot = match name {
            "x" => &mut self.position[0],
            "y" => &mut self.position[1],
            "z" => &mut self.position[2],
            "red" => &mut self.color[0],
            "green" => &mut self.color[1],
            "blue" => &mut self.color[2],
            name if LABEL_NAMES.contains(&name) => &mut self.label,
            _ => return PropertyAccessResult::Ignored,
        };
        *slot = value;
        PropertyAccessResult::Set
    }

    /// The colour as bytes; `unit` says which channels are 0-1 and not 0-255.
    pub(super) fn color_bytes(&self, unit: [bool; 3]) -> Result<[u8; 3]> {
        let mut bytes = [0; 3];
        for ((byte, value), unit) in bytes.iter_mut().zip(self.color).zip(unit) {
            let scaled = if unit { value * 255.0 } else { value };
            if !scaled.is_nan() && !(-1.0..=256.0).contains(&scaled) {
                let range = if unit { "0 to 1 as floats are" } else { "0 to 255" };
                let cure = "store colours as uchar, or as float from 0 to 1";
                return Err(Error::format(format!("the colour value {value} is not in {range}; {cure}")));
            }
            // NaN becomes 0.
            *byte = scaled.round() as u8;
        }
        Ok(bytes)
    }
}

impl PropertyAccess for Vertex {
    fn new() -> Self {
        Self::default()
    }

    fn set_property(&mut self, name: &str, property: Property) -> PropertyAccessResult {
        let value = match property {
            Property::Char(v) => f64::from(v),
            Property::UChar(v) => f64::from(v),
            Property::Short(v) => f64::from(v),
            Property::UShort(v) => f64::from(v),
            Property::Int(v) => f64::from(v),
            Property::UInt(v) => f64::from(v),
            Property::Float(v) => f64::from(v),
            Property::Double(v) => v,
            _ => return PropertyAccessResult::Ignored,
        };
        self.set(name, value)
    }
}
