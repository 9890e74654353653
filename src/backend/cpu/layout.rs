//! Which buffer each tensor of a run lives in: tensors that are never alive together share one.

use super::prepared::PreparedNetwork;
use crate::arena::{Arena, Buffer};
use crate::error::Result;
use crate::plan::TensorId;

/// Slots and the tensors in them.
#[derive(Debug)]
pub(super) struct Layout {
    /// By tensor.
    slots: Buffer<usize>,
    /// Words of each slot, largest first.
    lens: Buffer<usize>,
}

impl Layout {
    /// Tensors by size, the largest first, each into the smallest slot that is free throughout its life, or a new one.
    pub(super) fn new(network: &PreparedNetwork, arena: &Arena, len_of: impl Fn(TensorId) -> usize) -> Result<Self> {
        let (count, what) = (network.lives.len(), "the layout of the layers");
        let mut order = arena.collected(0..count, what)?;
        order.sort_unstable_by_key(|&tensor| (std::cmp::Reverse(len_of(TensorId(tensor))), tensor));
        let mut slots: Buffer<usize> = arena.filled(count, usize::MAX, what)?;
        let mut lens: Buffer<usize> = arena.with_capacity(count, what)?;
        for (place, &tensor) in order.iter().enumerate() {
            let [born, dead] = network.lives[tensor];
            let together = |&&other: &&usize| network.lives[other][0] <= dead && born <= network.lives[other][1];
            let taken = |slot: &usize| order[..place].iter().filter(together).any(|&other| slots[other] == *slot);
            let free = (0..lens.len()).rev().find(|slot| !taken(slot));
            slots[tensor] = free.unwrap_or(lens.len());
            if free.is_none() {
                lens.push(len_of(TensorId(tensor)));
            }
        }
        Ok(Self { slots, lens })
    }

    /// The slot of a tensor.
    pub(super) fn slot(&self, tensor: TensorId) -> usize {
        self.slots[tensor.0]
    }

    /// Words of each slot.
    pub(super) fn lens(&self) -> &[usize] {
        &self.lens
    }

    /// Bytes of all slots.
    pub(super) fn bytes(&self) -> u64 {
        4 * self.lens.iter().sum::<usize>() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_alive_together_have_slots_of_their_own() {
        // Each lives for one or two steps, two long ones besides.
        let lives: Vec<[usize; 2]> = (0..20).map(|step| [step, step + step % 3]).chain([[0, 19], [5, 12]]).collect();
        let network = PreparedNetwork { lives: lives.clone(), ..PreparedNetwork::default() };
        let len_of = |tensor: TensorId| 16 * (tensor.0 * 7 % 11);
        let layout = Layout::new(&network, &Arena::default(), len_of).unwrap();
        for (a, &[born, dead]) in lives.iter().enumerate() {
            assert!(layout.lens()[layout.slot(TensorId(a))] >= len_of(TensorId(a)));
            for (b, other) in lives.iter().enumerate().skip(a + 1) {
                let apart = other[1] < born || dead < other[0];
                assert!(apart || layout.slot(TensorId(a)) != layout.slot(TensorId(b)), "{a} and {b}");
            }
        }
        let alive = |step: usize| {
            let now = lives.iter().enumerate().filter(|(_, life)| (life[0]..=life[1]).contains(&step));
            now.map(|(tensor, _)| len_of(TensorId(tensor))).sum::<usize>()
        };
        let peak = (0..20).map(alive).max().unwrap();
        assert!(layout.lens().iter().sum::<usize>() <= peak * 3 / 2, "{layout:?}");
    }
}
