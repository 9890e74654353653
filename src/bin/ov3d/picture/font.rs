//! A built-in font: printable ASCII, 5 by 7 dots, so that pictures need no font file.

use image::{Rgb, RgbImage};

/// Columns of a glyph, without the gap to the next.
const WIDTH: usize = 5;
/// Rows of a glyph.
const HEIGHT: usize = 7;
/// Pixels of a dot.
const SCALE: usize = 2;
/// Pixels from one character to the next.
const ADVANCE: usize = (WIDTH + 1) * SCALE;

/// Pixels from the top of a text to its foot.
pub(super) const TEXT_HEIGHT: u32 = (HEIGHT * SCALE) as u32;

/// From the space on, sixteen glyphs to a band; the last place is empty.
#[rustfmt::skip]
const GLYPHS: [[&str; HEIGHT]; 6] = [
    [
        "..... ..#.. .#.#. .#.#. ..#.. ##... .##.. ..#.. ...#. .#... ..... ..... ..... ..... ..... .....",
        "..... ..#.. .#.#. .#.#. .#### ##..# #..#. ..#.. ..#.. ..#.. ..#.. ..#.. ..... ..... ..... ....#",
        "..... ..#.. .#.#. ##### #.#.. ...#. #.#.. ..#.. .#... ...#. #.#.# ..#.. ..... ..... ..... ...#.",
        "..... ..#.. ..... .#.#. .###. ..#.. .#... ..... .#... ...#. .###. ##### ..... ##### ..... ..#..",
        "..... ..#.. ..... ##### ..#.# .#... #.#.# ..... .#... ...#. #.#.# ..#.. .##.. ..... ..... .#...",
        "..... ..... ..... .#.#. ####. #..## #..#. ..... ..#.. ..#.. ..#.. ..#.. ..#.. ..... .##.. #....",
        "..... ..#.. ..... .#.#. ..#.. ...## .##.# ..... ...#. .#... ..... ..... .#... ..... .##.. .....",
    ],
    [
        ".###. ..#.. .###. ##### ...#. ##### ..##. ##### .###. .###. ..... ..... ...#. ..... .#... .###.",
        "#...# .##.. #...# ...#. ..##. #.... .#... ....# #...# #...# .##.. .##.. ..#.. ..... ..#.. #...#",
        "#..## ..#.. ....# ..#.. .#.#. ####. #.... ...#. #...# #...# .##.. .##.. .#... ##### ...#. ....#",
        "#.#.# ..#.. ...#. ...#. #..#. ....# ####. ..#.. .###. .#### ..... ..... #.... ..... ....# ...#.",
        "##..# ..#.. ..#.. ....# ##### ....# #...# .#... #...# ....# .##.. .##.. .#... ##### ...#. ..#..",
        "#...# ..#.. .#... #...# ...#. #...# #...# .#... #...# ...#. .##.. ..#.. ..#.. ..... ..#.. .....",
        ".###. .###. ##### .###. ...#. .###. .###. .#... .###. .##.. ..... .#... ...#. ..... .#... ..#..",
    ],
    [
        ".###. .###. ####. .###. ####. ##### ##### .###. #...# .###. ..### #...# #.... #...# #...# .###.",
        "#...# #...# #...# #...# #...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## #...# #...#",
        "....# #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..# #...#",
        ".##.# ##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.# #.#.# #...#",
        "#.#.# #...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...# #..## #...#",
        "#.#.# #...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #...# #...#",
        ".###. #...# ####. .###. ####. ##### #.... .#### #...# .###. .##.. #...# ##### #...# #...# .###.",
    ],
    [
        "####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. ..... .###. ..#.. .....",
        "#...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# .#... #.... ...#. .#.#. .....",
        "#...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .#... .#... ...#. #...# .....",
        "####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. .#... ..#.. ...#. ..... .....",
        "#.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#... .#... ...#. ...#. ..... .....",
        "#.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## #...# ..#.. #.... .#... ....# ...#. ..... .....",
        "#.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. ##### .###. ..... .###. ..... #####",
    ],
    [
        ".#... ..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. ..... ..... .....",
        "..#.. ..... #.... ..... ....# ..... .#..# ..... #.... ..... ..... #.... ..#.. ..... ..... .....",
        "...#. .###. #.##. .###. .##.# .###. .#... .#### #.##. .##.. ..##. #..#. ..#.. ##.#. #.##. .###.",
        "..... ....# ##..# #.... #..## #...# ###.. #...# ##..# ..#.. ...#. #.#.. ..#.. #.#.# ##..# #...#",
        "..... .#### #...# #.... #...# ##### .#... .#### #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...#",
        "..... #...# #...# #...# #...# #.... .#... ....# #...# ..#.. #..#. #.#.. ..#.. #.#.# #...# #...#",
        "..... .#### ####. .###. .#### .###. .#... .###. #...# .###. .##.. #..#. .###. #.#.# #...# .###.",
    ],
    [
        "..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ...#. ..#.. .#... ..... .....",
        "..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..#.. ..#.. ..#.. ..... .....",
        "####. .#### #.##. .#### ###.. #...# #...# #...# #...# #...# ##### ..#.. ..#.. ..#.. .#... .....",
        "#...# #...# ##..# #.... .#... #...# #...# #...# .#.#. #...# ...#. .#... ..#.. ...#. #.#.# .....",
        "####. .#### #.... .###. .#... #...# #...# #.#.# ..#.. .#### ..#.. ..#.. ..#.. ..#.. ...#. .....",
        "#.... ....# #.... ....# .#..# #..## .#.#. #.#.# .#.#. ....# .#... ..#.. ..#.. ..#.. ..... .....",
        "#.... ....# #.... ####. ..##. .##.# ..#.. .#.#. #...# .###. ##### ...#. ..#.. .#... ..... .....",
    ],
];

/// The pixels that `text` takes from left to right.
pub(super) fn text_width(text: &str) -> u32 {
    (text.chars().count() * ADVANCE) as u32
}

/// `text`, or as much of its beginning as fits `width` pixels.
pub(super) fn fit(text: &str, width: u32) -> String {
    let room = width as usize / ADVANCE;
    if text.chars().count() <= room {
        return text.to_owned();
    }
    text.chars().take(room.saturating_sub(2)).chain("..".chars()).collect()
}

/// `text`, or as much of its end as fits `width` pixels: for paths.
pub(super) fn fit_end(text: &str, width: u32) -> String {
    let (room, count) = (width as usize / ADVANCE, text.chars().count());
    if count <= room {
        return text.to_owned();
    }
    "..".chars().chain(text.chars().skip(count - room.saturating_sub(2))).collect()
}

/// Writes `text` with its upper left corner at `x`, `y`; what does not fit the image is left out.
pub(super) fn draw(image: &mut RgbImage, x: u32, y: u32, color: [u8; 3], text: &str) {
    for (index, character) in text.chars().enumerate() {
        for (row, column) in (0..HEIGHT * SCALE).flat_map(|row| (0..WIDTH * SCALE).map(move |column| (row, column))) {
            let (px, py) = (x as usize + index * ADVANCE + column, y as usize + row);
            if dot(character, column / SCALE, row / SCALE)
                && let Some(pixel) = image.get_pixel_mut_checked(px as u32, py as u32)
            {
                *pixel = Rgb(color);
            }
        }
    }
}

/// Whether the glyph of `character` has a dot at `column` and `row`.
fn dot(character: char, column: usize, row: usize) -> bool {
    let code = match character {
        ' '..='~' => character as usize,
        _ => '?' as usize,
    };
    let (band, place) = ((code - 32) / 16, (code - 32) % 16);
    GLYPHS[band][row].as_bytes()[place * (WIDTH + 1) + column] == b'#'
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_printable_character_has_its_own_glyph() {
        let glyph = |c| -> Vec<bool> { (0..WIDTH * HEIGHT).map(|i| dot(c, i % WIDTH, i / WIDTH)).collect() };
        let glyphs: HashSet<Vec<bool>> = (' '..='~').map(glyph).collect();
        assert_eq!(glyphs.len(), 95);
        assert!(glyph(' ').iter().all(|d| !d));
        assert!(['é', '\n', '\u{7F}'].into_iter().all(|c| glyph(c) == glyph('?')));
        assert!(dot('L', 0, 0) && dot('L', 4, 6) && !dot('L', 4, 0));
    }

    #[test]
    fn texts_are_drawn_within_the_image() {
        let mut image = RgbImage::from_pixel(30, 20, Rgb([255; 3]));
        draw(&mut image, 3, 2, [9, 8, 7], "Lång text");
        assert_eq!(image.get_pixel(3, 2).0, [9, 8, 7]);
        assert_eq!(image.get_pixel(3 + 8, 2).0, [255; 3]);
        assert_eq!(image.get_pixel(3 + 8, 2 + 12).0, [9, 8, 7]);
        assert_eq!((fit("chair", 60), fit("armchair", 60)), ("chair".to_owned(), "arm..".to_owned()));
        assert_eq!((fit_end("chair", 60), fit_end("a/chair.ply", 72)), ("chair".to_owned(), "...ply".to_owned()));
        assert_eq!((fit("chair", 0), fit_end("chair", 0)), ("..".to_owned(), "..".to_owned()));
        assert_eq!((text_width("chair"), TEXT_HEIGHT), (60, 14));
    }
}
