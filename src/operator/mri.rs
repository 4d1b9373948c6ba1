//! Magnetic resonance imaging: a real image, seen by coils, sampled in k-space.

use super::{Direction, Fft, LinearOperator, Mask, OperatorNorm, Pass, apply, check_buffer};
use crate::gpu::{Binding, Buffer, Gpu, Work};
use crate::model::NormKind;
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of the `mri_*` kernels (`shaders/lib/mri.wgsl`).
    pub struct MriParams {
        /// Rows of the image and of k-space.
        pub rows: u32,
        /// Columns.
        pub cols: u32,
        /// Coils.
        pub coils: u32,
        /// 1: `mri_mask` leads from k-space to the transform.
        pub adjoint: u32,
    }
}

/// `H x = M F (S x)` for a real image `x`: coil `c` sees `S_c x`, of whose Fourier transform the mask `M` keeps the samples
/// that were measured. `F` is orthonormal and centred on both sides: in NumPy's words,
/// `fftshift(fft2(ifftshift(S_c x), norm="ortho"))`, so that frequency zero lies at row `rows / 2` and column `cols / 2`,
/// rounded down. `H' y = Re sum_c conj(S_c) F' M y_c`.
///
/// k-space is (coil, row, column), real and imaginary parts interleaved; as a plane it has `coils rows` rows and `2 cols`
/// columns. Samples that the mask leaves out read 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Mri {
    size: [usize; 2],
    coils: usize,
    mask: Mask,
    maps: Vec<[f32; 2]>,
    fft: Fft,
}

impl Mri {
    /// Images of `size` = rows, columns. `mask`, (row, column), is 1 where k-space is measured and 0 elsewhere, in any
    /// pattern. `maps` are the complex sensitivities of the coils, (coil, row, column); without, one coil sees the image as
    /// it is.
    ///
    /// # Errors
    /// [`Error::Data`] for a mask of another size or with other values, maps of another size, not finite or zero
    /// everywhere, or sides above 16384.
    pub fn new(size: [usize; 2], mask: Vec<f32>, maps: Option<Vec<[f32; 2]>>) -> Result<Self> {
        let [rows, cols] = size;
        let mask = Mask::new(size, mask)?;
        let pixels = rows * cols;
        let maps = maps.unwrap_or_else(|| vec![[1.0, 0.0]; pixels]);
        if maps.is_empty() || !maps.len().is_multiple_of(pixels) {
            return Err(Error::Data(format!(
                "coil maps of {} values do not fit images of {rows} x {cols}; want (coil, row, column)",
                maps.len()
            )));
        }
        if maps.iter().flatten().any(|part| !part.is_finite()) {
            return Err(Error::Data(
                "the coil maps have values that are not finite numbers; replace them, say by zeros".into(),
            ));
        }
        if maps.iter().flatten().all(|&part| part == 0.0) {
            return Err(Error::Data(
                "the coil maps are zero everywhere, so nothing is measured".into(),
            ));
        }
        let coils = maps.len() / pixels;
        Ok(Self {
            size,
            coils,
            mask,
            maps,
            fft: Fft::new(coils, size)?,
        })
    }

    /// Number of coils.
    pub fn coils(&self) -> usize {
        self.coils
    }

    /// The mask, (row, column).
    pub fn mask(&self) -> &[f32] {
        self.mask.values()
    }

    /// The sensitivities of the coils, (coil, row, column); ones where none were given.
    pub fn maps(&self) -> &[[f32; 2]] {
        &self.maps
    }

    /// The zero-filled reconstruction `H' y`.
    ///
    /// # Errors
    /// [`Error::Data`] for the wrong number of values; device errors.
    pub fn zero_filled(&self, gpu: &Gpu, kspace: &[f32]) -> Result<Vec<f32>> {
        apply(gpu, self, kspace, true)
    }

    /// `sum_c |S_c(p)|^2` of every pixel `p`.
    fn seen(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.size[0] * self.size[1]];
        let pixels = sums.len();
        for (at, [re, im]) in self.maps.iter().enumerate() {
            sums[at % pixels] += f64::from(*re).powi(2) + f64::from(*im).powi(2);
        }
        sums
    }

    fn grid(&self) -> Grid {
        Grid {
            coils: self.coils,
            size: self.size,
        }
    }

    /// Appends `mri_expand` or `mri_combine` between an image and what the coils see of it.
    fn see(
        &self,
        gpu: &Gpu,
        kernel: &str,
        layers: usize,
        image: &Buffer,
        seen: &Buffer,
        pass: &mut Pass,
    ) -> Result<()> {
        let maps = gpu.upload("coil maps", &self.maps)?;
        let memory = [("maps", (&maps).into()), ("image", image.into()), ("grid", seen.into())];
        self.grid().append(gpu, kernel, layers, false, &memory, pass)
    }
}

/// The complex planes of all coils.
#[derive(Clone, Copy, Debug)]
struct Grid {
    coils: usize,
    size: [usize; 2],
}

impl Grid {
    fn buffer(self, gpu: &Gpu, label: &str) -> Result<Buffer> {
        gpu.buffer(label, 2 * self.coils * self.size[0] * self.size[1])
    }

    /// Appends an `mri_*` kernel over every pixel and `layers` coils at once.
    fn append(
        self,
        gpu: &Gpu,
        kernel: &str,
        layers: usize,
        adjoint: bool,
        memory: &[(&str, Binding<'_>)],
        pass: &mut Pass,
    ) -> Result<()> {
        let [rows, cols] = self.size;
        let params = gpu.params(&[MriParams {
            rows: rows as u32,
            cols: cols as u32,
            coils: self.coils as u32,
            adjoint: u32::from(adjoint),
        }])?;
        let memory = [&[("params", params.binding())], memory].concat();
        let values = (rows * cols * self.coils) as u64;
        // A complex value in and one out beside a real one, at most; a complex product at most.
        let work = Work {
            bytes: 20 * values,
            multiply_adds: 2 * values,
        };
        let bound = gpu.kernel(kernel, &[])?.bind(gpu, &memory)?.with_work(None, [work]);
        let groups = bound.groups([cols as u32, rows as u32, layers as u32]);
        pass.push(bound, groups, 0);
        Ok(())
    }

    /// Appends `mri_mask`: from the transform's order to centred k-space, or back.
    fn sample(self, gpu: &Gpu, mask: &[f32], adjoint: bool, src: &Buffer, dst: &Buffer, pass: &mut Pass) -> Result<()> {
        let mask = gpu.upload("mask", mask)?;
        let memory = [("mask", (&mask).into()), ("src", src.into()), ("dst", dst.into())];
        self.append(gpu, "mri_mask", self.coils, adjoint, &memory, pass)
    }
}

impl LinearOperator for Mri {
    fn domain(&self) -> [usize; 2] {
        self.size
    }

    fn range(&self) -> [usize; 2] {
        [self.coils * self.size[0], 2 * self.size[1]]
    }

    fn forward(&self, gpu: &Gpu, x: &Buffer, y: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("k-space", y, self.range())?;
        let grid = self.grid();
        let (seen, spectrum) = (grid.buffer(gpu, "coil images")?, grid.buffer(gpu, "coil spectra")?);
        let mut pass = Pass::default();
        self.see(gpu, "mri_expand", self.coils, x, &seen, &mut pass)?;
        self.fft.append(gpu, Direction::Forward, &seen, &spectrum, &mut pass)?;
        grid.sample(gpu, self.mask.values(), false, &spectrum, y, &mut pass)?;
        Ok(pass)
    }

    fn adjoint(&self, gpu: &Gpu, y: &Buffer, x: &Buffer) -> Result<Pass> {
        check_buffer("image", x, self.domain())?;
        check_buffer("k-space", y, self.range())?;
        let grid = self.grid();
        let (spectrum, seen) = (grid.buffer(gpu, "coil spectra")?, grid.buffer(gpu, "coil images")?);
        let mut pass = Pass::default();
        grid.sample(gpu, self.mask.values(), true, y, &spectrum, &mut pass)?;
        self.fft.append(gpu, Direction::Inverse, &spectrum, &seen, &mut pass)?;
        self.see(gpu, "mri_combine", 1, x, &seen, &mut pass)?;
        Ok(pass)
    }

    fn clear_unmeasured(&self, measured: &mut [f32]) {
        let samples = measured.as_chunks_mut::<2>().0.iter_mut();
        let masks = self.mask.values().iter().cycle();
        samples
            .zip(masks)
            .filter(|(_, m)| **m == 0.0)
            .for_each(|(y, _)| *y = [0.0; 2]);
    }

    fn additions(&self) -> usize {
        2 * self.fft.additions() + self.coils + 4
    }

    /// `min_p sum_c |S_c(p)|^2` over pixels `p`, where all of k-space is measured.
    fn least_squared(&self) -> Option<f64> {
        self.mask.least_squared()?;
        let least = self.seen().into_iter().fold(f64::INFINITY, f64::min);
        // Sums in f64 of squares of what is f32.
        let rounded = least * (1.0 - (2 * self.coils + 2) as f64 * f64::EPSILON);
        (rounded > 0.0).then_some(rounded)
    }

    /// `max_p sum_c |S_c(p)|^2` over pixels `p`, since `F` is unitary and `|M| <= 1`; rounding is added.
    fn norm_squared(&self, _: &Gpu) -> Result<OperatorNorm> {
        let largest = self.seen().into_iter().fold(0.0, f64::max);
        Ok(OperatorNorm {
            squared: largest * (1.0 + self.additions() as f64 * f64::from(f32::EPSILON)),
            kind: NormKind::Bound,
        })
    }
}

/// The root-sum-of-squares image of k-space with `coils` coils, `sqrt(sum_c |F' y_c|^2)`: what is shown where coil maps are
/// not known. `kspace` as in [`Mri`], zero where nothing was measured.
///
/// # Errors
/// [`Error::Data`] for the wrong number of values or an impossible size; device errors.
pub fn root_sum_of_squares(gpu: &Gpu, coils: usize, size: [usize; 2], kspace: &[f32]) -> Result<Vec<f32>> {
    let fft = Fft::new(coils, size)?;
    if kspace.len() != fft.elements() {
        return Err(Error::Data(format!(
            "{} values are no k-space of {coils} coils, {} x {} complex samples",
            kspace.len(),
            size[0],
            size[1]
        )));
    }
    let grid = Grid { coils, size };
    let pixels = size[0] * size[1];
    let measured = gpu.upload("k-space", kspace)?;
    let (spectrum, seen) = (grid.buffer(gpu, "coil spectra")?, grid.buffer(gpu, "coil images")?);
    let image = gpu.buffer("image", pixels)?;
    let mut pass = Pass::default();
    grid.sample(gpu, &vec![1.0; pixels], true, &measured, &spectrum, &mut pass)?;
    fft.append(gpu, Direction::Inverse, &spectrum, &seen, &mut pass)?;
    let memory = [("grid", (&seen).into()), ("image", (&image).into())];
    grid.append(gpu, "mri_root_sum_of_squares", 1, false, &memory, &mut pass)?;
    let mut recorder = gpu.record();
    pass.record(&mut recorder);
    recorder.submit();
    gpu.read(&image)
}
