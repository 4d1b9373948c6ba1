//! Blur with any kernel, and down-sampling with an anti-alias filter, which is a blur of which every step-th value is kept.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, continued};
use super::torus::Torus;
use super::{LinearOperator, OperatorNorm, Pass, check_buffer, least_response, perron_bound};
use crate::gpu::{Bound, Buffer, Gpu, Work};
use crate::model::NormKind;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `frame_correlate.wgsl`.
    pub struct CorrelateParams {
        /// Rows of the result.
        pub rows: u32,
        /// Columns of the result.
        pub cols: u32,
        /// Elements per row of the frame.
        pub src_cols: u32,
        /// Rows of the kernel.
        pub kernel_rows: u32,
        /// Columns of the kernel.
        pub kernel_cols: u32,
        /// Every step-th position is kept.
        pub step: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// What lies outside of an image of `n` pixels along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
#[repr(u32)]
pub enum Boundary {
    /// Zeros.
    Zero = 0,
    /// The other end of the image.
    Circular = 1,
    /// The image mirrored in its first and last pixel, which are not repeated.
    Reflect = 2,
}

/// How a blur is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Tap by tap.
    Taps,
    /// As a product of spectra.
    Fourier,
}

/// `y(r, c) = sum_{i, j} k(i, j) x(step r + i - a, step c + j - b)` with `x` continued by the boundary rule; rows and columns
/// of the result are those of the image divided by `step`. A kernel with a centre is a correlation about it: mirror the
/// kernel for a convolution.
#[derive(Clone, Debug, PartialEq)]
pub struct Blur {
    size: [usize; 2],
    kernel: Vec<f32>,
    kernel_size: [usize; 2],
    anchor: [usize; 2],
    step: usize,
    boundary: Boundary,
    way: Way,
}

/// Rows and columns of the largest kernel that is computed tap by tap: one invocation walks over all of it, and lavapipe of Mesa 22.3
/// silently ends loops after 65535 rounds per invocation.
const MOST_TAPS_PER_SIDE: usize = 127;

/// From so many taps on transforms take less time (`benches/README.md`).
const FOURIER_FROM: usize = 200;

impl Blur {
    /// A blur of images of `size` = rows, columns by a kernel (row, column) of `kernel_size`, about its centre
    /// `(kernel_size - 1) / 2`, rounded down.
    ///
    /// # Errors
    /// [`Error::Data`] for a kernel without entries, larger than the image, not finite, or whose sum is zero (it would take away the
    /// mean of every image).
    pub fn new(size: [usize; 2], kernel: Vec<f32>, kernel_size: [usize; 2], boundary: Boundary) -> Result<Self> {
        let fail = |why: String| Err(Error::Data(why));
        let [rows, cols] = kernel_size;
        if kernel.len() != rows * cols || kernel.is_empty() {
            return fail(format!(
                "a kernel of {rows} x {cols} cannot have {} values",
                kernel.len()
            ));
        }
        if rows > size[0] || cols > size[1] {
            return fail(format!(
                "a kernel of {rows} x {cols} is larger than the image of {} x {}; crop its zeros",
                size[0], size[1]
            ));
        }
        if !kernel.iter().all(|k| k.is_finite()) {
            return fail("the kernel has values that are not finite numbers; replace them".into());
        }
        let sum: f64 = kernel.iter().map(|&k| f64::from(k)).sum();
        let size_of_sum: f64 = kernel.iter().map(|&k| f64::from(k.abs())).sum();
        if sum.abs() <= 1e-6 * size_of_sum {
            return fail(
                "the kernel's sum is zero, so it loses the brightness of every image; use a blur kernel".into(),
            );
        }
        Ok(Self {
            size,
            kernel,
            kernel_size,
            anchor: [(rows - 1) / 2, (cols - 1) / 2],
            step: 1,
            boundary,
            way: if rows * cols < FOURIER_FROM {
                Way::Taps
            } else {
                Way::Fourier
            },
        })
    }

    /// The same blur, computed that way.
    ///
    /// # Errors
    /// [`Error::Usage`] for transforms of a down-sampling, and for kernels above 127 rows or columns tap by tap.
    pub fn computed(self, way: Way) -> Result<Self> {
        let too_large = way == Way::Taps && self.kernel_size.iter().any(|k| *k > MOST_TAPS_PER_SIDE);
        if too_large || (way == Way::Fourier && self.step > 1) {
            return Err(Error::Usage(format!(
                "a blur by {} x {} values of which every {}. is kept is not computed by {way:?}",
                self.kernel_size[0], self.kernel_size[1], self.step
            )));
        }
        Ok(Self { way, ..self })
    }

    /// How it is computed.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Down-sampling by `factor` = 2, 3 or 4 with reflected boundary. The anti-alias filter is separable, the cubic of
    /// Keys (1981, a = -1/2) stretched by the factor, sampled about the centre of each low-resolution pixel (so that pixels
    /// cover `factor` x `factor` pixels of the image) and normalised to sum 1: 8, 11 or 16 taps per axis.
    ///
    /// # Errors
    /// [`Error::Usage`] for another factor; [`Error::Data`] for an image whose sides are no multiples of it or too small.
    pub fn downsampling(size: [usize; 2], factor: usize) -> Result<Self> {
        if !(2..=4).contains(&factor) {
            return Err(Error::Usage(format!(
                "down-sampling by {factor} does not exist; use 2, 3 or 4"
            )));
        }
        if size.iter().any(|s| s % factor != 0) {
            return Err(Error::Data(format!(
                "{} x {} pixels are no multiple of {factor}; crop the image",
                size[0], size[1]
            )));
        }
        // Positions of the image's pixels in units of `factor` from the centre of low-resolution pixel 0.
        let centre = (factor as f64 - 1.0) / 2.0;
        let reach = 2 * factor as i64;
        let taps: Vec<(i64, f64)> = (-reach..=reach + factor as i64)
            .map(|p| (p, cubic((p as f64 - centre) / factor as f64)))
            .filter(|(p, _)| (*p as f64 - centre).abs() < reach as f64)
            .collect();
        let anchor = -taps.first().map_or(0, |t| t.0);
        let sum: f64 = taps.iter().map(|t| t.1).sum();
        let kernel = taps
            .iter()
            .flat_map(|a| taps.iter().map(move |b| (a.1 * b.1 / (sum * sum)) as f32))
            .collect();
        if size.iter().any(|s| *s < taps.len()) {
            return Err(Error::Data(format!(
                "{} x {} pixels are too few beside those that are {factor} times as small; want at least {} in both directions",
                size[0],
                size[1],
                taps.len().next_multiple_of(factor)
            )));
        }
        let mut blur = Self::new(size, kernel, [taps.len(); 2], Boundary::Reflect)?;
        blur.anchor = [anchor as usize; 2];
        blur.step = factor;
        blur.way = Way::Taps;
        Ok(blur)
    }

    /// The kernel, (row, column).
    pub fn kernel(&self) -> &[f32] {
        &self.kernel
    }

    /// Rows and columns of the kernel.
    pub fn kernel_size(&self) -> [usize; 2] {
        self.kernel_size
    }

    /// `a` and `b` of the formula.
    pub fn anchor(&self) -> [usize; 2] {
        self.anchor
    }

    /// The factor of down-sampling, 1 for a blur.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The boundary rule.
    pub fn boundary(&self) -> Boundary {
        self.boundary
    }

    fn frame(&self) -> Frame {
        Frame {
            size: [0, 1].map(|a| self.size[a] + self.kernel_size[a] - 1),
            lead: self.anchor,
            image: self.size,
            step: 1,
            boundary: self.boundary,
        }
    }

    /// The measurement with zeros between and around its values, so that the flipped kernel transposes the blur.
    fn spread(&self) -> Frame {
        Frame {
            size: [0, 1].map(|a| self.size[a] + 2 * (self.kernel_size[a] - 1)),
            lead: self.kernel_size.map(|k| k - 1),
            image: self.range(),
            step: self.step,
            boundary: Boundary::Zero,
        }
    }

    /// Correlates `src`, a frame of `src_cols` columns, to `rows` x `cols` values of `dst`.
    fn correlate(
        &self,
        gpu: &Gpu,
        flipped: bool,
        (src, src_cols): (&Buffer, usize),
        (dst, [rows, cols]): (&Buffer, [usize; 2]),
    ) -> Result<(Bound, [u32; 3])> {
        let step = if flipped { 1 } else { self.step };
        let [kernel_rows, kernel_cols] = self.kernel_size;
        let tap = |row: usize, col: usize| {
            let at = row * kernel_cols + col;
            self.kernel[if flipped { self.kernel.len() - 1 - at } else { at }]
        };
        let taps: Vec<[f32; 4]> = (0..(kernel_rows + 3) * kernel_cols)
            .map(|at| {
                std::array::from_fn(|t| match (at / kernel_cols).checked_sub(t) {
                    Some(row) if row < kernel_rows => tap(row, at % kernel_cols),
                    _ => 0.0,
                })
            })
            .collect();
        let taps = gpu.upload("taps", &taps)?;
        let params = gpu.params(&[CorrelateParams {
            rows: rows as u32,
            cols: cols as u32,
            src_cols: src_cols as u32,
            kernel_rows: kernel_rows as u32,
            kernel_cols: kernel_cols as u32,
            step: step as u32,
            ..Default::default()
        }])?;
        let memory = [
            ("params", params.binding()),
            ("src", src.into()),
            ("taps", (&taps).into()),
            ("dst", dst.into()),
        ];
        let positions = (rows * cols * step * step) as u64;
        let work = Work {
            // A pixel and a vec4 of taps per 16 multiply-adds.
            bytes: 20 * positions * ((kernel_rows + 3) * kernel_cols) as u64 / 16,
            multiply_adds: positions * ((kernel_rows + 3) * kernel_cols) as u64,
        };
        let bound = gpu
            .kernel("frame_correlate", &[])?
            .bind(gpu, &memory)?
            .with_work(None, [work]);
        let blocks = |n: usize| (((n - 1) * step + 1).div_ceil(4)) as u32;
        let groups = bound.groups([blocks(cols), blocks(rows), 1]);
        Ok((bound, groups))
    }
}

impl Blur {
    /// Appends the correlation of the frame in `src` to `dst` by transforms, or what transposes it.
    fn product(
        &self,
        gpu: &Gpu,
        transposed: bool,
        src: (&Buffer, [usize; 2]),
        dst: (&Buffer, [usize; 2]),
        pass: &mut Pass,
    ) -> Result<()> {
        let torus = Torus::new(self.frame().size)?;
        torus.correlate(gpu, (&self.kernel, self.kernel_size), transposed, src, dst, pass)
    }
}

/// The cubic convolution kernel of Keys with a = -1/2.
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x < 1.0 {
        1.5 * x.powi(3) - 2.5 * x.powi(2) + 1.0
    } else if x < 2.0 {
        -0.5 * x.powi(3) + 2.5 * x.powi(2) - 4.0 * x + 2.0
    } else {
        0.0
    }
}

impl Blur {
    /// `|H|^2 <= |H|_1 |H|_inf` with the largest sums of magnitudes over a column and a row, in f64 from sums of the kernel over
    /// rectangles. Tight for kernels without negative values.
    fn sums_bound(&self) -> f64 {
        let [kernel_rows, kernel_cols] = self.kernel_size;
        // At (i, j) the sum over the kernel's rows below i and columns below j.
        let width = kernel_cols + 1;
        let mut total = vec![0.0; (kernel_rows + 1) * width];
        for i in 0..kernel_rows {
            let mut row = 0.0;
            for j in 0..kernel_cols {
                row += f64::from(self.kernel[i * kernel_cols + j].abs());
                total[(i + 1) * width + j + 1] = total[i * width + j + 1] + row;
            }
        }
        // The taps with which pixels of the result meet a position of the frame.
        let met = |at: usize, pixels: usize, taps: usize| (at + 1).saturating_sub(pixels)..(at + 1).min(taps);
        let frame = self.frame();
        let mut columns = vec![0.0; self.size[0] * self.size[1]];
        for r in 0..frame.size[0] {
            let Some(row) = continued(r, frame.lead[0], self.size[0], self.boundary) else {
                continue;
            };
            let i = met(r, self.size[0], kernel_rows);
            for c in 0..frame.size[1] {
                if let Some(col) = continued(c, frame.lead[1], self.size[1], self.boundary) {
                    let j = met(c, self.size[1], kernel_cols);
                    let sum = |i: usize, j: usize| total[i * width + j];
                    columns[row * self.size[1] + col] +=
                        sum(i.end, j.end) - sum(i.start, j.end) - sum(i.end, j.start) + sum(i.start, j.start);
                }
            }
        }
        let largest = columns.into_iter().fold(0.0, f64::max);
        // What f64 and, in the spectrum of the kernel, f32 round.
        let rounding = self.additions() as f64 * f64::from(f32::EPSILON);
        largest * total.last().copied().unwrap_or(0.0) * (1.0 + rounding)
    }
}

impl LinearOperator for Blur {
    fn domain(&self) -> [usize; 2] {
        self.size
    }

    fn range(&self) -> [usize; 2] {
        self.size.map(|s| s / self.step)
    }

    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("measurement", y, self.range())?;
        let frame = self.frame();
        let padded = frame.buffer(gpu)?;
        let mut pass = Pass::default();
        let (bound, groups) = frame.pad(gpu, x, &padded)?;
        pass.push(bound, groups, 0);
        match self.way {
            Way::Taps => {
                let (bound, groups) = self.correlate(gpu, false, (&padded, frame.size[1]), (y, self.range()))?;
                pass.push(bound, groups, 0);
            }
            Way::Fourier => self.product(gpu, false, (&padded, frame.size), (y, self.range()), &mut pass)?,
        }
        Ok(pass)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("measurement", y, self.range())?;
        let frame = self.frame();
        let padded = frame.buffer(gpu)?;
        let mut pass = Pass::default();
        match self.way {
            Way::Taps => {
                let spread = self.spread();
                let wide = spread.buffer(gpu)?;
                let (bound, groups) = spread.pad(gpu, y, &wide)?;
                pass.push(bound, groups, 0);
                let (bound, groups) = self.correlate(gpu, true, (&wide, spread.size[1]), (&padded, frame.size))?;
                pass.push(bound, groups, 0);
            }
            Way::Fourier => self.product(gpu, true, (y, self.range()), (&padded, frame.size), &mut pass)?,
        }
        let (bound, groups) = frame.fold(gpu, &padded, x)?;
        pass.push(bound, groups, 0);
        Ok(pass)
    }

    fn magnitude(&self) -> Option<Box<dyn LinearOperator>> {
        self.kernel.iter().any(|&k| k < 0.0).then(|| {
            let kernel = self.kernel.iter().map(|k| k.abs()).collect();
            Box::new(Self { kernel, ..self.clone() }) as Box<dyn LinearOperator>
        })
    }

    fn additions(&self) -> usize {
        let once = match (self.way, Torus::new(self.frame().size)) {
            (Way::Fourier, Ok(torus)) => torus.additions(),
            _ => self.kernel.len(),
        };
        2 * once + 9
    }

    /// Tap by tap as for any operator; of transforms, where values share their rounding, the bound of the kernel's sums.
    fn norm_squared(&self, gpu: &Gpu) -> Result<OperatorNorm> {
        let squared = match (self.way, self.magnitude()) {
            (Way::Fourier, _) => self.sums_bound(),
            (Way::Taps, Some(magnitude)) => perron_bound(gpu, magnitude.as_ref())?,
            (Way::Taps, None) => perron_bound(gpu, self)?,
        };
        Ok(OperatorNorm {
            squared,
            kind: NormKind::Bound,
        })
    }

    /// The least response to a wave, where the boundary is circular and values are computed one by one: what transforms round is no part of
    /// each value.
    fn least_squared(&self) -> Option<f64> {
        let waves = self.boundary == Boundary::Circular && self.step == 1 && self.way == Way::Taps;
        let least = waves.then(|| least_response(&self.kernel, self.kernel_size, self.size));
        least.filter(|least| *least > 0.0)
    }
}
