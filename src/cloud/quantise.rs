//! Points to integer voxel cells, as the published voxeliser does it: float64, floor, then a shift by whole cells.

use super::Cloud;
use crate::arena::{Arena, Buffer};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, Result};
use rayon::prelude::*;

/// Cells per axis that one cloud may span: what 18 bits per axis of a voxel key hold (5.2 km at 2 cm).
pub const MAX_EXTENT: i64 = 1 << 18;

/// The cell of a point that has none, because its position is not finite.
pub const NO_CELL: [u32; 3] = [u32::MAX; 3];

/// Tensor stride of the coarsest level: world-anchored clouds are shifted by multiples of it, so that every
/// coarse cell stays the same set of voxels.
const COARSEST_STRIDE: i64 = 16;

/// Points of one thread's task, and between two looks at the cancel token.
const BLOCK: usize = 1 << 13;

/// Which lattice the voxels stand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GridOrigin {
    /// The cloud's per-axis minimum cell becomes 0 (published). Labels depend on the cloud's minimum corner.
    #[default]
    Minimum,
    /// A lattice fixed in the frame: labels of still objects do not flicker when the cloud grows.
    World,
}

/// The cells of one cloud.
#[derive(Debug, Clone)]
pub struct Quantised {
    /// Per point the cell, from 0 on each axis, or [`NO_CELL`].
    pub cells: Buffer<[u32; 3]>,
    /// What to add to a cell for the coordinate callers see: 0 for [`GridOrigin::Minimum`].
    pub origin: [i64; 3],
}

/// The cell of every point of `cloud` at `voxel_size` metres, after the 3x3 `rotation_scale` of a test-time
/// augmentation if there is one. The cloud must have passed [`Cloud::validate`].
pub fn quantise(
    cloud: &Cloud<'_>,
    voxel_size: f64,
    grid_origin: GridOrigin,
    rotation_scale: Option<&[[f64; 3]; 3]>,
    arena: &Arena,
    cancel: Cancel<'_>,
) -> Result<Quantised> {
    let cells_per_metre = 1.0 / voxel_size;
    // In voxels; as far away as numbers go where a finite position overflows on the way: that is out of range, not absent.
    let place_of = |index: usize| -> Option<[f64; 3]> {
        let row = cloud.positions.row(index);
        if row.iter().any(|v| !v.is_finite()) {
            return None;
        }
        let mut point = cloud.frame.to_metres(row);
        if let Some(matrix) = rotation_scale {
            point = matrix.map(|r| r[0] * point[0] + r[1] * point[1] + r[2] * point[2]);
        }
        Some(point.map(|v| (v * cells_per_metre).min(f64::MAX)))
    };
    let cell_of = |index: usize| place_of(index).map(|place| place.map(floor));
    let mut cells = arena.filled(cloud.len(), NO_CELL, "the cells of the points")?;
    // One look at the points, not two: cells are counted from the first point's, which is MIDDLE, and moved afterwards.
    // Where the cloud fits the keys none is as far away as NO_CELL.
    let Some(first) = (0..cloud.len()).find_map(cell_of) else {
        return Ok(Quantised { cells, origin: [0; 3] });
    };
    let (low, high) = cells
        .par_chunks_mut(BLOCK)
        .enumerate()
        .map(|(block, cells)| {
            cancel.check()?;
            let mut bounds = NOTHING;
            for (index, place) in (block * BLOCK..).zip(cells) {
                if let Some(cell) = cell_of(index) {
                    bounds = joined(bounds, (cell, cell));
                    *place = [0, 1, 2].map(|axis| MIDDLE.wrapping_add(cell[axis].wrapping_sub(first[axis]) as u32));
                }
            }
            Ok::<_, Error>(bounds)
        })
        .try_reduce(|| NOTHING, |a, b| Ok(joined(a, b)))?;
    let (mut low, mut high) = (low.map(|v| v as f64), high.map(|v| v as f64));
    if low.iter().chain(&high).any(|v| v.abs() > 2_f64.powi(53)) {
        // Far beyond every range; the message tells how far.
        for place in (0..cloud.len()).filter_map(place_of) {
            low = std::array::from_fn(|axis| low[axis].min(place[axis].floor().max(f64::MIN)));
            high = std::array::from_fn(|axis| high[axis].max(place[axis].floor()));
        }
    }
    let shift = shift_for(low, high, voxel_size, grid_origin)?;
    let first = [0, 1, 2].map(|axis| ((first[axis] - shift[axis]) as u32).wrapping_sub(MIDDLE));
    cells.par_chunks_mut(BLOCK).for_each(|cells| {
        for cell in cells.iter_mut().filter(|cell| **cell != NO_CELL) {
            *cell = [0, 1, 2].map(|axis| first[axis].wrapping_add(cell[axis]));
        }
    });
    let origin = match grid_origin {
        GridOrigin::Minimum => [0; 3],
        GridOrigin::World => shift,
    };
    Ok(Quantised { cells, origin })
}

/// Where the first point's cell stands before the cells are moved.
const MIDDLE: u32 = 1 << 30;

/// The largest whole number that is not above `v`, without a call of the mathematics library; the nearest there is
/// where that overflows.
pub(crate) fn floor(v: f64) -> i64 {
    let whole = v as i64;
    whole.saturating_sub(i64::from(whole as f64 > v))
}

/// The lowest and the highest cell.
type Bounds = ([i64; 3], [i64; 3]);

/// The bounds of no point.
const NOTHING: Bounds = ([i64::MAX; 3], [i64::MIN; 3]);

fn joined(a: Bounds, b: Bounds) -> Bounds {
    (std::array::from_fn(|axis| a.0[axis].min(b.0[axis])), std::array::from_fn(|axis| a.1[axis].max(b.1[axis])))
}

/// The whole cells to subtract, after checking that what remains fits the voxel keys.
pub(crate) fn shift_for(low: [f64; 3], high: [f64; 3], voxel_size: f64, grid_origin: GridOrigin) -> Result<[i64; 3]> {
    let mut shift = [0_i64; 3];
    for axis in 0..3 {
        if low[axis] > high[axis] {
            continue;
        }
        // Beyond 2^31 cells coordinates would not fit the int32 that callers and the world lattice use.
        let limit = if grid_origin == GridOrigin::World { f64::from(i32::MAX) } else { 2_f64.powi(53) };
        if low[axis] < -limit || high[axis] > limit {
            return Err(out_of_range(axis, format!("reaches cell {:e}", low[axis].min(-high[axis]).abs()), voxel_size));
        }
        let (low, high) = (low[axis] as i64, high[axis] as i64);
        shift[axis] = match grid_origin {
            GridOrigin::Minimum => low,
            GridOrigin::World => low.div_euclid(COARSEST_STRIDE) * COARSEST_STRIDE,
        };
        if high - shift[axis] >= MAX_EXTENT {
            return Err(out_of_range(axis, format!("spans {} voxels", high - shift[axis] + 1), voxel_size));
        }
    }
    Ok(shift)
}

fn out_of_range(axis: usize, what: String, voxel_size: f64) -> Error {
    let axis = ["x", "y", "z"][axis];
    let metres = MAX_EXTENT as f64 * voxel_size;
    Error::new(
        ErrorKind::OutOfRange,
        format!(
            "the cloud {what} on {axis} at a voxel size of {voxel_size} m; at most {MAX_EXTENT} voxels ({metres:.0} m) \
             fit: check the unit of the positions, drop outliers, use larger voxels or split the cloud"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Frame;
    use super::*;

    fn cells(points: &[[f32; 3]], voxel: f64, origin: GridOrigin) -> Result<Quantised> {
        quantise(&Cloud::from_xyz(points), voxel, origin, None, &Arena::default(), Cancel::default())
    }

    #[test]
    fn minimum_shift_is_per_axis_and_after_the_floor() {
        let got = cells(&[[-0.01, 0.05, 0.0], [0.03, 0.01, 0.021]], 0.02, GridOrigin::Minimum).unwrap();
        assert_eq!(got.cells, [[0, 2, 0], [2, 0, 1]]);
        assert_eq!(got.origin, [0; 3]);
    }

    #[test]
    fn the_world_lattice_does_not_move_with_the_cloud() {
        let small = cells(&[[0.5, 0.5, 0.5]], 0.02, GridOrigin::World).unwrap();
        let grown = cells(&[[0.5, 0.5, 0.5], [-7.0, 3.0, -0.4]], 0.02, GridOrigin::World).unwrap();
        let world = |q: &Quantised| [0, 1, 2].map(|a| i64::from(q.cells[0][a]) + q.origin[a]);
        assert_eq!(world(&small), world(&grown));
        assert!(grown.origin.iter().all(|v| v % 16 == 0));
    }

    #[test]
    fn points_that_are_not_finite_have_no_cell_and_do_not_move_the_minimum() {
        let got =
            cells(&[[f32::NAN, 0.0, -9.0], [0.1, 0.1, 0.1], [f32::INFINITY, 0.0, 0.0]], 0.02, GridOrigin::Minimum);
        assert_eq!(got.unwrap().cells, [NO_CELL, [0, 0, 0], NO_CELL]);
        assert!(cells(&[], 0.02, GridOrigin::Minimum).unwrap().cells.is_empty());
    }

    #[test]
    fn the_extent_limit_is_exact_and_named() {
        let edge = (MAX_EXTENT - 1) as f32;
        assert!(cells(&[[0.0; 3], [edge, 0.0, 0.0]], 1.0, GridOrigin::Minimum).is_ok());
        let error = cells(&[[0.0; 3], [0.0, edge + 1.0, 0.0]], 1.0, GridOrigin::Minimum).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfRange);
        assert!(error.to_string().contains("262145 voxels on y"), "{error}");
        for origin in [GridOrigin::Minimum, GridOrigin::World] {
            assert!(cells(&[[1e30, 0.0, 0.0]], 0.02, origin).is_err());
        }
    }

    #[test]
    fn cells_beyond_every_range_keep_their_size_for_the_message() {
        let of = |point: [f64; 3], frame: Frame| {
            let points = [[0.0; 3], point];
            let positions = super::super::StridedView::packed_f64(&points);
            let cloud = Cloud { positions, frame, ..Cloud::from_xyz(&[]) };
            quantise(&cloud, 0.5, GridOrigin::World, None, &Arena::default(), Cancel::default()).unwrap_err()
        };
        let told = |error: Error, what: &str| {
            assert!(error.kind() == ErrorKind::OutOfRange && error.to_string().contains(what), "{error}");
        };
        told(of([0.0, 1e300, 0.0], Frame::default()), "2e300 on y");
        told(of([0.0, 0.0, -1e25], Frame::default()), "2e25 on z");
        told(of([f64::MAX, 0.0, 0.0], Frame::default()), "e308 on x");
        // Infinity less infinity on the way: not absent.
        let row = [f64::MAX, -f64::MAX, 0.0, 0.0];
        let pose = Some([row, [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]]);
        told(of([9.0, 9.0, 0.0], Frame { pose, ..Frame::default() }), "e308 on x");
    }

    #[test]
    fn far_origins_in_f64_keep_their_cells() {
        let near = [[0.013_f64, 0.027, 0.049], [0.9, 0.8, 0.7]];
        let far = near.map(|p| [p[0] + 512_000.0, p[1] + 5_400_000.0, p[2]]);
        let of = |points: &[[f64; 3]]| {
            let cloud = Cloud { positions: super::super::StridedView::packed_f64(points), ..Cloud::from_xyz(&[]) };
            quantise(&cloud, 0.0625, GridOrigin::Minimum, None, &Arena::default(), Cancel::default()).unwrap().cells
        };
        assert_eq!(of(&near), of(&far));
    }
}
