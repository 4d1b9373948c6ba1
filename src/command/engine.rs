//! A model made ready to denoise planes of one size, whatever its kind.

use std::time::Instant;

use super::Console;
use super::any_model::AnyModel;
use super::denoise::SolveArgs;
use crate::gpu::Gpu;
use crate::io::image::Image;
use crate::layered::{Layered, LayeredDenoiser};
use crate::model::Ridge;
use crate::model::device::RunOptions;
use crate::solver::{Denoiser, Stop, planes_at_once};
use crate::{Error, Result};

/// Makes kernels and buffers once, then denoises any number of planes.
pub(super) struct Engine<'g> {
    kind: Kind<'g>,
    compile: f64,
}

enum Kind<'g> {
    Ridge {
        denoiser: Box<Denoiser<'g>>,
        at_once: usize,
    },
    Layered {
        gpu: &'g Gpu,
        denoiser: Box<LayeredDenoiser>,
        iterations: usize,
        sigma: f64,
        limits: (f32, f32),
    },
}

/// A denoised plane.
pub(super) struct Plane {
    pub image: Vec<f32>,
    /// `None` for a network, which minimises none.
    pub energy: Option<f64>,
    pub iterations: usize,
    pub stop: Stop,
    /// Of the distance to the minimiser, where one is known.
    pub error_bound: Option<f64>,
}

/// The bound of several planes together.
pub(super) fn together(bounds: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let squares: Option<f64> = bounds.into_iter().map(|bound| bound.map(|b| b * b)).sum();
    squares.map(f64::sqrt)
}

impl<'g> Engine<'g> {
    /// For planes of `size`, of which there are `planes`.
    ///
    /// # Errors
    /// Settings under which convergence is not guaranteed; model and device errors.
    pub fn new(gpu: &'g Gpu, model: &AnyModel, args: &SolveArgs, size: [usize; 2], planes: usize) -> Result<Self> {
        let before = gpu.timings().compile;
        let kind = match model {
            AnyModel::Ridge(ridge) => Self::ridge(gpu, ridge, args, size, planes)?,
            AnyModel::Layered(network) => Self::layered(gpu, network, args, size)?,
            AnyModel::Flow(flow) => return Err(no_images(&flow.name)),
        };
        let compile = gpu.timings().compile - before;
        Ok(Self { kind, compile })
    }

    fn ridge(gpu: &'g Gpu, model: &Ridge, args: &SolveArgs, size: [usize; 2], planes: usize) -> Result<Kind<'g>> {
        let settings = args.solver.settings(args.lambda());
        let options = RunOptions {
            sigma: args.sigma,
            style: None,
            tile: args.solver.tile.map(|t| t as usize),
        };
        let at_once = planes_at_once(gpu, model, size, options.tile)?.min(planes);
        let denoiser = Box::new(Denoiser::new(gpu, model, &options, settings, size, at_once)?);
        Ok(Kind::Ridge { denoiser, at_once })
    }

    fn layered(gpu: &'g Gpu, model: &Layered, args: &SolveArgs, size: [usize; 2]) -> Result<Kind<'g>> {
        Ok(Kind::Layered {
            gpu,
            denoiser: Box::new(LayeredDenoiser::new(gpu, model, size)?),
            iterations: model.iterations(),
            sigma: args.sigma,
            limits: args.solver.limits.unwrap_or((f32::NEG_INFINITY, f32::INFINITY)),
        })
    }

    /// How many planes are denoised together.
    pub fn at_once(&self) -> usize {
        match &self.kind {
            Kind::Ridge { at_once, .. } => *at_once,
            Kind::Layered { .. } => 1,
        }
    }

    /// Tiles per plane.
    pub fn tiles(&self) -> usize {
        match &self.kind {
            Kind::Ridge { denoiser, .. } => denoiser.tiles(),
            Kind::Layered { .. } => 1,
        }
    }

    /// Seconds that went into kernels.
    pub fn compile(&self) -> f64 {
        self.compile
    }

    /// Denoises planes (row, column), as many at once as go. `progress` hears the iterations done with those that are at work, how
    /// many of them are still running and the largest relative change among these.
    ///
    /// # Errors
    /// Solver and device errors.
    pub fn run(&self, planes: &[&[f32]], mut progress: impl FnMut(usize, usize, f64)) -> Result<Vec<Plane>> {
        let mut done = Vec::with_capacity(planes.len());
        for group in planes.chunks(self.at_once()) {
            match &self.kind {
                Kind::Ridge { denoiser, .. } => {
                    let outcomes = denoiser.run(group, &mut progress)?;
                    done.extend(outcomes.into_iter().map(|outcome| Plane {
                        image: outcome.image,
                        energy: Some(outcome.energy),
                        iterations: outcome.iterations,
                        stop: outcome.stop,
                        error_bound: outcome.error_bound,
                    }));
                }
                Kind::Layered {
                    gpu,
                    denoiser,
                    iterations,
                    sigma,
                    limits: (low, high),
                } => {
                    for plane in group {
                        let image = denoiser.run(gpu, plane, *sigma)?;
                        done.push(Plane {
                            image: image.into_iter().map(|v| v.clamp(*low, *high)).collect(),
                            energy: None,
                            iterations: *iterations,
                            stop: Stop::Converged,
                            error_bound: None,
                        });
                    }
                }
            }
        }
        Ok(done)
    }
}

/// Of a model that is no denoiser.
pub(super) fn no_images(name: &str) -> Error {
    Error::Usage(format!(
        "'{name}' is a flow of points and denoises no images; name a regularizer or a network"
    ))
}

/// A denoised image and how it came about.
pub(super) struct Solved {
    pub planes: Vec<f32>,
    pub energy: Option<f64>,
    /// By channel.
    pub iterations: Vec<usize>,
    pub stop: Stop,
    pub error_bound: Option<f64>,
    pub compile: f64,
    pub solve: f64,
    pub tiles: usize,
}

/// Denoises all planes of `image`.
///
/// # Errors
/// As [`Engine::new`] and [`Engine::run`].
pub(super) fn solve(gpu: &Gpu, model: &AnyModel, args: &SolveArgs, image: &Image, console: &Console) -> Result<Solved> {
    let engine = Engine::new(gpu, model, args, [image.height, image.width], image.channels)?;
    let start = Instant::now();
    let bar = console.progress(args.solver.max_iter());
    let planes: Vec<&[f32]> = (0..image.channels).map(|channel| image.plane(channel)).collect();
    let done = engine.run(&planes, |iterations, running, change| {
        bar.set_position(iterations as u64);
        bar.set_message(format!("{running} running, change {change:.1e}"));
    })?;
    bar.finish_and_clear();
    Ok(Solved {
        energy: done.iter().map(|plane| plane.energy).sum(),
        iterations: done.iter().map(|plane| plane.iterations).collect(),
        stop: Stop::of_all(done.iter().map(|plane| plane.stop)),
        error_bound: together(done.iter().map(|plane| plane.error_bound)),
        planes: done.into_iter().flat_map(|plane| plane.image).collect(),
        compile: engine.compile(),
        solve: start.elapsed().as_secs_f64(),
        tiles: engine.tiles(),
    })
}
