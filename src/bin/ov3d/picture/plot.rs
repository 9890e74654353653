//! Plots of curves over two logarithmic axes.

use super::{FAINT, FRAME, GAP, INK, LINE, fill, font, frame, render::BACKGROUND};
use image::{Rgb, RgbImage};

/// What a plot shows.
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// What the horizontal and the vertical axis count.
    pub(crate) axes: [String; 2],
    pub(crate) curves: Vec<Curve>,
}

/// Points joined by lines.
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) color: [u8; 3],
    /// Ascending in x; all numbers above 0.
    pub(crate) points: Vec<[f64; 2]>,
    /// `[points]` from where to where the y of each was seen; or none, for a line that was not measured and has no marks.
    pub(crate) ranges: Vec<[f64; 2]>,
}

const SIZE: [u32; 2] = [1180, 840];
/// Pixels left of the axes, for the numbers.
const LEFT: u32 = 120;
/// Half the width of a curve, and the radius of its points.
const HALF_LINE: f64 = 1.3;
const RADIUS: f64 = 4.5;

/// The range of one axis and the pixels it takes.
struct Axis {
    /// Decimal logarithms.
    low: f64,
    high: f64,
    first: f64,
    last: f64,
}

impl Axis {
    /// From the 1, 2 or 5 of a decade below the smallest of `values` to that above the largest.
    fn new(values: impl Iterator<Item = f64>, first: u32, last: u32) -> Self {
        let logs = values.filter(|v| *v > 0.0 && v.is_finite()).map(f64::log10);
        let (low, high) = logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        let (low, high) = if low <= high { (low - 0.06, high + 0.06) } else { (0.0, 1.0) };
        let marks = |v: f64| [1.0, 2.0, 5.0, 10.0].map(|digit: f64| v.floor() + digit.log10());
        let below = marks(low).into_iter().rfind(|mark| *mark <= low).unwrap_or(low);
        let above = marks(high).into_iter().find(|mark| *mark >= high).unwrap_or(high);
        Self { low: below, high: above, first: f64::from(first), last: f64::from(last) }
    }

    fn pixel(&self, value: f64) -> f64 {
        self.first + (value.log10() - self.low) / (self.high - self.low) * (self.last - self.first)
    }

    /// Values of the grid, and whether each has a number.
    fn ticks(&self) -> Vec<(f64, bool)> {
        let decades = self.low.floor() as i32..=self.high.ceil() as i32;
        let few = self.high - self.low < 3.5;
        let values =
            decades.flat_map(|decade| (1..10).map(move |digit| (f64::from(digit) * 10_f64.powi(decade), digit)));
        let within = values.filter(|(v, _)| (self.low - 1e-9..=self.high + 1e-9).contains(&v.log10()));
        within.map(|(value, digit)| (value, digit == 1 || few && matches!(digit, 2 | 5))).collect()
    }
}

/// Draws `plot`.
pub(crate) fn draw_plot(plot: &Plot) -> RgbImage {
    let mut image = RgbImage::from_pixel(SIZE[0], SIZE[1], Rgb(BACKGROUND));
    let (top, bottom, right) = (GAP + 3 * LINE + GAP / 2, SIZE[1] - GAP - 2 * LINE, SIZE[0] - 2 * GAP);
    font::draw(&mut image, GAP, GAP, INK, &font::fit(&plot.title, SIZE[0] - 2 * GAP));
    font::draw(&mut image, GAP, GAP + LINE, FAINT, &font::fit(&plot.subtitle, SIZE[0] - 2 * GAP));
    let points = || plot.curves.iter().flat_map(|curve| &curve.points);
    let ranges = plot.curves.iter().flat_map(|curve| curve.ranges.iter().flatten());
    let x = Axis::new(points().map(|p| p[0]), LEFT, right);
    let y = Axis::new(points().map(|p| p[1]).chain(ranges.copied()), bottom, top);
    draw_grid(&mut image, &x, &y);
    frame(&mut image, [LEFT, top], [right - LEFT + 1, bottom - top + 1]);
    let [x_name, y_name] = &plot.axes;
    let middle = (LEFT + right).saturating_sub(font::text_width(x_name)) / 2;
    font::draw(&mut image, middle, bottom + LINE + 16, INK, x_name);
    font::draw(&mut image, LEFT.saturating_sub(font::text_width(y_name) / 2).max(GAP), top - LINE - 6, INK, y_name);
    for curve in &plot.curves {
        draw_curve(&mut image, curve, &x, &y);
    }
    draw_legend(&mut image, &plot.curves, [LEFT + GAP, top + GAP]);
    image
}

fn draw_grid(image: &mut RgbImage, x: &Axis, y: &Axis) {
    let [left, right, top, bottom] = [x.first, x.last, y.last, y.first].map(|v| v as u32);
    for (value, numbered) in x.ticks() {
        let at = x.pixel(value).round() as u32;
        fill(image, [at, top], [1, bottom - top], if numbered { FRAME } else { FINE_GRID });
        if numbered {
            let text = short(value);
            font::draw(image, at.saturating_sub(font::text_width(&text) / 2), bottom + 12, FAINT, &text);
        }
    }
    for (value, numbered) in y.ticks() {
        let at = y.pixel(value).round() as u32;
        fill(image, [left, at], [right - left, 1], if numbered { FRAME } else { FINE_GRID });
        if numbered {
            let text = short(value);
            let start = left.saturating_sub(font::text_width(&text) + 8);
            font::draw(image, start, at.saturating_sub(font::TEXT_HEIGHT / 2), FAINT, &text);
        }
    }
}

const FINE_GRID: [u8; 3] = [243, 244, 246];

fn draw_curve(image: &mut RgbImage, curve: &Curve, x: &Axis, y: &Axis) {
    let place = |p: &[f64; 2]| [x.pixel(p[0]), y.pixel(p[1])];
    let places: Vec<[f64; 2]> = curve.points.iter().map(place).collect();
    for pair in places.windows(2) {
        stroke(image, pair[0], pair[1], HALF_LINE, curve.color);
    }
    for (place, range) in places.iter().zip(&curve.ranges) {
        let [low, high] = range.map(|v| y.pixel(v));
        stroke(image, [place[0], low], [place[0], high], 0.8, curve.color);
        for end in [low, high] {
            stroke(image, [place[0] - 4.0, end], [place[0] + 4.0, end], 0.8, curve.color);
        }
    }
    for &place in places.iter().take(curve.ranges.len()) {
        stroke(image, place, place, RADIUS, curve.color);
    }
}

fn draw_legend(image: &mut RgbImage, curves: &[Curve], [x, y]: [u32; 2]) {
    let width = curves.iter().map(|curve| font::text_width(&curve.name)).max().unwrap_or(0);
    fill(image, [x, y], [width + 72, curves.len() as u32 * LINE + 10], BACKGROUND);
    frame(image, [x, y], [width + 72, curves.len() as u32 * LINE + 10]);
    for (index, curve) in curves.iter().enumerate() {
        let line = y + 10 + index as u32 * LINE;
        let middle = f64::from(line + font::TEXT_HEIGHT / 2);
        let [from, to] = [12.0, 44.0].map(|offset| [f64::from(x) + offset, middle]);
        stroke(image, from, to, HALF_LINE, curve.color);
        let centre = [(from[0] + to[0]) / 2.0, middle];
        if !curve.ranges.is_empty() {
            stroke(image, centre, centre, RADIUS, curve.color);
        }
        font::draw(image, x + 58, line, INK, &curve.name);
    }
}

/// A line with round ends from `a` to `b`, its edges smooth.
fn stroke(image: &mut RgbImage, a: [f64; 2], b: [f64; 2], half: f64, color: [u8; 3]) {
    let along = [b[0] - a[0], b[1] - a[1]];
    let square = along[0] * along[0] + along[1] * along[1];
    let bounds = |axis: usize| {
        let (low, high) = (a[axis].min(b[axis]) - half - 1.0, a[axis].max(b[axis]) + half + 1.0);
        low.max(0.0) as u32..=high.max(0.0) as u32
    };
    for (py, px) in bounds(1).flat_map(|py| bounds(0).map(move |px| (py, px))) {
        let Some(pixel) = image.get_pixel_mut_checked(px, py) else { continue };
        let from = [f64::from(px) - a[0], f64::from(py) - a[1]];
        let part =
            if square > 0.0 { ((from[0] * along[0] + from[1] * along[1]) / square).clamp(0.0, 1.0) } else { 0.0 };
        let distance = (from[0] - part * along[0]).hypot(from[1] - part * along[1]);
        let cover = (half + 0.5 - distance).clamp(0.0, 1.0);
        for (channel, wanted) in pixel.0.iter_mut().zip(color) {
            *channel = (f64::from(*channel) + (f64::from(wanted) - f64::from(*channel)) * cover).round() as u8;
        }
    }
}

/// `300k`, `2M`, `0.05`.
fn short(value: f64) -> String {
    match value {
        1e6.. => format!("{}M", (value / 1e6).round()),
        1e3.. => format!("{}k", (value / 1e3).round()),
        1.0.. => format!("{}", value.round()),
        _ => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[[f64; 2]]) -> Plot {
        let curve = |name: &str, color, factor: f64| Curve {
            name: name.to_owned(),
            color,
            points: points.iter().map(|&[x, y]| [x, y * factor]).collect(),
            ranges: points.iter().map(|&[_, y]| [y * factor * 0.9, y * factor * 1.1]).collect(),
        };
        Plot {
            title: "time".to_owned(),
            subtitle: "of a network".to_owned(),
            axes: ["voxels".to_owned(), "ms".to_owned()],
            curves: vec![curve("1 thread", [200, 30, 30], 1.0), curve("2 threads", [30, 30, 200], 0.5)],
        }
    }

    #[test]
    fn points_lie_where_the_axes_say() {
        let points = [[1000.0, 20.0], [10_000.0, 150.0], [2e6, 20_000.0]];
        let image = draw_plot(&plot(&points));
        let (top, bottom, right) = (GAP + 3 * LINE + GAP / 2, SIZE[1] - GAP - 2 * LINE, SIZE[0] - 2 * GAP);
        let x = Axis::new(points.iter().map(|p| p[0]), LEFT, right);
        let all = points.iter().flat_map(|p| [0.45, 1.1].map(|factor| p[1] * factor));
        let y = Axis::new(all, bottom, top);
        for [px, py] in points {
            let at = [x.pixel(px), y.pixel(py)].map(|v| v.round() as u32);
            assert_eq!(image.get_pixel(at[0], at[1]).0, [200, 30, 30], "{px} {py}");
        }
        assert!(x.low <= 3.0 && x.high >= 2e6_f64.log10() && x.high < 7.0);
    }

    #[test]
    fn nothing_and_one_point_are_drawn() {
        draw_plot(&plot(&[]));
        draw_plot(&plot(&[[5.0, 5.0]]));
        draw_plot(&Plot { curves: Vec::new(), ..plot(&[]) });
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.05, 2.0, 500.0, 3e4, 2e6].map(short), ["0.05", "2", "500", "30k", "2M"]);
    }
}
