//! A furnished room as a depth camera scans it.

use super::{SyntheticCloud, direction, normal};
use crate::random::SplitMix64;

/// What [`room`] generates.
#[derive(Debug, Clone)]
pub struct RoomOptions {
    /// Same seed, same room.
    pub seed: u64,
    /// Length, width and height in metres.
    pub size: [f64; 3],
    /// Points per square metre of surface.
    pub density: f64,
    /// Standard deviation of the positions' noise in metres.
    pub noise: f64,
}

impl Default for RoomOptions {
    fn default() -> Self {
        Self { seed: 1, size: [6.0, 5.0, 2.7], density: 1200.0, noise: 0.002 }
    }
}

const NAMES: [&str; 10] = ["floor", "wall", "door", "window", "table", "chair", "sofa", "cabinet", "bed", "lamp"];
const FLOOR: usize = 0;
const WALL: usize = 1;
const DOOR: usize = 2;
const WINDOW: usize = 3;
const TABLE: usize = 4;
const CHAIR: usize = 5;
const SOFA: usize = 6;
const CABINET: usize = 7;
const BED: usize = 8;
const LAMP: usize = 9;

const COLORS: [[u8; 3]; 10] = [
    [150, 120, 90],
    [225, 220, 210],
    [130, 85, 55],
    [170, 205, 230],
    [170, 125, 70],
    [90, 60, 40],
    [80, 100, 140],
    [200, 190, 170],
    [190, 80, 80],
    [245, 225, 150],
];

/// A furnished room without a ceiling.
pub fn room(options: &RoomOptions) -> SyntheticCloud {
    let cloud = SyntheticCloud { positions: Vec::new(), colors: Vec::new(), labels: Vec::new(), names: &NAMES };
    let mut builder = Builder { random: SplitMix64::new(options.seed), options, cloud };
    let [length, width, _] = options.size;
    builder.shell();
    let table = [builder.near(length * 0.35, 0.3), builder.near(width * 0.45, 0.3)];
    builder.table(table);
    let sofa = builder.near(width * 0.5, 0.4);
    builder.sofa([length - 1.1, sofa]);
    let [cabinet, bed] = [0.5, 0.4].map(|reach| builder.near(length * 0.7, reach));
    builder.cabinet([cabinet, 0.25]);
    builder.bed([bed, width - 1.15]);
    builder.lamp([0.4, 0.4]);
    builder.cloud
}

struct Builder<'a> {
    random: SplitMix64,
    options: &'a RoomOptions,
    cloud: SyntheticCloud,
}

/// A rectangle spanned from a corner by two edges.
struct Rectangle {
    corner: [f64; 3],
    edges: [[f64; 3]; 2],
}

impl Builder<'_> {
    /// `value` moved by at most `reach` either way.
    fn near(&mut self, value: f64, reach: f64) -> f64 {
        value + self.random.range(-reach, reach)
    }

    /// Floor, four walls with a door and a window let into them.
    fn shell(&mut self) {
        let [length, width, height] = self.options.size;
        let flat = |corner, u, v| Rectangle { corner, edges: [u, v] };
        let (x, y, z) = ([length, 0.0, 0.0], [0.0, width, 0.0], [0.0, 0.0, height]);
        self.rectangle(FLOOR, &flat([0.0; 3], x, y), |_| true);
        self.rectangle(WALL, &flat([0.0; 3], x, z), |_| true);
        self.rectangle(WALL, &flat([length, 0.0, 0.0], y, z), |_| true);
        let door = [length * 0.15, length * 0.15 + 0.9, 0.0, 2.05];
        let inside =
            |p: [f64; 3], axis: usize, [a, b, c, d]: [f64; 4]| p[axis] > a && p[axis] < b && p[2] > c && p[2] < d;
        self.rectangle(WALL, &flat([0.0, width, 0.0], x, z), |p| !inside(p, 0, door));
        let leaf = flat([door[0], width - 0.03, 0.0], [0.9, 0.0, 0.0], [0.0, 0.0, 2.05]);
        self.rectangle(DOOR, &leaf, |_| true);
        let window = [width * 0.3, width * 0.3 + 1.6, 0.9, 2.1];
        self.rectangle(WALL, &flat([0.0; 3], y, z), |p| !inside(p, 1, window));
        let pane = flat([-0.08, window[0], 0.9], [0.0, 1.6, 0.0], [0.0, 0.0, 1.2]);
        self.rectangle(WINDOW, &pane, |_| true);
    }

    fn table(&mut self, [x, y]: [f64; 2]) {
        self.cuboid(TABLE, [x - 0.8, y - 0.45, 0.71], [1.6, 0.9, 0.04]);
        for (dx, dy) in [(-0.75, -0.4), (0.69, -0.4), (-0.75, 0.34), (0.69, 0.34)] {
            self.cuboid(TABLE, [x + dx, y + dy, 0.0], [0.06, 0.06, 0.71]);
        }
        for (dx, side) in [(-0.4, -1.0), (0.4, -1.0), (-0.4, 1.0), (0.4, 1.0)] {
            let gap = self.near(0.72, 0.08);
            self.chair([x + dx, y + side * gap], side);
        }
    }

    /// A chair with its back on the `side` away from the table.
    fn chair(&mut self, [x, y]: [f64; 2], side: f64) {
        self.cuboid(CHAIR, [x - 0.21, y - 0.21, 0.43], [0.42, 0.42, 0.04]);
        self.cuboid(CHAIR, [x - 0.21, y + side * 0.2 - 0.015, 0.5], [0.42, 0.03, 0.42]);
        for (dx, dy) in [(-0.2, -0.2), (0.16, -0.2), (-0.2, 0.16), (0.16, 0.16)] {
            self.cuboid(CHAIR, [x + dx, y + dy, 0.0], [0.04, 0.04, 0.43]);
        }
    }

    fn sofa(&mut self, [x, y]: [f64; 2]) {
        self.cuboid(SOFA, [x, y - 0.9, 0.08], [0.85, 1.8, 0.34]);
        self.cuboid(SOFA, [x + 0.65, y - 0.9, 0.42], [0.2, 1.8, 0.42]);
        for dy in [-1.08, 0.9] {
            self.cuboid(SOFA, [x, y + dy, 0.08], [0.85, 0.18, 0.55]);
        }
    }

    fn cabinet(&mut self, [x, y]: [f64; 2]) {
        self.cuboid(CABINET, [x - 0.6, y - 0.22, 0.0], [1.2, 0.42, 1.9]);
        self.cuboid(CABINET, [x + 0.65, y - 0.22, 0.0], [0.8, 0.42, 0.85]);
    }

    fn bed(&mut self, [x, y]: [f64; 2]) {
        self.cuboid(BED, [x - 1.0, y - 0.1, 0.0], [2.0, 1.2, 0.48]);
        self.cuboid(BED, [x + 0.97, y - 0.1, 0.0], [0.06, 1.2, 0.95]);
        self.cuboid(BED, [x + 0.5, y + 0.2, 0.48], [0.4, 0.6, 0.12]);
    }

    /// A standing lamp: base, pole and a round shade.
    fn lamp(&mut self, [x, y]: [f64; 2]) {
        self.cuboid(LAMP, [x - 0.14, y - 0.14, 0.0], [0.28, 0.28, 0.03]);
        self.cuboid(LAMP, [x - 0.015, y - 0.015, 0.03], [0.03, 0.03, 1.4]);
        self.sphere(LAMP, [x, y, 1.6], 0.22);
    }

    /// The five faces of a box that a scanner above the floor can see.
    fn cuboid(&mut self, label: usize, corner: [f64; 3], [dx, dy, dz]: [f64; 3]) {
        let [x, y, z] = corner;
        let (u, v, w) = ([dx, 0.0, 0.0], [0.0, dy, 0.0], [0.0, 0.0, dz]);
        for (corner, edges) in [
            ([x, y, z + dz], [u, v]),
            (corner, [u, w]),
            ([x, y + dy, z], [u, w]),
            (corner, [v, w]),
            ([x + dx, y, z], [v, w]),
        ] {
            self.rectangle(label, &Rectangle { corner, edges }, |_| true);
        }
    }

    /// Points spread over a rectangle where `keep` says so.
    fn rectangle(&mut self, label: usize, rectangle: &Rectangle, keep: impl Fn([f64; 3]) -> bool) {
        let length = |edge: [f64; 3]| edge.iter().map(|v| v * v).sum::<f64>().sqrt();
        let area = length(rectangle.edges[0]) * length(rectangle.edges[1]);
        for _ in 0..self.count(area) {
            let (s, t) = (self.random.unit(), self.random.unit());
            let [u, v] = rectangle.edges;
            let point = [0, 1, 2].map(|i| rectangle.corner[i] + s * u[i] + t * v[i]);
            if keep(point) {
                self.push(label, point);
            }
        }
    }

    /// Points spread over a sphere.
    fn sphere(&mut self, label: usize, centre: [f64; 3], radius: f64) {
        for _ in 0..self.count(4.0 * std::f64::consts::PI * radius * radius) {
            let direction = direction(&mut self.random);
            self.push(label, [0, 1, 2].map(|i| centre[i] + radius * direction[i]));
        }
    }

    fn count(&self, area: f64) -> usize {
        (area * self.options.density).round() as usize
    }

    fn push(&mut self, label: usize, point: [f64; 3]) {
        let point = point.map(|v| (v + self.options.noise * normal(&mut self.random)) as f32);
        let shade = self.random.range(0.85, 1.1);
        self.cloud.positions.push(point);
        self.cloud.colors.push(COLORS[label].map(|c| (f64::from(c) * shade).min(255.0) as u8));
        self.cloud.labels.push(label as i32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_reproducible_and_furnished() {
        let options = RoomOptions { density: 100.0, ..RoomOptions::default() };
        let (a, b) = (room(&options), room(&options));
        assert_eq!(a.positions, b.positions);
        assert_ne!(a.positions, room(&RoomOptions { seed: 2, ..options.clone() }).positions);
        for label in 0..NAMES.len() {
            let count = a.labels.iter().filter(|&&l| l == label as i32).count();
            assert!(count > 20, "{}: {count} points", NAMES[label]);
        }
        for p in &a.positions {
            let inside = p.iter().zip(options.size).all(|(&v, size)| f64::from(v) > -0.2 && f64::from(v) < size + 0.2);
            assert!(inside, "{p:?}");
        }
        assert_eq!((a.colors.len(), a.labels.len()), (a.positions.len(), a.positions.len()));
    }
}
