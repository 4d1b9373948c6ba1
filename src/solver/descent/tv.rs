//! Total variation: its value, and its proximal operator on the device.

use crate::gpu::reduce::{Totals, VALUES_PER_GROUP};
use crate::gpu::{Bound, Buffer, Gpu, Recorder, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `tv_*` kernels (`shaders/lib/tv.wgsl`).
    pub struct TvParams {
        /// Rows of the image.
        pub rows: u32,
        /// Columns of the image.
        pub cols: u32,
        /// Weight of total variation in the proximal operator.
        pub radius: f32,
        /// Momentum of the inner iteration.
        pub beta: f32,
        /// Lower end of the box.
        pub low: f32,
        /// Upper end of the box.
        pub high: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// Steps for the dual field per outer iteration. The field is kept from one to the next, so that its error falls with the
/// outer iteration's.
const INNER: usize = 20;

/// `x <- argmin |x - v|^2 / 2 + radius TV(x)` over a box, by [`INNER`] steps from the last dual field.
#[derive(Debug)]
pub(super) struct TvProx {
    from_ahead: Bound,
    dual: Bound,
    from_dual: Bound,
    groups: [u32; 3],
    dual_field: [Buffer; 2],
}

impl TvProx {
    /// Prepares the operator from `v` to `x`.
    pub fn new(
        gpu: &Gpu,
        [rows, cols]: [usize; 2],
        radius: f64,
        (low, high): (f32, f32),
        v: &Buffer,
        x: &Buffer,
    ) -> Result<Self> {
        let pixels = rows * cols;
        let (u, q) = (gpu.buffer("dual", 2 * pixels)?, gpu.buffer("dual ahead", 2 * pixels)?);
        let mut t = 1.0_f64;
        let entries: Vec<TvParams> = (0..INNER)
            .map(|n| {
                let next = (1.0 + (1.0 + 4.0 * t * t).sqrt()) / 2.0;
                // The last step leaves q = u behind, where the next outer iteration starts.
                let beta = if n + 1 == INNER { 0.0 } else { (t - 1.0) / next };
                t = next;
                TvParams {
                    rows: rows as u32,
                    cols: cols as u32,
                    radius: radius as f32,
                    beta: beta as f32,
                    low,
                    high,
                    ..Default::default()
                }
            })
            .collect();
        let params = gpu.params(&entries)?;
        let work = |floats: u64| {
            vec![
                Work {
                    bytes: 4 * floats * pixels as u64,
                    multiply_adds: 4 * pixels as u64
                };
                INNER
            ]
        };
        let primal = |field: &Buffer| -> Result<Bound> {
            let memory = [
                ("params", params.binding()),
                ("v", v.into()),
                ("dual", field.into()),
                ("x", x.into()),
            ];
            Ok(gpu
                .kernel("tv_primal", &[])?
                .bind(gpu, &memory)?
                .with_work(None, work(6)))
        };
        let (from_ahead, from_dual) = (primal(&q)?, primal(&u)?);
        let memory = [
            ("params", params.binding()),
            ("x", x.into()),
            ("u", (&u).into()),
            ("q", (&q).into()),
        ];
        let dual = gpu
            .kernel("tv_dual", &[])?
            .bind(gpu, &memory)?
            .with_work(None, work(11));
        let groups = dual.groups([cols as u32, rows as u32, 1]);
        Ok(Self {
            from_ahead,
            dual,
            from_dual,
            groups,
            dual_field: [u, q],
        })
    }

    /// Forgets the dual field.
    pub fn reset(&self, gpu: &Gpu) -> Result<()> {
        let zeros = vec![0.0_f32; self.dual_field[0].len()];
        self.dual_field.iter().try_for_each(|field| gpu.write(field, &zeros))
    }

    /// Records the operator.
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        for entry in 0..INNER {
            recorder.dispatch(&self.from_ahead, self.groups, entry);
            recorder.dispatch(&self.dual, self.groups, entry);
        }
        recorder.dispatch(&self.from_dual, self.groups, 0);
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        [&self.from_ahead, &self.dual, &self.from_dual].into_iter()
    }
}

/// Isotropic total variation `sum |D x|` of an image (row, column): forward differences, 0 beyond the last row and column.
#[derive(Debug)]
pub(super) struct TvValue {
    sums: Bound,
    totals: Totals,
    groups: u32,
}

impl TvValue {
    /// Prepares the value of `x`.
    pub fn new(gpu: &Gpu, [rows, cols]: [usize; 2], x: &Buffer) -> Result<Self> {
        let (pixels, groups) = (rows * cols, (rows * cols).div_ceil(VALUES_PER_GROUP));
        let partials = gpu.buffer("total variation partials", groups * 4)?;
        let params = gpu.params(&[TvParams {
            rows: rows as u32,
            cols: cols as u32,
            ..Default::default()
        }])?;
        let memory = [
            ("params", params.binding()),
            ("x", x.into()),
            ("partials", (&partials).into()),
        ];
        let work = Work {
            bytes: 4 * pixels as u64,
            multiply_adds: 2 * pixels as u64,
        };
        Ok(Self {
            sums: gpu.kernel("tv_value", &[])?.bind(gpu, &memory)?.with_work(None, [work]),
            totals: Totals::new(gpu, &partials, 1, groups)?,
            groups: groups as u32,
        })
    }

    /// Records the value, the first of the four [`Self::totals`].
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.sums, [self.groups, 1, 1], 0);
        self.totals.record(recorder, 1);
    }

    /// Where [`Self::record`] leaves it.
    pub fn totals(&self) -> &Buffer {
        self.totals.buffer()
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        [&self.sums, self.totals.bound()].into_iter()
    }
}
