//! From the caller's units and axes to metres in a right-handed frame with z up.

use crate::error::{Error, Result};

/// The axis convention of a cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axes {
    /// x, y, z with z up, right-handed: ROS, ScanNet, KITTI, nuScenes, Gazebo, Isaac Sim. Left as it is.
    #[default]
    RightHandedZUp,
    /// x forward, y right, z up: Unreal, CARLA. Becomes `(x, -y, z)`.
    LeftHandedZUp,
    /// x right, y up, z backward: Godot, OpenGL, glTF. Becomes `(x, -z, y)`.
    RightHandedYUp,
    /// x right, y up, z forward: Unity. Becomes `(x, z, y)`.
    LeftHandedYUp,
    /// x right, y down, z forward: a camera's own frame. Becomes `(x, z, -y)`.
    Camera,
}

impl Axes {
    /// The same point in the right-handed frame with z up.
    pub fn to_z_up(self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        match self {
            Self::RightHandedZUp => [x, y, z],
            Self::LeftHandedZUp => [x, -y, z],
            Self::RightHandedYUp => [x, -z, y],
            Self::LeftHandedYUp => [x, z, y],
            Self::Camera => [x, z, -y],
        }
    }
}

/// How positions become metres in the network's frame: unit, then axes, then pose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Metres per unit of the positions: 1 for metres, 0.001 for millimetres, 0.01 for Unreal units.
    pub unit_in_metres: f64,
    /// The axis convention of the positions.
    pub axes: Axes,
    /// An optional row-major 3x4 transform applied last, translation in metres.
    pub pose: Option<[[f64; 4]; 3]>,
}

impl Default for Frame {
    fn default() -> Self {
        Self { unit_in_metres: 1.0, axes: Axes::default(), pose: None }
    }
}

impl Frame {
    /// Checks that the transform is usable.
    pub fn validate(&self) -> Result<()> {
        let unit = self.unit_in_metres;
        if !(unit.is_finite() && unit > 0.0) {
            return Err(Error::argument(format!(
                "unit_in_metres is {unit}; it must be positive, such as 0.001 for mm"
            )));
        }
        if self.pose.is_some_and(|pose| pose.iter().flatten().any(|v| !v.is_finite())) {
            return Err(Error::argument("pose holds a value that is not finite; give a row-major 3x4 transform"));
        }
        Ok(())
    }

    /// `position` in metres, right-handed, z up. Positions already so come back bit for bit.
    pub fn to_metres(&self, position: [f64; 3]) -> [f64; 3] {
        let scaled = position.map(|v| v * self.unit_in_metres);
        let point = self.axes.to_z_up(scaled);
        match &self.pose {
            None => point,
            Some(rows) => rows.map(|r| r[0] * point[0] + r[1] * point[1] + r[2] * point[2] + r[3]),
        }
    }

    /// A direction, such as a normal, in the right-handed frame with z up, for poses that turn and scale evenly.
    pub fn turn(&self, direction: [f64; 3]) -> [f64; 3] {
        let direction = self.axes.to_z_up(direction);
        match &self.pose {
            None => direction,
            Some(rows) => rows.map(|r| r[0] * direction[0] + r[1] * direction[1] + r[2] * direction[2]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_axes_and_pose_apply_in_that_order() {
        let frame = Frame {
            unit_in_metres: 0.01,
            axes: Axes::LeftHandedZUp,
            pose: Some([[0.0, -1.0, 0.0, 5.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]),
        };
        let [x, y, z] = frame.to_metres([100.0, 200.0, 300.0]);
        // 1, 2, 3 m -> 1, -2, 3 -> a quarter turn about z and a shift.
        assert!((x - 7.0).abs() < 1e-12 && (y - 1.0).abs() < 1e-12 && (z - 2.0).abs() < 1e-12);
        assert_eq!(frame.turn([1.0, 2.0, 3.0]), [2.0, 1.0, 3.0]);
    }

    #[test]
    fn up_becomes_z_in_every_convention() {
        for (axes, up) in [
            (Axes::RightHandedZUp, [0.0, 0.0, 1.0]),
            (Axes::LeftHandedZUp, [0.0, 0.0, 1.0]),
            (Axes::RightHandedYUp, [0.0, 1.0, 0.0]),
            (Axes::LeftHandedYUp, [0.0, 1.0, 0.0]),
            (Axes::Camera, [0.0, -1.0, 0.0]),
        ] {
            assert_eq!(axes.to_z_up(up).map(|v| v + 0.0), [0.0, 0.0, 1.0], "{axes:?}");
        }
    }

    #[test]
    fn unusable_frames_are_named() {
        for unit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let frame = Frame { unit_in_metres: unit, ..Frame::default() };
            assert!(frame.validate().unwrap_err().to_string().contains("unit_in_metres"));
        }
    }
}
