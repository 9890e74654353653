//! Whole checkpoints: sound ones in each container, and hostile ones.

use super::testing::{LEGACY_MAGIC, PickleWriter, TestCheckpoint, TestTensor, zip_of};
use super::*;
use crate::model::weights::WeightData;
use half::f16;
use std::path::PathBuf;

fn read(bytes: &[u8]) -> Result<Collector> {
    decode(bytes).map(|(_, read)| read)
}

fn message(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

fn check_network(read: &Collector) {
    let tensor = |name: &str| &read.tensors[name];
    assert_eq!(read.tensors.len(), 3);
    assert_eq!(tensor("conv0p1s1.kernel").shape, [1, 2, 2]);
    assert_eq!(tensor("conv0p1s1.kernel").data, WeightData::F32(vec![0., 1., 2., 3.]));
    assert_eq!(tensor("block1.0.conv1.kernel").data, WeightData::F32(vec![4., 6., 5., 7.]));
    assert_eq!(tensor("final.kernel").shape, [2, 3]);
    assert_eq!(tensor("final.kernel").data, WeightData::F16((0..6u8).map(|v| f16::from_f32(v.into())).collect()));
    assert_eq!(read.skipped, ["bn0.bn.num_batches_tracked"]);
}

#[test]
fn both_torch_containers_are_read_under_every_prefix_and_key() {
    for prefix in ["", "net3d.", "module.", "module.net3d."] {
        for dict_key in ["", "state_dict", "model_state_dict", "model"] {
            let checkpoint = TestCheckpoint { prefix, dict_key, ..TestCheckpoint::network() };
            for (bytes, format) in
                [(checkpoint.zip(), CheckpointFormat::TorchZip), (checkpoint.legacy(), CheckpointFormat::TorchLegacy)]
            {
                let (found, read) = decode(&bytes).unwrap();
                assert_eq!((found, read.prefix), (format, prefix));
                check_network(&read);
            }
        }
    }
}

#[test]
fn a_file_is_hashed_and_its_name_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    std::fs::write(&path, TestCheckpoint::network().zip()).unwrap();
    let checkpoint = read_checkpoint(&path).unwrap();
    assert_eq!(checkpoint.format.to_string(), "PyTorch zip");
    assert_eq!(checkpoint.prefix, "module.net3d.");
    let digest = Sha256::digest(std::fs::read(&path).unwrap());
    assert_eq!(checkpoint.sha256.len(), 64);
    assert!(digest.iter().zip(0..).all(|(b, i)| checkpoint.sha256[2 * i..2 * i + 2] == format!("{b:02x}")));

    std::fs::write(&path, b"<html>not found</html>").unwrap();
    let error = read_checkpoint(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(error.to_string().contains("<html>") && error.to_string().contains("net.safetensors"), "{error}");
    assert_eq!(read_checkpoint(&folder.path().join("none")).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(read_checkpoint(folder.path()).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn other_files_are_told_apart() {
    assert!(message(b"").contains("0 bytes"));
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert_eq!(read(&tar).unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(message(&zip_of([], false)).contains("data.pkl"));
    assert!(message(&zip_of([("a.npy".to_owned(), b"".as_slice())], false)).contains("data.pkl"));
    assert!(message(&PickleWriter::default().raw(b"}").finished()).contains("magic number"));
    let script = TestCheckpoint::network().zip_with(&[("constants.pkl", b"")]);
    assert!(message(&script).contains("TorchScript"));
    let big = TestCheckpoint::network().zip_with(&[("byteorder", b"big")]);
    assert_eq!(read(&big).unwrap_err().kind(), ErrorKind::Unsupported);
    check_network(&read(&TestCheckpoint::network().zip_with(&[])).unwrap());
}

#[test]
fn the_optimizer_is_passed_over_without_its_storages() {
    let mut optimizer = PickleWriter::default();
    optimizer.global("posix", "system").raw(b"(").text("touch /tmp/owned").raw(b"tR}(").text("state");
    TestTensor::new("", ("DoubleStorage", "9", 2), &[2]).write(&mut optimizer, true);
    optimizer.raw(b"ub");
    let mut checkpoint = TestCheckpoint { optimizer: Some(optimizer), ..TestCheckpoint::network() };
    check_network(&read(&checkpoint.zip()).unwrap());
    // The legacy form has the storages in a row, so those of the optimizer must be there to be stepped over.
    checkpoint.storages.insert(1, ("9", 2, vec![0; 16]));
    check_network(&read(&checkpoint.legacy()).unwrap());
}

#[test]
fn a_call_in_the_state_dict_is_an_error_that_names_it() {
    let mut pickle = PickleWriter::default();
    pickle.raw(b"}").text("state_dict").raw(b"}(");
    pickle.text("conv0p1s1.kernel").global("posix", "system").raw(b"(").text("touch /tmp/owned").raw(b"tRus");
    let pickle = pickle.finished();
    let error = message(&zip_of([("a/data.pkl".to_owned(), pickle.as_slice())], false));
    assert!(error.contains("posix.system") && error.contains("conv0p1s1.kernel"), "{error}");
    let model = PickleWriter::default().global("models.disnet", "DisNet").raw(b")R").finished();
    let error = message(&zip_of([("a/data.pkl".to_owned(), model.as_slice())], false));
    assert!(error.contains("models.disnet.DisNet") && error.contains("state_dict()"), "{error}");
}

#[test]
fn parameters_windows_and_other_widths() {
    let mut checkpoint = TestCheckpoint::network();
    checkpoint.tensors[0].parameter = true;
    check_network(&read(&checkpoint.zip()).unwrap());
    checkpoint.tensors[1] = TestTensor { window: Some([4, 4]), ..checkpoint.tensors[1].clone() }.strided(0, &[1, 2]);
    check_network(&read(&checkpoint.legacy()).unwrap());
    checkpoint.tensors[1].window = Some([5, 4]);
    assert!(message(&checkpoint.legacy()).contains("beyond its storage"));

    let mut checkpoint = TestCheckpoint::network();
    checkpoint.tensors[3] = TestTensor::new("final.kernel", ("DoubleStorage", "2", 1), &[]);
    checkpoint.storages[2] = ("2", 1, 2.5f64.to_le_bytes().to_vec());
    assert_eq!(read(&checkpoint.legacy()).unwrap().tensors["final.kernel"].data, WeightData::F32(vec![2.5]));
}

#[test]
fn damaged_references_are_refused() {
    let broken: [fn(&mut TestTensor); 7] = [
        |t| t.offset = -1,
        |t| t.offset = i64::MAX,
        |t| t.sizes = vec![i64::MAX, i64::MAX],
        |t| t.sizes = vec![-1, 2],
        |t| t.strides = vec![-1, 1],
        |t| t.len = i64::MAX,
        |t| t.class = "QInt8Storage",
    ];
    for change in broken {
        let mut checkpoint = TestCheckpoint::network();
        change(&mut checkpoint.tensors[1]);
        for bytes in [checkpoint.zip(), checkpoint.legacy()] {
            read(&bytes).unwrap_err();
        }
    }
    let mut checkpoint = TestCheckpoint::network();
    checkpoint.storages.pop();
    assert!(message(&checkpoint.zip()).contains("archive/data/2"));
    assert!(message(&checkpoint.legacy()).contains("storage '2' is missing"));
    checkpoint.storages.push(("2", 6, vec![0; 5]));
    assert!(message(&checkpoint.zip()).contains("5 bytes where 6 values of 2 bytes"));
    assert!(message(&checkpoint.legacy()).contains("ends within"));
    checkpoint.storages.push(("unknown", 0, vec![]));
    assert!(read(&checkpoint.legacy()).is_err());
}

#[test]
fn a_zip_bomb_is_refused() {
    let pickle = TestCheckpoint::network();
    let len = 256 << 20;
    let zeros = vec![0; len];
    let mut tensor = TestTensor::new("conv0p1s1.kernel", ("FloatStorage", "0", len as i64 / 4), &[len as i64 / 4]);
    tensor.name = "conv0p1s1.kernel".to_owned();
    let bomb = TestCheckpoint { tensors: vec![tensor], storages: vec![], ..pickle };
    let pickle = bomb.pickle(false);
    let bytes = zip_of([("a/data.pkl".to_owned(), &pickle[..]), ("a/data/0".to_owned(), &zeros[..])], true);
    assert!(bytes.len() < 1 << 20);
    assert_eq!(read(&bytes).unwrap_err().kind(), ErrorKind::Unsupported);
}

#[test]
fn safetensors_are_read_by_content() {
    let header = br#"{"net3d.conv0p1s1.kernel":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},"net3d.bn0.bn.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[4,12]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend([0x80, 0x3f, 0, 0xc0, 1, 0, 0, 0, 0, 0, 0, 0]);
    let (format, read) = decode(&bytes).unwrap();
    assert_eq!((format, read.prefix), (CheckpointFormat::Safetensors, "net3d."));
    assert_eq!(read.tensors["conv0p1s1.kernel"].data, WeightData::F32(vec![1., -2.]));
    assert_eq!(read.skipped, ["bn0.bn.num_batches_tracked"]);
    never_panics(&bytes);
    let damaged = String::from_utf8_lossy(&bytes).replace("BF16", "F8_0").into_bytes();
    assert!(decode(&damaged).is_err());
}

/// Every shorter file is an error; every changed byte is an error or some other content.
fn never_panics(bytes: &[u8]) {
    for len in 0..bytes.len() {
        assert!(read(&bytes[..len]).is_err(), "cut at {len}");
    }
    let mut changed = bytes.to_vec();
    for at in 0..bytes.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128, 255, bytes[at], !bytes[at]] {
            changed[at] = bytes[at] ^ flip;
            let _ = read(&changed);
        }
        changed[at] = bytes[at];
    }
}

#[test]
fn cut_and_changed_files_never_panic() {
    never_panics(&TestCheckpoint::network().legacy());
    never_panics(&TestCheckpoint::network().zip());
    // The zip's checksums stop most changes, so the pickle inside is also changed before it is packed.
    let pickle = TestCheckpoint::network().pickle(false);
    let storages = TestCheckpoint::network().storages;
    for at in 0..pickle.len() {
        for flip in [1, 2, 4, 8, 16, 32, 64, 128] {
            let mut changed = pickle.clone();
            changed[at] ^= flip;
            let entries = storages.iter().map(|(key, _, bytes)| (format!("a/data/{key}"), bytes.as_slice()));
            let _ = read(&zip_of(entries.chain([("a/data.pkl".to_owned(), changed.as_slice())]), false));
        }
    }
}

#[test]
fn a_legacy_file_needs_little_endian_and_protocol_1001() {
    let mut file = LEGACY_MAGIC.to_vec();
    file.extend(PickleWriter::default().int(1002).finished());
    assert!(message(&file).contains("1002"));
    let mut file = LEGACY_MAGIC.to_vec();
    file.extend(PickleWriter::default().int(1001).finished());
    file.extend(PickleWriter::default().raw(b"}").finished());
    assert!(message(&file).contains("little_endian"));
}

/// The reference checkpoints, where they are installed.
#[test]
fn reference_checkpoints_agree() {
    let Ok(root) = std::env::var("OV3D_SHARED") else { return };
    let nets = PathBuf::from(root).join("fixtures/minkunet/nets");
    let tiny = |file: &str| read_checkpoint(&nets.join("tiny512").join(file)).unwrap();
    let expected = tiny("fp32.safetensors");
    assert_eq!(expected.tensors.len() + expected.skipped.len(), 289);
    for (file, prefix, format) in [
        ("ddp_with_optimizer.pth.tar", "module.net3d.", CheckpointFormat::TorchZip),
        ("single.pth.tar", "net3d.", CheckpointFormat::TorchZip),
        ("ddp_legacy_format.pth.tar", "module.net3d.", CheckpointFormat::TorchLegacy),
    ] {
        let found = tiny(file);
        assert_eq!((found.prefix.as_str(), found.format), (prefix, format));
        assert!(found.tensors == expected.tensors, "{file}");
        assert_eq!(found.skipped, expected.skipped);
    }
    let half = tiny("fp16.safetensors");
    assert_eq!(half.prefix, "");
    assert!(half.tensors.iter().all(|(name, tensor)| *tensor == expected.tensors[name].to_f16().unwrap()));
    let narrow = |file: &str| read_checkpoint(&nets.join("narrow512").join(file)).unwrap();
    assert!(narrow("ddp.pth.tar").tensors == narrow("fp32.safetensors").tensors);
}
