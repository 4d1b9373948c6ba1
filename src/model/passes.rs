//! The passes that models on the device are made of: the filters from images to responses, tile by tile, and their adjoint.

use super::tiles::Tiling;
use crate::filters::{
    ConvLayer, ConvPlan, ConvStage, Ends, FilterBank, PackedBank, PackedLayer, ProximalStep, Region, Texels,
};
use crate::gpu::{Binding, Bound, Buffer, Gpu, Recorder, Work};
use crate::spline::device::{Activations, Pointwise};
use crate::{Result, shader_struct};

shader_struct! {
    /// Parameters of `tile_load.wgsl`.
    pub struct LoadParams {
        /// The frame to fill.
        pub dst: Region,
        /// Index, in image 0, of the pixel under the first inside element of the frame.
        pub src_first: u32,
        /// Elements from image row to image row.
        pub src_row_stride: u32,
        /// Elements from image to image.
        pub src_image_stride: u32,
        /// Padding.
        pub pad0: u32,
    }
}

impl LoadParams {
    /// A load per pixel of the image and a store per pixel of the frame.
    fn work(&self) -> Work {
        let pixels = |rows: u32, cols: u32| u64::from(rows) * u64::from(cols);
        Work {
            bytes: 4 * (pixels(self.dst.inside_rows, self.dst.inside_cols) + pixels(self.dst.rows, self.dst.cols)),
            multiply_adds: 0,
        }
    }
}

/// The load into the first frame.
#[derive(Debug)]
struct Load {
    bound: Bound,
    groups: Vec<[u32; 2]>,
}

/// A forward pass `W` from images to responses.
#[derive(Debug)]
pub(crate) struct Forward {
    load: Load,
    stages: Vec<ConvStage>,
}

impl Forward {
    /// Records the pass for one tile.
    pub fn record(&self, recorder: &mut Recorder<'_>, tile: usize, slots: u32) {
        let [x, y] = self.load.groups[tile];
        recorder.dispatch(&self.load.bound, [x, y, slots], tile);
        for stage in &self.stages {
            stage.record(recorder, tile, slots);
        }
    }

    /// For [`Gpu::warm_up`].
    pub fn kernels(&self) -> impl Iterator<Item = &Bound> {
        std::iter::once(&self.load.bound).chain(self.stages.iter().flat_map(ConvStage::bound))
    }
}

/// What all passes of a regularizer are made from.
pub(crate) struct Maker<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The shapes of the layers; their weights are those of `weights`.
    pub bank: &'a FilterBank,
    /// The weights.
    pub weights: &'a PackedBank,
    /// The tiles.
    pub tiling: &'a Tiling,
    /// Textures for their frames.
    pub texels: &'a Texels,
    /// Images at once.
    pub slots: usize,
    /// Indices of the images to work on, one u32 per slot.
    pub active: &'a Buffer,
}

impl Maker<'_> {
    /// A frame buffer for `planes` planes per slot.
    pub fn frame(&self, label: &str, planes: usize) -> Result<Buffer> {
        let widest = self.bank.layers().iter().map(|l| l.size).max().unwrap_or(1);
        let tail = ConvPlan::slack(self.tiling.row_stride, widest);
        self.gpu
            .buffer(label, self.slots * planes * self.tiling.plane_stride + tail)
    }

    /// The frames that feed the layers.
    pub fn frames(&self) -> Result<Vec<Buffer>> {
        self.layers().iter().map(|l| self.frame("frame", l.inputs)).collect()
    }

    fn layers(&self) -> &[ConvLayer] {
        self.bank.layers()
    }

    /// Margin by which the output of each layer must exceed the tile: the last layer's by the bank's radius.
    fn forward_margins(&self) -> Vec<usize> {
        let mut margin = 2 * self.bank.radius();
        self.layers()
            .iter()
            .map(|l| {
                margin -= l.radius();
                margin
            })
            .collect()
    }

    fn load(&self, source: &Buffer, frame: &Buffer) -> Result<Load> {
        let (mut params, mut groups) = (Vec::new(), Vec::new());
        let width = self.tiling.width as u32;
        for (index, tile) in self.tiling.tiles.iter().enumerate() {
            let dst = self.tiling.region(index, 2 * self.bank.radius(), 1);
            let top = (tile.top + dst.inside_top as usize).saturating_sub((dst.rows as usize - tile.rows) / 2) as u32;
            let left =
                (tile.left + dst.inside_left as usize).saturating_sub((dst.cols as usize - tile.cols) / 2) as u32;
            params.push(LoadParams {
                dst,
                src_first: top * width + left,
                src_row_stride: width,
                src_image_stride: (self.tiling.height * self.tiling.width) as u32,
                pad0: 0,
            });
            groups.push([dst.cols.div_ceil(16), dst.rows.div_ceil(16)]);
        }
        let table = self.gpu.params(&params)?;
        let memory = [
            ("params", table.binding()),
            ("active_images", self.active.into()),
            ("src", source.into()),
            ("dst", frame.into()),
        ];
        let work: Vec<Work> = params.iter().map(LoadParams::work).collect();
        let kernel = self.gpu.kernel("tile_load", &[])?;
        let bound = kernel.bind(self.gpu, &memory)?.with_work(Some(2), work);
        Ok(Load { bound, groups })
    }

    /// `W` from `source` through `frames` (frame i feeds layer i) to `responses`.
    pub fn forward(&self, source: &Buffer, frames: &[Buffer], responses: &Buffer) -> Result<Forward> {
        let mut forward = self.forward_below(source, frames)?;
        let (last, frame) = (self.layers().len() - 1, &frames[frames.len() - 1]);
        let tiles: Vec<_> = self.forward_tiles(last, 0..self.tiling.tiles.len());
        let layer = self.weights.layer(last);
        forward.stages.push(self.stage(layer, frame, responses, &tiles, None)?);
        Ok(forward)
    }

    /// The same without the last layer.
    pub fn forward_below(&self, source: &Buffer, frames: &[Buffer]) -> Result<Forward> {
        let load = self.load(source, &frames[0])?;
        let stages = (1..self.layers().len()).map(|index| {
            let tiles = self.forward_tiles(index - 1, 0..self.tiling.tiles.len());
            let layer = self.weights.layer(index - 1);
            self.stage(layer, &frames[index - 1], &frames[index], &tiles, None)
        });
        Ok(Forward {
            stages: stages.collect::<Result<_>>()?,
            load,
        })
    }

    /// The last layer of `W` on one tile, with the proximal step on the responses, whose dual variables are in `dual`; tile 0 of the stage.
    pub fn proximal(&self, frames: &[Buffer], dual: &Buffer, tile: usize, step: ProximalStep<'_>) -> Result<ConvStage> {
        let (last, frame) = (self.layers().len() - 1, &frames[frames.len() - 1]);
        let tiles = self.forward_tiles(last, tile..tile + 1);
        self.stage(self.weights.layer(last), frame, dual, &tiles, Some(step))
    }

    /// Where layer `index` reads and writes, on `tiles`.
    fn forward_tiles(&self, index: usize, tiles: std::ops::Range<usize>) -> Vec<(Region, Region)> {
        let layer = &self.layers()[index];
        let margin = self.forward_margins()[index];
        let of = |tile| [layer.inputs, layer.outputs].map(|planes| self.tiling.region(tile, margin, planes));
        tiles.map(|tile| of(tile).into()).collect()
    }

    fn stage(
        &self,
        layer: &PackedLayer,
        src: &Buffer,
        dst: &Buffer,
        tiles: &[(Region, Region)],
        proximal: Option<ProximalStep<'_>>,
    ) -> Result<ConvStage> {
        let texels = self.texels.of(self.gpu, self.slots * layer.inputs())?;
        let ends = Ends {
            src,
            dst,
            texels: texels.as_ref(),
            proximal,
        };
        ConvStage::with_weights(self.gpu, layer, self.weights.buffer(), ends, tiles)
    }

    /// `W'` from `responses` back through `frames` to full planes in `gradient`; without one, the first layer's stage, the
    /// last to run, is left out.
    pub fn adjoint(&self, responses: &Buffer, frames: &[Buffer], gradient: Option<&Buffer>) -> Result<Vec<ConvStage>> {
        let mut margin = self.bank.radius();
        let mut stages = Vec::new();
        for (index, layer) in self.layers().iter().enumerate().rev() {
            margin -= layer.radius();
            let dst = match gradient {
                Some(gradient) if index == 0 => gradient,
                None if index == 0 => break,
                _ => &frames[index],
            };
            let tiles: Vec<_> = (0..self.tiling.tiles.len())
                .map(|t| {
                    let source = self.tiling.region(t, margin, layer.outputs);
                    let into_frame = self.tiling.region(t, margin, layer.inputs);
                    (
                        source,
                        if index == 0 {
                            self.tiling.in_image(t)
                        } else {
                            into_frame
                        },
                    )
                })
                .collect();
            let src = frames.get(index + 1).unwrap_or(responses);
            stages.push(self.stage(self.weights.adjoint(index), src, dst, &tiles, None)?);
        }
        Ok(stages)
    }

    /// A pointwise kernel over the responses.
    pub fn pointwise(
        &self,
        splines: &Activations<'_>,
        name: &str,
        memory: &[(&str, Binding<'_>)],
    ) -> Result<Pointwise> {
        let regions: Vec<_> = (0..self.tiling.tiles.len()).map(|t| self.response_region(t)).collect();
        Pointwise::new(self.gpu, name, splines, &regions, self.slots, memory)
    }

    fn response_region(&self, tile: usize) -> Region {
        self.tiling.region(tile, self.bank.radius(), self.bank.channels())
    }
}
