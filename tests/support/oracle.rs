//! MinkUNet (Choy et al., CVPR 2019; the backbone of OpenScene and GGSD) in float64, as plainly as it can be said.
//!
//! Nothing here comes from the library: when the two agree, neither has the other's mistake. Sums run offset by
//! offset over a hash map of coordinates; rows keep the caller's order at stride 1 and are sorted at coarser strides.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A coordinate: batch, x, y, z.
pub type Coordinate = [i32; 4];

/// A tensor: its shape and its row-major values.
pub type Tensor = (Vec<usize>, Vec<f64>);

/// Tensors by bare name, such as `block1.0.conv1.kernel`.
pub type Params = BTreeMap<String, Tensor>;

/// Row-major values, one row per voxel.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub rows: usize,
    pub cols: usize,
    pub data: Vec<f64>,
}

/// One network: its parameters and the few facts that they do not tell.
pub struct Oracle<'a> {
    pub params: &'a Params,
    pub eps: f64,
    pub blocks: [usize; 8],
    pub stem_kernel: usize,
}

/// Everything that one forward pass computed.
pub struct Trace {
    /// The features of the head, rows in the input's order.
    pub output: Matrix,
    /// The input of `final`.
    pub trunk: Matrix,
    /// The output of every module by name: convolutions and norms before ReLU, `blockB.J` after it.
    pub tensors: BTreeMap<String, (Vec<Coordinate>, Matrix)>,
}

impl Matrix {
    pub fn new(rows: usize, cols: usize, data: Vec<f64>) -> Self {
        assert_eq!(data.len(), rows * cols, "a matrix of {rows} x {cols}");
        Self { rows, cols, data }
    }

    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(rows, cols, vec![0.0; rows * cols])
    }

    pub fn from_f32(cols: usize, values: &[f32]) -> Self {
        Self::new(values.len() / cols, cols, values.iter().map(|&v| f64::from(v)).collect())
    }

    pub fn to_f32(&self) -> Vec<f32> {
        self.data.iter().map(|&v| v as f32).collect()
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// These rows, in this order.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self::new(rows.len(), self.cols, rows.iter().flat_map(|&r| self.row(r).to_vec()).collect())
    }

    /// `self · weight`, with `weight` of shape `[cols, n]`.
    pub fn product(&self, weight: &Self) -> Self {
        assert_eq!(self.cols, weight.rows, "inner extents of a product");
        let mut out = Self::zeros(self.rows, weight.cols);
        for row in 0..self.rows {
            add_product(out.row_mut(row), self.row(row), &weight.data);
        }
        out
    }

    /// The columns of `self`, then those of `other`.
    pub fn beside(&self, other: &Self) -> Self {
        assert_eq!(self.rows, other.rows, "rows set side by side");
        let data = (0..self.rows).flat_map(|r| [self.row(r), other.row(r)].concat()).collect();
        Self::new(self.rows, self.cols + other.cols, data)
    }

    fn plus(mut self, other: &Self) -> Self {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "the two sides of a sum");
        self.data.iter_mut().zip(&other.data).for_each(|(a, b)| *a += b);
        self
    }

    /// Negative values become zero; NaN stays, so that a test sees it.
    pub fn relu(mut self) -> Self {
        self.data.iter_mut().filter(|v| **v < 0.0).for_each(|v| *v = 0.0);
        self
    }
}

/// `out += x · weight` for one row; `weight` is row-major `[x.len(), out.len()]`.
fn add_product(out: &mut [f64], x: &[f64], weight: &[f64]) {
    for (&value, weights) in x.iter().zip(weight.chunks_exact(out.len())) {
        for (sum, &w) in out.iter_mut().zip(weights) {
            *sum += value * w;
        }
    }
}

/// Rows by coordinate; the coordinates must be distinct.
fn index(coords: &[Coordinate]) -> HashMap<Coordinate, usize> {
    let rows: HashMap<_, _> = coords.iter().enumerate().map(|(row, &c)| (c, row)).collect();
    assert_eq!(rows.len(), coords.len(), "coordinates must be distinct");
    rows
}

/// The first row of every coordinate in order of appearance, and for every input row its place in that list.
pub fn unique_first(coords: &[Coordinate]) -> (Vec<usize>, Vec<usize>) {
    let mut place = HashMap::new();
    let mut first = Vec::new();
    let inverse = coords
        .iter()
        .enumerate()
        .map(|(row, &c)| {
            *place.entry(c).or_insert_with(|| {
                first.push(row);
                first.len() - 1
            })
        })
        .collect();
    (first, inverse)
}

/// The coarse coordinate that holds `c`: floor towards minus infinity, batch kept.
fn coarse(c: Coordinate, stride: i32) -> Coordinate {
    let floor = |v: i32| v.div_euclid(stride) * stride;
    [c[0], floor(c[1]), floor(c[2]), floor(c[3])]
}

/// The distinct coarse coordinates at `new_stride`, sorted by (batch, x, y, z).
pub fn downsample(coords: &[Coordinate], new_stride: i32) -> Vec<Coordinate> {
    coords.iter().map(|&c| coarse(c, new_stride)).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The offset of every kernel slice in units of the tensor stride: x fastest, centred for odd kernels.
pub fn kernel_offsets(kernel: usize) -> Vec<[i32; 3]> {
    let k = kernel as i32;
    let centre = if k % 2 == 1 { k / 2 } else { 0 };
    (0..k * k * k).map(|n| [n % k - centre, n / k % k - centre, n / (k * k) - centre]).collect()
}

/// Per kernel slice the pairs (input row, output row) with `input = output + in_stride * offset`.
pub fn kernel_map(
    coords_in: &[Coordinate],
    coords_out: &[Coordinate],
    kernel: usize,
    in_stride: i32,
) -> Vec<Vec<(usize, usize)>> {
    let rows = index(coords_in);
    // A neighbour beyond the range of i32 does not exist.
    let step = |v: i32, d: i32| v.checked_add(d * in_stride);
    let neighbour = |c: &Coordinate, d: [i32; 3]| {
        rows.get(&[c[0], step(c[1], d[0])?, step(c[2], d[1])?, step(c[3], d[2])?]).copied()
    };
    let pairs = |d| coords_out.iter().enumerate().filter_map(|(o, c)| Some((neighbour(c, d)?, o))).collect();
    kernel_offsets(kernel).into_iter().map(pairs).collect()
}

/// The matrix of slice `n` of a kernel `[k, in, out]`, or of a 1x1 kernel `[in, out]`.
fn slice(weight: &Tensor, n: usize) -> &[f64] {
    let size: usize = weight.0.iter().rev().take(2).product();
    &weight.1[n * size..(n + 1) * size]
}

fn convolve(x: &Matrix, weight: &Tensor, rows_out: usize, map: &[Vec<(usize, usize)>]) -> Matrix {
    let (shape, values) = weight;
    assert_eq!(shape[shape.len() - 2], x.cols, "input channels of a kernel of shape {shape:?}");
    assert_eq!(values.len(), map.len() * x.cols * shape[shape.len() - 1], "values of a kernel of shape {shape:?}");
    let mut out = Matrix::zeros(rows_out, shape[shape.len() - 1]);
    for (n, pairs) in map.iter().enumerate() {
        for &(i, o) in pairs {
            add_product(out.row_mut(o), x.row(i), slice(weight, n));
        }
    }
    out
}

/// A convolution from `coords_in` (tensor stride `in_stride`) to `coords_out`: a cross-correlation, nothing mirrored.
pub fn convolution(
    coords_in: &[Coordinate],
    x: &Matrix,
    weight: &Tensor,
    coords_out: &[Coordinate],
    kernel: usize,
    in_stride: i32,
) -> Matrix {
    convolve(x, weight, coords_out.len(), &kernel_map(coords_in, coords_out, kernel, in_stride))
}

/// A transposed convolution, kernel 2, from `coords_in` at twice `out_stride` to the existing `coords_out`:
/// `y[p] = x[q] W[n]` with `q` the coarse coordinate of `p` and `n` the place of `p` within `q`.
pub fn transposed(
    coords_in: &[Coordinate],
    x: &Matrix,
    weight: &Tensor,
    coords_out: &[Coordinate],
    out_stride: i32,
) -> Matrix {
    let rows = index(coords_in);
    let mut out = Matrix::zeros(coords_out.len(), weight.0[2]);
    assert_eq!(weight.0[..2], [8, x.cols], "slices and input channels of a transposed kernel");
    for (row, &p) in coords_out.iter().enumerate() {
        let q = coarse(p, 2 * out_stride);
        let [ix, iy, iz] = [1, 2, 3].map(|axis| ((p[axis] - q[axis]) / out_stride) as usize);
        if let Some(&parent) = rows.get(&q) {
            add_product(out.row_mut(row), x.row(parent), slice(weight, ix + 2 * iy + 4 * iz));
        }
    }
    out
}

/// Batch norm in evaluation: `(x - mean) / sqrt(var + eps) * weight + bias`, per channel.
pub fn batch_norm(mut x: Matrix, weight: &[f64], bias: &[f64], mean: &[f64], var: &[f64], eps: f64) -> Matrix {
    for v in [weight, bias, mean, var] {
        assert_eq!(v.len(), x.cols, "channels of a batch norm");
    }
    for row in x.data.chunks_exact_mut(weight.len()) {
        for (c, value) in row.iter_mut().enumerate() {
            *value = (*value - mean[c]) / (var[c] + eps).sqrt() * weight[c] + bias[c];
        }
    }
    x
}

/// A forward pass under way: `levels[l]` are the coordinates at tensor stride `2^l`.
struct Pass<'a> {
    net: &'a Oracle<'a>,
    levels: Vec<Vec<Coordinate>>,
    tensors: BTreeMap<String, (Vec<Coordinate>, Matrix)>,
}

impl Oracle<'_> {
    /// The network on distinct `coordinates` and one row of `features` for each.
    pub fn forward(&self, coordinates: &[Coordinate], features: &Matrix) -> Trace {
        assert_eq!(coordinates.len(), features.rows, "one row of features per coordinate");
        let mut levels = vec![coordinates.to_vec()];
        for level in 0..4 {
            levels.push(downsample(&levels[level], 2 << level));
        }
        let mut pass = Pass { net: self, levels, tensors: BTreeMap::new() };

        let mut x = pass.conv("conv0p1s1", features, self.stem_kernel, 0, 0);
        x = pass.norm("bn0", x, 0).relu();
        let mut skips = vec![x.clone()];
        for (level, name) in ["conv1p1s2", "conv2p2s2", "conv3p4s2", "conv4p8s2"].into_iter().enumerate() {
            x = pass.conv(name, &x, 2, level, level + 1);
            x = pass.norm(&format!("bn{}", level + 1), x, level + 1).relu();
            x = pass.stage(level + 1, x, level + 1);
            skips.push(x.clone());
        }
        for (j, name) in ["convtr4p16s2", "convtr5p8s2", "convtr6p4s2", "convtr7p2s2"].into_iter().enumerate() {
            let level = 3 - j;
            x = pass.up(name, &x, level);
            x = pass.norm(&format!("bntr{}", j + 4), x, level).relu();
            x = pass.stage(j + 5, x.beside(&skips[level]), level);
        }
        let mut output = pass.conv("final", &x, 1, 0, 0);
        if let Some((_, bias)) = self.params.get("final.bias") {
            assert_eq!(bias.len(), output.cols, "values of final.bias");
            for row in output.data.chunks_exact_mut(bias.len()) {
                row.iter_mut().zip(bias).for_each(|(v, b)| *v += b);
            }
        }
        Trace { output, trunk: x, tensors: pass.tensors }
    }
}

impl Pass<'_> {
    fn param(&self, name: &str) -> &Tensor {
        self.net.params.get(name).unwrap_or_else(|| panic!("the parameters lack {name}"))
    }

    fn record(&mut self, name: &str, level: usize, x: Matrix) -> Matrix {
        self.tensors.insert(name.to_owned(), (self.levels[level].clone(), x.clone()));
        x
    }

    fn conv(&mut self, name: &str, x: &Matrix, kernel: usize, from: usize, to: usize) -> Matrix {
        let weight = self.param(&format!("{name}.kernel"));
        let y = convolution(&self.levels[from], x, weight, &self.levels[to], kernel, 1 << from);
        self.record(name, to, y)
    }

    fn up(&mut self, name: &str, x: &Matrix, to: usize) -> Matrix {
        let weight = self.param(&format!("{name}.kernel"));
        let y = transposed(&self.levels[to + 1], x, weight, &self.levels[to], 1 << to);
        self.record(name, to, y)
    }

    fn norm(&mut self, name: &str, x: Matrix, level: usize) -> Matrix {
        let value = |field: &str| self.param(&format!("{name}.bn.{field}")).1.as_slice();
        let (mean, var) = (value("running_mean"), value("running_var"));
        let y = batch_norm(x, value("weight"), value("bias"), mean, var, self.net.eps);
        self.record(name, level, y)
    }

    /// The basic blocks `block{number}.0`, `.1`, ...
    fn stage(&mut self, number: usize, mut x: Matrix, level: usize) -> Matrix {
        for block in 0..self.net.blocks[number - 1] {
            let name = format!("block{number}.{block}");
            let mut y = self.conv(&format!("{name}.conv1"), &x, 3, level, level);
            y = self.norm(&format!("{name}.norm1"), y, level).relu();
            y = self.conv(&format!("{name}.conv2"), &y, 3, level, level);
            y = self.norm(&format!("{name}.norm2"), y, level);
            if self.net.params.contains_key(&format!("{name}.downsample.0.kernel")) {
                x = self.conv(&format!("{name}.downsample.0"), &x, 1, level, level);
                x = self.norm(&format!("{name}.downsample.1"), x, level);
            }
            x = self.record(&name, level, y.plus(&x).relu());
        }
        x
    }
}
