//! The nearest of many places, however they crowd: a tree of boxes over halves of the places (Bentley 1975).

use crate::cancel::Cancel;
use crate::error::{Result, filled};

/// A place, and what stands there.
pub(super) type Place = ([f64; 3], u32);

/// The fewest places of a leaf.
const LEAST: usize = 16;

/// The box around some places.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    low: [f64; 3],
    high: [f64; 3],
}

impl Bounds {
    const NOTHING: Self = Self { low: [f64::INFINITY; 3], high: [f64::NEG_INFINITY; 3] };

    fn around(places: &[Place]) -> Self {
        places.iter().fold(Self::NOTHING, |Self { low, high }, (at, _)| Self {
            low: std::array::from_fn(|axis| low[axis].min(at[axis])),
            high: std::array::from_fn(|axis| high[axis].max(at[axis])),
        })
    }

    /// The longest edge, and along which axis.
    fn longest(&self) -> (f64, usize) {
        let edge = |axis: usize| (self.high[axis] - self.low[axis], axis);
        [1, 2].map(edge).into_iter().fold(edge(0), |longest, edge| if edge.0 > longest.0 { edge } else { longest })
    }

    fn square_distance(&self, at: [f64; 3]) -> f64 {
        (0..3).map(|axis| (self.low[axis] - at[axis]).max(at[axis] - self.high[axis]).max(0.0).powi(2)).sum()
    }
}

/// Places by where they are. A tree of equal halves: its shape follows from their number alone.
#[derive(Debug)]
pub(super) struct Tree {
    places: Vec<Place>,
    /// Of every node, a node before its first half's nodes and those before its second half's.
    bounds: Vec<Bounds>,
}

impl Tree {
    /// `places` are finite; `queries` is about how often the nearest will be asked for.
    pub(super) fn new(mut places: Vec<Place>, queries: usize, cancel: Cancel<'_>) -> Result<Self> {
        let leaf = (places.len() / queries.max(1)).max(LEAST);
        let levels = (places.len() / leaf).max(1).ilog2();
        let mut bounds = filled((2 << levels) - 1, Bounds::NOTHING, "the boxes of the places")?;
        build(&mut places, &mut bounds, cancel)?;
        Ok(Self { places, bounds })
    }

    /// The longest edge of the box around all places; negative where there is none.
    pub(super) fn extent(&self) -> f64 {
        self.bounds[0].longest().0
    }

    /// The square distance from `at` to the nearest place that is not `at` itself, and what stands there, the least of
    /// equals: if that comes before `best`.
    pub(super) fn nearest(&self, at: [f64; 3], mut best: (f64, u32)) -> (f64, u32) {
        search(&self.places, &self.bounds, at, &mut best);
        best
    }
}

fn build(places: &mut [Place], bounds: &mut [Bounds], cancel: Cancel<'_>) -> Result<()> {
    cancel.check()?;
    let Some((own, below)) = bounds.split_first_mut() else { return Ok(()) };
    *own = Bounds::around(places);
    if below.is_empty() {
        return Ok(());
    }
    let (edge, axis) = own.longest();
    let half = places.len() / 2;
    if edge > 0.0 {
        places.select_nth_unstable_by(half, |a, b| a.0[axis].total_cmp(&b.0[axis]));
    }
    let (first, second) = places.split_at_mut(half);
    let (below_first, below_second) = below.split_at_mut(below.len() / 2);
    let (a, b) = rayon::join(|| build(first, below_first, cancel), || build(second, below_second, cancel));
    a.and(b)
}

fn search(places: &[Place], bounds: &[Bounds], at: [f64; 3], best: &mut (f64, u32)) {
    let Some((own, below)) = bounds.split_first() else { return };
    if below.is_empty() {
        for &(place, what) in places {
            let square = (0..3).map(|axis| (at[axis] - place[axis]).powi(2)).sum::<f64>();
            if square > 0.0 && (square, what) < *best {
                *best = (square, what);
            }
        }
        return;
    }
    // Nothing lies elsewhere where all are at one place.
    if own.low == own.high && own.low == at {
        return;
    }
    let (places, bounds) = (places.split_at(places.len() / 2), below.split_at(below.len() / 2));
    let mut halves = [(places.0, bounds.0), (places.1, bounds.1)].map(|(p, b)| (b[0].square_distance(at), p, b));
    if halves[1].0 < halves[0].0 {
        halves.swap(0, 1);
    }
    for (square, places, bounds) in halves {
        // An equal distance may bring a smaller name, unless there is none: of a crowd at one place one is enough.
        if square < best.0 || (square == best.0 && best.1 > 0) {
            search(places, bounds, at, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    #[test]
    fn the_nearest_is_found_among_crowds_and_far_ones() {
        let mut random = SplitMix64::new(9);
        for count in [0, 1, 2, 15, 33, 700] {
            let places: Vec<Place> = (0..count)
                .map(|i| match i % 4 {
                    0 => ([1.0, 2.0, 3.0], i),
                    1 => ([0; 3].map(|_| random.range(-1e6, 1e6)), i),
                    2 => ([0; 3].map(|_| random.range(0.0, 4.0).floor()), i),
                    _ => ([0; 3].map(|_| random.range(0.0, 1e-3)), i),
                })
                .collect();
            let tree = Tree::new(places.clone(), 1000, Cancel::default()).unwrap();
            for (at, _) in places.iter().chain(&[([0.5; 3], 0), ([-9e6; 3], 0)]) {
                let key = |(place, what): &Place| ((0..3).map(|i| (at[i] - place[i]).powi(2)).sum::<f64>(), *what);
                let none = (f64::INFINITY, u32::MAX);
                let want = places.iter().map(key).filter(|key| key.0 > 0.0);
                let want = want.fold(none, |best, key| if key < best { key } else { best });
                assert_eq!(tree.nearest(*at, none), want);
            }
        }
    }
}
