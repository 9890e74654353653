//! Draws points as discs that join to surfaces, with edges shaded as in eye-dome lighting (Boucheny 2009).

use image::{Rgb, RgbImage};
use rayon::prelude::*;

pub(super) const BACKGROUND: [u8; 3] = [255, 255, 255];

/// Fine pixels per pixel and axis, against jagged edges.
pub(super) const FINE: u32 = 2;
/// Radii of discs, in fine pixels.
const RADII: (f32, f32) = (1.0, 14.0);
/// Radius of a disc over its dot's distance to the next ones: points strewn at random leave few gaps.
const OVERLAP: f32 = 1.6;
/// Half the widths of gaps between discs that are filled, in fine pixels.
const GAPS: [usize; 2] = [4, 8];
/// Depths that differ by less belong to one surface.
const SAME_SURFACE: f32 = 0.02;
/// How much a pixel darkens per doubling of its depth over those so many fine pixels away, the most that counts, and the
/// darkest it gets.
const REACHES: [(usize, f32); 4] = [(4, 18.0), (9, 3.5), (15, 2.5), (21, 2.5)];
const DEEPEST: f32 = 0.2;
const DARKEST: f32 = 0.42;

/// A point on a picture.
pub(super) struct Dot {
    /// Fine pixels from the upper left corner.
    pub(super) x: f32,
    pub(super) y: f32,
    /// Fine pixels to the next dots of the surface.
    pub(super) spacing: f32,
    /// Binary logarithm of the distance.
    pub(super) depth: f32,
    /// How much `depth` grows over the distance to the next dots.
    pub(super) slope: f32,
    pub(super) color: [u8; 3],
}

/// The picture, `FINE` times smaller than `size`, which is in fine pixels.
pub(super) fn render(dots: &[Dot], size: [u32; 2]) -> RgbImage {
    let mut frame = Frame::new(size);
    for dot in dots {
        frame.disc(dot, (OVERLAP * dot.spacing).clamp(RADII.0, RADII.1));
    }
    for gap in GAPS {
        frame.close(gap);
    }
    frame.shade();
    frame.shrink()
}

/// Fine pixels.
struct Frame {
    width: usize,
    height: usize,
    /// Infinite where there is nothing.
    depths: Vec<f32>,
    /// Depths that decide which disc is seen.
    fronts: Vec<f32>,
    colors: Vec<[u8; 3]>,
}

impl Frame {
    fn new([width, height]: [u32; 2]) -> Self {
        let (width, height) = (width as usize, height as usize);
        let depths = vec![f32::INFINITY; width * height];
        Self { width, height, fronts: depths.clone(), depths, colors: vec![BACKGROUND; width * height] }
    }

    /// Draws a disc that bulges towards the viewer, so that where discs of a surface overlap the nearest centre wins.
    fn disc(&mut self, dot: &Dot, radius: f32) {
        let span =
            |centre: f32, size: usize| (centre - radius).max(0.0) as usize..((centre + radius) as usize + 1).min(size);
        for y in span(dot.y, self.height) {
            let dy = y as f32 + 0.5 - dot.y;
            for x in span(dot.x, self.width) {
                let dx = x as f32 + 0.5 - dot.x;
                let index = y * self.width + x;
                let share = (dx * dx + dy * dy) / (radius * radius);
                let front = dot.depth + share * dot.slope;
                if share <= 1.0 && front < self.fronts[index] {
                    self.fronts[index] = front;
                    self.depths[index] = dot.depth;
                    self.colors[index] = dot.color;
                }
            }
        }
    }

    /// Fills the gaps that points strewn at random leave in a surface: what lies deeper than both sides in all four
    /// directions. Gaps that are open along a line, as those between a scanner's lines are, stay.
    fn close(&mut self, gap: usize) {
        let depths = self.depths.clone();
        let steps = [gap, gap * self.width, gap * (self.width + 1), gap * (self.width - 1)];
        for y in gap..self.height.saturating_sub(gap) {
            for index in y * self.width + gap..(y + 1) * self.width - gap {
                let hollow = depths[index] - SAME_SURFACE;
                let sides = steps.map(|step| (index - step, index + step));
                let across = sides.map(|(a, b)| {
                    let nearer = depths[a].max(depths[b]) < hollow && (depths[a] - depths[b]).abs() < SAME_SURFACE;
                    nearer.then_some(if depths[a] > depths[b] { a } else { b })
                });
                if let [Some(side), Some(_), Some(_), Some(_)] = across {
                    self.depths[index] = depths[side];
                    self.colors[index] = self.colors[side];
                }
            }
        }
    }

    /// Darkens pixels that lie behind their neighbours: sharply at edges, softly in the hollows around them.
    fn shade(&mut self) {
        let mut colors = std::mem::take(&mut self.colors);
        colors.par_chunks_mut(self.width.max(1)).enumerate().for_each(|(y, row)| {
            for (x, color) in row.iter_mut().enumerate().filter(|(x, _)| self.depths[y * self.width + x].is_finite()) {
                let dark: f32 = REACHES.iter().map(|&(reach, strength)| strength * self.behind(x, y, reach)).sum();
                let light = (-dark).exp().max(DARKEST);
                *color = color.map(|c| (f32::from(c) * light) as u8);
            }
        });
        self.colors = colors;
    }

    /// How far a pixel lies behind those at `reach` on opposite sides of it, on average: nothing on a slanted plane.
    fn behind(&self, x: usize, y: usize, reach: usize) -> f32 {
        let depth = self.depths[y * self.width + x];
        let [left, right] = [x.saturating_sub(reach), (x + reach).min(self.width - 1)];
        let [above, below] = [y.saturating_sub(reach), (y + reach).min(self.height - 1)];
        let beyond = |x: usize, y: usize| (depth - self.depths[y * self.width + x]).clamp(-DEEPEST, DEEPEST);
        let pairs = [
            beyond(left, y) + beyond(right, y),
            beyond(x, above) + beyond(x, below),
            beyond(left, above) + beyond(right, below),
            beyond(left, below) + beyond(right, above),
        ];
        pairs.iter().map(|pair| pair.max(0.0)).sum::<f32>() / 8.0
    }

    fn shrink(&self) -> RgbImage {
        let fine = FINE as usize;
        let (width, height) = (self.width / fine, self.height / fine);
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let mut sum = [0_u32; 3];
            for (dy, dx) in (0..fine).flat_map(|dy| (0..fine).map(move |dx| (dy, dx))) {
                let color = self.colors[(y as usize * fine + dy) * self.width + x as usize * fine + dx];
                for (sum, channel) in sum.iter_mut().zip(color) {
                    *sum += u32::from(channel);
                }
            }
            Rgb(sum.map(|s| (s / (FINE * FINE)) as u8))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(x: f32, y: f32, depth: f32, color: [u8; 3]) -> Dot {
        Dot { x, y, spacing: 3.0, depth, slope: 0.01, color }
    }

    #[test]
    fn the_nearest_dot_is_seen_and_the_rest_is_background() {
        let (near, far) = ([200, 0, 0], [0, 0, 200]);
        for dots in [
            [dot(40.0, 40.0, 1.0, near), dot(41.0, 40.0, 2.0, far)],
            [dot(41.0, 40.0, 2.0, far), dot(40.0, 40.0, 1.0, near)],
        ] {
            let image = render(&dots, [80, 80]);
            assert_eq!(image.dimensions(), (40, 40));
            assert_eq!(image.get_pixel(20, 20).0, near);
            assert_eq!(image.get_pixel(2, 2).0, BACKGROUND);
        }
        let outside = [dot(-30.0, 5.0, 1.0, near), dot(f32::NAN, 5.0, 1.0, near), dot(5.0, 1e9, 1.0, near)];
        assert!(render(&outside, [80, 80]).pixels().all(|p| p.0 == BACKGROUND));
    }

    #[test]
    fn discs_close_surfaces_of_any_density() {
        for step in [1, 4, 9] {
            let places = (0..200_usize).step_by(step).flat_map(|y| (0..200_usize).step_by(step).map(move |x| (x, y)));
            let dots: Vec<Dot> = places
                .map(|(x, y)| Dot { spacing: step as f32, ..dot(x as f32 + 0.3, y as f32 + 0.6, 3.0, [10, 20, 30]) })
                .collect();
            let image = render(&dots, [200, 200]);
            let inside = (15..85).flat_map(|y| (15..85).map(move |x| (x, y)));
            assert!(inside.map(|(x, y)| image.get_pixel(x, y).0).all(|c| c == [10, 20, 30]), "step {step}");
        }
    }

    #[test]
    fn gaps_are_filled_but_not_between_lines() {
        let drawn = |keep: fn(f32, f32) -> bool| {
            let places = (0..100_usize).flat_map(|y| (0..100_usize).map(move |x| (x as f32 + 0.5, y as f32 + 0.5)));
            let dots =
                places.filter(|&(x, y)| keep(x, y)).map(|(x, y)| Dot { spacing: 0.1, ..dot(x, y, 3.0, [90; 3]) });
            render(&dots.collect::<Vec<_>>(), [100, 100]).get_pixel(25, 25).0
        };
        assert_eq!(drawn(|x, y| (x - 51.0).hypot(y - 51.0) > 4.0), [90; 3]);
        assert_eq!(drawn(|x, y| (x - 51.0).hypot(y - 51.0) > 9.0), BACKGROUND);
        assert_eq!(drawn(|_, y| (y - 51.0).abs() > 4.0), BACKGROUND);
    }

    #[test]
    fn the_far_side_of_an_edge_is_darker() {
        let places = (0..100_usize).flat_map(|y| (0..100_usize).map(move |x| (x, y)));
        let step = |x: usize| if x < 50 { 3.0 } else { 3.5 };
        let dots: Vec<Dot> = places.map(|(x, y)| dot(x as f32, y as f32, step(x), [200; 3])).collect();
        let image = render(&dots, [100, 100]);
        let [near, edge, far] = [20, 28, 40].map(|x| image.get_pixel(x, 25).0[0]);
        assert!(near == 200 && far == 200 && edge < 150, "{near} {edge} {far}");
    }
}
