//! Occupied voxels of a call: unique sorted keys, and which points lie in which voxel.

use super::key::{BATCH_LIMIT, Voxel, encode};
use super::sort::sort_by_key;
use crate::arena::{Arena, Buffer};
use crate::cancel::Cancel;
use crate::cloud::{MAX_EXTENT, NO_CELL};
use crate::error::{Error, ErrorKind, Result};

/// The voxel of a point that has none, because its position is not finite.
pub const NO_VOXEL: u32 = u32::MAX;

/// Points between two looks at the cancel token.
const BLOCK: usize = 1 << 16;

/// The occupied voxels in key order, and the points of each.
#[derive(Debug, Clone)]
pub struct Voxels {
    /// `[v]` unique keys in ascending order.
    pub keys: Buffer<u64>,
    /// `[v + 1]` where each voxel's points begin in `points`.
    pub starts: Buffer<u32>,
    /// Point indices by voxel, ascending within one: the first is the published representative.
    pub points: Buffer<u32>,
    /// `[n]` the voxel of each point, or [`NO_VOXEL`].
    pub voxel_of_point: Buffer<u32>,
}

impl Voxels {
    /// The voxels of one or several clouds: `cells[b]` holds the cells of cloud `b`. Points are numbered through
    /// the clouds in order; those whose cell is [`NO_CELL`] belong to no voxel.
    pub fn from_cells(cells: &[&[[u32; 3]]], arena: &Arena, cancel: Cancel<'_>) -> Result<Self> {
        if cells.len() > BATCH_LIMIT {
            return Err(Error::argument(format!("{} clouds in one call; at most {BATCH_LIMIT} fit", cells.len())));
        }
        let count: usize = cells.iter().map(|c| c.len()).sum();
        check_count(count)?;
        let mut keyed: Buffer<(u64, u32)> = arena.with_capacity(count, "the voxel keys")?;
        let mut point = 0_u32;
        for (batch, cells) in cells.iter().enumerate() {
            for block in cells.chunks(BLOCK) {
                cancel.check()?;
                for &cell in block {
                    if cell != NO_CELL {
                        keyed.push((encode(Voxel { batch: batch as u32, cell }), point));
                    }
                    point += 1;
                }
            }
        }
        Self::from_keyed(keyed, count, cancel)
    }

    /// From (key, point) in the order of the points; `count` points in all.
    fn from_keyed(mut keyed: Buffer<(u64, u32)>, count: usize, cancel: Cancel<'_>) -> Result<Self> {
        sort_by_key(&mut keyed, cancel)?;
        let voxels = keyed.chunk_by(|a, b| a.0 == b.0).count();
        let arena = keyed.allocator();
        let mut this = Self {
            keys: arena.with_capacity(voxels, "the voxel keys")?,
            starts: arena.with_capacity(voxels + 1, "the voxel starts")?,
            points: arena.with_capacity(keyed.len(), "the points by voxel")?,
            voxel_of_point: arena.filled(count, NO_VOXEL, "the voxel of each point")?,
        };
        for block in keyed.chunks(BLOCK) {
            cancel.check()?;
            for &(key, point) in block {
                if this.keys.last() != Some(&key) {
                    this.starts.push(this.points.len() as u32);
                    this.keys.push(key);
                }
                this.voxel_of_point[point as usize] = this.keys.len() as u32 - 1;
                this.points.push(point);
            }
        }
        this.starts.push(this.points.len() as u32);
        Ok(this)
    }

    /// The number of voxels.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no point has a voxel.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The points of `voxel`, ascending.
    pub fn points_of(&self, voxel: usize) -> &[u32] {
        &self.points[self.starts[voxel] as usize..self.starts[voxel + 1] as usize]
    }
}

/// Row numbers must fit the int32 that results use.
pub(crate) fn check_count(count: usize) -> Result<()> {
    match i32::try_from(count) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(
            ErrorKind::OutOfRange,
            format!("{count} points in one call; at most {} fit, send fewer at once", i32::MAX),
        )),
    }
}

/// Voxels from ready-made coordinate rows `[batch, x, y, z]`, which keep their place relative to the coarse cells:
/// each cloud is shifted by multiples of 16 only. A repeated coordinate joins the voxel of its first row.
pub fn from_coordinates(rows: &[[i32; 4]], arena: &Arena, cancel: Cancel<'_>) -> Result<Voxels> {
    Voxels::from_keyed(coordinate_keys(rows, arena)?, rows.len(), cancel)
}

/// Key and number of every row of [`from_coordinates`], in the order of the rows.
pub(crate) fn coordinate_keys(rows: &[[i32; 4]], arena: &Arena) -> Result<Buffer<(u64, u32)>> {
    check_count(rows.len())?;
    let batches = rows.iter().map(|r| r[0]).max().map_or(0, |b| i64::from(b) + 1);
    if let Some(row) = rows.iter().position(|r| r[0] < 0 || r[0] as usize >= BATCH_LIMIT) {
        let batch = rows[row][0];
        return Err(Error::argument(format!("row {row} has batch index {batch}; it must lie in 0..{BATCH_LIMIT}")));
    }
    let mut low = arena.filled(batches as usize, [i64::MAX; 3], "the corners of the clouds")?;
    for &[batch, x, y, z] in rows {
        let low = &mut low[batch as usize];
        for (low, v) in low.iter_mut().zip([x, y, z]) {
            *low = (*low).min(i64::from(v));
        }
    }
    let mut keyed: Buffer<(u64, u32)> = arena.with_capacity(rows.len(), "the voxel keys")?;
    for (index, &[batch, x, y, z]) in rows.iter().enumerate() {
        let low = low[batch as usize];
        let cell = [0, 1, 2].map(|axis| i64::from([x, y, z][axis]) - low[axis].div_euclid(16) * 16);
        if cell.iter().any(|&v| v >= MAX_EXTENT) {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("row {index} lies {cell:?} voxels from the minimum; at most {MAX_EXTENT} fit an axis"),
            ));
        }
        keyed.push((encode(Voxel { batch: batch as u32, cell: cell.map(|v| v as u32) }), index as u32));
    }
    Ok(keyed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_join_one_voxel_whose_first_point_is_the_lowest() {
        let cells = [[5, 5, 5], [1, 2, 3], NO_CELL, [5, 5, 5], [1, 2, 3]];
        let voxels = Voxels::from_cells(&[&cells], &Arena::default(), Cancel::default()).unwrap();
        assert_eq!(voxels.len(), 2);
        assert_eq!(voxels.points_of(0), [1, 4]);
        assert_eq!(voxels.points_of(1), [0, 3]);
        assert_eq!(voxels.voxel_of_point, [1, 0, NO_VOXEL, 1, 0]);
    }

    #[test]
    fn clouds_of_one_call_do_not_meet() {
        let voxels =
            Voxels::from_cells(&[&[[0, 0, 0]], &[], &[[0, 0, 0], [1, 0, 0]]], &Arena::default(), Cancel::default())
                .unwrap();
        assert_eq!(voxels.voxel_of_point, [0, 1, 2]);
        assert!(Voxels::from_cells(&[], &Arena::default(), Cancel::default()).unwrap().is_empty());
    }

    #[test]
    fn coordinates_shift_by_sixteens_only() {
        let voxels =
            from_coordinates(&[[0, -1, 17, 5], [0, 0, 17, 5], [0, -1, 17, 5]], &Arena::default(), Cancel::default())
                .unwrap();
        assert_eq!(voxels.keys, [[15, 1, 5], [16, 1, 5]].map(|cell| encode(Voxel { batch: 0, cell })));
        assert_eq!(voxels.voxel_of_point, [0, 1, 0]);
        assert!(from_coordinates(&[[-1, 0, 0, 0]], &Arena::default(), Cancel::default()).is_err());
        assert!(from_coordinates(&[[1024, 0, 0, 0]], &Arena::default(), Cancel::default()).is_err());
        let error = from_coordinates(&[[0, i32::MIN, 0, 0], [0, i32::MAX, 0, 0]], &Arena::default(), Cancel::default())
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
    }
}
