//! Orthonormal discrete Fourier transforms of complex planes of any size, on the device.
//!
//! An axis of `n` values takes one pass per radix of `n` (`shaders/lib/fft.wgsl`). Where `n` has a prime factor above 13,
//! Bluestein's method turns the axis into a convolution with a chirp: with `c(k) = exp(-pi i k^2 / n)`,
//! `X(k) = c(k) sum_j x(j) c(j) conj c(k - j)`, which two transforms of a power of two at least `2 n - 1` long evaluate.
//! All roots and chirps are computed in f64 and rounded once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::f64::consts::PI;

use super::Pass;
use crate::gpu::{Buffer, Gpu, Work};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `fft_radix*` kernels (`shaders/lib/fft.wgsl`).
    pub struct FftParams {
        /// Length of the axis.
        pub length: u32,
        /// Elements from position to position.
        pub inner: u32,
        /// Invocations with work.
        pub items: u32,
        /// Invocations per row of the launch.
        pub width: u32,
        /// Positions between the inputs of a butterfly.
        pub reach: u32,
        /// Length of the transforms that are done.
        pub done: u32,
        /// 1 forward, -1 inverse.
        pub direction: f32,
        /// Factor of the results.
        pub scale: f32,
    }
}

shader_struct! {
    /// Parameters of `fft_chirp.wgsl`.
    pub struct ChirpParams {
        /// Length of the axis before.
        pub src_length: u32,
        /// Length of the axis behind.
        pub dst_length: u32,
        /// Elements from position to position.
        pub inner: u32,
        /// Invocations with work.
        pub items: u32,
        /// Invocations per row of the launch.
        pub width: u32,
        /// 1 forward, -1 inverse.
        pub direction: f32,
        /// Factor of the results.
        pub scale: f32,
        /// Padding.
        pub pad0: u32,
    }
}

/// Prime radices with a kernel; 4 stands for pairs of twos. Above, a butterfly holds more values than registers like.
const RADICES: [usize; 7] = [4, 2, 3, 5, 7, 11, 13];
/// Longest axis: its values are counted in u32 with room for the padding of Bluestein's method.
const LONGEST: usize = 16384;
/// Invocations per row of a launch: a multiple of the workgroup, below its 65535 workgroups per axis.
const WIDTH: usize = 1 << 20;
const WORKGROUP: usize = 64;

/// Which way a transform goes: with `exp(-2 pi i j k / n)`, or with the conjugates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From space to frequency.
    Forward,
    /// From frequency to space.
    Inverse,
}

impl Direction {
    fn sign(self) -> f32 {
        match self {
            Self::Forward => 1.0,
            Self::Inverse => -1.0,
        }
    }
}

/// The two-dimensional transform of `planes` complex matrices,
/// `X(u, v) = (rows cols)^(-1/2) sum_{r, c} x(r, c) exp(-2 pi i (u r / rows + v c / cols))`, and its inverse, which is its
/// adjoint. Zero comes first on either side. Arrays are (plane, row, column), real and imaginary parts interleaved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fft {
    planes: usize,
    size: [usize; 2],
}

/// The array of a transform along one axis, (outer, length, inner).
#[derive(Clone, Copy, Debug)]
struct Axis {
    outer: usize,
    length: usize,
    inner: usize,
}

impl Axis {
    fn values(self) -> usize {
        self.outer * self.length * self.inner
    }
}

/// What one dispatch does. Roots and tables are complex.
#[derive(Debug)]
enum Kind {
    Radix(usize, FftParams),
    Chirp(Vec<[f32; 2]>, ChirpParams),
}

#[derive(Debug)]
struct Step {
    kind: Kind,
    /// Whether the result belongs to the longer lines of Bluestein's method.
    long: bool,
}

/// The radices of `n`, or `None` if it has another prime factor.
fn radices(mut n: usize) -> Option<Vec<usize>> {
    let mut factors = Vec::new();
    for radix in RADICES {
        while n.is_multiple_of(radix) {
            factors.push(radix);
            n /= radix;
        }
    }
    (n == 1).then_some(factors)
}

/// The length of at least `least` whose transform takes the least time, counting a load, a root and a store per value and pass and
/// the additions of a butterfly: within a sixth above `least` there is always one with small factors.
pub fn quick_length(least: usize) -> usize {
    let cost = |n: usize| radices(n).map(|passes| n * passes.iter().map(|radix| 4 + radix).sum::<usize>());
    (least..=least + least / 6)
        .filter_map(|n| Some((cost(n)?, n)))
        .min()
        .map_or(least, |(_, n)| n)
}

/// Length of the transforms of Bluestein's method.
fn convolution_length(n: usize) -> usize {
    (2 * n - 1).next_power_of_two()
}

/// `exp(-i pi numerator / denominator)`.
fn root(numerator: usize, denominator: usize) -> [f64; 2] {
    let (sin, cos) = (PI * numerator as f64 / denominator as f64).sin_cos();
    [cos, -sin]
}

fn rounded(values: &[[f64; 2]]) -> Vec<[f32; 2]> {
    values.iter().map(|v| v.map(|part| part as f32)).collect()
}

/// `exp(-2 pi i k / n)`, `k < n`.
fn unit_roots(n: usize) -> Vec<[f32; 2]> {
    rounded(&(0..n).map(|k| root(2 * k, n)).collect::<Vec<_>>())
}

/// `c(k) = exp(-pi i k^2 / n)`, `k < n`; the angle is reduced in integers, so that it stays exact.
fn chirp(n: usize) -> Vec<[f64; 2]> {
    (0..n).map(|k| root(k * k % (2 * n), n)).collect()
}

/// The transform, not normalised, of `values`, whose number is a power of two: textbook recursion in f64, for tables.
fn host_transform(values: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let n = values.len();
    if n == 1 {
        return values.to_vec();
    }
    let half = |first: usize| host_transform(&values.iter().skip(first).step_by(2).copied().collect::<Vec<_>>());
    let (even, odd) = (half(0), half(1));
    let mut result = vec![[0.0; 2]; n];
    for k in 0..n / 2 {
        let [cos, sin] = root(2 * k, n);
        let turned = [cos * odd[k][0] - sin * odd[k][1], cos * odd[k][1] + sin * odd[k][0]];
        for part in 0..2 {
            result[k][part] = even[k][part] + turned[part];
            result[k + n / 2][part] = even[k][part] - turned[part];
        }
    }
    result
}

/// Transform of the conjugate chirp `conj c(k)`, `|k| < n`, wrapped to `length`, over `length`. It is even, so that the
/// table of the inverse transform is the conjugate.
fn chirp_spectrum(n: usize, length: usize) -> Vec<[f32; 2]> {
    let mut wrapped = vec![[0.0; 2]; length];
    for (k, [re, im]) in chirp(n).into_iter().enumerate() {
        for at in [k, (length - k) % length] {
            wrapped[at] = [re, -im];
        }
    }
    let mut spectrum = host_transform(&wrapped);
    for value in spectrum.iter_mut().flatten() {
        *value /= length as f64;
    }
    rounded(&spectrum)
}

/// Workgroups that cover `items` invocations in rows of `WIDTH` at most, and the length of a row.
fn launch(items: usize) -> ([u32; 3], u32) {
    let width = items.next_multiple_of(WORKGROUP).min(WIDTH);
    (
        [(width / WORKGROUP) as u32, items.div_ceil(width) as u32, 1],
        width as u32,
    )
}

/// The passes of a transform whose length has small prime factors only; the last multiplies by `scale`.
fn radix_steps(axis: Axis, factors: &[usize], direction: f32, scale: f32, long: bool, steps: &mut Vec<Step>) {
    let mut done = 1;
    for (at, &radix) in factors.iter().enumerate() {
        let items = axis.values() / radix;
        let params = FftParams {
            length: axis.length as u32,
            inner: axis.inner as u32,
            items: items as u32,
            width: launch(items).1,
            reach: (axis.length / radix) as u32,
            done: done as u32,
            direction,
            scale: if at + 1 == factors.len() { scale } else { 1.0 },
        };
        steps.push(Step {
            kind: Kind::Radix(radix, params),
            long,
        });
        done *= radix;
    }
}

fn axis_steps(axis: Axis, direction: Direction, steps: &mut Vec<Step>) {
    let n = axis.length;
    let (direction, scale) = (direction.sign(), (1.0 / (n as f64).sqrt()) as f32);
    if let Some(factors) = radices(n) {
        radix_steps(axis, &factors, direction, scale, false, steps);
        return;
    }
    let long = Axis {
        length: convolution_length(n),
        ..axis
    };
    let factors = radices(long.length).unwrap_or_default();
    let multiply = |table: Vec<[f32; 2]>, from: usize, to: usize, scale: f32| {
        let items = axis.outer * to * axis.inner;
        let params = ChirpParams {
            src_length: from as u32,
            dst_length: to as u32,
            inner: axis.inner as u32,
            items: items as u32,
            width: launch(items).1,
            direction,
            scale,
            ..Default::default()
        };
        Step {
            kind: Kind::Chirp(table, params),
            long: to == long.length,
        }
    };
    let chirp = rounded(&chirp(n));
    steps.push(multiply(chirp.clone(), n, long.length, 1.0));
    radix_steps(long, &factors, 1.0, 1.0, true, steps);
    steps.push(multiply(chirp_spectrum(n, long.length), long.length, long.length, 1.0));
    radix_steps(long, &factors, -1.0, 1.0, true, steps);
    steps.push(multiply(chirp, long.length, n, scale));
}

impl Fft {
    /// Transforms of `planes` matrices of `size` = rows, columns.
    ///
    /// # Errors
    /// [`Error::Data`] for no plane, or sides outside of 1 to 16384.
    pub fn new(planes: usize, size: [usize; 2]) -> Result<Self> {
        if planes == 0 || size.iter().any(|&side| side == 0 || side > LONGEST) {
            return Err(Error::Data(format!(
                "there is no Fourier transform of {planes} planes of {} x {}; want at least one plane, sides of 1 to {LONGEST}",
                size[0], size[1]
            )));
        }
        Ok(Self { planes, size })
    }

    /// Elements of 4 bytes in an array that is transformed.
    pub fn elements(&self) -> usize {
        2 * self.planes * self.size[0] * self.size[1]
    }

    fn axes(&self) -> [Axis; 2] {
        let [rows, cols] = self.size;
        [
            Axis {
                outer: self.planes,
                length: rows,
                inner: cols,
            },
            Axis {
                outer: self.planes * rows,
                length: cols,
                inner: 1,
            },
        ]
    }

    fn steps(&self, direction: Direction) -> Vec<Step> {
        let mut steps = Vec::new();
        for axis in self.axes() {
            axis_steps(axis, direction, &mut steps);
        }
        if steps.is_empty() {
            // One value per plane, which is its own transform: copied.
            radix_steps(self.axes()[0], &[1], 1.0, 1.0, false, &mut steps);
        }
        steps
    }

    /// At most this many roundings stand between a value and its transform.
    pub fn additions(&self) -> usize {
        // Products with a root and the factor beside the sums.
        let passes = |n: usize| radices(n).map(|factors| factors.iter().map(|radix| radix + 4).sum::<usize>());
        let axis = |n: usize| passes(n).unwrap_or_else(|| 2 * passes(convolution_length(n)).unwrap_or(0) + 12);
        self.size.iter().map(|&n| axis(n)).sum()
    }

    /// Binds `dst <- transform of src`, two different buffers; allocates what lies between.
    ///
    /// # Errors
    /// [`Error::Internal`] for buffers that are too small; device errors.
    pub fn pass(&self, gpu: &Gpu, direction: Direction, src: &Buffer, dst: &Buffer) -> Result<Pass> {
        let mut pass = Pass::default();
        self.append(gpu, direction, src, dst, &mut pass)?;
        Ok(pass)
    }

    /// Appends the transform to a pass.
    pub(super) fn append(
        &self,
        gpu: &Gpu,
        direction: Direction,
        src: &Buffer,
        dst: &Buffer,
        pass: &mut Pass,
    ) -> Result<()> {
        for (what, buffer) in [("values", src), ("transform", dst)] {
            super::check_buffer(what, buffer, [self.elements(), 1])?;
        }
        let steps = self.steps(direction);
        let spare = gpu.buffer("fourier", self.elements())?;
        let longest = |[rows, cols]: [usize; 2]| {
            let long = |n: usize| if radices(n).is_some() { 0 } else { convolution_length(n) };
            2 * self.planes * (long(rows) * cols).max(rows * long(cols))
        };
        let long = [0, 1].map(|_| gpu.buffer("fourier, long lines", longest(self.size)));
        let [long_a, long_b] = long;
        let long = [&long_a?, &long_b?];

        // Either pair of buffers takes turns, so that no step reads what it writes and the last one writes `dst`.
        let mut short_left = steps.iter().filter(|step| !step.long).count();
        let mut long_left = steps.len() - short_left;
        let mut source = src;
        let mut roots = BTreeMap::new();
        for step in &steps {
            let target = if step.long {
                long_left -= 1;
                long[long_left % 2]
            } else {
                short_left -= 1;
                [dst, &spare][short_left % 2]
            };
            step.bind(gpu, source, target, &mut roots, pass)?;
            source = target;
        }
        Ok(())
    }
}

impl Step {
    /// Appends the dispatch; `roots` holds the roots of unity of the lengths met so far.
    fn bind(
        &self,
        gpu: &Gpu,
        src: &Buffer,
        dst: &Buffer,
        roots: &mut BTreeMap<u32, Buffer>,
        pass: &mut Pass,
    ) -> Result<()> {
        match &self.kind {
            Kind::Radix(radix, params) => {
                let table = gpu.params(&[*params])?;
                let small: Vec<[f32; 4]> = unit_roots(*radix).iter().map(|[re, im]| [*re, *im, 0.0, 0.0]).collect();
                let small = gpu.uniform("small roots", &small)?;
                let roots = match roots.entry(params.length) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(gpu.upload("roots", &unit_roots(params.length as usize))?),
                };
                let mut memory = vec![
                    ("params", table.binding()),
                    ("roots", (&*roots).into()),
                    ("src", src.into()),
                    ("dst", dst.into()),
                ];
                let kernel = if *radix == 4 {
                    gpu.kernel("fft_radix4", &[])?
                } else {
                    memory.push(("small_roots", (&small).into()));
                    gpu.kernel("fft_radix", &[("RADIX", *radix as u32)])?
                };
                let (items, radix) = (u64::from(params.items), *radix as u64);
                let products = if radix == 4 { 3 } else { radix * radix };
                let work = Work {
                    bytes: 8 * items * 3 * radix,
                    multiply_adds: 4 * items * products,
                };
                let bound = kernel.bind(gpu, &memory)?.with_work(None, [work]);
                pass.push(bound, launch(params.items as usize).0, 0);
            }
            Kind::Chirp(factors, params) => {
                let table = gpu.params(&[*params])?;
                let factors = gpu.upload("chirp", factors)?;
                let memory = [
                    ("params", table.binding()),
                    ("table", (&factors).into()),
                    ("src", src.into()),
                    ("dst", dst.into()),
                ];
                let work = Work {
                    bytes: 24 * u64::from(params.items),
                    multiply_adds: 4 * u64::from(params.items),
                };
                let bound = gpu
                    .kernel("fft_chirp", &[])?
                    .bind(gpu, &memory)?
                    .with_work(None, [work]);
                pass.push(bound, launch(params.items as usize).0, 0);
            }
        }
        Ok(())
    }
}
