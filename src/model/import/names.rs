//! Tensor names of a checkpoint: the prefix its wrapper classes put before them, and the tensors under bare names.

use super::{first_few, quoted};
use crate::error::{Error, Result};
use crate::model::weights::{StateDict, Weight, WeightData};

/// What `DisNet` (`net3d.`) and `DistributedDataParallel` (`module.`) prepend.
const PREFIXES: [&str; 4] = ["", "net3d.", "module.", "module.net3d."];

/// The first kernel of every MinkUNet, by which the prefix is recognised.
const ANCHOR: &str = "conv0p1s1.kernel";

/// Gathers tensors under their bare names.
#[derive(Debug)]
pub(super) struct Collector {
    /// The prefix every key has.
    pub(super) prefix: &'static str,
    /// Floating tensors by bare name.
    pub(super) tensors: StateDict,
    /// Bare names of the tensors left out.
    pub(super) skipped: Vec<String>,
}

impl Collector {
    /// Decides the prefix from all the keys of a state dict.
    pub(super) fn new<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Result<Self> {
        let mut found = PREFIXES.into_iter().filter(|prefix| keys.clone().any(|key| bare(key, prefix) == Some(ANCHOR)));
        let Some(prefix) = found.next() else {
            return Err(Error::format(format!(
                "no '{ANCHOR}' under any of the prefixes '', 'net3d.', 'module.', 'module.net3d.'; a MinkUNet state \
                 dict is expected, and the keys seen are {}",
                first_few(keys)
            )));
        };
        if let Some(second) = found.next() {
            return Err(Error::format(format!(
                "both '{prefix}{ANCHOR}' and '{second}{ANCHOR}' are present; keep the state dict of one network"
            )));
        }
        let mut foreign = keys.filter(|key| bare(key, prefix).is_none()).peekable();
        if foreign.peek().is_some() {
            return Err(Error::format(format!(
                "the network's keys begin with '{prefix}' but these do not: {}; save the 3D network's state dict alone",
                first_few(foreign)
            )));
        }
        Ok(Self { prefix, tensors: StateDict::new(), skipped: Vec::new() })
    }

    /// Adds a floating tensor.
    pub(super) fn add(&mut self, key: &str, shape: Vec<usize>, data: WeightData) {
        let name = self.bare(key);
        let shape = flat_if_pointwise(name, shape);
        self.tensors.insert(name.to_owned(), Weight { shape, data });
    }

    /// Notes a tensor that is left out.
    pub(super) fn skip(&mut self, key: &str) {
        self.skipped.push(self.bare(key).to_owned());
    }

    fn bare<'k>(&self, key: &'k str) -> &'k str {
        bare(key, self.prefix).unwrap_or(key)
    }
}

fn bare<'k>(key: &'k str, prefix: &str) -> Option<&'k str> {
    key.strip_prefix(prefix)
}

/// MinkowskiEngine 0.4 stored 1x1 kernels as `(1, Cin, Cout)`, 0.5 as `(Cin, Cout)`; both store a bias as `(1, Cout)`.
fn flat_if_pointwise(name: &str, shape: Vec<usize>) -> Vec<usize> {
    let pointwise = name == "final.kernel" || name.ends_with(".downsample.0.kernel");
    match *shape.as_slice() {
        [1, inputs, outputs] if pointwise => vec![inputs, outputs],
        [1, outputs] if name == "final.bias" => vec![outputs],
        _ => shape,
    }
}

/// The error for a key of the state dict whose value is not a tensor this reader takes.
pub(super) fn entry_error(key: &str, cause: Error) -> Error {
    cause.within(format!("state dict entry {}", quoted(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix_of(keys: &[&str]) -> Result<&'static str> {
        Collector::new(keys.iter().copied()).map(|collector| collector.prefix)
    }

    #[test]
    fn every_known_prefix_is_found() {
        for prefix in PREFIXES {
            let keys = [format!("{prefix}bn0.bn.weight"), format!("{prefix}conv0p1s1.kernel")];
            assert_eq!(prefix_of(&[&keys[0], &keys[1]]).unwrap(), prefix);
        }
    }

    #[test]
    fn a_foreign_key_is_named() {
        let error = prefix_of(&["net3d.conv0p1s1.kernel", "clip.proj"]).unwrap_err().to_string();
        assert!(error.contains("'clip.proj'") && error.contains("'net3d.'"), "{error}");
    }

    #[test]
    fn other_networks_are_refused_with_their_keys() {
        let error = prefix_of(&["a", "b", "c", "d", "e", "f", "backbone.conv0p1s1.kernel"]).unwrap_err().to_string();
        assert!(error.contains("MinkUNet") && error.contains("'a'") && error.contains("2 more"), "{error}");
        assert!(prefix_of(&[]).is_err());
        let error = prefix_of(&["conv0p1s1.kernel", "module.conv0p1s1.kernel"]).unwrap_err().to_string();
        assert!(error.contains("both"), "{error}");
    }

    #[test]
    fn only_pointwise_kernels_lose_their_first_axis() {
        assert_eq!(flat_if_pointwise("final.kernel", vec![1, 96, 512]), [96, 512]);
        assert_eq!(flat_if_pointwise("block2.0.downsample.0.kernel", vec![1, 4, 8]), [4, 8]);
        assert_eq!(flat_if_pointwise("final.kernel", vec![96, 512]), [96, 512]);
        assert_eq!(flat_if_pointwise("final.bias", vec![1, 512]), [512]);
        assert_eq!(flat_if_pointwise("block2.0.conv1.kernel", vec![1, 4, 8]), [1, 4, 8]);
        assert_eq!(flat_if_pointwise("final.kernel", vec![27, 4, 8]), [27, 4, 8]);
    }
}
