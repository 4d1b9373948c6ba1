//! Rows of filters as the values of polynomials at points (Winograd, 1980): what `lib/conv_points.wgsl` multiplies with.

/// Points at which rows are multiplied: 0, 1, -1, 2, -2, 1/2, -1/2 and infinity.
pub(super) const POINTS: usize = 8;
/// Taps of a segment, which with four columns of outputs makes eight points.
pub(super) const SEGMENT: usize = 5;

/// `G`: row j holds the powers of point j over the product of its distances to the other finite ones (up to the sign of the first row,
/// which `to_points` has, too); infinity takes the last tap.
pub(super) const FROM_TAPS: [[f64; SEGMENT]; POINTS] = [
    [1.0, 0.0, 0.0, 0.0, 0.0],
    powers(1.0, -2.0 / 9.0),
    powers(-1.0, -2.0 / 9.0),
    powers(2.0, 1.0 / 90.0),
    powers(-2.0, 1.0 / 90.0),
    powers(0.5, 32.0 / 45.0),
    powers(-0.5, 32.0 / 45.0),
    [0.0, 0.0, 0.0, 0.0, 1.0],
];

/// Rounding of a layer at points relative to the plain layer with its weights' absolute values: the root of the largest row sum times the largest
/// column sum (Schur's test) of `|A'| |G| |B'|` for a single tap of weight 1, over all blocks that meet a pixel. For any weights the operator
/// with all absolute values has at most this times the bound by row and column sums of the layer's own.
pub const POINT_AMPLIFICATION: f64 = 33.02;
/// Roundings that a product carries besides those of the sum over taps: in `G w`, `B' d` and `A' m`.
pub(super) const POINT_ROUNDINGS: usize = 24;

const fn powers(x: f64, factor: f64) -> [f64; SEGMENT] {
    [
        factor,
        factor * x,
        factor * x * x,
        factor * x * x * x,
        factor * x * x * x * x,
    ]
}

/// Segments of a filter row of `size` taps.
pub(super) fn segments(size: usize) -> usize {
    size.div_ceil(SEGMENT)
}

/// An element of packed weights: `sum_k G[point][k] w[first + k]`, or `w[first - k]` if backwards, over `count` weights in canonical order.
/// One weight as it is has point 0, padding no weight at all.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct PackedWeight {
    /// Index of the first weight.
    first: u32,
    /// Point, 8 times the count, and 64 if backwards.
    form: u32,
}

impl PackedWeight {
    /// Where a launch's block is padded with zeros.
    pub(super) const PADDING: Self = Self { first: 0, form: 0 };

    /// The weight of an index.
    pub(super) fn plain(index: usize) -> Self {
        Self::at_point(0, index, 1, false)
    }

    /// The value at `point` of the row of `count` weights from `first` on, or down to the one `count - 1` before it.
    pub(super) fn at_point(point: usize, first: usize, count: usize, backwards: bool) -> Self {
        Self {
            first: first as u32,
            form: (point + 8 * count + 64 * usize::from(backwards)) as u32,
        }
    }

    /// Its value for `weights` in canonical order, summed in f64.
    pub(super) fn of(self, weights: &[f32]) -> f32 {
        let (first, form) = (self.first as usize, self.form as usize);
        let row = &FROM_TAPS[form % 8];
        let terms = row.iter().enumerate().take(form / 8 % 8).map(|(k, g)| {
            let at = if form >= 64 { first - k } else { first + k };
            g * f64::from(weights[at])
        });
        // An empty sum of f64 would be -0.
        terms.fold(0.0, |sum, term| sum + term) as f32
    }
}
