//! Occupied voxels of a call: unique sorted keys, and which points lie in which voxel.

use super::key::{BATCH_LIMIT, Voxel, encode};
use super::sort::{Keys, RUN, Sorted, sort_by_key};
use crate::arena::{Arena, Buffer, parts};
use crate::cancel::Cancel;
use crate::cloud::{MAX_EXTENT, NO_CELL};
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;
use std::ops::Range;

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
        let mut ends = arena.with_capacity(cells.len(), "the voxel keys")?;
        ends.extend(cells.iter().scan(0, |end, cells| {
            *end += cells.len();
            Some(*end)
        }));
        // The clouds that some points belong to, and the cells there.
        let clouds_of = |points: Range<usize>| {
            let first = ends.partition_point(|&end| end <= points.start);
            let clouds = (first..).zip(&cells[first..]).zip(&ends[first..]);
            clouds.map_while(move |((cloud, cells), end)| {
                let begin = end - cells.len();
                let within = points.start.max(begin)..points.end.min(*end);
                (begin < points.end).then(|| (cloud as u32, &cells[within.start - begin..within.end - begin]))
            })
        };
        let known_of = |points: Range<usize>| {
            let parts = clouds_of(points).map(|(cloud, cells)| known_of(cloud, cells));
            parts.fold(Keys::NONE, Keys::with)
        };
        let keys_of = |points: Range<usize>| {
            clouds_of(points).flat_map(|(batch, cells)| {
                let key = move |&cell: &[u32; 3]| (cell != NO_CELL).then(|| encode(Voxel { batch, cell }));
                cells.iter().map(key)
            })
        };
        Self::from_keys(count, sort_by_key(count, known_of, keys_of, arena, cancel)?, arena, cancel)
    }

    /// From the sorted keys of `count` points.
    fn from_keys(count: usize, sorted: Sorted, arena: &Arena, cancel: Cancel<'_>) -> Result<Self> {
        // Runs of places end with a voxel.
        let mut borders = arena.filled(sorted.len().div_ceil(RUN) + 1, 0, "the voxels")?;
        borders.iter_mut().enumerate().skip(1).for_each(|(run, border)| *border = sorted.end_of_key(run * RUN));
        let run_of = |run: usize| borders[run]..borders[run + 1];
        let mut voxels = arena.filled(borders.len() - 1, 0_usize, "the voxels")?;
        voxels.par_iter_mut().enumerate().try_for_each(|(run, count)| {
            let mut last = None;
            for (place, (key, _)) in run_of(run).zip(sorted.at(run_of(run))) {
                if place.is_multiple_of(BLOCK) {
                    cancel.check()?;
                }
                *count += usize::from(last.replace(key) != Some(key));
            }
            Ok::<(), Error>(())
        })?;
        let total = voxels.iter().sum::<usize>();
        let mut this = Self {
            keys: arena.filled(total, 0, "the voxel keys")?,
            starts: arena.filled(total + 1, 0, "the voxel starts")?,
            points: arena.filled(sorted.len(), 0, "the points by voxel")?,
            voxel_of_point: arena.filled(count, NO_VOXEL, "the voxel of each point")?,
        };
        let mut tasks = arena.with_capacity(voxels.len(), "the voxels")?;
        let keys = parts(&mut this.keys, voxels.iter().copied());
        let ends = parts(&mut this.starts[1..], voxels.iter().copied());
        let points = parts(&mut this.points, (0..voxels.len()).map(|run| run_of(run).len()));
        tasks.extend(keys.zip(ends).zip(points));
        tasks.par_iter_mut().enumerate().try_for_each(|(run, ((keys, ends), points))| {
            // Without branches that nobody could foretell: what a voxel's last point writes stays.
            let (mut last, mut voxel) = (None, usize::MAX);
            for ((place, point), (key, number)) in run_of(run).zip(points.iter_mut()).zip(sorted.at(run_of(run))) {
                if place.is_multiple_of(BLOCK) {
                    cancel.check()?;
                }
                voxel = voxel.wrapping_add(usize::from(last.replace(key) != Some(key)));
                (keys[voxel], ends[voxel], *point) = (key, place as u32 + 1, number);
            }
            Ok::<(), Error>(())
        })?;
        drop(tasks);
        drop(sorted);
        for (voxel, range) in this.starts.windows(2).enumerate() {
            for place in range[0] as usize..range[1] as usize {
                if place.is_multiple_of(BLOCK) {
                    cancel.check()?;
                }
                this.voxel_of_point[this.points[place] as usize] = voxel as u32;
            }
        }
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

/// What is known of the keys of points in `cells` of a cloud: a key holds the bits of its cell, only elsewhere.
fn known_of(batch: u32, cells: &[[u32; 3]]) -> Keys {
    let (mut count, mut any, mut all) = (0, [0; 3], [MAX_EXTENT as u32 - 1; 3]);
    for cell in cells.iter().filter(|cell| **cell != NO_CELL) {
        count += 1;
        for axis in 0..3 {
            any[axis] |= cell[axis];
            all[axis] &= cell[axis];
        }
    }
    if count == 0 {
        return Keys::NONE;
    }
    let key = |cell: [u32; 3]| encode(Voxel { batch, cell });
    Keys { count, any: key(any), all: key(all) }
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
    let keys = coordinate_keys(rows, arena)?;
    let keys_of = |rows: Range<usize>| keys[rows].iter().copied().map(Some);
    let sorted = sort_by_key(rows.len(), |rows| Keys::of(keys_of(rows)), keys_of, arena, cancel)?;
    Voxels::from_keys(rows.len(), sorted, arena, cancel)
}

/// The key of every row of [`from_coordinates`].
pub(crate) fn coordinate_keys(rows: &[[i32; 4]], arena: &Arena) -> Result<Buffer<u64>> {
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
    let mut keys: Buffer<u64> = arena.with_capacity(rows.len(), "the voxel keys")?;
    for (index, &[batch, x, y, z]) in rows.iter().enumerate() {
        let low = low[batch as usize];
        let cell = [0, 1, 2].map(|axis| i64::from([x, y, z][axis]) - low[axis].div_euclid(16) * 16);
        if cell.iter().any(|&v| v >= MAX_EXTENT) {
            return Err(Error::new(
                ErrorKind::OutOfRange,
                format!("row {index} lies {cell:?} voxels from the minimum; at most {MAX_EXTENT} fit an axis"),
            ));
        }
        keys.push(encode(Voxel { batch: batch as u32, cell: cell.map(|v| v as u32) }));
    }
    Ok(keys)
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
    fn long_voxels_and_many_clouds_are_what_a_dictionary_finds() {
        let none = vec![NO_CELL; 20_000];
        let crowd = vec![[7, 7, 7]; 3 * RUN];
        let mixed: Vec<[u32; 3]> =
            (0..20_000_u32).map(|i| if i % 5 == 0 { NO_CELL } else { [i % 3, i / 9000, 1 << (i % 18)] }).collect();
        let mut small: Vec<&[[u32; 3]]> = vec![&mixed[..7]; 1020];
        small.extend([&crowd[..], &[], &mixed, &none]);
        let calls: [&[&[[u32; 3]]]; 6] =
            [&[&crowd], &[&none], &[&none, &crowd, &mixed], &[&mixed, &none, &none, &mixed], &[&mixed], &small];
        for cells in calls {
            let voxels = Voxels::from_cells(cells, &Arena::default(), Cancel::default()).unwrap();
            let mut want: std::collections::BTreeMap<u64, Vec<u32>> = std::collections::BTreeMap::new();
            let all = (0_u32..).zip(cells).flat_map(|(batch, cells)| cells.iter().map(move |&cell| (batch, cell)));
            for (point, (batch, cell)) in (0..).zip(all).filter(|(_, (_, cell))| *cell != NO_CELL) {
                want.entry(encode(Voxel { batch, cell })).or_default().push(point);
            }
            assert!(voxels.keys.iter().eq(want.keys()));
            for (voxel, points) in want.values().enumerate() {
                assert_eq!(voxels.points_of(voxel), points);
                assert!(points.iter().all(|&point| voxels.voxel_of_point[point as usize] == voxel as u32));
            }
            let absent = voxels.voxel_of_point.iter().filter(|voxel| **voxel == NO_VOXEL).count();
            assert_eq!(absent + voxels.points.len(), cells.iter().map(|c| c.len()).sum::<usize>());
        }
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
