//! Charts of bars: what a whole consists of, for several wholes, and each part of one of them by itself.

use super::{FAINT, FRAME, GAP, INK, LINE, fill, font, render::BACKGROUND};
use image::{Rgb, RgbImage};

/// What a chart shows.
pub(crate) struct BarChart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// Names and colours of the parts of the stacks.
    pub(crate) parts: Vec<(String, [u8; 3])>,
    /// Wholes, drawn to one scale.
    pub(crate) stacks: Vec<Stack>,
    /// A line above the bars.
    pub(crate) bars_title: String,
    pub(crate) bars: Vec<Bar>,
}

/// A whole.
pub(crate) struct Stack {
    pub(crate) name: String,
    /// What stands above its notes.
    pub(crate) head: String,
    /// `[parts]`.
    pub(crate) values: Vec<f64>,
    /// `[parts]` what the legend says of each.
    pub(crate) notes: Vec<String>,
}

/// A part by itself.
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) color: [u8; 3],
    pub(crate) value: f64,
    /// As much of `value` as is drawn in full colour; the rest is paler.
    pub(crate) solid: f64,
    pub(crate) note: String,
}

const WIDTH: u32 = 1560;
/// Pixels of a stack's height, and of a bar's with the gap to the next.
const STACK: u32 = 44;
const BAR: u32 = 20;
/// Parts narrower than their name stay without it.
const PADDING: u32 = 6;

/// Draws `chart`.
pub(crate) fn draw_bars(chart: &BarChart) -> RgbImage {
    let stacks_top = GAP + 2 * LINE + GAP / 2;
    let legend_top = stacks_top + chart.stacks.len() as u32 * (LINE + STACK + GAP / 2) + GAP / 2;
    let bars_top = legend_top + (chart.parts.len() as u32 + 1) * LINE + GAP;
    let height = bars_top + LINE + GAP / 2 + chart.bars.len() as u32 * BAR + GAP;
    let mut image = RgbImage::from_pixel(WIDTH, height, Rgb(BACKGROUND));
    let inner = WIDTH - 2 * GAP;
    font::draw(&mut image, GAP, GAP, INK, &font::fit(&chart.title, inner));
    font::draw(&mut image, GAP, GAP + LINE, FAINT, &font::fit(&chart.subtitle, inner));
    draw_stacks(&mut image, chart, stacks_top);
    draw_legend(&mut image, chart, legend_top);
    font::draw(&mut image, GAP, bars_top, INK, &font::fit(&chart.bars_title, inner));
    draw_each(&mut image, &chart.bars, bars_top + LINE + GAP / 2);
    image
}

fn draw_stacks(image: &mut RgbImage, chart: &BarChart, top: u32) {
    let sum = |stack: &Stack| stack.values.iter().sum::<f64>();
    let longest = chart.stacks.iter().map(sum).fold(f64::MIN_POSITIVE, f64::max);
    let scale = f64::from(WIDTH - 2 * GAP) / longest;
    for (index, stack) in chart.stacks.iter().enumerate() {
        let y = top + index as u32 * (LINE + STACK + GAP / 2);
        font::draw(image, GAP, y, INK, &font::fit(&stack.name, WIDTH - 2 * GAP));
        let mut done = 0.0;
        for (value, (name, color)) in stack.values.iter().zip(&chart.parts) {
            let pixel = |value: f64| GAP + (value * scale).round() as u32;
            let (left, right) = (pixel(done), pixel(done + value));
            done += value;
            fill(image, [left, y + LINE - 4], [right - left, STACK], *color);
            let room = (right - left).saturating_sub(2 * PADDING);
            if font::text_width(name) <= room {
                let middle = left + (right - left - font::text_width(name)) / 2;
                font::draw(image, middle, y + LINE - 4 + (STACK - font::TEXT_HEIGHT) / 2, on(*color), name);
            }
            // A hair line keeps neighbours apart.
            if right > left + 2 {
                fill(image, [right - 1, y + LINE - 4], [1, STACK], BACKGROUND);
            }
        }
    }
}

/// A column of notes for each stack.
fn draw_legend(image: &mut RgbImage, chart: &BarChart, top: u32) {
    let name_width = widest(chart.parts.iter().map(|(name, _)| name.as_str()));
    let mut x = GAP + 28 + name_width + 2 * GAP;
    for (index, (name, color)) in chart.parts.iter().enumerate() {
        let y = top + (index as u32 + 1) * LINE;
        fill(image, [GAP, y], [18, font::TEXT_HEIGHT], *color);
        font::draw(image, GAP + 28, y, INK, name);
    }
    for stack in &chart.stacks {
        let head = stack.head.as_str();
        let column = widest(stack.notes.iter().map(String::as_str).chain([head]));
        if x + column > WIDTH - GAP {
            return;
        }
        font::draw(image, x + column - font::text_width(head), top, FAINT, head);
        for (index, note) in stack.notes.iter().enumerate() {
            let left = x + column - font::text_width(note);
            font::draw(image, left, top + (index as u32 + 1) * LINE, INK, note);
        }
        x += column + 2 * GAP;
    }
}

fn draw_each(image: &mut RgbImage, bars: &[Bar], top: u32) {
    let left = GAP + widest(bars.iter().map(|bar| bar.name.as_str())) + GAP / 2;
    let right = WIDTH - GAP - widest(bars.iter().map(|bar| bar.note.as_str())) - GAP / 2;
    let room = f64::from(right.saturating_sub(left));
    let longest = bars.iter().map(|bar| bar.value).fold(f64::MIN_POSITIVE, f64::max);
    for (index, bar) in bars.iter().enumerate() {
        let y = top + index as u32 * BAR;
        let length = |value: f64| (value.max(0.0) / longest * room).round() as u32;
        if index % 2 == 1 {
            fill(image, [GAP / 2, y - 3], [WIDTH - GAP, BAR], STRIPE);
        }
        font::draw(image, GAP, y, INK, &bar.name);
        fill(image, [left, y - 1], [length(bar.value), BAR - 4], pale(bar.color));
        fill(image, [left, y - 1], [length(bar.solid.min(bar.value)), BAR - 4], bar.color);
        fill(image, [left - 2, y - 3], [1, BAR], FRAME);
        font::draw(image, WIDTH - GAP - font::text_width(&bar.note), y, INK, &bar.note);
    }
}

const STRIPE: [u8; 3] = [246, 247, 249];

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> u32 {
    texts.map(font::text_width).max().unwrap_or(0)
}

/// The same hue, two thirds of the way to the background.
pub(crate) fn pale(color: [u8; 3]) -> [u8; 3] {
    color.map(|v| 255 - (255 - v) / 3)
}

/// A colour for text on `color`.
fn on(color: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = color.map(u32::from);
    if 299 * r + 587 * g + 114 * b > 150_000 { INK } else { BACKGROUND }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> BarChart {
        let colors = [[200, 30, 30], [30, 30, 200], [30, 160, 30]];
        let bar = |i: usize| Bar {
            name: format!("layer {i}"),
            color: colors[i],
            value: values[i],
            solid: values[i] / 2.0,
            note: format!("{} ms", values[i]),
        };
        BarChart {
            title: "title".to_owned(),
            subtitle: "subtitle".to_owned(),
            parts: colors.iter().enumerate().map(|(i, &color)| (format!("part {i}"), color)).collect(),
            stacks: [1.0, 0.5]
                .map(|factor| Stack {
                    name: "1 thread: all".to_owned(),
                    head: "1 thread".to_owned(),
                    values: values.iter().map(|v| v * factor).collect(),
                    notes: vec!["note".to_owned(); 3],
                })
                .into(),
            bars_title: "layers".to_owned(),
            bars: (0..3).map(bar).collect(),
        }
    }

    #[test]
    fn lengths_are_in_proportion() {
        let image = draw_bars(&chart(&[1.0, 2.0, 1.0]));
        let row = GAP + 2 * LINE + GAP / 2 + LINE;
        let across = |y: u32, color: [u8; 3]| (0..WIDTH).filter(|&x| image.get_pixel(x, y).0 == color).count() as f64;
        let whole = f64::from(WIDTH - 2 * GAP);
        assert!((across(row, [200, 30, 30]) - whole / 4.0).abs() < 4.0);
        assert!((across(row, [30, 30, 200]) - whole / 2.0).abs() < 4.0);
        let second = row + LINE + STACK + GAP / 2;
        assert!((across(second, [30, 30, 200]) - whole / 4.0).abs() < 4.0);
        let count = |color: [u8; 3]| image.pixels().filter(|p| p.0 == color).count() as f64;
        assert!((count(pale([30, 30, 200])) / count(pale([200, 30, 30])) - 2.0).abs() < 0.05);
    }

    #[test]
    fn nothing_and_zero_are_drawn() {
        draw_bars(&chart(&[0.0, 0.0, 0.0]));
        draw_bars(&BarChart { parts: Vec::new(), stacks: Vec::new(), bars: Vec::new(), ..chart(&[1.0; 3]) });
    }
}
