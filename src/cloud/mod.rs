//! Clouds as callers hold them: strided points, units and frames, quantisation to voxel cells.

mod frame;
mod quantise;
mod synthetic;
mod view;

pub use frame::{Axes, Frame};
pub(crate) use quantise::shift_for;
pub use quantise::{GridOrigin, MAX_EXTENT, NO_CELL, Quantised, quantise};
pub use synthetic::{
    LidarOptions, MOST_VOXELS, RoomOptions, Scene, SizedCloud, SphereOptions, SyntheticCloud, lidar, room, sphere,
};
pub use view::{Dtype, StridedView};

use crate::error::{Error, ErrorKind, Result};

/// A cloud in the caller's memory and the caller's frame.
#[derive(Debug, Clone, Copy)]
pub struct Cloud<'a> {
    /// `[n, 3]` positions, FP32 or FP64, in the caller's unit.
    pub positions: StridedView<'a>,
    /// `[n, 3]` colours: bytes 0-255 or floats 0-1. Read only by networks whose input is colour.
    pub colors: Option<StridedView<'a>>,
    /// How positions become metres in a right-handed frame with z up.
    pub frame: Frame,
}

impl<'a> Cloud<'a> {
    /// A cloud of packed `x y z` triples in metres, z up.
    pub fn from_xyz(positions: &'a [[f32; 3]]) -> Self {
        Self { positions: StridedView::packed_f32(positions), colors: None, frame: Frame::default() }
    }

    /// The number of points.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that the parts of the cloud fit together.
    pub fn validate(&self) -> Result<()> {
        check_view("positions", &self.positions, &[Dtype::F32, Dtype::F64])?;
        if let Some(colors) = &self.colors {
            check_view("colors", colors, &[Dtype::U8, Dtype::F32])?;
            if colors.len() != self.len() {
                return Err(Error::new(
                    ErrorKind::Mismatch,
                    format!(
                        "colors has {} rows but positions has {}; give one colour per point",
                        colors.len(),
                        self.len()
                    ),
                ));
            }
        }
        if i32::try_from(self.len()).is_err() {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("the cloud has {} points; at most {} fit one call, split the cloud", self.len(), i32::MAX),
            ));
        }
        self.frame.validate()
    }

    /// The colour of point `index` as the published networks read it: `rgb / 127.5 - 1`, or zero without colours.
    pub fn color_feature(&self, index: usize) -> [f32; 3] {
        let Some(colors) = &self.colors else { return [0.0; 3] };
        let rgb = colors.row(index);
        match colors.dtype() {
            Dtype::U8 => rgb.map(|v| (v / 127.5 - 1.0) as f32),
            Dtype::F32 | Dtype::F64 => rgb.map(|v| (v * 2.0 - 1.0) as f32),
        }
    }
}

pub(crate) fn check_view(name: &str, view: &StridedView<'_>, allowed: &[Dtype]) -> Result<()> {
    if view.components() < 3 {
        return Err(Error::argument(format!("{name} has {} components per point; it needs 3", view.components())));
    }
    if !allowed.contains(&view.dtype()) {
        return Err(Error::argument(format!("{name} holds {}; it may hold {allowed:?}", view.dtype())));
    }
    Ok(())
}
