//! The micro-kernels against f64: every level, precision, panel width, number of words and tail of the row tile.

use super::*;
use crate::backend::cpu::packed::Packed;
use crate::backend::cpu::tensor::Tensor;
use crate::sparse::Pair;

fn value(i: usize) -> f32 {
    ((i * 2_654_435_761) % 1009) as f32 / 504.5 - 1.0
}

fn arithmetics() -> impl Iterator<Item = Arithmetic> {
    let at = |precision| CpuLevel::available(precision).map(move |level| Arithmetic::new(level, precision));
    Precision::ALL.into_iter().flat_map(at)
}

/// What `value` becomes when it is kept.
fn kept(value: f32, precision: Precision) -> f64 {
    f64::from(match precision {
        Precision::F32 => value,
        Precision::Bf16 => half::bf16::from_f32(value).to_f32(),
    })
}

/// `[rows, channels]` of values; the padding holds zeros.
fn tensor(rows: usize, channels: usize, precision: Precision) -> Tensor {
    let mut tensor = Tensor::zeroed(rows, channels, precision);
    let stride = tensor.stride;
    for (row, words) in tensor.as_mut_slice().chunks_exact_mut(stride).enumerate() {
        let number = |channel: usize| if channel < channels { value(row * channels + channel) } else { 0.0 };
        for (place, word) in words.iter_mut().enumerate() {
            *word = match precision {
                Precision::F32 => number(place),
                Precision::Bf16 => bf16_pair([number(2 * place), number(2 * place + 1)]),
            };
        }
    }
    tensor
}

#[test]
fn every_level_multiplies() {
    for arithmetic in arithmetics() {
        for columns in [16, 20, 32, 48, 64, 80, 96, 128] {
            for rows in 0..=33 {
                let channels = [1, 32, 33, 48, 96, 64, 128, 16, 600][rows % 9];
                for start in 0..3 {
                    check_one(arithmetic, columns, channels, rows, start);
                }
            }
        }
        // Whole tiles of rows that stand one after the other, as those of a centre offset do.
        for (rows, channels) in [(16, 96), (32, 96), (48, 96), (50, 96), (32, 600)] {
            let pairs: Vec<_> = (0..rows).map(|i| Pair { input: i + 1, output: i }).collect();
            check_pairs(arithmetic, 96, channels, &pairs, 0);
        }
    }
}

fn check_one(arithmetic: Arithmetic, columns: usize, channels: usize, rows: usize, start: usize) {
    let pairs: Vec<Pair> =
        (0..rows).map(|i| Pair { input: ((i * 7 + 2) % (rows + 3)) as u32, output: i as u32 }).collect();
    check_pairs(arithmetic, columns, channels, &pairs, start);
}

/// From the output alone, from the shift with ReLU, and from the shift and a residual over the last words.
fn check_pairs(arithmetic: Arithmetic, columns: usize, channels: usize, pairs: &[Pair], start: usize) {
    let rows = pairs.len();
    let input = tensor(rows + 3, channels, arithmetic.precision);
    let weight = |channel: usize, column: usize| value(channel * columns + column + 77);
    let packed = Packed::new(arithmetic, 2, channels, columns, |offset, channel, column| match offset {
        0 => f32::NAN,
        _ => weight(channel, column),
    })
    .unwrap();
    let stride = columns.next_multiple_of(LINE);
    let before: Vec<f32> = (0..(rows + 2) * stride).map(|i| value(i + 5)).collect();
    let mut output = before.clone();
    let shift: Vec<f32> = (0..stride).map(|i| value(i + 9)).collect();
    let residual: Vec<f32> = (0..before.len()).map(|i| value(i + 3)).collect();
    let first = if start == 2 { packed.words / 2 / LINE * LINE } else { 0 };
    for panels in packed.panels.chunks(panels_together(arithmetic)) {
        let mut product = RowProduct {
            input: input.as_slice(),
            input_stride: input.stride,
            words: first..packed.words,
            weights: packed.blocks(1, panels),
            ahead: &mut Ahead::default(),
            output: &mut output,
            output_stride: stride,
            panels,
            start: match start {
                0 => Start::Output,
                1 => Start::Shift { shift: &shift, residual: None },
                _ => Start::Shift { shift: &shift, residual: Some(&residual) },
            },
            relu: start == 1,
        };
        product.accumulate(arithmetic, Pairs::new(pairs));
    }
    for (index, (&got, &before)) in output.iter().zip(&before).enumerate() {
        let (row, column) = (index / stride, index % stride);
        let mut want = f64::from(before);
        if row < rows {
            want = match start {
                0 => want,
                1 => f64::from(shift[column]),
                _ => f64::from(shift[column]) + f64::from(residual[index]),
            };
            if column < columns {
                for channel in first * arithmetic.precision.per_word()..channels {
                    let x = value(pairs[row].input as usize * channels + channel);
                    want += kept(x, arithmetic.precision) * kept(weight(channel, column), arithmetic.precision);
                }
            }
            want = if start == 1 { want.max(0.0) } else { want };
        }
        let error = (f64::from(got) - want).abs();
        assert!(
            error <= 2e-5 * (1.0 + want.abs()),
            "{arithmetic} {columns} {channels} {rows} {start}: {got} for {want}"
        );
    }
}

/// Each of the kernels' assumptions, broken alone.
#[test]
fn accesses_outside_the_slices_are_refused() {
    let refused = |spoil: fn(&mut RowProduct<'_>, &mut Pair)| {
        let (mut output, mut ahead, mut pair) = (vec![0.0; 32], Ahead::default(), Pair { input: 1, output: 1 });
        let mut product = RowProduct {
            input: &[0.0; 32],
            input_stride: 16,
            words: 0..16,
            weights: &[0.0; 256],
            ahead: &mut ahead,
            output: &mut output,
            output_stride: 16,
            panels: &[Panel { column: 0, width: 16 }],
            start: Start::Output,
            relu: false,
        };
        spoil(&mut product, &mut pair);
        let arithmetic = Arithmetic::new(CpuLevel::Portable, Precision::F32);
        let run = std::panic::AssertUnwindSafe(|| product.accumulate(arithmetic, Pairs::new(&[pair])));
        std::panic::catch_unwind(run).is_err()
    };
    const PANEL: Panel = Panel { column: 0, width: 16 };
    assert!(!refused(|_, _| {}));
    assert!(refused(|_, pair| pair.input = 2));
    assert!(refused(|_, pair| pair.output = 2));
    assert!(refused(|product, _| product.words = 16..32));
    assert!(refused(|product, _| product.words = 0..15));
    assert!(refused(|product, _| product.words = 0..0));
    assert!(refused(|product, _| product.weights = &[0.0; 255]));
    assert!(refused(|product, _| product.panels = &[]));
    assert!(refused(|product, _| product.panels = &[PANEL, Panel { column: 16, width: 16 }]));
    assert!(refused(|product, _| product.panels = &[Panel { column: 16, ..PANEL }]));
    assert!(refused(|product, _| product.panels = &[Panel { width: 32, ..PANEL }]));
    assert!(refused(|product, _| product.start = Start::Shift { shift: &[0.0; 15], residual: None }));
    assert!(refused(|product, _| product.start = Start::Shift { shift: &[0.0; 16], residual: Some(&[0.0; 31]) }));
}

/// Rounding as the crate does it one number at a time: ties, subnormals, infinities, NaN; odd columns stay padding.
#[test]
fn sums_round_to_the_nearest_bf16() {
    let special = [f32::NAN, f32::INFINITY, -0.0, 1e-40, f32::MAX, 1.003_906_2, 1.011_718_8, -2.5, f32::from_bits(1)];
    for level in arithmetics().map(|arithmetic| arithmetic.level) {
        for (relu, residual) in [(false, false), (true, false), (false, true), (true, true)] {
            let (rows, strides) = (3, [48, 32]);
            let sums: Vec<f32> =
                (0..rows * strides[0]).map(|i| special.get(i).copied().unwrap_or_else(|| value(i) * 3.0)).collect();
            let added: Vec<f32> = (0..rows * strides[1]).map(|i| bf16_pair([value(i), value(i + 1)])).collect();
            let mut words = vec![f32::NAN; rows * strides[1]];
            round(level, &sums, residual.then_some(&added[..]), relu, &mut words, strides);
            for (index, &word) in words.iter().enumerate() {
                let (row, place) = (index / strides[1], index % strides[1]);
                for (side, got) in bf16_numbers(word).into_iter().enumerate() {
                    let column = 2 * place + side;
                    let mut want = 0.0;
                    if column < strides[0] {
                        want = sums[row * strides[0] + column];
                        want += if residual { bf16_numbers(added[index])[side] } else { 0.0 };
                        want = if relu && want < 0.0 { 0.0 } else { want };
                        want = half::bf16::from_f32(want).to_f32();
                    }
                    assert!(got == want || got.is_nan() && want.is_nan(), "{level} {row} {column}: {got} for {want}");
                }
            }
        }
    }
}
