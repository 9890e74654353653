//! A cloud as pictures see it: around its middle, with the box that most of it fills and the layers that would hide it.

use std::collections::HashMap;

/// Share of the points that lie beyond each face of the core box.
const OUTLIERS: f32 = 0.02;
/// How far, in its own edges, the core box grows towards the points beyond it to be the frame of a picture.
const GROWTH: f32 = 0.15;
/// Points looked at to find the boxes, and to find how a room is turned.
const SAMPLES: usize = 100_000;
const TURN_SAMPLES: usize = 4_000;
/// Steps in which a right angle is searched for the turn of a room.
const TURNS: usize = 30;
/// Cells per axis of the raster in which layers are looked for.
const CELLS: usize = 24;

/// A coloured point.
pub(super) struct Point {
    pub(super) position: [f32; 3],
    /// Distance to the next points.
    pub(super) spacing: f32,
    pub(super) color: [u8; 3],
}

/// The finite points of a cloud, around its middle.
pub(super) struct Scene {
    pub(super) points: Vec<Point>,
    /// Lower and upper corner of the box that most points fill; never flat.
    core: [[f32; 3]; 2],
    /// The box to show.
    pub(super) frame: [[f32; 3]; 2],
}

/// One side of the core box.
#[derive(Clone, Copy)]
pub(super) struct Face {
    pub(super) axis: usize,
    /// Whether it is the side of the larger coordinates.
    pub(super) upper: bool,
}

pub(super) const TOP: Face = Face { axis: 2, upper: true };

impl Scene {
    pub(super) fn new(positions: &[[f64; 3]], colors: &[[u8; 3]]) -> Self {
        let middle = middle(positions);
        let point = |(position, &color): (&[f64; 3], &[u8; 3])| {
            let position = [0, 1, 2].map(|i| (position[i] - middle[i]) as f32);
            // Squares of drawn coordinates stay finite.
            position.iter().all(|v| v.abs() < 1e15).then_some(Point { position, spacing: 0.0, color })
        };
        let mut scene = Self::of(positions.iter().zip(colors).filter_map(point).collect());
        scene.measure_spacing();
        scene
    }

    fn of(points: Vec<Point>) -> Self {
        let step = points.len().div_ceil(SAMPLES).max(1);
        let ranges = [0, 1, 2].map(|axis| range(points.iter().step_by(step).map(|p| p.position[axis]).collect()));
        let largest = ranges.iter().map(|r| r.core[1] - r.core[0]).fold(0.0, f32::max);
        let least = if largest > 0.0 { largest * 0.01 } else { 0.5 };
        let corners = |pick: fn(&Range) -> [f32; 2]| {
            [0, 1].map(|side| {
                let sign = 2.0 * side as f32 - 1.0;
                ranges.each_ref().map(|r| pick(r)[side] + sign * (least - (r.core[1] - r.core[0])).max(0.0))
            })
        };
        let (core, frame) = (corners(|r| r.core), corners(|r| r.frame));
        Self { points, core, frame }
    }

    /// The scene turned about the vertical so that its core box is smallest, as a room's is with its walls along the
    /// axes; as it is where that gains little.
    pub(super) fn squared(&self) -> Self {
        let step = self.points.len().div_ceil(TURN_SAMPLES).max(1);
        let sample: Vec<[f32; 3]> = self.points.iter().step_by(step).map(|p| p.position).collect();
        let area = |turn: usize| {
            let edge = |axis: usize| {
                let core = range(sample.iter().map(|&p| turned(p, turn)[axis]).collect()).core;
                core[1] - core[0]
            };
            edge(0) * edge(1)
        };
        let (areas, plain): (Vec<f32>, f32) = ((0..TURNS).map(area).collect(), area(0));
        let best = (0..TURNS).min_by(|&a, &b| areas[a].total_cmp(&areas[b])).filter(|&turn| areas[turn] < 0.85 * plain);
        let turn = |p: &Point| Point { position: turned(p.position, best.unwrap_or(0)), ..*p };
        Self::of(self.points.iter().map(turn).collect())
    }

    /// How deep `position` lies behind `face`, as a share of the core box; below 0 in front of it.
    pub(super) fn depth(&self, position: [f32; 3], face: Face) -> f32 {
        let share = self.share(position, face.axis);
        if face.upper { 1.0 - share } else { share }
    }

    fn share(&self, position: [f32; 3], axis: usize) -> f32 {
        (position[axis] - self.core[0][axis]) / (self.core[1][axis] - self.core[0][axis])
    }

    /// Whether a wall or a ceiling within `thickness` closes the core box at `face`: it covers most of what there is to
    /// see through the face, and behind it there is more air. A thick or sparse cloud of points is no such layer.
    pub(super) fn is_closed(&self, face: Face, thickness: f32) -> bool {
        let [mut any, mut layer, mut behind] = [[false; CELLS * CELLS]; 3];
        for point in &self.points {
            let Some(cell) = self.cell(point.position, face.axis) else { continue };
            let depth = self.depth(point.position, face);
            any[cell] = true;
            layer[cell] |= depth < thickness;
            behind[cell] |= depth >= thickness && depth < 3.0 * thickness;
        }
        let count = |cells: &[bool]| cells.iter().filter(|&&c| c).count() as f32;
        let (any, layer, behind) = (count(&any), count(&layer), count(&behind));
        layer > 0.5 * any && behind < 0.75 * layer
    }

    /// The cell of the raster across `axis`.
    fn cell(&self, position: [f32; 3], axis: usize) -> Option<usize> {
        let place = |axis: usize| {
            let share = self.share(position, axis);
            (0.0..1.0).contains(&share).then_some((share * CELLS as f32) as usize)
        };
        Some(place((axis + 1) % 3)? * CELLS + place((axis + 2) % 3)?)
    }

    /// Sets every point's spacing from the number of points in the cells around it, taken as lying on a surface.
    fn measure_spacing(&mut self) {
        let edges = [0, 1, 2].map(|axis| self.core[1][axis] - self.core[0][axis]);
        let coarse = edges.iter().fold(0.0, |a: f32, &b| a.max(b)) / 100.0;
        let occupied = self.count_cells(coarse).len().max(1) as f32;
        // Wide enough for about nine points of a surface.
        let edge = 3.0 * coarse * (occupied / self.points.len().max(1) as f32).sqrt();
        let counts = self.count_cells(edge);
        // A surface may just clip a cell: the fullest neighbour tells better.
        let steps = [[0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
        let fullest = |cell: &[i32; 3]| {
            let around =
                steps.iter().filter_map(|step| counts.get(&[0, 1, 2].map(|i| cell[i].saturating_add(step[i]))));
            let most = around.max().copied().unwrap_or(1);
            // Points too few to be a surface stay small.
            edge / if most < 4 { (6 - most) as f32 } else { (most as f32).sqrt() }
        };
        let spacings: HashMap<[i32; 3], f32> = counts.keys().map(|&cell| (cell, fullest(&cell))).collect();
        for point in &mut self.points {
            point.spacing = spacings.get(&cell_of(point.position, edge)).copied().unwrap_or(edge);
        }
    }

    fn count_cells(&self, edge: f32) -> HashMap<[i32; 3], u32> {
        let mut counts = HashMap::new();
        for point in &self.points {
            *counts.entry(cell_of(point.position, edge)).or_insert(0) += 1;
        }
        counts
    }
}

fn cell_of(position: [f32; 3], edge: f32) -> [i32; 3] {
    position.map(|v| (v / edge).floor() as i32)
}

/// `position` turned by `turn` steps of `TURNS` to the right angle.
fn turned([x, y, z]: [f32; 3], turn: usize) -> [f32; 3] {
    let (sin, cos) = (std::f32::consts::FRAC_PI_2 * turn as f32 / TURNS as f32).sin_cos();
    [cos * x - sin * y, sin * x + cos * y, z]
}

/// The median of the finite points, by axis.
fn middle(positions: &[[f64; 3]]) -> [f64; 3] {
    let step = positions.len().div_ceil(SAMPLES).max(1);
    let finite = || positions.iter().step_by(step).filter(|p| p.iter().all(|v| v.is_finite()));
    [0, 1, 2].map(|axis| {
        let mut values: Vec<f64> = finite().map(|p| p[axis]).collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    })
}

/// What coordinates of one axis span.
struct Range {
    core: [f32; 2],
    frame: [f32; 2],
}

fn range(mut values: Vec<f32>) -> Range {
    values.sort_unstable_by(f32::total_cmp);
    let at = |share: f32| values.get((share * values.len() as f32) as usize).or(values.last()).copied().unwrap_or(0.0);
    let core = [at(OUTLIERS), at(1.0 - OUTLIERS)];
    let growth = GROWTH * (core[1] - core[0]);
    Range { core, frame: [at(0.0).max(core[0] - growth), at(1.0).min(core[1] + growth)] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(positions: &[[f64; 3]]) -> Scene {
        Scene::new(positions, &vec![[0; 3]; positions.len()])
    }

    fn lattice(steps: [usize; 3], at: impl Fn([f64; 3]) -> [f64; 3]) -> Vec<[f64; 3]> {
        let count = steps.iter().product::<usize>();
        let share = |i: usize| {
            let index = [i % steps[0], i / steps[0] % steps[1], i / steps[0] / steps[1]];
            [0, 1, 2].map(|a| index[a] as f64 / steps[a].max(2) as f64)
        };
        (0..count).map(|i| at(share(i))).collect()
    }

    #[test]
    fn few_and_wild_points_have_a_box() {
        let flat = |scene: &Scene| {
            (0..3).any(|axis| scene.frame[1][axis] <= scene.frame[0][axis] || !scene.frame[1][axis].is_finite())
        };
        assert!(scene(&[]).points.is_empty() && !flat(&scene(&[])));
        let one = scene(&[[5e6, -3.0, 7.0]]);
        assert_eq!((one.points[0].position, one.frame), ([0.0; 3], [[-0.5; 3], [0.5; 3]]));
        let wild = scene(&[[f64::NAN, 0.0, 0.0], [1.0, f64::INFINITY, 0.0], [1e300, 0.0, 0.0], [1.0, 2.0, 3.0]]);
        assert!(!flat(&wild) && !flat(&wild.squared()) && wild.points.iter().all(|p| p.spacing.is_finite()));
    }

    #[test]
    fn outliers_do_not_widen_the_box() {
        let mut positions = lattice([100, 100, 1], |[x, y, _]| [x * 10.0, y * 5.0, 0.0]);
        positions.push([1e5, 1e5, 1e5]);
        let [lower, upper] = scene(&positions).frame;
        assert!(upper[0] - lower[0] > 9.8 && upper[0] - lower[0] < 11.5, "{lower:?} {upper:?}");
        assert!(upper[2] - lower[2] < 0.5);
    }

    #[test]
    fn spacing_is_that_of_the_surface() {
        let scene = scene(&lattice([100, 50, 1], |[x, y, _]| [x * 10.0, y * 5.0, 0.0]));
        let spacings: Vec<f32> = scene.points.iter().map(|p| p.spacing).collect();
        assert!(
            spacings.iter().all(|s| (0.07..0.2).contains(s)),
            "{:?}",
            spacings.iter().fold(0.0, |a: f32, &b| a.max(b))
        );
    }

    #[test]
    fn turned_rooms_are_squared() {
        let room = lattice([60, 50, 1], |[x, y, _]| [x * 6.0 - y * 5.0, x * 6.0 + y * 5.0, 0.0]);
        let edges = |scene: &Scene| [0, 1].map(|axis| scene.frame[1][axis] - scene.frame[0][axis]);
        let [length, width] = edges(&scene(&room).squared());
        assert!((length * width - 2.0 * 29.0).abs() < 3.0, "{length} {width}");
        let plain = scene(&lattice([60, 50, 1], |[x, y, _]| [x * 6.0, y * 5.0, 0.0]));
        assert_eq!(edges(&plain), edges(&plain.squared()));
    }

    #[test]
    fn ceilings_close_a_room_and_terrain_does_not() {
        let slab = |z: f64| lattice([80, 80, 1], move |[x, y, _]| [x * 6.0, y * 5.0, z]);
        let side = |axis, upper| Face { axis, upper };
        let room = [slab(0.0), slab(2.5)].concat();
        assert!(scene(&room).is_closed(TOP, 0.15));
        assert!(!scene(&room).is_closed(side(0, true), 0.1));
        let table = lattice([20, 20, 1], |[x, y, _]| [x * 2.0, y, 1.0]);
        assert!(!scene(&[slab(0.0), table].concat()).is_closed(TOP, 0.15));
        let thick = lattice([60, 60, 20], |[x, y, z]| [x * 6.0, y * 5.0, z * 0.1]);
        assert!(!scene(&thick).is_closed(TOP, 0.15) && !scene(&thick).is_closed(side(1, false), 0.1));
        let wall = lattice([1, 80, 40], |[_, y, z]| [6.0, y * 5.0, z * 2.5]);
        assert!(scene(&[slab(0.0), wall].concat()).is_closed(side(0, true), 0.1));
    }
}
