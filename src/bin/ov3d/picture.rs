//! Pictures of labelled clouds (a view from a corner, a view from above, a legend) and of measurements.

mod bars;
mod font;
mod heat;
mod matrix;
mod palette;
mod plot;
mod render;
mod scene;
mod superpoints;
mod view;

pub(crate) use bars::{Bar, BarChart, Stack, draw_bars, pale};
pub(crate) use heat::heat_color;
use image::{GenericImage, Rgb, RgbImage};
pub(crate) use matrix::draw_matrix;
use openvocab3d::{Error, ErrorKind, Result};
pub(crate) use palette::label_colors;
pub(crate) use plot::{Curve, Plot, draw_plot};
use render::{BACKGROUND, FINE};
use scene::Scene;
use std::cmp::Reverse;
use std::path::Path;
pub(crate) use superpoints::{superpoint_colors, with_borders};
use view::View;

/// A label in the legend.
pub(crate) struct LegendEntry {
    pub(crate) name: String,
    pub(crate) color: [u8; 3],
    /// Points that have the label.
    pub(crate) count: usize,
}

const INK: [u8; 3] = [40, 44, 52];
const FAINT: [u8; 3] = [120, 126, 136];
const FRAME: [u8; 3] = [220, 223, 228];

/// Pixels around everything.
const GAP: u32 = 24;
/// Pixels of the corner view and of the view from above.
const CORNER: [u32; 2] = [960, 760];
const ABOVE: [u32; 2] = [760, 760];
/// Pixels from one line of text to the next.
const LINE: u32 = 26;
const COLUMNS: u32 = 4;
const MOST_ENTRIES: usize = 24;

/// Views of a cloud in metres with z up, coloured by label: in perspective from a corner on the left, from above on the
/// right; below them the legend, by count. Points that are not finite are left out.
pub(crate) fn draw_cloud(positions: &[[f64; 3]], colors: &[[u8; 3]], legend: &[LegendEntry], title: &str) -> RgbImage {
    let lines = legend_lines(legend, positions.len());
    let rows = (lines.len() as u32).div_ceil(COLUMNS);
    let (mut image, below) = draw_views(positions, colors, title, rows);
    draw_legend(&mut image, below, &lines);
    image
}

/// The same views, coloured by how well points fit a text, with the scale of colours below.
pub(crate) fn draw_heat(positions: &[[f64; 3]], colors: &[[u8; 3]], title: &str) -> RgbImage {
    let (mut image, below) = draw_views(positions, colors, title, 2);
    let width = image.width() - 2 * GAP;
    for x in 0..width {
        let color = heat_color(x as f32 / (width - 1) as f32);
        fill(&mut image, [GAP + x, below], [1, font::TEXT_HEIGHT], color);
    }
    let marks = [(0.0, "fits the others better"), (0.5, "50 %: alike"), (1.0, "fits the text better")];
    for (place, name) in marks {
        let text = font::text_width(name);
        let x = GAP + ((width - text) as f32 * place) as u32;
        font::draw(&mut image, x, below + LINE, INK, name);
    }
    image
}

/// The views with room for `rows` lines of a legend, and where these begin.
fn draw_views(positions: &[[f64; 3]], colors: &[[u8; 3]], title: &str, rows: u32) -> (RgbImage, u32) {
    let scene = Scene::new(positions, colors);
    let width = GAP + CORNER[0] + GAP + ABOVE[0] + GAP;
    let panels = GAP + LINE;
    let below = panels + CORNER[1] + LINE + GAP;
    let mut image = RgbImage::from_pixel(width, below + rows * LINE + GAP / 2, Rgb(BACKGROUND));
    let points = format!("{} points", grouped(positions.len()));
    let points_left = width - GAP - font::text_width(&points);
    font::draw(&mut image, points_left, GAP / 2 + 4, FAINT, &points);
    font::draw(&mut image, GAP, GAP / 2 + 4, INK, &font::fit_end(title, points_left - 2 * GAP));
    let fine = |size: [u32; 2]| size.map(|v| v * FINE);
    let (corner, above) = rayon::join(
        || drawn(view::from_corner(&scene.squared(), fine(CORNER)), CORNER),
        || drawn(view::from_above(&scene, fine(ABOVE)), ABOVE),
    );
    panel(&mut image, [GAP, panels], &corner, "from a corner");
    panel(&mut image, [GAP + CORNER[0] + GAP, panels], &above, "from above");
    (image, below)
}

/// Writes `image` as PNG.
pub(crate) fn save(path: &Path, image: &RgbImage) -> Result<()> {
    image.save_with_format(path, image::ImageFormat::Png).map_err(|e| match e {
        image::ImageError::IoError(e) => Error::io(path, "write", &e),
        other => Error::new(ErrorKind::Io, format!("cannot write '{}': {other}", path.display())),
    })
}

fn drawn(view: View, size: [u32; 2]) -> (View, RgbImage) {
    let drawn = render::render(&view.dots, size.map(|v| v * FINE));
    (view, drawn)
}

fn panel(image: &mut RgbImage, [x, y]: [u32; 2], (view, drawn): &(View, RgbImage), name: &str) {
    // The image was made large enough for its panels.
    let _ = image.copy_from(drawn, x, y);
    let (width, height) = drawn.dimensions();
    frame(image, [x, y], [width, height]);
    let without = match (view.without_ceiling, view.without_walls) {
        (true, true) => ", ceiling and front walls left out",
        (true, false) => ", ceiling left out",
        (false, true) => ", front walls left out",
        (false, false) => "",
    };
    font::draw(image, x, y + height + 8, FAINT, &format!("{name}{without}"));
    if let Some(scale) = view.scale {
        scale_bar(image, [x + width, y + height + 8], scale / FINE as f32);
    }
}

fn frame(image: &mut RgbImage, [x, y]: [u32; 2], [width, height]: [u32; 2]) {
    fill(image, [x, y], [width, 1], FRAME);
    fill(image, [x, y + height - 1], [width, 1], FRAME);
    fill(image, [x, y], [1, height], FRAME);
    fill(image, [x + width - 1, y], [1, height], FRAME);
}

fn fill(image: &mut RgbImage, [x, y]: [u32; 2], [width, height]: [u32; 2], color: [u8; 3]) {
    for (py, px) in (y..y + height).flat_map(|py| (x..x + width).map(move |px| (py, px))) {
        if let Some(pixel) = image.get_pixel_mut_checked(px, py) {
            *pixel = Rgb(color);
        }
    }
}

/// A bar of a round length that ends at `x`; `scale` is pixels per metre.
fn scale_bar(image: &mut RgbImage, [x, y]: [u32; 2], scale: f32) {
    let longest = 180.0 / scale;
    let mut steps = (-3..=6).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f32.powi(power)));
    let Some(length) = steps.rfind(|&length| length <= longest) else { return };
    let name = match length {
        1.0.. => format!("{length:.0} m"),
        0.01.. => format!("{:.0} cm", length * 100.0),
        _ => format!("{:.0} mm", length * 1000.0),
    };
    let bar = (length * scale) as u32;
    fill(image, [x - bar, y + font::TEXT_HEIGHT / 2 - 1], [bar, 2], INK);
    fill(image, [x - bar, y], [2, font::TEXT_HEIGHT], INK);
    fill(image, [x - 2, y], [2, font::TEXT_HEIGHT], INK);
    font::draw(image, x - bar - 12 - font::text_width(&name), y, INK, &name);
}

/// A line of the legend: its colour, its name, its numbers.
type Line = (Option<[u8; 3]>, String, String);

fn legend_lines(legend: &[LegendEntry], points: usize) -> Vec<Line> {
    let mut entries: Vec<&LegendEntry> = legend.iter().collect();
    entries.sort_by_key(|entry| Reverse(entry.count));
    let rest = entries.split_off(entries.len().min(MOST_ENTRIES));
    let rest_count: usize = rest.iter().map(|entry| entry.count).sum();
    let width = grouped(entries.first().map_or(0, |entry| entry.count).max(rest_count)).len();
    let numbers = |count: usize| {
        let percent = 100.0 * count as f64 / points.max(1) as f64;
        let percent = if count > 0 && percent < 0.1 { "<0.1%".to_owned() } else { format!("{percent:.1}%") };
        format!("{percent} {:>width$}", grouped(count))
    };
    let mut lines: Vec<Line> =
        entries.iter().map(|entry| (Some(entry.color), entry.name.clone(), numbers(entry.count))).collect();
    if !rest.is_empty() {
        lines.push((None, format!("and {} more", rest.len()), numbers(rest_count)));
    }
    lines
}

fn draw_legend(image: &mut RgbImage, top: u32, lines: &[Line]) {
    let rows = lines.len().div_ceil(COLUMNS as usize).max(1);
    let width = (image.width() - GAP) / COLUMNS - GAP;
    for (index, (color, name, numbers)) in lines.iter().enumerate() {
        let x = GAP + (index / rows) as u32 * (width + GAP);
        let y = top + (index % rows) as u32 * LINE;
        if let Some(color) = color {
            fill(image, [x, y], [18, font::TEXT_HEIGHT], *color);
        }
        let right = x + width - font::text_width(numbers);
        font::draw(image, x + 28, y, INK, &font::fit(name, right - x - 40));
        font::draw(image, right, y, FAINT, numbers);
    }
}

/// `12,345`.
pub(crate) fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use openvocab3d::cloud::{RoomOptions, room};

    fn count(image: &RgbImage, test: impl Fn([u8; 3]) -> bool) -> usize {
        image.pixels().filter(|p| test(p.0)).count()
    }

    #[test]
    fn rooms_are_drawn_in_the_colours_of_their_labels() {
        let scene = room(&RoomOptions { density: 300.0, ..RoomOptions::default() });
        let palette = label_colors(scene.names.len());
        let positions: Vec<[f64; 3]> = scene.positions.iter().map(|p| p.map(f64::from)).collect();
        let colors: Vec<[u8; 3]> = scene.labels.iter().map(|&l| palette[l as usize]).collect();
        let image = draw_cloud(&positions, &colors, &[], "room");
        let background = count(&image, |c| c == BACKGROUND);
        let all = (image.width() * image.height()) as usize;
        assert!(background > all / 5 && background < all * 4 / 5, "{background} of {all}");
        for (color, name) in palette.iter().zip(scene.names) {
            assert!(count(&image, |c| c == *color) > 30, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        save(&folder.path().join("room.png"), &image).unwrap();
        assert_eq!(image::open(folder.path().join("room.png")).unwrap().to_rgb8(), image);
        assert_eq!(save(&folder.path().join("none/room.png"), &image).unwrap_err().kind(), ErrorKind::Io);
    }

    /// A lattice of points, `share` of a 4 m by 3 m by 2.5 m room by axis.
    fn patch(low: [f64; 3], high: [f64; 3]) -> Vec<[f64; 3]> {
        let steps = |axis: usize| if high[axis] > low[axis] { 60 } else { 1 };
        let at = |axis: usize, i: usize| {
            [4.0, 3.0, 2.5][axis] * (low[axis] + (high[axis] - low[axis]) * i as f64 / (steps(axis).max(2) - 1) as f64)
        };
        let indices =
            (0..steps(0)).flat_map(|x| (0..steps(1)).flat_map(move |y| (0..steps(2)).map(move |z| (x, y, z))));
        indices.map(|(x, y, z)| [at(0, x), at(1, y), at(2, z)]).collect()
    }

    #[test]
    fn things_in_a_closed_room_are_seen_where_they_stand() {
        let [floor, wall, ceiling, chest] = [[200, 180, 140], [60, 90, 200], [20, 200, 60], [220, 40, 40]];
        let parts = [
            (patch([0.0, 0.0, 0.0], [1.0, 1.0, 0.0]), floor),
            (patch([0.0, 0.0, 1.0], [1.0, 1.0, 1.0]), ceiling),
            (patch([0.0, 0.0, 0.0], [0.0, 1.0, 1.0]), wall),
            (patch([1.0, 0.0, 0.0], [1.0, 1.0, 1.0]), wall),
            (patch([0.0, 0.0, 0.0], [1.0, 0.0, 1.0]), wall),
            (patch([0.0, 1.0, 0.0], [1.0, 1.0, 1.0]), wall),
            (patch([0.7, 0.6, 0.2], [0.9, 0.8, 0.2]), chest),
        ];
        let colors: Vec<[u8; 3]> = parts.iter().flat_map(|(part, color)| vec![*color; part.len()]).collect();
        let positions: Vec<[f64; 3]> = parts.into_iter().flat_map(|(part, _)| part).collect();
        let image = draw_cloud(&positions, &colors, &[], "");
        assert_eq!(count(&image, |c| c == ceiling), 0);
        let above = |x: f64, y: f64| {
            let scale = f64::from(ABOVE[0]) * 0.92 / 4.0;
            let middle = [GAP + CORNER[0] + GAP + ABOVE[0] / 2, GAP + LINE + ABOVE[1] / 2].map(f64::from);
            image.get_pixel((middle[0] + scale * (x - 2.0)) as u32, (middle[1] - scale * (y - 1.5)) as u32).0
        };
        assert_eq!([above(3.2, 2.1), above(0.8, 2.1), above(3.2, 0.9)], [chest, floor, floor]);
        // Shading darkens a little everywhere.
        let is = |p: &Rgb<u8>, color: [u8; 3]| (0..3).all(|i| p.0[i].abs_diff(color[i]) < 20);
        let corner = image.enumerate_pixels().filter(|(x, ..)| *x < GAP + CORNER[0]);
        let seen = |color| corner.clone().filter(|(.., p)| is(p, color)).count();
        let counts = [chest, wall, floor, ceiling].map(seen);
        assert!(counts[0] > 2_000 && counts[1] > 20_000 && counts[2] > 20_000 && counts[3] == 0, "{counts:?}");
        let lowest = |color| corner.clone().filter(|(.., p)| is(p, color)).map(|(_, y, _)| y).max();
        assert!(lowest(chest) < lowest(floor));
    }

    #[test]
    fn clouds_of_no_and_of_one_point() {
        let empty = draw_cloud(&[], &[], &[], "");
        assert!(count(&empty, |c| c == BACKGROUND) > 1_000_000);
        let red = [250, 0, 0];
        let one = draw_cloud(&[[6e6, 4e5, 100.0], [f64::NAN; 3]], &[red, [0, 0, 250]], &[], "one");
        assert!(count(&one, |c| c == red) > 20);
        assert_eq!(count(&one, |c| c == [0, 0, 250]), 0);
    }

    #[test]
    fn legends_are_sorted_and_end() {
        let entry = |i: usize| LegendEntry { name: format!("label {i}"), color: [i as u8, 200, 7], count: i * 1000 };
        let legend: Vec<LegendEntry> = (0..30).map(entry).collect();
        let lines = legend_lines(&legend, 435_000);
        assert_eq!(lines.len(), MOST_ENTRIES + 1);
        assert_eq!(lines[0], (Some([29, 200, 7]), "label 29".to_owned(), "6.7% 29,000".to_owned()));
        assert_eq!(lines[MOST_ENTRIES].1, "and 6 more");
        let image = draw_cloud(&[], &[], &legend, &"a very long title ".repeat(20));
        assert_eq!(count(&image, |c| c == [29, 200, 7]), 18 * 14);
        assert_eq!(count(&image, |c| c == [5, 200, 7]), 0);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
