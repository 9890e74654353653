//! Colours that tell superpoints apart, and the borders between them.

use openvocab3d::random::SplitMix64;
use std::collections::HashMap;

/// Points without a superpoint.
const NONE: [u8; 3] = [160, 160, 160];
/// Points at a border.
const BORDER: [u8; 3] = [190, 16, 60];

/// A colour per point, random but the same for the same superpoint.
pub(crate) fn superpoint_colors(superpoints: &[i32]) -> Vec<[u8; 3]> {
    let most = superpoints.iter().max().map_or(0, |&id| (id + 1).max(0) as usize);
    let color = |id: usize| {
        let mut random = SplitMix64::new(id as u64);
        hue(random.range(0.0, 6.0), random.range(0.35, 0.85), random.range(0.6, 0.95))
    };
    let palette: Vec<[u8; 3]> = (0..most).map(color).collect();
    superpoints.iter().map(|&id| usize::try_from(id).map_or(NONE, |id| palette[id])).collect()
}

/// From hue (0 to 6), saturation and value.
fn hue(hue: f64, saturation: f64, value: f64) -> [u8; 3] {
    [5.0, 3.0, 1.0].map(|phase| {
        let place = (phase + hue) % 6.0;
        let fall = place.min(4.0 - place).clamp(0.0, 1.0);
        (255.0 * value * (1.0 - saturation * fall)) as u8
    })
}

/// `colors` with the points at borders marked: those in cells of edge `edge` next to one of a superpoint before theirs.
pub(crate) fn with_borders(positions: &[[f64; 3]], colors: &[[u8; 3]], superpoints: &[i32], edge: f64) -> Vec<[u8; 3]> {
    let cell = |position: &[f64; 3]| position.map(|v| (v / edge).floor() as i64);
    let mut first: HashMap<[i64; 3], i32> = HashMap::new();
    for (position, &id) in positions.iter().zip(superpoints).filter(|(_, id)| **id >= 0) {
        let held = first.entry(cell(position)).or_insert(id);
        *held = id.min(*held);
    }
    let at_border = |(position, &id): (&[f64; 3], &i32)| {
        let [x, y, z] = cell(position);
        let near = (0..27).map(|n| [x + n % 3 - 1, y + n / 3 % 3 - 1, z + n / 9 - 1]);
        id >= 0 && near.filter_map(|cell| first.get(&cell)).any(|&other| other < id)
    };
    let marked = positions.iter().zip(superpoints).map(at_border).zip(colors);
    marked.map(|(at_border, &color)| if at_border { BORDER } else { color }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn superpoints_have_colours_of_their_own() {
        let colors = superpoint_colors(&[0, 1, 0, -1, 2]);
        assert_eq!((colors[0], colors[3]), (colors[2], NONE));
        assert!(colors[0] != colors[1] && colors[1] != colors[4]);
        assert_eq!([0.0, 2.0, 4.0].map(|h| hue(h, 1.0, 1.0)), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]);
        assert!(superpoint_colors(&[]).is_empty());
    }

    #[test]
    fn borders_are_marked_on_one_side() {
        let positions: Vec<[f64; 3]> = (0..10).map(|i| [f64::from(i), 0.0, 0.0]).collect();
        let ids: Vec<i32> = (0..10).map(|i| if i == 9 { -1 } else { i32::from(i >= 5) }).collect();
        let marked = with_borders(&positions, &[[7; 3]; 10], &ids, 1.0);
        let places: Vec<usize> = (0..10).filter(|&i| marked[i] == BORDER).collect();
        assert_eq!(places, [5]);
    }
}
