//! What every kernel style costs on a device, measured.

use std::time::Instant;

use super::{ConvLayer, ConvStage, Ends, PackedBank, Region, Texels};
use crate::Result;
use crate::gpu::{Gpu, KernelStyle};

/// The layer that is timed, from one plane and, as adjoint, back: the shape of the shipped models.
const OUTPUTS: usize = 24;
const SIZE: usize = 7;
/// Pixels on a side.
const SIDE: usize = 256;
/// The best of so many rounds counts; the styles take turns.
const ROUNDS: usize = 5;

/// Seconds of a layer of 24 filters of 7x7 and its adjoint on an image of 256x256, for every style. Compiles all of
/// them, which takes most of the time on a driver that has not seen them.
///
/// # Errors
/// Device errors.
pub fn style_times(gpu: &Gpu) -> Result<[(KernelStyle, f64); KernelStyle::ALL.len()]> {
    let radius = SIZE / 2;
    let row_stride = (SIDE + 2 * radius).next_multiple_of(crate::gpu::TexelPlanes::ROW);
    let plane_stride = row_stride * (SIDE + 2 * radius);
    let region = |planes: usize| Region {
        rows: SIDE as u32,
        cols: SIDE as u32,
        first: (radius * row_stride + radius) as u32,
        row_stride: row_stride as u32,
        plane_stride: plane_stride as u32,
        image_stride: (plane_stride * planes) as u32,
        inside_rows: SIDE as u32,
        inside_cols: SIDE as u32,
        ..Default::default()
    };
    let layer = ConvLayer::new(1, OUTPUTS, SIZE, vec![0.01; OUTPUTS * SIZE * SIZE])?;
    let slack = super::ConvPlan::slack(row_stride, SIZE);
    let image = gpu.upload("calibration image", &vec![0.5_f32; plane_stride + slack])?;
    let responses = gpu.buffer("calibration responses", OUTPUTS * plane_stride + slack)?;
    let mut timed = Vec::new();
    for style in KernelStyle::ALL {
        let bank = PackedBank::new(gpu, std::slice::from_ref(&layer), style)?;
        let texels = Texels::new(style, row_stride, plane_stride);
        let stage = |packed, [(src, inputs), (dst, outputs)]: [(_, usize); 2]| {
            let texels = texels.of(gpu, inputs)?;
            let ends = Ends {
                src,
                dst,
                texels: texels.as_ref(),
            };
            ConvStage::with_weights(gpu, packed, bank.buffer(), ends, &[(region(inputs), region(outputs))])
        };
        let ends = [(&image, 1), (&responses, OUTPUTS)];
        let [there, back] = [stage(bank.layer(0), ends)?, stage(bank.adjoint(0), [ends[1], ends[0]])?];
        gpu.warm_up(there.bound().chain(back.bound()))?;
        timed.push((style, [there, back]));
    }
    let mut best = KernelStyle::ALL.map(|style| (style, f64::INFINITY));
    for _ in 0..ROUNDS {
        for ((_, stages), (_, seconds)) in timed.iter().zip(&mut best) {
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
