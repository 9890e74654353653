//! Where points of a scene come to lie on a picture: seen from a corner in perspective, and from above.

use super::render::Dot;
use super::scene::{Face, Point, Scene, TOP};

/// Shares of the box that count as its ceiling and as its walls.
const CEILING: f32 = 0.15;
const WALL: f32 = 0.05;
/// How steeply the corner view looks down, and how far off the diagonal, in degrees.
const ELEVATION: f32 = 42.0;
const OFF_DIAGONAL: f32 = 12.0;
/// Tangent of half the angle of view.
const HALF_ANGLE: f32 = 0.36;
/// Share of a picture's edges that stays empty.
const MARGIN: f32 = 0.04;
/// Points that the corner view is fitted to.
const OUTLINE: usize = 50_000;

/// What is seen, and what was left out for it.
pub(super) struct View {
    pub(super) dots: Vec<Dot>,
    pub(super) without_ceiling: bool,
    pub(super) without_walls: bool,
    /// Pixels of a metre, where that is the same everywhere.
    pub(super) scale: Option<f32>,
}

/// From above, x to the right and y up, without the ceiling.
pub(super) fn from_above(scene: &Scene, size: [u32; 2]) -> View {
    let without_ceiling = scene.is_closed(TOP, CEILING);
    let [width, height] = size.map(|v| v as f32);
    let [lower, upper] = scene.frame;
    let edges = [0, 1, 2].map(|axis| upper[axis] - lower[axis]);
    let middle = middle(scene);
    let scale = (1.0 - 2.0 * MARGIN) * (width / edges[0]).min(height / edges[1]);
    // As if from far away, so that shading sees the same depths as in the perspective view.
    let distance = 3.0 * edges[0].max(edges[1]).max(edges[2]);
    let dot = |point: &Point| {
        let [x, y, z] = difference(point.position, middle);
        let hidden = without_ceiling && scene.depth(point.position, TOP) < CEILING;
        let depth = (distance - z).max(distance / 8.0).log2();
        let (x, y) = (width / 2.0 + scale * x, height / 2.0 - scale * y);
        let slope = point.spacing / distance;
        (!hidden).then_some(Dot { x, y, spacing: scale * point.spacing, depth, slope, color: point.color })
    };
    View {
        dots: scene.points.iter().filter_map(dot).collect(),
        without_ceiling,
        without_walls: false,
        scale: Some(scale),
    }
}

/// From the corner where the fewest walls stand in the way, without the ceiling and without those walls.
pub(super) fn from_corner(scene: &Scene, size: [u32; 2]) -> View {
    let without_ceiling = scene.is_closed(TOP, CEILING);
    let closed = |axis| [false, true].map(|upper| scene.is_closed(Face { axis, upper }, WALL));
    let walls = [closed(0), closed(1)];
    let in_the_way = |corner: &[usize; 2]| usize::from(walls[0][corner[0]]) + usize::from(walls[1][corner[1]]);
    let corner = [[1, 0], [0, 0], [1, 1], [0, 1]].into_iter().min_by_key(in_the_way).unwrap_or([1, 0]);
    let front = (0..2).filter(|&axis| walls[axis][corner[axis]]);
    let mut hidden: Vec<(Face, f32)> = front.map(|axis| (Face { axis, upper: corner[axis] == 1 }, WALL)).collect();
    let without_walls = !hidden.is_empty();
    if without_ceiling {
        hidden.push((TOP, CEILING));
    }
    // The floor under a wall that is left out stays.
    let low = |position| scene.depth(position, TOP) >= 1.0 - WALL / 2.0;
    let is_seen = |point: &&Point| {
        low(point.position) || hidden.iter().all(|&(face, share)| scene.depth(point.position, face) >= share)
    };
    let seen: Vec<&Point> = scene.points.iter().filter(is_seen).collect();
    let camera = Camera::new(scene, corner.map(|side| 2.0 * side as f32 - 1.0), size, &outline(scene, &seen));
    let dot = |point: &&Point| {
        let [x, y, depth] = camera.project(point.position)?;
        let slope = point.spacing / depth;
        Some(Dot { x, y, spacing: camera.scale * slope, depth: depth.log2(), slope, color: point.color })
    };
    View { dots: seen.iter().filter_map(dot).collect(), without_ceiling, without_walls, scale: None }
}

/// Some of the points within the box to show, to fit a picture to; without any, the corners of the box.
fn outline(scene: &Scene, points: &[&Point]) -> Vec<[f32; 3]> {
    let [lower, upper] = scene.frame;
    let is_inside = |p: &[f32; 3]| (0..3).all(|axis| (lower[axis]..=upper[axis]).contains(&p[axis]));
    let step = points.len().div_ceil(OUTLINE).max(1);
    let inside: Vec<[f32; 3]> = points.iter().step_by(step).map(|point| point.position).filter(is_inside).collect();
    if inside.len() > 1 {
        return inside;
    }
    (0..8).map(|i: usize| [0, 1, 2].map(|axis| scene.frame[i >> axis & 1][axis])).collect()
}

struct Camera {
    /// Right, up and forward.
    axes: [[f32; 3]; 3],
    /// What it looks at, and from how far.
    target: [f32; 3],
    distance: f32,
    scale: f32,
    offset: [f32; 2],
}

impl Camera {
    /// Looks from `corner` (signs of x and y) at the middle of the box, from as near as shows all of `outline`.
    fn new(scene: &Scene, corner: [f32; 2], size: [u32; 2], outline: &[[f32; 3]]) -> Self {
        let (sin, cos) = ELEVATION.to_radians().sin_cos();
        let (across, along) = (45.0 - OFF_DIAGONAL).to_radians().sin_cos();
        let eye = [corner[0] * across * cos, corner[1] * along * cos, sin];
        let right = [-corner[1] * along, corner[0] * across, 0.0];
        let forward = eye.map(|v| -v);
        let up = cross(right, forward);
        let mut camera =
            Self { axes: [right, up, forward], target: middle(scene), distance: 0.0, scale: 1.0, offset: [0.0; 2] };
        let reach = |p: &[f32; 3]| {
            let [x, y, z] = camera.axes.map(|axis| product(axis, difference(*p, camera.target)));
            x.abs().max(y.abs()) / HALF_ANGLE - z
        };
        camera.distance = outline.iter().map(reach).fold(0.0, f32::max);
        camera.frame(outline, size);
        camera
    }

    /// Shifts and scales the picture so that `outline` fills it.
    fn frame(&mut self, outline: &[[f32; 3]], size: [u32; 2]) {
        let projected: Vec<[f32; 3]> = outline.iter().filter_map(|&p| self.project(p)).collect();
        let range = |axis: usize| {
            let values = projected.iter().map(|p| p[axis]);
            (values.clone().fold(f32::INFINITY, f32::min), values.fold(f32::NEG_INFINITY, f32::max))
        };
        let ranges = [range(0), range(1)];
        let fit = |axis: usize| size[axis] as f32 * (1.0 - 2.0 * MARGIN) / (ranges[axis].1 - ranges[axis].0);
        self.scale = fit(0).min(fit(1));
        self.offset = [0, 1].map(|axis| size[axis] as f32 / 2.0 - self.scale * (ranges[axis].0 + ranges[axis].1) / 2.0);
    }

    /// Pixels and distance; nothing for what lies behind or close before the camera.
    fn project(&self, position: [f32; 3]) -> Option<[f32; 3]> {
        let [x, y, z] = self.axes.map(|axis| product(axis, difference(position, self.target)));
        let depth = self.distance + z;
        let seen = depth > 0.2 * self.distance;
        seen.then(|| [self.offset[0] + self.scale * x / depth, self.offset[1] - self.scale * y / depth, depth])
    }
}

fn middle(scene: &Scene) -> [f32; 3] {
    let [lower, upper] = scene.frame;
    [0, 1, 2].map(|axis| (lower[axis] + upper[axis]) / 2.0)
}

fn difference(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

fn product(a: [f32; 3], b: [f32; 3]) -> f32 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corner_view_shows_the_whole_box_upright() {
        let positions: Vec<[f64; 3]> =
            (0..8).map(|i| [0, 1, 2].map(|axis| f64::from(i >> axis & 1) * [8.0, 3.0, 2.0][axis])).collect();
        let scene = Scene::new(&positions, &[[0; 3]; 8]);
        let size = [400, 300];
        for corner in [[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]] {
            let camera = Camera::new(&scene, corner, size, &outline(&scene, &[]));
            for point in &scene.points {
                let [x, y, _] = camera.project(point.position).unwrap();
                assert!((0.0..400.0).contains(&x) && (0.0..300.0).contains(&y), "{x} {y}");
            }
            let [low, high] = [-1.0, 1.0].map(|z| camera.project([camera.target[0], camera.target[1], z]).unwrap());
            assert!(high[1] < low[1] && (high[0] - low[0]).abs() < 1e-3);
            let [near, far] = [1.0, -1.0].map(|s| {
                let [x, y, z] = camera.target;
                camera.project([x + s * corner[0], y + s * corner[1], z]).unwrap()
            });
            assert!(near[2] < far[2]);
        }
    }

    #[test]
    fn the_view_from_above_has_x_right_and_y_up() {
        let scene = Scene::new(&[[0.0, 0.0, 0.0], [4.0, 2.0, 1.0]], &[[0; 3]; 2]);
        let view = from_above(&scene, [100, 100]);
        assert!(view.dots[1].x > view.dots[0].x && view.dots[1].y < view.dots[0].y);
        assert!(view.dots[1].depth < view.dots[0].depth);
    }
}
