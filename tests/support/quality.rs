//! How good superpoints are, whatever their numbers: measures against true labels.

use openvocab3d::random::SplitMix64;
use std::collections::HashMap;

/// Measures of one partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quality {
    /// Superpoints.
    pub count: f64,
    /// Achievable segmentation accuracy: the share of points whose superpoint mostly has their label.
    pub accuracy: f64,
    /// Mean intersection over union when every superpoint takes its most frequent true label.
    pub oracle_miou: f64,
    /// Share of true border points with a superpoint border point within the radius.
    pub boundary_recall: f64,
}

/// Mean and standard deviation over several poses.
pub fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    (mean, (values.map(|v| (v - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt())
}

/// Accuracy and mean intersection over union of `labels` over the classes of `truth`.
pub fn accuracy_and_miou(labels: &[i32], truth: &[u8]) -> (f64, f64) {
    let mut counts = HashMap::<i32, [f64; 3]>::new();
    let mut right = 0.0;
    for (&label, &truth) in labels.iter().zip(truth) {
        let truth = i32::from(truth);
        counts.entry(truth).or_default()[0] += 1.0;
        counts.entry(label).or_default()[1] += 1.0;
        if label == truth {
            counts.entry(truth).or_default()[2] += 1.0;
            right += 1.0;
        }
    }
    let ious: Vec<f64> = counts.values().filter(|c| c[0] > 0.0).map(|c| c[2] / (c[0] + c[1] - c[2])).collect();
    (right / truth.len() as f64, ious.iter().sum::<f64>() / ious.len() as f64)
}

/// Per point the most frequent true label of its superpoint.
pub fn oracle(superpoints: &[i32], truth: &[u8]) -> Vec<i32> {
    let count = superpoints.iter().max().map_or(0, |&s| s as usize + 1);
    let mut votes = vec![[0_u32; 256]; count];
    for (&superpoint, &label) in superpoints.iter().zip(truth) {
        votes[superpoint as usize][usize::from(label)] += 1;
    }
    let best: Vec<i32> = votes.iter().map(|v| (0..256).rev().max_by_key(|&label| v[label]).unwrap() as i32).collect();
    superpoints.iter().map(|&superpoint| best[superpoint as usize]).collect()
}

/// A cloud's geometry for border measures, the same in every pose.
pub struct Borders {
    positions: Vec<[f32; 3]>,
    nearest: Vec<Vec<u32>>,
}

const NEAREST: usize = 8;

type Cells = HashMap<[i32; 3], Vec<u32>>;

fn cells(positions: &[[f32; 3]], of: impl Iterator<Item = usize>, edge: f32) -> Cells {
    let mut cells = Cells::new();
    for point in of {
        cells.entry(positions[point].map(|v| (v / edge).floor() as i32)).or_default().push(point as u32);
    }
    cells
}

fn square(a: [f32; 3], b: [f32; 3]) -> f64 {
    (0..3).map(|i| f64::from(a[i] - b[i]).powi(2)).sum()
}

/// The points in the cells around `at`, those within `edge` of it among them.
fn around(cells: &Cells, at: [f32; 3], edge: f32) -> impl Iterator<Item = u32> {
    let cell = at.map(|v| (v / edge).floor() as i32);
    (0..27).flat_map(move |n| {
        let key = [cell[0] + n % 3 - 1, cell[1] + n / 3 % 3 - 1, cell[2] + n / 9 - 1];
        cells.get(&key).into_iter().flatten().copied()
    })
}

impl Borders {
    pub fn new(positions: &[[f32; 3]], spacing: f32) -> Self {
        let edge = 4.0 * spacing;
        let cells = cells(positions, 0..positions.len(), edge);
        let nearest_of = |point: usize| -> Vec<u32> {
            let at = positions[point];
            let near = around(&cells, at, edge).filter(|&p| p as usize != point);
            let mut near: Vec<(f64, u32)> = near.map(|p| (square(at, positions[p as usize]), p)).collect();
            near.sort_by(|a, b| a.partial_cmp(b).unwrap());
            near.into_iter().take(NEAREST).filter(|n| n.0.sqrt() <= f64::from(edge)).map(|n| n.1).collect()
        };
        Self { positions: positions.to_vec(), nearest: (0..positions.len()).map(nearest_of).collect() }
    }

    fn of<L: PartialEq>(&self, labels: &[L]) -> Vec<usize> {
        let on_border = |&point: &usize| self.nearest[point].iter().any(|&n| labels[n as usize] != labels[point]);
        (0..labels.len()).filter(on_border).collect()
    }

    /// The share of true border points with a border point of `superpoints` within `radius`.
    pub fn recall(&self, superpoints: &[i32], truth: &[u8], radius: f32) -> f64 {
        let found = cells(&self.positions, self.of(superpoints).into_iter(), radius);
        let wanted = self.of(truth);
        let reached = wanted.iter().filter(|&&point| {
            let at = self.positions[point];
            around(&found, at, radius).any(|p| square(at, self.positions[p as usize]).sqrt() <= f64::from(radius))
        });
        reached.count() as f64 / wanted.len() as f64
    }
}

/// Gives points without a superpoint that of the nearest point that has one.
pub fn fill(superpoints: &mut [i32], positions: &[[f32; 3]], spacing: f32) {
    let has = |&point: &usize| superpoints[point] >= 0;
    let mut edge = 4.0 * spacing;
    let mut missing: Vec<usize> = (0..superpoints.len()).filter(|point| !has(point)).collect();
    let assigned: Vec<usize> = (0..superpoints.len()).filter(has).collect();
    assert!(!assigned.is_empty(), "no point has a superpoint");
    while !missing.is_empty() {
        let cells = cells(positions, assigned.iter().copied(), edge);
        missing.retain(|&point| {
            let at = positions[point];
            let near = around(&cells, at, edge).map(|p| (square(at, positions[p as usize]), p));
            let nearest = near.filter(|n| n.0.sqrt() <= f64::from(edge)).min_by(|a, b| a.partial_cmp(b).unwrap());
            nearest.inspect(|&(_, other)| superpoints[point] = superpoints[other as usize]).is_none()
        });
        edge *= 2.0;
    }
}

/// All measures of a partition in which every point has a superpoint.
pub fn quality(superpoints: &[i32], truth: &[u8], borders: &Borders, radius: f32) -> Quality {
    let count = superpoints.iter().collect::<std::collections::HashSet<_>>().len();
    let (accuracy, oracle_miou) = accuracy_and_miou(&oracle(superpoints, truth), truth);
    let boundary_recall = borders.recall(superpoints, truth, radius);
    Quality { count: count as f64, accuracy, oracle_miou, boundary_recall }
}

/// Pose `index`: the cloud turned about z and shifted, reproducibly.
pub fn posed(positions: &[[f32; 3]], index: u64) -> Vec<[f32; 3]> {
    let mut random = SplitMix64::new(index + 1);
    let (sin, cos) = random.range(0.0, std::f64::consts::TAU).sin_cos();
    let shift = [0; 3].map(|_| random.range(-5.0, 5.0));
    let turn = |p: &[f32; 3]| {
        let [x, y, z] = p.map(f64::from);
        [cos * x - sin * y + shift[0], sin * x + cos * y + shift[1], z + shift[2]].map(|v| v as f32)
    };
    positions.iter().map(turn).collect()
}
