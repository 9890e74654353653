//! How near the results of one computation are to those of another.

/// How near two sets of rows are; a value that is not finite makes every measure the worst possible.
pub(crate) struct Agreement {
    /// Largest relative L2 error of a row.
    pub(crate) worst: f64,
    /// Relative L2 error over all rows.
    pub(crate) overall: f64,
    /// Smallest cosine between a row and its expectation.
    pub(crate) cosine: f64,
    /// Mean cosine of the rows that are not all zeros in the expectation; 1 if there are none.
    pub(crate) mean_cosine: f64,
}

impl Agreement {
    pub(crate) fn of<'a>(pairs: impl Iterator<Item = (&'a [f32], &'a [f32])>) -> Self {
        let mut this = Self { worst: 0.0, overall: 0.0, cosine: 1.0, mean_cosine: 1.0 };
        let (mut error_sum, mut norm_sum, mut cosine_sum, mut rows) = (0.0, 0.0, 0.0, 0_usize);
        for (got, want) in pairs {
            let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
                got.iter().zip(want).map(|(&g, &w)| term(f64::from(g), f64::from(w))).sum()
            };
            let (error, norm) = (sum(&|g, w| (g - w) * (g - w)), sum(&|_, w| w * w));
            let (length, dot) = (sum(&|g, _| g * g), sum(&|g, w| g * w));
            error_sum += error;
            norm_sum += norm;
            this.worst = worse(this.worst, (error / norm.max(f64::MIN_POSITIVE)).sqrt());
            let cosine = dot / (length * norm).sqrt().max(f64::MIN_POSITIVE);
            if norm > 0.0 {
                this.cosine = -worse(-this.cosine, -cosine);
                (cosine_sum, rows) = (cosine_sum + cosine, rows + 1);
            }
        }
        if rows > 0 {
            let mean = cosine_sum / rows as f64;
            this.mean_cosine = if mean.is_nan() { -1.0 } else { mean };
        }
        this.overall = worse(0.0, (error_sum / norm_sum.max(f64::MIN_POSITIVE)).sqrt());
        this
    }
}

/// The larger value; NaN counts as infinite.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(got: &[[f32; 2]], want: &[[f32; 2]]) -> Agreement {
        Agreement::of(got.iter().zip(want).map(|(got, want)| (&got[..], &want[..])))
    }

    #[test]
    fn the_worst_row_counts_and_nan_is_worse() {
        let want = [[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]];
        let same = of(&want, &want);
        assert_eq!((same.worst, same.overall, same.cosine, same.mean_cosine), (0.0, 0.0, 1.0, 1.0));
        let turned = of(&[[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]], &want);
        assert_eq!((turned.worst, turned.cosine, turned.mean_cosine), (2.0_f64.sqrt(), 0.0, 0.5));
        let broken = of(&[[3.0, 4.0], [0.0, 0.0], [f32::NAN, 0.0]], &want);
        assert_eq!((broken.worst, broken.overall, broken.cosine), (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY));
        assert!(broken.mean_cosine < 0.0);
        let nothing = of(&[], &[]);
        assert_eq!((nothing.overall, nothing.mean_cosine), (0.0, 1.0));
    }
}
