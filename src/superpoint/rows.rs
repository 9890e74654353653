//! Rows of scores or features: one per point, or one per voxel that its points share.

use crate::error::{Error, ErrorKind, Result};

/// `[rows, width]` values and the row of each point.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    values: &'a [f32],
    width: usize,
    /// Of each point its row, -1 for none; without it, point k has row k.
    of_point: Option<&'a [i32]>,
}

impl<'a> Rows<'a> {
    /// A row of `width` values for each point.
    pub fn of_points(values: &'a [f32], width: usize) -> Result<Self> {
        Self { values, width, of_point: None }.checked()
    }

    /// A row of `width` values for each voxel, and the voxel of each point: -1 for none.
    pub fn of_voxels(values: &'a [f32], width: usize, voxel_of_point: &'a [i32]) -> Result<Self> {
        let this = Self { values, width, of_point: Some(voxel_of_point) }.checked()?;
        let rows = values.len() / width;
        if let Some(point) = voxel_of_point.iter().position(|&voxel| voxel < -1 || voxel >= rows as i32) {
            let voxel = voxel_of_point[point];
            let message = format!("point {point} has voxel {voxel} of {rows}; give 0..{rows}, or -1 for none");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(this)
    }

    fn checked(self) -> Result<Self> {
        let (len, width) = (self.values.len(), self.width);
        if width == 0 || i32::try_from(width).is_err() || i32::try_from(len / width).is_err() {
            return Err(Error::argument(format!("rows of {width} values; give 1 to {}", i32::MAX)));
        }
        if len % width != 0 {
            let message = format!("{len} values are no rows of {width}; give whole rows");
            return Err(Error::new(ErrorKind::Mismatch, message));
        }
        Ok(self)
    }

    /// An error unless there are `points` points.
    pub(super) fn check_points(&self, points: usize) -> Result<()> {
        let own = self.of_point.map_or(self.values.len() / self.width, <[i32]>::len);
        if own == points {
            return Ok(());
        }
        let message = format!("rows for {own} points, but there are {points}; give one for each");
        Err(Error::new(ErrorKind::Mismatch, message))
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The row of `point`, if it has one whose values are all finite.
    pub fn get(&self, point: usize) -> Option<&'a [f32]> {
        let row = match self.of_point {
            None => point,
            Some(rows) => usize::try_from(rows[point]).ok()?,
        };
        let values = &self.values[row * self.width..][..self.width];
        values.iter().all(|v| v.is_finite()).then_some(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_share_the_rows_of_their_voxels() {
        let values = [1.0, 2.0, 3.0, f32::NAN, 5.0, 6.0];
        let rows = Rows::of_voxels(&values, 2, &[2, -1, 0, 1, 2]).unwrap();
        assert_eq!(
            [0, 1, 2, 3, 4].map(|point| rows.get(point)),
            [Some(&values[4..]), None, Some(&values[..2]), None, Some(&values[4..])]
        );
        assert!(rows.check_points(5).is_ok() && rows.check_points(3).is_err());
        assert!(Rows::of_points(&values, 3).unwrap().check_points(2).is_ok());
        assert!(Rows::of_voxels(&[], 4, &[-1, -1]).unwrap().get(1).is_none());
        for wrong in [
            Rows::of_points(&values, 0),
            Rows::of_points(&values, 4),
            Rows::of_voxels(&values, 2, &[3]),
            Rows::of_voxels(&values, 2, &[-2]),
        ] {
            assert!(wrong.is_err());
        }
    }
}
