//! What every kernel style costs on a device, measured.

use std::time::Instant;

use super::{ConvLayer, ConvPlan, ConvStage, Ends, LayerShape, PackedBank, Region, Texels};
use crate::Result;
use crate::gpu::{Buffer, Gpu, KernelStyle, TexelPlanes};

/// The layers that are timed, with their adjoints: the shape of the shipped models, and one that is large enough to be multiplied at points.
const LAYERS: [LayerShape; 2] = [
    LayerShape {
        inputs: 1,
        outputs: 24,
        size: 7,
    },
    LayerShape {
        inputs: 8,
        outputs: 24,
        size: 5,
    },
];
/// Pixels on a side.
const SIDE: usize = 256;
/// The best of so many rounds counts; the styles take turns.
const ROUNDS: usize = 5;

/// A layer between two frames.
struct Timed {
    layer: ConvLayer,
    row_stride: usize,
    plane_stride: usize,
    image: Buffer,
    responses: Buffer,
}

impl Timed {
    fn new(gpu: &Gpu, shape: LayerShape) -> Result<Self> {
        let LayerShape { inputs, outputs, size } = shape;
        let border = 2 * (size / 2);
        let row_stride = (SIDE + border).next_multiple_of(TexelPlanes::ROW);
        let plane_stride = row_stride * (SIDE + border);
        let slack = ConvPlan::slack(row_stride, size);
        Ok(Self {
            layer: ConvLayer::new(inputs, outputs, size, vec![0.01; shape.weights()])?,
            row_stride,
            plane_stride,
            image: gpu.upload("calibration image", &vec![0.5_f32; inputs * plane_stride + slack])?,
            responses: gpu.buffer("calibration responses", outputs * plane_stride + slack)?,
        })
    }

    fn region(&self, planes: usize) -> Region {
        Region {
            rows: SIDE as u32,
            cols: SIDE as u32,
            first: (self.layer.radius() * (self.row_stride + 1)) as u32,
            row_stride: self.row_stride as u32,
            plane_stride: self.plane_stride as u32,
            image_stride: (self.plane_stride * planes) as u32,
            inside_rows: SIDE as u32,
            inside_cols: SIDE as u32,
            ..Default::default()
        }
    }

    /// The layer and its adjoint in a style.
    fn stages(&self, gpu: &Gpu, style: KernelStyle) -> Result<[ConvStage; 2]> {
        let bank = PackedBank::new(gpu, std::slice::from_ref(&self.layer), style)?;
        let texels = Texels::new(style, self.row_stride, self.plane_stride);
        let stage = |packed, [(src, inputs), (dst, outputs)]: [(_, usize); 2]| {
            let texels = texels.of(gpu, inputs)?;
            let ends = Ends {
                src,
                dst,
                texels: texels.as_ref(),
                proximal: None,
            };
            let tile = (self.region(inputs), self.region(outputs));
            ConvStage::with_weights(gpu, packed, bank.buffer(), ends, &[tile])
        };
        let ends = [(&self.image, self.layer.inputs), (&self.responses, self.layer.outputs)];
        Ok([stage(bank.layer(0), ends)?, stage(bank.adjoint(0), [ends[1], ends[0]])?])
    }
}

/// Seconds of layers of 24 filters of 7x7 for one plane and of 5x5 for eight, and their adjoints, on an image of 256x256, for every style.
/// Compiles all of them, which takes most of the time on a driver that has not seen them.
///
/// # Errors
/// Device errors.
pub fn style_times(gpu: &Gpu) -> Result<[(KernelStyle, f64); KernelStyle::ALL.len()]> {
    let layers = LAYERS
        .into_iter()
        .map(|shape| Timed::new(gpu, shape))
        .collect::<Result<Vec<_>>>()?;
    let mut timed = Vec::new();
    for style in KernelStyle::ALL {
        let mut stages = Vec::new();
        for layer in &layers {
            stages.extend(layer.stages(gpu, style)?);
        }
        gpu.warm_up(stages.iter().flat_map(ConvStage::bound))?;
        timed.push(stages);
    }
    let mut best = KernelStyle::ALL.map(|style| (style, f64::INFINITY));
    for _ in 0..ROUNDS {
        for (stages, (_, seconds)) in timed.iter().zip(&mut best) {
            let start = Instant::now();
            let mut recorder = gpu.record_untimed();
            stages.iter().for_each(|stage| stage.record(&mut recorder, 0, 1));
            recorder.submit();
            gpu.wait()?;
            *seconds = seconds.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_styles_are_timed_by_the_same_kernels() {
        let kernels = KernelStyle::ALL.map(|style| {
            let shapes = LAYERS.into_iter().flat_map(|shape| [shape, shape.adjoint()]);
            let plans = shapes.map(|s| ConvPlan::new(style, s.inputs, s.outputs, s.size));
            (style.source, plans.collect::<Vec<_>>())
        });
        for (n, kernel) in kernels.iter().enumerate() {
            let twin = kernels[..n].iter().position(|other| other == kernel);
            let names = twin.map(|twin| [KernelStyle::ALL[twin], KernelStyle::ALL[n]].map(KernelStyle::name));
            assert_eq!(names, None);
        }
    }
}
