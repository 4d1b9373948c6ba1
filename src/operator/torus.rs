//! Correlations with large kernels by Fourier transforms: a frame is laid onto a torus at least as large, where a correlation is a product
//! of spectra and no tap reaches around it.

use super::{Direction, Fft, Pass, quick_length};
use crate::gpu::{Binding, Buffer, Gpu, Work};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of the `torus_*` kernels.
    pub struct TorusParams {
        /// Rows of the plane.
        pub rows: u32,
        /// Columns of the plane.
        pub cols: u32,
        /// Rows of the torus.
        pub torus_rows: u32,
        /// Columns of the torus.
        pub torus_cols: u32,
        /// 1: products with the conjugates of the filter.
        pub conjugate: u32,
        /// Factor of what is laid onto the torus.
        pub scale: f32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

/// `y(r, c) = sum_{i, j} k(i, j) f(r + i, c + j)` of frames `f`, and its transpose.
#[derive(Clone, Copy, Debug)]
pub(super) struct Torus {
    size: [usize; 2],
    fft: Fft,
}

impl Torus {
    /// For frames of `frame` = rows, columns, which the taps do not leave.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for frames beyond the Fourier transform's longest side.
    pub fn new(frame: [usize; 2]) -> Result<Self> {
        let size = frame.map(quick_length);
        Ok(Self {
            size,
            fft: Fft::new(1, size)?,
        })
    }

    /// At most this many additions stand between a value of a frame and one of its correlation.
    pub fn additions(&self) -> usize {
        2 * self.fft.additions() + 3
    }

    fn buffer(&self, gpu: &Gpu, label: &str) -> Result<Buffer> {
        gpu.buffer(label, self.fft.elements())
    }

    /// Appends one of the kernels, over the torus or, for `torus_take`, over the plane of `plane` = rows, columns.
    fn append(
        &self,
        gpu: &Gpu,
        kernel: &str,
        plane: [usize; 2],
        (conjugate, scale): (bool, f32),
        memory: &[(&str, Binding<'_>)],
        pass: &mut Pass,
    ) -> Result<()> {
        let params = gpu.params(&[TorusParams {
            rows: plane[0] as u32,
            cols: plane[1] as u32,
            torus_rows: self.size[0] as u32,
            torus_cols: self.size[1] as u32,
            conjugate: u32::from(conjugate),
            scale,
            ..Default::default()
        }])?;
        let memory = [&[("params", params.binding())], memory].concat();
        let over = if kernel == "torus_take" { plane } else { self.size };
        let work = Work {
            bytes: 24 * (over[0] * over[1]) as u64,
            multiply_adds: 4 * (over[0] * over[1]) as u64,
        };
        let bound = gpu.kernel(kernel, &[])?.bind(gpu, &memory)?.with_work(None, [work]);
        let groups = bound.groups([over[1] as u32, over[0] as u32, 1]);
        pass.push(bound, groups, 0);
        Ok(())
    }

    /// `K(u, v) = sum_{i, j} k(i, j) exp(-2 pi i (u i / rows + v j / columns))` of a kernel (row, column) of `kernel_size`.
    fn spectrum(&self, gpu: &Gpu, kernel: &[f32], kernel_size: [usize; 2]) -> Result<Buffer> {
        let taps = gpu.upload("taps", kernel)?;
        let (laid, spectrum) = (self.buffer(gpu, "torus")?, self.buffer(gpu, "spectrum of the kernel")?);
        let mut pass = Pass::default();
        let memory = [("src", (&taps).into()), ("dst", (&laid).into())];
        // The transform is orthonormal.
        let scale = ((self.size[0] * self.size[1]) as f64).sqrt() as f32;
        self.append(gpu, "torus_embed", kernel_size, (false, scale), &memory, &mut pass)?;
        self.fft.append(gpu, Direction::Forward, &laid, &spectrum, &mut pass)?;
        let mut recorder = gpu.record();
        pass.record(&mut recorder);
        recorder.submit();
        Ok(spectrum)
    }

    /// Appends `dst <- ` the correlation of the plane in `src` with a `kernel` and its size, `to` = rows, columns of it; or with
    /// `transposed` the convolution, which is its transpose. Planes begin at position 0 of the torus.
    ///
    /// # Errors
    /// Device errors.
    pub fn correlate(
        &self,
        gpu: &Gpu,
        (kernel, kernel_size): (&[f32], [usize; 2]),
        transposed: bool,
        (src, from): (&Buffer, [usize; 2]),
        (dst, to): (&Buffer, [usize; 2]),
        pass: &mut Pass,
    ) -> Result<()> {
        let filter = self.spectrum(gpu, kernel, kernel_size)?;
        let [space, frequency] = [self.buffer(gpu, "torus")?, self.buffer(gpu, "spectrum")?];
        let memory = [("src", src.into()), ("dst", (&space).into())];
        self.append(gpu, "torus_embed", from, (false, 1.0), &memory, pass)?;
        self.fft.append(gpu, Direction::Forward, &space, &frequency, pass)?;
        let memory = [
            ("filter_spectrum", (&filter).into()),
            ("src", (&frequency).into()),
            ("dst", (&space).into()),
        ];
        self.append(gpu, "torus_multiply", from, (!transposed, 1.0), &memory, pass)?;
        self.fft.append(gpu, Direction::Inverse, &space, &frequency, pass)?;
        let memory = [("src", (&frequency).into()), ("dst", dst.into())];
        self.append(gpu, "torus_take", to, (false, 1.0), &memory, pass)
    }
}
