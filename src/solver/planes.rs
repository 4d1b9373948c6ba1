//! Many planes of different sizes, as many of one size at once as fit.

use std::collections::BTreeMap;

use super::{Denoiser, Outcome, Settings};
use crate::Result;
use crate::gpu::Gpu;
use crate::model::device::RunOptions;
use crate::model::{Ridge, Tiling};
use crate::operator::LinearOperator;

/// Planes of one size that are denoised at once, at most.
const AT_ONCE: usize = 8;
/// Planes on the device at once hold at most so many pixels together: more do not make a device busier, and memory is bounded.
const PIXELS_AT_ONCE: usize = 1 << 22;

/// A plane with its rows and columns.
pub type SizedPlane = ([usize; 2], Vec<f32>);

/// Denoises every plane; results are in their order. `done` hears how many more are finished.
///
/// # Errors
/// As [`Denoiser::new`] and [`Denoiser::run`].
pub fn denoise_planes(
    gpu: &Gpu,
    model: &Ridge,
    options: &RunOptions,
    settings: Settings,
    planes: &[SizedPlane],
    mut done: impl FnMut(usize),
) -> Result<Vec<Outcome>> {
    let mut by_size: BTreeMap<[usize; 2], Vec<usize>> = BTreeMap::new();
    for (index, (size, _)) in planes.iter().enumerate() {
        by_size.entry(*size).or_default().push(index);
    }
    let mut outcomes: Vec<(usize, Outcome)> = Vec::with_capacity(planes.len());
    for (size, indices) in by_size {
        let slots = planes_at_once(gpu, model, size, options.tile)?
            .min(AT_ONCE)
            .min(indices.len());
        let denoiser = Denoiser::new(gpu, model, options, settings, size, slots)?;
        for batch in indices.chunks(slots) {
            let noisy: Vec<&[f32]> = batch.iter().map(|&i| planes[i].1.as_slice()).collect();
            outcomes.extend(batch.iter().copied().zip(denoiser.run(&noisy, |_, _, _| ())?));
            done(batch.len());
        }
    }
    outcomes.sort_by_key(|(index, _)| *index);
    Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
}

/// How many planes of `size` one binding of the adapter holds, at least 1.
fn most_at_once(gpu: &Gpu, [rows, cols]: [usize; 2]) -> usize {
    (gpu.limits().max_storage_buffer_binding_size as usize / (4 * rows * cols)).max(1)
}

/// As many planes as one binding holds and as need no more tiles than one plane alone, so that nothing is computed twice.
///
/// # Errors
/// [`crate::Error::OutOfMemory`] if not even one fits.
pub fn planes_at_once(gpu: &Gpu, model: &Ridge, size: [usize; 2], tile: Option<usize>) -> Result<usize> {
    sized_at_once(gpu, model, model.extended(size), tile)
}

/// As many measurements of `operator` likewise, for regularizers that work on the same images one after the other.
///
/// # Errors
/// As [`planes_at_once`].
pub fn measurements_at_once<'m>(
    gpu: &Gpu,
    operator: &dyn LinearOperator,
    models: impl IntoIterator<Item = &'m Ridge>,
    tile: Option<usize>,
) -> Result<usize> {
    let most = most_at_once(gpu, operator.range());
    let fits = |model: &Ridge| sized_at_once(gpu, model, model.extended(operator.domain()), tile);
    models
        .into_iter()
        .try_fold(most, |most, model| Ok(most.min(fits(model)?)))
}

/// The same for images that are not extended.
fn sized_at_once(gpu: &Gpu, model: &Ridge, size: [usize; 2], tile: Option<usize>) -> Result<usize> {
    let tiles = |slots| Tiling::new(&model.bank, size[0], size[1], slots, tile).map(|tiling| tiling.tiles.len());
    let alone = tiles(1)?;
    let most = most_at_once(gpu, size).min(PIXELS_AT_ONCE / (size[0] * size[1])).max(1);
    // Tiles only become more with the planes: the largest number that passes is found by halving the interval.
    let (mut fits, mut beyond) = (1, most + 1);
    while beyond - fits > 1 {
        let middle = usize::midpoint(fits, beyond);
        if tiles(middle).is_ok_and(|tiles| tiles == alone) {
            fits = middle;
        } else {
            beyond = middle;
        }
    }
    Ok(fits)
}
