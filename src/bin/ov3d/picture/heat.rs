//! The colours of a heat map: grey where a text fits no better than others, then from blue over red to yellow.

/// Colours at equal steps from 0 to 1. Up to the middle they are calm, so that what fits stands out; from there on they
/// grow lighter, so that the map reads without colour vision too.
const STEPS: [[u8; 3]; 9] = [
    [214, 216, 220],
    [205, 207, 213],
    [190, 193, 203],
    [160, 164, 182],
    [92, 88, 158],
    [140, 50, 140],
    [205, 60, 90],
    [245, 120, 40],
    [255, 215, 60],
];

/// The colour of a share; what is not in 0 to 1 counts as the nearer end, NaN as 0.
pub(crate) fn heat_color(share: f32) -> [u8; 3] {
    let place = share.clamp(0.0, 1.0) * (STEPS.len() - 1) as f32;
    let place = if place.is_nan() { 0.0 } else { place };
    let first = (place as usize).min(STEPS.len() - 2);
    let part = place - first as f32;
    let mix = |channel: usize| {
        let [from, to] = [STEPS[first][channel], STEPS[first + 1][channel]].map(f32::from);
        (from + (to - from) * part).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_its_ends_and_steps() {
        assert_eq!([0.0, 0.5, 1.0].map(heat_color), [STEPS[0], STEPS[4], STEPS[8]]);
        assert_eq!([f32::NAN, -3.0, 7.0].map(heat_color), [STEPS[0], STEPS[0], STEPS[8]]);
        assert_eq!(heat_color(1.0 / 16.0), [210, 212, 217]);
    }
}
