//! Files that the tool reads and writes: clouds in the formats of scanners and robots, labels, arrays.

mod bin;
mod e57;
mod labelled;
mod labels;
mod las;
mod npy;
mod pcd;
mod ply;
#[cfg(test)]
mod testing;
mod vertex;

pub(crate) use labelled::{HeatCloud, LabelledCloud, SuperpointCloud};
pub(crate) use labels::{read_ids, read_labels};
pub(crate) use npy::{read_npy_coordinates, read_npy_f32, read_npy_i32, write_npy_labels};

use openvocab3d::cloud::{Cloud, Frame, StridedView};
use openvocab3d::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A cloud as its file holds it; FP32 is widened, nothing is scaled.
pub(crate) struct CloudFile {
    pub(crate) positions: Vec<[f64; 3]>,
    pub(crate) colors: Option<Vec<[u8; 3]>>,
}

/// An error for an output whose folder is not there, that is a folder, or that is an input or another output: before the
/// work, not after.
pub(crate) fn check_outputs<'a>(
    inputs: impl IntoIterator<Item = &'a PathBuf>,
    outputs: impl IntoIterator<Item = &'a PathBuf>,
) -> Result<()> {
    let inputs: Vec<PathBuf> = inputs.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
    let mut written = Vec::new();
    for path in outputs {
        let cannot = |why: &str| Error::new(ErrorKind::Io, format!("cannot write '{}': {why}", path.display()));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(cannot(&format!("there is no folder '{}'", folder.display())));
        }
        if path.is_dir() {
            return Err(cannot("it is a folder; name a file in it"));
        }
        if path.exists() && !path.is_file() {
            // A device, such as /dev/null, takes any number of outputs.
            continue;
        }
        // A file that is not there yet has no canonical path of its own.
        let canonical = path.canonicalize();
        let canonical = canonical.or_else(|_| Ok(folder.canonicalize()?.join(path.file_name().unwrap_or_default())));
        let canonical = canonical.map_err(|e| Error::io(path, "write", &e))?;
        if inputs.contains(&canonical) {
            return Err(cannot("it is an input of this command; name another file"));
        }
        if written.contains(&canonical) {
            return Err(cannot("it is named for two outputs; name another file"));
        }
        written.push(canonical);
    }
    Ok(())
}

impl CloudFile {
    /// What the library reads.
    pub(crate) fn view(&self, frame: Frame) -> Cloud<'_> {
        let positions = Cloud::new(StridedView::packed_f64(&self.positions), frame);
        Cloud { colors: self.colors.as_deref().map(StridedView::packed_u8), ..positions }
    }
}

/// Reads a cloud; its content, not its name, says which format it has (but for `.bin`, which has no mark).
pub(crate) fn read_cloud(path: &Path) -> Result<CloudFile> {
    let bytes = read_bytes(path)?;
    let cloud = match bytes {
        _ if ply::is_ply(&bytes) => ply::parse(&bytes),
        _ if npy::is_npy(&bytes) => npy::parse_cloud(&bytes),
        _ if pcd::is_pcd(&bytes) => pcd::parse(&bytes),
        _ if las::is_las(&bytes) => las::parse(bytes),
        _ if e57::is_e57(&bytes) => e57::parse(bytes),
        // These have no mark of their own.
        _ if path.extension().is_some_and(|extension| extension == "bin") => bin::parse(&bytes),
        _ => Err(Error::new(ErrorKind::Unsupported, unknown(&bytes))),
    };
    cloud.map_err(|e| e.within(format_args!("cloud '{}'", path.display())))
}

/// Writes `cloud` as a binary PLY with the properties `label` and `score` and the label's colour.
pub(crate) fn write_labelled_ply(path: &Path, cloud: &LabelledCloud<'_>) -> Result<()> {
    let count = cloud.positions.len();
    let superpoints = cloud.superpoints.map_or(count, <[i32]>::len);
    if [cloud.colors.len(), cloud.labels.len(), cloud.scores.len(), superpoints] != [count; 4] {
        let [colors, labels, scores] = [cloud.colors.len(), cloud.labels.len(), cloud.scores.len()];
        let message =
            format!("{count} positions, {colors} colours, {labels} labels and {scores} scores do not go together");
        return Err(Error::new(ErrorKind::Mismatch, message));
    }
    write_file(path, |out| labelled::write(out, cloud))
}

/// Writes positions with a colour and the number of each superpoint as a binary PLY with the property `superpoint`.
pub(crate) fn write_superpoint_ply(path: &Path, cloud: &SuperpointCloud<'_>) -> Result<()> {
    write_file(path, |out| labelled::write_superpoints(out, cloud))
}

/// Writes positions with the colour and the value of one text as a binary PLY with the property `relevance`.
pub(crate) fn write_heat_ply(path: &Path, cloud: &HeatCloud<'_>) -> Result<()> {
    write_file(path, |out| labelled::write_heat(out, cloud))
}

/// What `read` gives, of a format whose library may panic on damaged files.
fn contained<T>(what: &str, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    std::panic::set_hook(before);
    outcome.unwrap_or_else(|_| Err(Error::format(format!("the {what} file is damaged"))))
}

fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Error::io(path, "read", &e))
}

fn write_file(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::with_capacity(1 << 20, file);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|e| Error::io(path, "write", &e))
}

fn unknown(bytes: &[u8]) -> String {
    let known: [(&[u8], &str); 2] = [(b"PK\x03\x04", "a zip archive, such as npz"), (b"{", "a JSON file")];
    let what = match known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        Some((_, name)) => name,
        None if bytes.is_empty() => "an empty file",
        None => "a file of unknown format",
    };
    format!(
        "{what}; clouds are read from PLY, PCD, LAS, LAZ, E57, npy ([n, 3] or more columns) and .bin (KITTI, nuScenes): \
         convert it to one of them"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_are_known_by_their_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cloud.txt");
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read_cloud(&path)
        };
        let ascii = b"ply\nformat ascii 1.0\nelement vertex 1\nproperty int x\nproperty int y\nproperty int z\nend_header\n1 2 3\n";
        assert_eq!(read(ascii).unwrap().positions, [[1.0, 2.0, 3.0]]);
        for (bytes, word) in
            [(&b""[..], "empty"), (b"PK\x03\x04", "zip"), (b"1 2 3\n", "unknown"), (b"plyboard", "unknown")]
        {
            let error = read(bytes).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            let message = error.to_string();
            assert!(message.contains(word) && message.contains("PLY") && message.contains("npy"), "{message}");
        }
        assert_eq!(read_cloud(&folder.path().join("none.ply")).err().unwrap().kind(), ErrorKind::Io);
    }

    #[test]
    fn outputs_are_none_of_the_inputs() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("in.ply"), "a cloud").unwrap();
        std::fs::create_dir(path("sub")).unwrap();
        let check = |outputs: &[&str]| {
            let outputs: Vec<PathBuf> = outputs.iter().map(|name| path(name)).collect();
            check_outputs([&path("in.ply"), &path("none")], &outputs).map_err(|e| e.to_string())
        };
        assert_eq!(check(&["out.ply", "sub/out.ply", "out.png"]), Ok(()));
        for (outputs, why) in [
            (&["in.ply"][..], "input"),
            (&["out.ply", "sub/../in.ply"], "input"),
            (&["out.ply", "sub/../out.ply"], "two outputs"),
            (&["sub"], "a folder"),
            (&["nowhere/out.ply"], "no folder"),
        ] {
            let message = check(outputs).unwrap_err();
            assert!(message.contains(why), "{outputs:?}: {message}");
        }
        let null = PathBuf::from("/dev/null");
        assert!(!null.exists() || check_outputs([&path("in.ply")], [&null, &null]).is_ok());
    }

    #[test]
    fn labelled_clouds_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("labelled.ply");
        let names = ["wall".to_owned(), "a\nb".to_owned()];
        let positions = [[0.5, -1.0, 2.0], [f64::NAN, 0.0, 0.25]];
        let colors = [[1, 2, 3], [160, 160, 160]];
        let mut cloud = LabelledCloud {
            positions: &positions,
            colors: &colors,
            labels: &[1, -1],
            scores: &[0.5, 0.0],
            names: &names,
            superpoints: Some(&[0, -1]),
        };
        write_labelled_ply(&path, &cloud).unwrap();
        let back = read_cloud(&path).unwrap();
        assert_eq!(back.positions[0], positions[0]);
        assert!(back.positions[1][0].is_nan());
        assert_eq!(back.colors.unwrap(), colors);
        cloud.labels = &[1];
        assert_eq!(write_labelled_ply(&path, &cloud).unwrap_err().kind(), ErrorKind::Mismatch);
        cloud.labels = &[1, -1];
        assert_eq!(write_labelled_ply(folder.path(), &cloud).unwrap_err().kind(), ErrorKind::Io);
    }
}
