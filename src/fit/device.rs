//! Fits on given nodes on the device: samples in units of order 1, posed by `tv2_samples.wgsl`, solved by `tv2_prox.wgsl`.

use super::on_nodes::{OnNodes, inside};
use crate::gpu::{Bound, Buffer, Gpu};
use crate::spline::device::tv2::{CUT_SHORT, OPTIMAL, TOLERANCE};
use crate::spline::device::{Tv2Problem, Tv2Solver};
use crate::spline::tv2::Units;
use crate::spline::{Loss, Samples, SlopeBounds};
use crate::{Error, Result, shader_struct};

shader_struct! {
    /// Parameters of `tv2_samples.wgsl`.
    pub struct SampleParams {
        /// Number of segments.
        pub segments: u32,
        /// 0 squared, 1 Huber, 2 absolute.
        pub loss: u32,
        /// Huber's threshold, or the residual below which the absolute loss is smoothed.
        pub delta: f32,
        /// Padding.
        pub pad0: u32,
    }
}

/// The smoothing of the absolute loss at the first reweighting, its factor from one to the next, and its end, in units
/// of y.
const FIRST_SMOOTHING: f64 = 0.1;
const SMOOTHING_FACTOR: f64 = 0.7;
pub(super) const LAST_SMOOTHING: f64 = 1e-6;

/// The smallest lambda on the device, in units of order 1. Below it f32 has nothing left to tell optima apart by.
const LEAST_LAMBDA: f64 = 1e-9;

/// Reweightings at most, and the relative decrease of the objective below which they end.
const REWEIGHTINGS: usize = 300;
const STILL: f64 = 1e-8;

/// Samples on the device, ready for fits on any nodes.
pub(super) struct FitOnDevice<'a> {
    gpu: &'a Gpu,
    pub samples: &'a Samples,
    pub loss: Loss,
    pub bounds: SlopeBounds,
    pub units: Units,
    /// (x, y, w, 0) in units of order 1.
    rows: Buffer,
}

impl<'a> FitOnDevice<'a> {
    pub fn new(gpu: &'a Gpu, samples: &'a Samples, loss: Loss, bounds: SlopeBounds) -> Result<Self> {
        let units = Units::new(samples, &bounds);
        let data = samples.x().iter().zip(samples.y()).zip(samples.weights());
        let rows: Vec<[f32; 4]> = data
            .map(|((x, y), w)| {
                [
                    ((x - units.x_origin) / units.x) as f32,
                    ((y - units.y_origin) / units.y) as f32,
                    (w / units.weight) as f32,
                    0.0,
                ]
            })
            .collect();
        Ok(Self {
            gpu,
            samples,
            loss,
            bounds,
            units,
            rows: gpu.upload("samples", &rows)?,
        })
    }

    fn knot(&self, t: f64) -> f32 {
        ((t - self.units.x_origin) / self.units.x) as f32
    }

    /// The lambda that the device solves for: `lambda`, unless that is so small that it must stand for 0.
    pub fn effective(&self, lambda: f64) -> f64 {
        lambda.max(LEAST_LAMBDA * self.units.lambda(self.loss))
    }

    /// Those of the sorted `nodes` that f32 tells apart in the device's units, with the first and the last.
    pub fn distinct(&self, nodes: &[f64]) -> Vec<f64> {
        let last = nodes.len() - 1;
        let mut kept = vec![nodes[0]];
        for &t in &nodes[1..last] {
            if self.knot(kept[kept.len() - 1]) < self.knot(t) && self.knot(t) < self.knot(nodes[last]) {
                kept.push(t);
            }
        }
        kept.push(nodes[last]);
        kept
    }

    /// Those of the sorted points `new` that f32 tells apart from each other and from the sorted `nodes`, between them.
    pub fn apart(&self, new: &[f64], nodes: &[f64]) -> Vec<f64> {
        let mut kept: Vec<f64> = Vec::new();
        for &t in new {
            let right = nodes.partition_point(|&node| node <= t);
            let after = |&left: &f64| self.knot(left) < self.knot(t);
            if right > 0
                && right < nodes.len()
                && after(&nodes[right - 1])
                && self.knot(t) < self.knot(nodes[right])
                && kept.last().is_none_or(after)
            {
                kept.push(t);
            }
        }
        kept
    }

    /// The minimiser for `lambda` on the nodes of `start`, found from `start`, and the active-set steps it took.
    ///
    /// # Errors
    /// [`Error::Diverged`] when the active set does not settle; device errors.
    pub fn solve(&self, start: OnNodes, lambda: f64) -> Result<(OnNodes, usize)> {
        let mut run = Run::new(self, start, lambda)?;
        let steps = run.minimise(lambda)?;
        Ok((run.current, steps))
    }
}

/// A fit in progress.
struct Run<'a, 'g> {
    fit: &'a FitOnDevice<'g>,
    solver: Tv2Solver,
    starts: Buffer,
    problem: Tv2Problem,
    current: OnNodes,
}

impl<'a, 'g> Run<'a, 'g> {
    fn new(fit: &'a FitOnDevice<'g>, current: OnNodes, lambda: f64) -> Result<Self> {
        let (units, x) = (&fit.units, fit.samples.x());
        let knots: Vec<f32> = current.nodes.iter().map(|&t| fit.knot(t)).collect();
        let mut starts: Vec<u32> = current
            .nodes
            .iter()
            .map(|&t| x.partition_point(|&x| x < t) as u32)
            .collect();
        // The end segments also own what lies beyond them.
        (starts[0], starts[knots.len() - 1]) = (0, x.len() as u32);
        let in_units = SlopeBounds::new(fit.bounds.min() / units.slope(), fit.bounds.max() / units.slope())?;
        let mut problem = Tv2Problem::new(
            0,
            knots.len(),
            fit.effective(lambda) / units.lambda(fit.loss),
            &in_units,
        );
        problem.value_first = ((current.first - units.y_origin) / units.y) as f32;
        let solver = Tv2Solver::new(fit.gpu, &knots, &[problem])?;
        let slopes: Vec<f32> = current
            .slopes
            .iter()
            .zip(&current.flags)
            .map(|(s, flag)| match flag >> 2 {
                0 => problem.slope_min,
                1 => ((s / units.slope()) as f32).clamp(problem.slope_min, problem.slope_max),
                _ => problem.slope_max,
            })
            .collect();
        let mut values = vec![problem.value_first];
        for (m, s) in slopes.iter().enumerate() {
            values.push(values[m] + s * (knots[m + 1] - knots[m]));
        }
        fit.gpu.write(&solver.slopes, &slopes)?;
        fit.gpu.write(&solver.flags, &current.flags)?;
        fit.gpu.write(&solver.values, &values)?;
        Ok(Self {
            fit,
            solver,
            starts: fit.gpu.upload("starts", &starts)?,
            problem,
            current,
        })
    }

    /// Solves; for losses that are majorised by a quadratic, poses and solves until the objective stands still. Returns
    /// the active-set steps.
    fn minimise(&mut self, lambda: f64) -> Result<usize> {
        let (code, mut delta) = match self.fit.loss {
            Loss::Squared => return self.quadratic(&self.pose(0, 0.0)?),
            Loss::Huber(delta) => (1, delta / self.fit.units.y),
            Loss::Absolute => (2, FIRST_SMOOTHING),
        };
        let mut pose = self.pose(code, delta)?;
        let (mut steps, mut lowest) = (0, f64::INFINITY);
        for _ in 0..REWEIGHTINGS {
            steps += self.quadratic(&pose)?;
            if self.fit.loss == Loss::Absolute && delta > LAST_SMOOTHING {
                delta = (delta * SMOOTHING_FACTOR).max(LAST_SMOOTHING);
                pose = self.pose(code, delta)?;
                continue;
            }
            let objective = self.current.objective(self.fit.samples, self.fit.loss, lambda);
            if objective > lowest * (1.0 - STILL) {
                break;
            }
            lowest = objective;
        }
        Ok(steps)
    }

    fn pose(&self, loss: u32, delta: f64) -> Result<Bound> {
        let (gpu, solver) = (self.fit.gpu, &self.solver);
        let params = gpu.params(&[SampleParams {
            segments: self.current.slopes.len() as u32,
            loss,
            delta: delta as f32,
            pad0: 0,
        }])?;
        gpu.kernel("tv2_samples", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("samples", (&self.fit.rows).into()),
                ("starts", (&self.starts).into()),
                ("knots", (&solver.knots).into()),
                ("values", (&solver.values).into()),
                ("slopes", (&solver.slopes).into()),
                ("gram", (&solver.gram).into()),
                ("moments", (&solver.moments).into()),
            ],
        )
    }

    /// Poses the quadratic problem about the current function and solves it. Returns the active-set steps.
    fn quadratic(&mut self, pose: &Bound) -> Result<usize> {
        let gpu = self.fit.gpu;
        self.problem = Tv2Problem {
            tolerance: TOLERANCE,
            steps: 0,
            checks: 0,
            status: 0,
            moved: 0,
            ..self.problem
        };
        gpu.write(&self.solver.problems, &[self.problem])?;
        let mut recorder = gpu.record();
        recorder.dispatch(pose, pose.groups([self.current.slopes.len() as u32, 1, 1]), 0);
        let ample = self.solver.ample_steps();
        // Most problems need a small part of the ample steps.
        let portion = (ample / 32).max(64);
        for _ in 0..ample.div_ceil(portion) {
            self.solver.record(&mut recorder, portion);
            recorder.submit();
            self.problem = gpu.read::<Tv2Problem>(&self.solver.problems)?[0];
            match self.problem.status {
                OPTIMAL => {
                    self.fetch()?;
                    return Ok(self.problem.steps as usize);
                }
                CUT_SHORT => {
                    return Err(Error::Internal(
                        "the driver ended a loop of kernel 'tv2_prox' early; choose another with --adapter".into(),
                    ));
                }
                _ => {}
            }
        }
        Err(Error::Diverged(format!(
            "the fit did not settle within {ample} active-set steps; try a larger --lambda"
        )))
    }

    /// Brings the function back to the host, with slopes on a bound replaced by the bound and all of them inside.
    fn fetch(&mut self) -> Result<()> {
        let (gpu, units, bounds) = (self.fit.gpu, &self.fit.units, &self.fit.bounds);
        let slopes: Vec<f32> = gpu.read(&self.solver.slopes)?;
        self.current.flags = gpu.read(&self.solver.flags)?;
        for (n, slope) in self.current.slopes.iter_mut().enumerate() {
            let exact = match self.current.flags[n] >> 2 {
                0 => bounds.min(),
                1 => f64::from(slopes[n]) * units.slope(),
                _ => bounds.max(),
            };
            *slope = inside(exact, bounds);
        }
        self.current.first = units.y_origin + units.y * f64::from(self.problem.value_first);
        Ok(())
    }
}
