//! Checkpoints for tests, assembled by hand.

use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Writes a pickle opcode by opcode.
#[derive(Default, Clone)]
pub(super) struct PickleWriter(pub(super) Vec<u8>);

impl PickleWriter {
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.raw(b"X").raw(&(text.len() as u32).to_le_bytes()).raw(text.as_bytes())
    }

    pub(super) fn int(&mut self, value: i64) -> &mut Self {
        self.raw(&[0x8a, 8]).raw(&value.to_le_bytes())
    }

    pub(super) fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.raw(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(super) fn ints(&mut self, values: &[i64]) -> &mut Self {
        self.raw(b"(");
        for &value in values {
            self.int(value);
        }
        self.raw(b"t")
    }

    /// The pickle so far as one that ends.
    pub(super) fn finished(&self) -> Vec<u8> {
        [&[0x80, 2], self.0.as_slice(), b"."].concat()
    }
}

/// A tensor and the storage it views.
#[derive(Clone)]
pub(super) struct TestTensor {
    pub(super) name: String,
    pub(super) class: &'static str,
    pub(super) key: &'static str,
    pub(super) len: i64,
    pub(super) offset: i64,
    pub(super) sizes: Vec<i64>,
    pub(super) strides: Vec<i64>,
    /// Start and length of a legacy storage window.
    pub(super) window: Option<[i64; 2]>,
    pub(super) parameter: bool,
}

impl TestTensor {
    pub(super) fn new(name: &str, (class, key, len): (&'static str, &'static str, i64), sizes: &[i64]) -> Self {
        let mut strides = vec![1; sizes.len()];
        for axis in (1..sizes.len()).rev() {
            strides[axis - 1] = strides[axis] * sizes[axis];
        }
        let (name, sizes) = (name.to_owned(), sizes.to_vec());
        Self { name, class, key, len, offset: 0, sizes, strides, window: None, parameter: false }
    }

    pub(super) fn strided(self, offset: i64, strides: &[i64]) -> Self {
        Self { offset, strides: strides.to_vec(), ..self }
    }

    pub(super) fn write(&self, pickle: &mut PickleWriter, legacy: bool) {
        if self.parameter {
            pickle.global("torch._utils", "_rebuild_parameter").raw(b"(");
        }
        pickle.global("torch._utils", "_rebuild_tensor_v2").raw(b"((").text("storage");
        pickle.global("torch", self.class).text(self.key).text("cuda:0").int(self.len);
        match self.window {
            Some(window) => pickle.raw(b"(").text("view").int(window[0]).int(window[1]).raw(b"t"),
            None if legacy => pickle.raw(b"N"),
            None => pickle,
        };
        pickle.raw(b"tQ").int(self.offset).ints(&self.sizes).ints(&self.strides);
        pickle.raw(&[0x89]).global("collections", "OrderedDict").raw(b")RtR");
        if self.parameter {
            pickle.raw(&[0x89]).raw(b"NtR");
        }
    }
}

/// What goes into a test checkpoint.
#[derive(Clone, Default)]
pub(super) struct TestCheckpoint {
    pub(super) prefix: &'static str,
    /// The key of the state dict, or `""` for a state dict at the top.
    pub(super) dict_key: &'static str,
    pub(super) tensors: Vec<TestTensor>,
    /// Key, number of elements and bytes.
    pub(super) storages: Vec<(&'static str, u64, Vec<u8>)>,
    /// Opcodes that make the optimizer entry.
    pub(super) optimizer: Option<PickleWriter>,
}

impl TestCheckpoint {
    /// A network of three float tensors and a counter.
    pub(super) fn network() -> Self {
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let halves: Vec<u8> = (0..6u8).flat_map(|v| half::f16::from_f32(v.into()).to_le_bytes()).collect();
        Self {
            prefix: "module.net3d.",
            dict_key: "state_dict",
            tensors: vec![
                TestTensor::new("conv0p1s1.kernel", ("FloatStorage", "0", 8), &[1, 2, 2]),
                TestTensor::new("block1.0.conv1.kernel", ("FloatStorage", "0", 8), &[2, 2]).strided(4, &[1, 2]),
                TestTensor::new("bn0.bn.num_batches_tracked", ("LongStorage", "1", 1), &[]),
                TestTensor::new("final.kernel", ("HalfStorage", "2", 6), &[1, 2, 3]),
            ],
            storages: vec![("0", 8, bytes(&[0., 1., 2., 3., 4., 5., 6., 7.])), ("1", 1, vec![7; 8]), ("2", 6, halves)],
            optimizer: None,
        }
    }

    pub(super) fn pickle(&self, legacy: bool) -> Vec<u8> {
        let mut pickle = PickleWriter::default();
        if !self.dict_key.is_empty() {
            pickle.raw(b"}(").text("epoch").int(20).text(self.dict_key);
        }
        pickle.global("collections", "OrderedDict").raw(b")R(");
        for tensor in &self.tensors {
            pickle.text(&format!("{}{}", self.prefix, tensor.name));
            tensor.write(&mut pickle, legacy);
        }
        // The attributes of a real state dict.
        pickle.raw(b"u}").text("_metadata").raw(b"}sb");
        if let Some(optimizer) = &self.optimizer {
            pickle.text("optimizer").raw(&optimizer.0);
        }
        if !self.dict_key.is_empty() {
            pickle.raw(b"u");
        }
        pickle.finished()
    }

    pub(super) fn zip(&self) -> Vec<u8> {
        self.zip_with(&[("byteorder", b"little".as_slice())])
    }

    pub(super) fn zip_with(&self, extra: &[(&str, &[u8])]) -> Vec<u8> {
        let pickle = self.pickle(false);
        let mut entries = vec![("data.pkl".to_owned(), pickle.as_slice())];
        entries.extend(extra.iter().map(|&(name, bytes)| (name.to_owned(), bytes)));
        entries.extend(self.storages.iter().map(|(key, _, bytes)| (format!("data/{key}"), bytes.as_slice())));
        zip_of(entries.iter().map(|(name, bytes)| (format!("archive/{name}"), *bytes)), false)
    }

    pub(super) fn legacy(&self) -> Vec<u8> {
        let mut file = LEGACY_MAGIC.to_vec();
        file.extend(PickleWriter::default().int(1001).finished());
        file.extend(PickleWriter::default().raw(b"}").text("little_endian").raw(&[0x88]).raw(b"s").finished());
        file.extend(self.pickle(true));
        let mut keys = PickleWriter::default();
        keys.raw(b"](");
        for (key, ..) in &self.storages {
            keys.text(key);
        }
        file.extend(keys.raw(b"e").finished());
        for (_, len, bytes) in &self.storages {
            file.extend(len.to_le_bytes());
            file.extend(bytes);
        }
        file
    }
}

pub(super) const LEGACY_MAGIC: &[u8] =
    &[0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];

/// A zip archive of `entries`.
pub(super) fn zip_of<'a>(entries: impl IntoIterator<Item = (String, &'a [u8])>, deflate: bool) -> Vec<u8> {
    let method = if deflate { zip::CompressionMethod::Deflated } else { zip::CompressionMethod::Stored };
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}
