//! How alike labels are, as a matrix of coloured cells.

use super::heat::heat_color;
use super::render::BACKGROUND;
use super::{FAINT, GAP, INK, LINE, fill, font};
use image::{Rgb, RgbImage};

/// Most labels whose names are written beside the cells.
const MOST_NAMED: usize = 64;
/// Pixels of a cell with and without names, and of the widest name.
const CELL: u32 = 22;
const SMALLEST: u32 = 2;
const NAME: u32 = 220;

/// The `[names, names]` matrix; its colours run from the least to the largest value off the diagonal.
pub(crate) fn draw_matrix(names: &[String], values: &[f32], title: &str) -> RgbImage {
    let count = names.len();
    let named = count <= MOST_NAMED;
    let cell = if named { CELL } else { (1600 / count as u32).max(SMALLEST) };
    let left = GAP + if named { NAME } else { 0 };
    let top = GAP + 2 * LINE;
    let size = cell * count as u32;
    let width = (left + size + GAP).max(640);
    let mut image = RgbImage::from_pixel(width, top + size + GAP, Rgb(BACKGROUND));
    let apart = (0..count * count).filter(|index| index / count != index % count).map(|index| values[index]);
    let (low, high) = apart.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    font::draw(&mut image, GAP, GAP / 2, INK, &font::fit(title, width - 2 * GAP));
    if low <= high {
        font::draw(
            &mut image,
            GAP,
            GAP / 2 + LINE,
            FAINT,
            &format!("cosines from {low:.2} (grey) to {high:.2} (yellow)"),
        );
    }
    for (row, name) in names.iter().enumerate() {
        let y = top + row as u32 * cell;
        if named {
            let shown = font::fit(name, NAME - 12);
            font::draw(&mut image, left - 12 - font::text_width(&shown), y + 4, INK, &shown);
        }
        for column in 0..count {
            let share = (values[row * count + column] - low) / (high - low).max(f32::MIN_POSITIVE);
            let gap = u32::from(named);
            let corner = [left + column as u32 * cell, y];
            fill(&mut image, corner, [cell - gap, cell - gap], heat_color(share));
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_labels() {
        let names: Vec<String> = (0..3).map(|label| format!("label {label}")).collect();
        let image = draw_matrix(&names, &[1.0, 0.2, 0.6, 0.2, 1.0, 0.4, 0.6, 0.4, 1.0], "three");
        let cell =
            |row: u32, column: u32| image.get_pixel(GAP + NAME + column * CELL + 3, GAP + 2 * LINE + row * CELL + 3).0;
        assert_eq!([cell(0, 1), cell(0, 2), cell(1, 2)], [heat_color(0.0), heat_color(1.0), heat_color(0.5)]);
        let many = vec!["a".to_owned(); 300];
        assert!(draw_matrix(&many, &vec![0.5; 90_000], "many").width() > 1500);
        assert!(draw_matrix(&names[..1], &[1.0], "one").height() > 50);
    }
}
