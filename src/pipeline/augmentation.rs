//! Published test-time augmentation: several passes under random rotation and scale, their raw scores averaged: labels as by the
//! published sums, scores in the unit of one pass.

use crate::error::{Error, Result};
use crate::random::SplitMix64;
use std::f64::consts::PI;

/// How to repeat a segmentation. OpenScene's evaluation makes five passes with these ranges.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    /// Number of passes, at least 1.
    pub repeats: u32,
    /// Seed of the rotations and scales: the same seed gives the same result.
    pub seed: u64,
    /// Largest rotation about x, y and z in radians, either way.
    pub rotation: [f64; 3],
    /// Smallest and largest scale.
    pub scale: [f64; 2],
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { repeats: 5, seed: 1463, rotation: [PI / 64.0, PI / 64.0, PI], scale: [0.9, 1.1] }
    }
}

type Matrix = [[f64; 3]; 3];

impl Augmentation {
    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        if !(1..=1000).contains(&self.repeats) {
            return Err(Error::argument(format!("repeats is {}; it must lie in 1..=1000", self.repeats)));
        }
        let [low, high] = self.scale;
        if !(low.is_finite() && high.is_finite() && low > 0.0 && low <= high) {
            return Err(Error::argument(format!("scale range is {low}..{high}; it must be positive and ascending")));
        }
        if self.rotation.iter().any(|v| !v.is_finite()) {
            return Err(Error::argument("a rotation range is not finite; give radians"));
        }
        Ok(())
    }

    /// The rotation and scale of every pass: three axis rotations multiplied in random order, times a scale.
    pub fn transforms(&self) -> Vec<Matrix> {
        let mut random = SplitMix64::new(self.seed);
        (0..self.repeats).map(|_| self.transform(&mut random)).collect()
    }

    fn transform(&self, random: &mut SplitMix64) -> Matrix {
        let mut axes = [0, 1, 2];
        for last in [2, 1] {
            axes.swap(last, (random.bits() % (last as u64 + 1)) as usize);
        }
        let rotations = self.rotation.map(|range| random.range(-range, range));
        let scale = random.range(self.scale[0], self.scale[1]);
        let identity = [[scale, 0.0, 0.0], [0.0, scale, 0.0], [0.0, 0.0, scale]];
        axes.into_iter().fold(identity, |matrix, axis| multiply(&about(axis, rotations[axis]), &matrix))
    }
}

/// The rotation by `angle` about `axis`.
fn about(axis: usize, angle: f64) -> Matrix {
    let (sin, cos) = angle.sin_cos();
    let (u, v) = ((axis + 1) % 3, (axis + 2) % 3);
    let mut matrix = [[0.0; 3]; 3];
    matrix[axis][axis] = 1.0;
    (matrix[u][u], matrix[u][v], matrix[v][u], matrix[v][v]) = (cos, -sin, sin, cos);
    matrix
}

fn multiply(a: &Matrix, b: &Matrix) -> Matrix {
    [0, 1, 2].map(|i| [0, 1, 2].map(|j| (0..3).map(|k| a[i][k] * b[k][j]).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transforms_are_scaled_rotations_within_range() {
        let augmentation = Augmentation { repeats: 50, ..Augmentation::default() };
        for matrix in augmentation.transforms() {
            let transposed = [0, 1, 2].map(|i| [0, 1, 2].map(|j| matrix[j][i]));
            let square = multiply(&matrix, &transposed);
            let scale = square[0][0].sqrt();
            assert!((0.9..1.1).contains(&scale));
            for i in 0..3 {
                for j in 0..3 {
                    let want = if i == j { scale * scale } else { 0.0 };
                    assert!((square[i][j] - want).abs() < 1e-12);
                }
            }
            assert!(matrix[2][2] / scale > (PI / 32.0).cos(), "z tilts by at most the x and y ranges");
        }
        assert_eq!(augmentation.transforms(), augmentation.transforms());
    }
}
