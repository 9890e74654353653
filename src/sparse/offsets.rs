//! Kernel offsets in MinkowskiEngine's slice order: x fastest; odd sizes centred, even sizes from 0.

/// The offset of each slice of a kernel of `size` cubed, in units of the input's tensor stride.
pub fn kernel_offsets(size: usize) -> impl Iterator<Item = [i32; 3]> {
    let first = if size % 2 == 1 { -(size as i32 / 2) } else { 0 };
    (0..size.pow(3)).map(move |n| [n % size, n / size % size, n / (size * size)].map(|i| i as i32 + first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_slices() {
        let three: Vec<_> = kernel_offsets(3).collect();
        assert_eq!(three[..5], [[-1, -1, -1], [0, -1, -1], [1, -1, -1], [-1, 0, -1], [0, 0, -1]]);
        assert_eq!((three[13], three[26]), ([0, 0, 0], [1, 1, 1]));
        let five: Vec<_> = kernel_offsets(5).collect();
        assert_eq!((five[5], five[25], five[62]), ([-2, -1, -2], [-2, -2, -1], [0, 0, 0]));
        let two: Vec<_> = kernel_offsets(2).collect();
        assert_eq!(two[..5], [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]]);
        assert_eq!(kernel_offsets(1).collect::<Vec<_>>(), [[0, 0, 0]]);
    }
}
