//! Clouds on their way to the device: their positions, and how these become cells.

use crate::cloud::{Axes, Cloud, Dtype, GridOrigin, StridedView, shift_for};
use crate::error::{Error, Result, with_capacity};
use bytemuck::{Pod, Zeroable};
use std::borrow::Cow;

/// How the positions of one cloud become cells; the struct of that name in `kernels/keys.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Placement {
    positions: u64,
    stride: u64,
    count: u32,
    first: u32,
    batch: u32,
    is_f64: u32,
    axes: [u32; 3],
    negated: u32,
    has_pose: u32,
    has_rotation: u32,
    world: u32,
    reserved: u32,
    unit: f64,
    cells_per_metre: f64,
    pose: [[f64; 4]; 3],
    rotation: [[f64; 3]; 3],
}

/// The cells that a cloud spans; the struct of that name in `kernels/keys.cu`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Bounds {
    low: [u64; 3],
    high: [u64; 3],
    shift: [i64; 3],
    pub(super) finite: u32,
    out_of_range: u32,
}

/// What is common to all clouds of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lattice<'a> {
    pub(super) voxel_size: f64,
    pub(super) origin: GridOrigin,
    pub(super) rotation_scale: Option<&'a [[f64; 3]; 3]>,
}

impl Placement {
    /// Of cloud number `batch`, whose first point is number `first` of the call and whose positions lie at `positions`.
    pub(super) fn new(
        cloud: &Cloud<'_>,
        packed: &Packed<'_>,
        positions: u64,
        [batch, first]: [usize; 2],
        lattice: Lattice<'_>,
    ) -> Self {
        let (axes, negated) = signed_axes(cloud.frame.axes);
        Self {
            positions,
            stride: packed.stride as u64,
            count: cloud.len() as u32,
            first: first as u32,
            batch: batch as u32,
            is_f64: u32::from(packed.dtype == Dtype::F64),
            axes,
            negated,
            has_pose: u32::from(cloud.frame.pose.is_some()),
            has_rotation: u32::from(lattice.rotation_scale.is_some()),
            world: u32::from(lattice.origin == GridOrigin::World),
            reserved: 0,
            unit: cloud.frame.unit_in_metres,
            cells_per_metre: 1.0 / lattice.voxel_size,
            pose: cloud.frame.pose.unwrap_or_default(),
            rotation: lattice.rotation_scale.copied().unwrap_or_default(),
        }
    }
}

/// Per axis which component it takes, and the axes that are negated as bits.
fn signed_axes(axes: Axes) -> ([u32; 3], u32) {
    let turned = axes.to_z_up([1.0, 2.0, 3.0]);
    let negated = (0..3).filter(|&axis| turned[axis] < 0.0).map(|axis| 1 << axis).sum();
    (turned.map(|value| value.abs() as u32 - 1), negated)
}

impl Bounds {
    /// Before any point was seen.
    pub(super) const EMPTY: Self = Self { low: [u64::MAX; 3], high: [0; 3], shift: [0; 3], finite: 0, out_of_range: 0 };

    /// What to add to a cell for the coordinate callers see; an error if the cloud does not fit the keys.
    pub(super) fn check(&self, lattice: Lattice<'_>) -> Result<[i64; 3]> {
        if self.finite == 0 {
            return Ok([0; 3]);
        }
        let shift = shift_for(self.low.map(unordered), self.high.map(unordered), lattice.voxel_size, lattice.origin)?;
        if shift != self.shift || self.out_of_range != 0 {
            return Err(Error::internal(format!("the device shifted a cloud by {:?}, not {shift:?}", self.shift)));
        }
        Ok(match lattice.origin {
            GridOrigin::Minimum => [0; 3],
            GridOrigin::World => shift,
        })
    }
}

/// The float64 behind the integers in which the kernels compare them.
fn unordered(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// Rows as they are copied to the device.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    bytes: Cow<'a, [u8]>,
    pub(super) stride: usize,
    dtype: Dtype,
}

impl<'a> Packed<'a> {
    /// The rows in place where the kernels can read them so (every value at a multiple of 4 bytes) and not much else lies
    /// between them; else packed triples.
    pub(super) fn new(view: &StridedView<'a>) -> Result<Self> {
        let row = 3 * view.dtype().size();
        if view.stride().is_multiple_of(4) && view.stride() <= 2 * row {
            return Ok(Self { bytes: view.bytes().into(), stride: view.stride(), dtype: view.dtype() });
        }
        let mut bytes = with_capacity(view.len() * row, "the packed positions")?;
        for index in 0..view.len() {
            bytes.extend_from_slice(view.raw_row(index));
        }
        Ok(Self { bytes: bytes.into(), stride: row, dtype: view.dtype() })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of the copy, if the rows are not read in place.
    pub(super) fn copied_bytes(&self) -> usize {
        match &self.bytes {
            Cow::Borrowed(_) => 0,
            Cow::Owned(bytes) => bytes.len(),
        }
    }
}
