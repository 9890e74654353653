//! The colours of labels: categorical, deterministic, and as far apart as their number allows.

use std::collections::HashSet;

/// The first colours, chosen by hand: calm ones first, because vocabularies begin with walls and floors.
const FIRST: [[u8; 3]; 16] = [
    [111, 151, 196],
    [208, 178, 138],
    [214, 69, 65],
    [67, 150, 78],
    [242, 142, 43],
    [138, 85, 168],
    [64, 180, 176],
    [240, 205, 60],
    [150, 92, 55],
    [245, 140, 185],
    [160, 216, 80],
    [38, 84, 160],
    [128, 128, 20],
    [16, 82, 88],
    [125, 20, 60],
    [205, 60, 190],
];

/// Colours that points must not be mistaken for: the background, points without a label, and dark outlines.
const TAKEN: [[u8; 3]; 3] = [[250, 250, 250], [160, 160, 160], [20, 20, 20]];

/// Spacing of the lattice in RGB from which further colours are taken.
const STEP: usize = 12;

/// `n` colours; the first ones do not depend on `n`. Beyond some thousands they repeat.
pub(crate) fn label_colors(n: usize) -> Vec<[u8; 3]> {
    let mut colors: Vec<[u8; 3]> = FIRST.iter().copied().take(n).collect();
    if n > colors.len() {
        extend(&mut colors, n);
        let distinct = colors.len();
        colors.extend((distinct..n).map(|i| FIRST[(i - distinct) % FIRST.len()]));
    }
    colors
}

/// Adds the candidate farthest from all colours so far, again and again, while there are candidates.
fn extend(colors: &mut Vec<[u8; 3]>, n: usize) {
    let used: HashSet<[u8; 3]> = colors.iter().copied().collect();
    let reference: Vec<[f32; 3]> = colors.iter().chain(&TAKEN).map(|&color| oklab(color)).collect();
    let nearest = |point| reference.iter().map(|&other| squared_distance(point, other)).fold(f32::INFINITY, f32::min);
    let mut candidates: Vec<([u8; 3], [f32; 3], f32)> = candidates()
        .filter(|color| !used.contains(color))
        .map(|color| (color, oklab(color), nearest(oklab(color))))
        .collect();
    while colors.len() < n {
        let farthest = candidates.iter().enumerate().max_by(|a, b| a.1.2.total_cmp(&b.1.2)).map(|(index, _)| index);
        let Some(index) = farthest else { return };
        let (color, place, _) = candidates.swap_remove(index);
        colors.push(color);
        for (_, other, distance) in &mut candidates {
            *distance = distance.min(squared_distance(place, *other));
        }
    }
}

/// Colours on a lattice that are not glaring, and neither too dark nor too pale to tell hues apart.
fn candidates() -> impl Iterator<Item = [u8; 3]> {
    let levels = || (0..=255u8).step_by(STEP);
    levels().flat_map(move |r| levels().flat_map(move |g| levels().map(move |b| [r, g, b]))).filter(|&color| {
        let [lightness, a, b] = oklab(color);
        (0.32..0.9).contains(&lightness) && a.hypot(b) < 0.22
    })
}

/// A colour in Oklab, where Euclidean distance is close to perceived difference.
fn oklab(color: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = color.map(|value| {
        let value = f32::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    });
    let l = (0.412_221_46 * r + 0.536_332_55 * g + 0.051_445_995 * b).cbrt();
    let m = (0.211_903_5 * r + 0.680_699_5 * g + 0.107_396_96 * b).cbrt();
    let s = (0.088_302_46 * r + 0.281_718_85 * g + 0.629_978_7 * b).cbrt();
    [
        0.210_454_26 * l + 0.793_617_8 * m - 0.004_072_047 * s,
        1.977_998_5 * l - 2.428_592_2 * m + 0.450_593_7 * s,
        0.025_904_037 * l + 0.782_771_77 * m - 0.808_675_77 * s,
    ]
}

fn squared_distance(a: [f32; 3], b: [f32; 3]) -> f32 {
    (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest perceived difference between two of the colours, or of one to those taken.
    fn smallest_difference(colors: &[[u8; 3]]) -> f32 {
        let all: Vec<[f32; 3]> = colors.iter().chain(&TAKEN).map(|&color| oklab(color)).collect();
        let pairs = (0..colors.len()).flat_map(|i| (i + 1..all.len()).map(move |j| (i, j)));
        pairs.map(|(i, j)| squared_distance(all[i], all[j]).sqrt()).fold(f32::INFINITY, f32::min)
    }

    #[test]
    fn colors_are_well_apart() {
        for (n, least) in [(8, 0.09), (16, 0.08), (40, 0.08), (200, 0.05)] {
            let difference = smallest_difference(&label_colors(n));
            assert!(difference >= least, "{n} colours differ by {difference}");
        }
    }

    #[test]
    fn colors_do_not_depend_on_their_number() {
        let many = label_colors(300);
        for n in [0, 1, 16, 17, 150] {
            assert_eq!(label_colors(n), many[..n]);
        }
    }

    #[test]
    fn many_colors_are_distinct_and_huge_numbers_repeat() {
        let distinct: HashSet<_> = label_colors(1500).into_iter().collect();
        assert_eq!(distinct.len(), 1500);
        assert_eq!(label_colors(20_000).len(), 20_000);
    }

    #[test]
    fn oklab_of_white_is_neutral() {
        let [lightness, a, b] = oklab([255; 3]);
        assert!((lightness - 1.0).abs() < 1e-3 && a.abs() < 1e-3 && b.abs() < 1e-3);
    }
}
