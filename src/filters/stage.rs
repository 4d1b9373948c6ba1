//! A convolution layer on the device: kernel, weights and launches between two stacks of planes.

use std::sync::Arc;

use super::bank::ConvLayer;
use super::plan::{COLS, ConvPlan};
use super::texels::Corner;
use super::weights::{LayerShape, PackedLayer, pack};
use crate::gpu::{Binding, Bound, Buffer, Gpu, PlaneCopy, Recorder, Texture, Work};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// A rectangle inside a stack of planes in a buffer, and the part of it that the image covers
    /// (`shaders/lib/tile.wgsl`); element (image, plane, row, column) has the index
    /// `first + image * image_stride + plane * plane_stride + row * row_stride + column`.
    #[derive(Eq)]
    pub struct Region {
        /// Rows of the rectangle.
        pub rows: u32,
        /// Columns of the rectangle.
        pub cols: u32,
        /// Index of its first element in image 0, plane 0.
        pub first: u32,
        /// Elements from row to row.
        pub row_stride: u32,
        /// Elements from plane to plane.
        pub plane_stride: u32,
        /// Elements from image to image.
        pub image_stride: u32,
        /// First row of the rectangle that lies in the image.
        pub inside_top: u32,
        /// First column of the rectangle that lies in the image.
        pub inside_left: u32,
        /// Rows that lie in the image.
        pub inside_rows: u32,
        /// Columns that lie in the image.
        pub inside_cols: u32,
        /// Padding.
        pub pad0: u32,
        /// Padding.
        pub pad1: u32,
    }
}

shader_struct! {
    /// Parameters of `lib/conv.wgsl`.
    pub struct ConvParams {
        /// What is written.
        pub dst: Region,
        /// Index of the source value under the first output, plane 0, image 0.
        pub src_first: u32,
        /// Elements from source row to source row.
        pub src_row_stride: u32,
        /// Elements from source plane to source plane.
        pub src_plane_stride: u32,
        /// Elements from source image to source image.
        pub src_image_stride: u32,
        /// 1 to add to the destination.
        pub accumulate: u32,
        /// First plane of the launch, among those of an image in a texture.
        pub first_plane: u32,
        /// Planes of a source image.
        pub image_planes: u32,
        /// Rows of a source plane.
        pub plane_rows: u32,
        /// Planes of a layer of the texture.
        pub per_layer: u32,
        /// Row, in a plane, of the topmost pixels of the first window.
        pub texel_row: u32,
        /// Column of the texel that holds its leftmost pixels.
        pub texel_col: u32,
        /// Destination plane of the launch's first output.
        pub first_output: u32,
    }
}

/// The proximal step of splitting on what a layer computes (`lib/conv_block.wgsl`), which leaves dual variables in its destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProximalStep<'a> {
    /// The splines of the dual variables, as `split_table.wgsl` makes them.
    pub pieces: &'a Buffer,
    /// `{first, count, alpha, 1 / alpha}` per output, or per (image, output).
    pub channels: &'a Buffer,
    /// Whether images have entries of their own.
    pub per_image: bool,
}

/// What a layer's launches share.
#[derive(Clone, Copy)]
pub(crate) struct Ends<'a> {
    /// The planes read.
    pub src: &'a Buffer,
    /// The planes written.
    pub dst: &'a Buffer,
    /// Where to copy `src` for reading, if not from there.
    pub texels: Option<&'a Arc<Texture>>,
    /// What follows on the sums.
    pub proximal: Option<ProximalStep<'a>>,
}

/// One layer between two buffers, for a list of rectangles (tiles).
#[derive(Debug)]
pub struct ConvStage {
    launches: Vec<Bound>,
    groups: Vec<[u32; 2]>,
    copy: Option<PlaneCopy>,
    image_planes: u32,
}

impl ConvStage {
    /// Prepares `layer` from `src` to `dst` for every `(source, destination)` of `tiles`; of the source only the position
    /// and the strides count. It must hold the filter's radius around each rectangle and some rows behind the last one ([`ConvPlan`] knows how many).
    /// With `texels` it is copied there before every launch, if it has their layout.
    ///
    /// # Errors
    /// Device errors.
    pub fn new(
        gpu: &Gpu,
        plan: &ConvPlan,
        layer: &ConvLayer,
        src: &Buffer,
        dst: &Buffer,
        tiles: &[(Region, Region)],
        texels: Option<&Arc<Texture>>,
    ) -> Result<Self> {
        let mut sources = Vec::new();
        let shape = layer.shape();
        let packed = PackedLayer::lay_out(gpu, plan, shape, &mut sources, |o, i, ky, kx| shape.index(o, i, ky, kx));
        let weights = gpu.uniform("weights", &pack(&sources, &layer.weights))?;
        let ends = Ends {
            src,
            dst,
            texels,
            proximal: None,
        };
        Self::with_weights(gpu, &packed, &weights, ends, tiles)
    }

    /// The same with weights that are packed already. A proximal step wants a plan without passes, [`PackedLayer::in_one_pass`].
    pub(crate) fn with_weights(
        gpu: &Gpu,
        layer: &PackedLayer,
        weights: &Buffer,
        Ends {
            src,
            dst,
            texels,
            proximal,
        }: Ends<'_>,
        tiles: &[(Region, Region)],
    ) -> Result<Self> {
        let PackedLayer {
            shape,
            plan,
            first,
            block,
        } = layer;
        let window = texels.and_then(|t| Some((t, shift_of(tiles, shape, t)?)));
        let sizes = || tiles.iter().map(|(_, r)| [r.rows, r.cols].map(|n| n as usize));
        let workgroup = plan.workgroup(sizes().max().unwrap_or_default());
        let shift = window.map(|(_, shift)| shift);
        let (name, mut constants) = plan.kernel(shape.size, shift, workgroup, gpu.lanes());
        if let Some(ProximalStep { pieces, per_image, .. }) = proximal {
            if !layer.in_one_pass() {
                return Err(Error::Internal("a proximal step on sums that are not complete".into()));
            }
            let records = if per_image { shape.outputs } else { 0 };
            constants.extend([
                ("PROXIMAL", 1),
                ("PIECES", (pieces.len() / 4) as u32),
                ("SLOT_RECORDS", records as u32),
            ]);
        }
        let kernel = gpu.kernel(name, &constants)?;
        let launches = plan.passes * plan.launches;
        let mut params = Vec::with_capacity(tiles.len() * launches);
        let mut work = Vec::with_capacity(tiles.len() * launches);
        for (source, region) in tiles {
            for pass in 0..plan.passes {
                for launch in 0..plan.launches {
                    params.push(launch_params(
                        layer,
                        [source, region],
                        [pass, launch],
                        window.map(|(texels, _)| texels.as_ref()),
                    ));
                    let size = [region.rows as usize, region.cols as usize];
                    work.push(plan.work(shape.size, size, pass > 0 || proximal.is_some(), shift));
                }
            }
        }
        let table = gpu.params(&params)?;
        let work: Arc<[Work]> = work.into();
        let used = plan.weights_per_launch(shape.size);
        let launches = (0..launches)
            .map(|launch| {
                let weights: Binding<'_> = weights.slice(first + launch * block, used).into();
                let read = match window {
                    Some((texels, _)) => ("texels", texels.as_ref().into()),
                    None => ("src", src.into()),
                };
                let mut memory = vec![
                    ("params", table.binding()),
                    ("weights", weights),
                    read,
                    ("dst", dst.into()),
                ];
                if let Some(ProximalStep { pieces, channels, .. }) = proximal {
                    memory.extend([("pieces", pieces.into()), ("channels", channels.into())]);
                }
                Ok(kernel.bind(gpu, &memory)?.with_work(Some(2), Arc::clone(&work)))
            })
            .collect::<Result<Vec<_>>>()?;
        let groups = sizes().map(|size| plan.dispatch(workgroup, size)).collect();
        let copy = window.map(|(texels, _)| PlaneCopy::new(src, texels)).transpose()?;
        let image_planes = shape.inputs as u32;
        Ok(Self {
            launches,
            groups,
            copy,
            image_planes,
        })
    }

    /// Records the layer for rectangle `tile` of the first `images` images.
    pub fn record(&self, recorder: &mut Recorder<'_>, tile: usize, images: u32) {
        if let Some(copy) = &self.copy {
            recorder.copy_planes(copy, images * self.image_planes);
        }
        let [x, y] = self.groups[tile];
        for (launch, bound) in self.launches.iter().enumerate() {
            recorder.dispatch(bound, [x, y, images], tile * self.launches.len() + launch);
        }
    }

    /// Whether it reads a copy of the source in a texture.
    pub fn reads_texels(&self) -> bool {
        self.copy.is_some()
    }

    /// A kernel of the stage, for [`Gpu::warm_up`].
    pub fn bound(&self) -> impl Iterator<Item = &Bound> {
        self.launches.iter().take(1)
    }
}

/// The corner of the first window of a layer from `source` to `region`, if `texels` hold frames like those of `source`.
fn corner(source: &Region, region: &Region, shape: &LayerShape, texels: &Texture) -> Option<Corner> {
    let Region { rows, cols, .. } = *region;
    Corner::of(
        &Region { rows, cols, ..*source },
        shape.inputs,
        shape.size / 2,
        &texels.planes(),
    )
}

/// The column in a texel in which the windows of all tiles begin, if the texture holds frames like their sources.
fn shift_of(tiles: &[(Region, Region)], shape: &LayerShape, texels: &Texture) -> Option<usize> {
    let mut shifts = tiles
        .iter()
        .map(|(s, r)| corner(s, r, shape, texels).map(|c| c.col % COLS));
    let first = shifts.next()??;
    shifts.all(|s| s == Some(first)).then_some(first)
}

fn launch_params(
    PackedLayer { shape, plan, .. }: &PackedLayer,
    [source, region]: [&Region; 2],
    [pass, launch]: [usize; 2],
    texels: Option<&Texture>,
) -> ConvParams {
    let planes = (pass * plan.planes) as u32;
    let first_output = (launch * plan.groups * plan.co) as u32;
    let first = region.first + first_output * region.plane_stride;
    let mut params = ConvParams {
        dst: Region { first, ..*region },
        src_first: source.first + planes * source.plane_stride,
        src_row_stride: source.row_stride,
        src_plane_stride: source.plane_stride,
        src_image_stride: source.image_stride,
        accumulate: u32::from(pass > 0),
        first_output,
        ..Default::default()
    };
    let corner = texels.and_then(|t| Some((t, corner(source, region, shape, t)?)));
    if let Some((texels, Corner { row, col })) = corner {
        params.first_plane = planes;
        params.image_planes = shape.inputs as u32;
        params.plane_rows = texels.planes().plane_rows as u32;
        params.per_layer = texels.per_layer() as u32;
        params.texel_row = row as u32;
        params.texel_col = (col / COLS) as u32;
    }
    params
}
