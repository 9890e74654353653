//! Voxels in coarse cells, to find those near a place.

use super::voxel_cloud::occupied;
use crate::arena::nothing;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::sparse::{Neighbours, Voxels};

/// Things sorted into cells, and which cells touch.
#[derive(Debug)]
pub(super) struct Buckets {
    cells: Voxels,
    neighbours: Neighbours,
}

impl Buckets {
    /// `cells` holds the cell of every thing.
    pub(super) fn new(cells: &[[u32; 3]], cancel: Cancel<'_>) -> Result<Self> {
        let (mut cells, neighbours) = occupied(cells, cancel)?;
        cells.keys = nothing();
        Ok(Self { cells, neighbours })
    }

    /// The number of occupied cells, which stand in Morton order.
    pub(super) fn len(&self) -> usize {
        self.neighbours.len()
    }

    /// The cell of thing `index`.
    pub(super) fn cell_of(&self, index: usize) -> usize {
        self.cells.voxel_of_point[index] as usize
    }

    /// The things in cell `cell`, ascending.
    pub(super) fn inside(&self, cell: usize) -> &[u32] {
        self.cells.points_of(cell)
    }

    /// The things in cell `cell` and the 26 around it.
    pub(super) fn around(&self, cell: usize) -> impl Iterator<Item = usize> {
        let cells = self.neighbours.of(cell).iter();
        cells.flat_map(|&cell| self.cells.points_of(cell as usize)).map(|&index| index as usize)
    }
}
