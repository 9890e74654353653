//! Labelled clouds, written as binary PLY.

use std::io::{self, Write};

/// A cloud with a label for every point; all but `names` have one row per point.
pub(crate) struct LabelledCloud<'a> {
    pub(crate) positions: &'a [[f64; 3]],
    /// Colours of the labels.
    pub(crate) colors: &'a [[u8; 3]],
    pub(crate) labels: &'a [i32],
    pub(crate) scores: &'a [f32],
    /// The superpoint of each point, if there are some.
    pub(crate) superpoints: Option<&'a [i32]>,
    /// Names of the labels, for the header.
    pub(crate) names: &'a [String],
}

/// A cloud with how well every point fits one text; all parts have one row per point.
pub(crate) struct HeatCloud<'a> {
    pub(crate) positions: &'a [[f64; 3]],
    pub(crate) colors: &'a [[u8; 3]],
    pub(crate) relevance: &'a [f32],
    /// The text, for the header.
    pub(crate) text: &'a str,
}

/// A cloud with the superpoint of every point; all parts have one row per point.
pub(crate) struct SuperpointCloud<'a> {
    pub(crate) positions: &'a [[f64; 3]],
    pub(crate) colors: &'a [[u8; 3]],
    pub(crate) superpoints: &'a [i32],
}

/// Writes `cloud`; its parts have equal lengths.
pub(super) fn write_superpoints(out: &mut impl Write, cloud: &SuperpointCloud<'_>) -> io::Result<()> {
    let wide = cloud.positions.iter().flatten().any(|&v| needs_double(v));
    write_start(out, "", cloud.positions.len(), wide)?;
    writeln!(out, "property int superpoint\nend_header")?;
    for ((position, color), superpoint) in cloud.positions.iter().zip(cloud.colors).zip(cloud.superpoints) {
        write_position(out, position, wide)?;
        out.write_all(color)?;
        out.write_all(&superpoint.to_le_bytes())?;
    }
    Ok(())
}

/// Writes `cloud`; its parts have equal lengths.
pub(super) fn write_heat(out: &mut impl Write, cloud: &HeatCloud<'_>) -> io::Result<()> {
    let wide = cloud.positions.iter().flatten().any(|&v| needs_double(v));
    let comment = format!("comment relevance of {}\n", one_line(cloud.text));
    write_start(out, &comment, cloud.positions.len(), wide)?;
    writeln!(out, "property float relevance\nend_header")?;
    for ((position, color), relevance) in cloud.positions.iter().zip(cloud.colors).zip(cloud.relevance) {
        write_position(out, position, wide)?;
        out.write_all(color)?;
        out.write_all(&relevance.to_le_bytes())?;
    }
    Ok(())
}

/// Writes `cloud`; its parts have equal lengths.
pub(super) fn write(out: &mut impl Write, cloud: &LabelledCloud<'_>) -> io::Result<()> {
    let wide = cloud.positions.iter().flatten().any(|&v| needs_double(v));
    let comments: String = cloud
        .names
        .iter()
        .enumerate()
        .map(|(label, name)| format!("comment label {label} {}\n", one_line(name)))
        .collect();
    write_start(out, &comments, cloud.positions.len(), wide)?;
    writeln!(out, "property int label\nproperty float score")?;
    if cloud.superpoints.is_some() {
        writeln!(out, "property int superpoint")?;
    }
    writeln!(out, "end_header")?;
    let rows = cloud.positions.iter().zip(cloud.colors).zip(cloud.labels).zip(cloud.scores);
    for (point, (((position, color), label), score)) in rows.enumerate() {
        write_position(out, position, wide)?;
        out.write_all(color)?;
        out.write_all(&label.to_le_bytes())?;
        out.write_all(&score.to_le_bytes())?;
        if let Some(superpoints) = cloud.superpoints {
            out.write_all(&superpoints[point].to_le_bytes())?;
        }
    }
    Ok(())
}

/// The header up to the colours' properties.
fn write_start(out: &mut impl Write, comments: &str, points: usize, wide: bool) -> io::Result<()> {
    writeln!(out, "ply\nformat binary_little_endian 1.0\n{comments}element vertex {points}")?;
    for axis in ["x", "y", "z"] {
        writeln!(out, "property {} {axis}", if wide { "double" } else { "float" })?;
    }
    for channel in ["red", "green", "blue"] {
        writeln!(out, "property uchar {channel}")?;
    }
    Ok(())
}

fn write_position(out: &mut impl Write, position: &[f64; 3], wide: bool) -> io::Result<()> {
    for &value in position {
        if wide {
            out.write_all(&value.to_le_bytes())?;
        } else {
            out.write_all(&(value as f32).to_le_bytes())?;
        }
    }
    Ok(())
}

/// `name` without what any reader may take for the end of a line.
fn one_line(name: &str) -> String {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    name.chars().map(|c| if breaks(c) { ' ' } else { c }).collect()
}

/// Whether FP32 cannot hold a coordinate exactly. No tolerance would do: the unit may be the kilometre.
fn needs_double(value: f64) -> bool {
    !value.is_nan() && f64::from(value as f32) != value
}

#[cfg(test)]
mod tests {
    use super::super::ply;
    use super::*;

    fn written(positions: &[[f64; 3]], name: &str) -> Vec<u8> {
        let count = positions.len();
        let cloud = LabelledCloud {
            positions,
            colors: &vec![[1, 2, 3]; count],
            labels: &vec![7; count],
            scores: &vec![0.5; count],
            superpoints: None,
            names: &["wall".to_owned(), name.to_owned()],
        };
        let mut file = Vec::new();
        write(&mut file, &cloud).unwrap();
        file
    }

    #[test]
    fn the_file_is_as_programs_expect_it() {
        let mut want = b"ply\nformat binary_little_endian 1.0\ncomment label 0 wall\ncomment label 1 door\n\
            element vertex 1\nproperty float x\nproperty float y\nproperty float z\nproperty uchar red\n\
            property uchar green\nproperty uchar blue\nproperty int label\nproperty float score\nend_header\n"
            .to_vec();
        want.extend([1.5_f32, -2.0, 0.0].iter().flat_map(|v| v.to_le_bytes()));
        want.extend([1, 2, 3, 7, 0, 0, 0]);
        want.extend(0.5_f32.to_le_bytes());
        assert_eq!(written(&[[1.5, -2.0, 0.0]], "door"), want);
    }

    #[test]
    fn positions_come_back_to_the_bit() {
        let float = f64::from(0.1_f32);
        for (position, word) in [
            ([float, -0.0, f64::INFINITY], "property float x"),
            ([float, 16.0e6, f64::from(f32::MIN_POSITIVE)], "property float x"),
            ([float, 0.1, 0.0], "property double x"),
            ([float, 1e300, f64::NEG_INFINITY], "property double x"),
            ([6_632_629.03, 0.0, 0.0], "property double x"),
        ] {
            let file = written(&[[0.0; 3], position], "");
            assert!(String::from_utf8_lossy(&file).contains(word), "{position:?}");
            assert_eq!(ply::parse(&file).unwrap().positions[1].map(f64::to_bits), position.map(f64::to_bits));
        }
        assert!(ply::parse(&written(&[[f64::NAN; 3]], "")).unwrap().positions[0][0].is_nan());
        assert!(ply::parse(&written(&[], "")).unwrap().positions.is_empty());
    }

    #[test]
    fn names_cannot_break_the_header() {
        for (name, line) in [
            ("a\r\nend_header", "comment label 1 a  end_header\n"),
            ("\u{85}b\u{2028}\tc\0", "comment label 1  b  c \n"),
            ("fenêtre 窓", "comment label 1 fenêtre 窓\n"),
        ] {
            let file = written(&[[0.5; 3]], name);
            assert!(String::from_utf8_lossy(&file).contains(line), "{name}");
            assert_eq!(ply::parse(&file).unwrap().positions, [[0.5; 3]]);
        }
    }
}
