//! Clouds as callers hold them: strided points, units and frames, quantisation to voxel cells.

mod frame;
mod quantise;
mod synthetic;
mod view;

pub use frame::{Axes, Frame};
pub use quantise::{GridOrigin, MAX_EXTENT, NO_CELL, Quantised, quantise};
pub(crate) use quantise::{floor, shift_for};
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
    /// `[n, 3]` colours: bytes 0-255 or floats 0-1. Read by networks whose input is colour, and by superpoints.
    pub colors: Option<StridedView<'a>>,
    /// `[n, 3]` normals in the axes of the positions, of any length and sign; zero or not finite where there is none.
    /// Superpoints read them instead of estimating their own.
    pub normals: Option<StridedView<'a>>,
    /// `[n]` the superpoint of each point as an integer of any value, -1 for none. They take the place of computed ones.
    pub superpoints: Option<StridedView<'a>>,
    /// How positions become metres in a right-handed frame with z up.
    pub frame: Frame,
}

impl<'a> Cloud<'a> {
    /// A cloud of packed `x y z` triples in metres, z up.
    pub fn from_xyz(positions: &'a [[f32; 3]]) -> Self {
        Self::new(StridedView::packed_f32(positions), Frame::default())
    }

    /// A cloud of positions alone.
    pub fn new(positions: StridedView<'a>, frame: Frame) -> Self {
        Self { positions, colors: None, normals: None, superpoints: None, frame }
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
        check_view("positions", &self.positions, 3, &[Dtype::F32, Dtype::F64])?;
        let parts = [
            ("colors", &self.colors, 3, &[Dtype::U8, Dtype::F32]),
            ("normals", &self.normals, 3, &[Dtype::F32, Dtype::F64]),
            ("superpoints", &self.superpoints, 1, &[Dtype::I32, Dtype::I64]),
        ];
        for (name, part, components, allowed) in parts {
            let Some(part) = part else { continue };
            check_view(name, part, components, allowed)?;
            if part.len() != self.len() {
                let (rows, points) = (part.len(), self.len());
                let message = format!("{name} has {rows} rows but positions has {points}; give one row per point");
                return Err(Error::new(ErrorKind::Mismatch, message));
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
            _ => rgb.map(|v| (v * 2.0 - 1.0) as f32),
        }
    }
}

fn check_view(name: &str, view: &StridedView<'_>, components: usize, allowed: &[Dtype]) -> Result<()> {
    if view.components() < components {
        let message = format!("{name} has {} components per point; it needs {components}", view.components());
        return Err(Error::argument(message));
    }
    if !allowed.contains(&view.dtype()) {
        return Err(Error::argument(format!("{name} holds {}; it may hold {allowed:?}", view.dtype())));
    }
    Ok(())
}
