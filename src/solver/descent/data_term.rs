//! The data term `|H x - y|^2 / 2` of several images, which take turns at one operator.

use super::kernels::subtract;
use crate::Result;
use crate::gpu::reduce::InnerProduct;
use crate::gpu::{Bound, Buffer, Gpu, Recorder};
use crate::operator::{LinearOperator, Pass};

/// An operator bound to images (image, pixel), of which some are active: the `s`-th of those has slot `s`.
pub(super) struct DataTerm {
    pixels: usize,
    measured: usize,
    forward: Pass,
    residual: (Bound, [u32; 3]),
    adjoint: Pass,
    distance: InnerProduct,
    product: Buffer,
    y: Buffer,
    gradient: Buffer,
    turns: Option<Turns>,
}

/// What the operator reads and writes instead of the images themselves where there are several.
struct Turns {
    source: Buffer,
    result: Buffer,
    /// `H x`, (image, value).
    products: Buffer,
}

impl DataTerm {
    /// For `images` images in `z`.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(gpu: &Gpu, operator: &dyn LinearOperator, z: &Buffer, images: usize) -> Result<Self> {
        let count = |[rows, cols]: [usize; 2]| rows * cols;
        let (pixels, measured) = (count(operator.domain()), count(operator.range()));
        let (y, gradient) = (
            gpu.buffer("y", images * measured)?,
            gpu.buffer("data gradient", images * pixels)?,
        );
        let product = gpu.buffer("H z", measured)?;
        let turns = if images > 1 {
            Some(Turns {
                source: gpu.buffer("image whose turn it is", pixels)?,
                result: gpu.buffer("its data gradient", pixels)?,
                products: gpu.buffer("H x", images * measured)?,
            })
        } else {
            None
        };
        let (source, result, products) = match &turns {
            Some(turns) => (&turns.source, &turns.result, &turns.products),
            None => (z, &gradient, &product),
        };
        Ok(Self {
            pixels,
            measured,
            forward: operator.forward(gpu, source, &product)?,
            residual: subtract(gpu, &product, &y, measured, images)?,
            adjoint: operator.adjoint(gpu, &product, result)?,
            distance: InnerProduct::new(gpu, products, &y, images, measured)?,
            product,
            y,
            gradient,
            turns,
        })
    }

    /// The measurements (image, value).
    pub fn measurements(&self) -> &Buffer {
        &self.y
    }

    /// Where [`Self::record_gradient`] leaves its results, (slot, pixel).
    pub fn gradient(&self) -> &Buffer {
        &self.gradient
    }

    /// Where [`Self::record_distance`] leaves its sums: four per image, of which the second is `|H z - y|^2`.
    pub fn distances(&self) -> &Buffer {
        self.distance.totals()
    }

    /// Records `H'(H z - y)` of the active images.
    pub fn record_gradient(&self, recorder: &mut Recorder<'_>, z: &Buffer, active: &[u32]) {
        for (slot, image) in active.iter().map(|image| *image as usize).enumerate() {
            self.record_product(recorder, z, image);
            recorder.dispatch(&self.residual.0, self.residual.1, image);
            self.adjoint.record(recorder);
            if let Some(turns) = &self.turns {
                recorder.copy(turns.result.all(), self.gradient.slice(slot * self.pixels, self.pixels));
            }
        }
    }

    /// Records `|H z - y|^2` of the active images; what stands for the others means nothing.
    pub fn record_distance(&self, recorder: &mut Recorder<'_>, z: &Buffer, active: &[u32]) {
        for image in active.iter().map(|image| *image as usize) {
            self.record_product(recorder, z, image);
            if let Some(turns) = &self.turns {
                let place = turns.products.slice(image * self.measured, self.measured);
                recorder.copy(self.product.all(), place);
            }
        }
        let images = active.iter().max().map_or(0, |last| last + 1);
        self.distance.record(recorder, images);
    }

    /// Records `H z` of one image.
    fn record_product(&self, recorder: &mut Recorder<'_>, z: &Buffer, image: usize) {
        if let Some(turns) = &self.turns {
            recorder.copy(z.slice(image * self.pixels, self.pixels), turns.source.all());
        }
        self.forward.record(recorder);
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        let operator = self.forward.kernels().chain(self.adjoint.kernels());
        operator.chain([&self.residual.0]).chain(self.distance.kernels())
    }
}
