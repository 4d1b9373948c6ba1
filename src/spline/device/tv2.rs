//! TV2 problems under slope bounds, solved on the device: `shaders/tv2_prox.wgsl` and what poses problems to it.
//!
//! A problem is `min_f 1/2 f'Gf - b'f + lambda TV2(f)` subject to `s_min <= f' <= s_max` over the continuous
//! piecewise-linear functions on given nodes, with G tridiagonal. Many problems are solved at once, each by one invocation
//! of an active-set method that is exact up to rounding (see the head of the shader). Cost: O(N) per step, with about as many
//! steps as the solution has knots and bends.

use crate::gpu::{Bound, Buffer, Gpu, ParamTable, Recorder};
use crate::{Error, Result, shader_struct};

use super::super::SlopeBounds;

shader_struct! {
    /// A problem and the state of its solution (`shaders/lib/tv2.wgsl`).
    pub struct Tv2Problem {
        /// Index of its first node.
        pub first: u32,
        /// Number of its nodes, at least 2.
        pub count: u32,
        /// Weight of TV2.
        pub lambda: f32,
        /// Smallest slope.
        pub slope_min: f32,
        /// Largest slope.
        pub slope_max: f32,
        /// `f(t_0)`.
        pub value_first: f32,
        /// Relative violation of the optimality conditions that counts as none.
        pub tolerance: f32,
        /// Active-set steps done.
        pub steps: u32,
        /// Times the optimality conditions were checked.
        pub checks: u32,
        /// 0 running, 1 optimal, 2 the driver cut a loop short.
        pub status: u32,
        /// Whether f moved since the last check.
        pub moved: u32,
        /// Padding.
        pub pad0: u32,
    }
}

shader_struct! {
    /// Parameters of `tv2_prox.wgsl` and `tv2_nodes.wgsl`.
    pub struct Tv2Params {
        /// Number of problems.
        pub problems: u32,
        /// Steps in one dispatch.
        pub steps: u32,
        /// Tolerance with which a problem starts.
        pub tolerance: f32,
        /// Padding.
        pub pad0: u32,
    }
}

/// [`Tv2Problem::status`] of a solved problem.
pub const OPTIMAL: u32 = 1;

/// [`Tv2Problem::status`] after a driver ended a loop early.
pub const CUT_SHORT: u32 = 2;

/// An entry of `flags` of a node that is no knot, on a segment that is held to no bound.
pub const FREE: u32 = 5;

/// Relative violation of the optimality conditions that counts as none: a few times what rounding leaves of them.
pub const TOLERANCE: f32 = 1e-6;

/// Mesa's software driver gives an invocation 65535 loop iterations in all, over all loops; when they are used up every
/// loop ends after one pass, without any error (seen with Mesa 22.3.6: nodes stayed unwritten). This many are spent.
const ITERATIONS_PER_DISPATCH: usize = 60_000;

/// Loop iterations per node of one active-set step, at most: three walks over the knots and a node loop each in `solve` and
/// `advance`, one in `first_obstacle`, five in `release`, two in the change of the active set, each step's own ends.
const ITERATIONS_PER_NODE: usize = 17;

/// The most nodes of one problem: a step must fit one dispatch.
pub const MAX_NODES: usize = ITERATIONS_PER_DISPATCH / ITERATIONS_PER_NODE;

/// Active-set steps in one dispatch of problems with up to `longest` nodes.
fn steps_per_dispatch(longest: usize) -> usize {
    (ITERATIONS_PER_DISPATCH / (ITERATIONS_PER_NODE * longest)).max(1)
}

impl Tv2Problem {
    /// The problem on `count` nodes from `first`.
    pub fn new(first: usize, count: usize, lambda: f64, bounds: &SlopeBounds) -> Self {
        let limit = |slope: f64| slope.clamp(f64::from(-f32::MAX), f64::from(f32::MAX)) as f32;
        Self {
            first: first as u32,
            count: count as u32,
            lambda: lambda as f32,
            slope_min: limit(bounds.min()),
            slope_max: limit(bounds.max()),
            tolerance: TOLERANCE,
            ..Self::default()
        }
    }
}

/// Problems on the device with everything that [`Tv2Solver::record`] works on. Who poses them fills `gram`, `moments`,
/// `slopes` and `flags`.
#[derive(Debug)]
pub struct Tv2Solver {
    pub(crate) problems: Buffer,
    pub(crate) knots: Buffer,
    /// (A, B, C, 0) per segment.
    pub(crate) gram: Buffer,
    /// Two shares of the negative gradient per segment.
    pub(crate) moments: Buffer,
    pub(crate) slopes: Buffer,
    pub(crate) flags: Buffer,
    pub(crate) values: Buffer,
    params: ParamTable<Tv2Params>,
    solve: Bound,
    count: u32,
    longest: usize,
}

impl Tv2Solver {
    /// Memory and kernel for `problems` on `knots`, all nodes of all problems behind each other.
    ///
    /// # Errors
    /// [`Error::Internal`] when a problem has fewer than two nodes or reaches beyond `knots`; [`Error::Data`] when one has
    /// more than [`MAX_NODES`]; device errors.
    pub fn new(gpu: &Gpu, knots: &[f32], problems: &[Tv2Problem]) -> Result<Self> {
        let fits = |p: &Tv2Problem| p.count >= 2 && p.first as usize + p.count as usize <= knots.len();
        if problems.is_empty() || !problems.iter().all(fits) {
            return Err(Error::Internal("a TV2 problem does not lie on its knots".into()));
        }
        let nodes = knots.len();
        let longest = problems.iter().map(|p| p.count as usize).max().unwrap_or(2);
        if longest > MAX_NODES {
            return Err(Error::Data(format!(
                "a TV2 problem of {longest} nodes is too large, at most {MAX_NODES} fit one dispatch; thin out its nodes"
            )));
        }
        let count = problems.len() as u32;
        let params = gpu.params(&[Tv2Params {
            problems: count,
            steps: steps_per_dispatch(longest) as u32,
            tolerance: TOLERANCE,
            pad0: 0,
        }])?;
        let problems = gpu.upload("tv2 problems", problems)?;
        let knots = gpu.upload("tv2 knots", knots)?;
        let gram = gpu.buffer("tv2 gram", 4 * nodes)?;
        let moments = gpu.buffer("tv2 moments", 2 * nodes)?;
        let slopes = gpu.buffer("tv2 slopes", nodes)?;
        let flags = gpu.upload("tv2 flags", &vec![FREE; nodes])?;
        let work = gpu.buffer("tv2 work", 4 * nodes)?;
        let values = gpu.buffer("tv2 values", nodes)?;
        let solve = gpu.kernel("tv2_prox", &[])?.bind(
            gpu,
            &[
                ("params", params.binding()),
                ("problems", (&problems).into()),
                ("knots", (&knots).into()),
                ("gram", (&gram).into()),
                ("moments", (&moments).into()),
                ("slopes", (&slopes).into()),
                ("flags", (&flags).into()),
                ("work", (&work).into()),
                ("values", (&values).into()),
            ],
        )?;
        Ok(Self {
            problems,
            knots,
            gram,
            moments,
            slopes,
            flags,
            values,
            params,
            solve,
            count,
            longest,
        })
    }

    /// Records up to `steps` active-set steps of every problem, rounded up to whole dispatches. More than enough for most
    /// problems is [`Tv2Solver::ample_steps`].
    pub fn record(&self, recorder: &mut Recorder<'_>, steps: usize) {
        for _ in 0..steps.div_ceil(steps_per_dispatch(self.longest)) {
            recorder.dispatch(&self.solve, [self.count, 1, 1], 0);
        }
    }

    /// Four steps per node: problems met so far need at most one per node.
    pub fn ample_steps(&self) -> usize {
        4 * self.longest + 64
    }

    /// The problems and how far their solution is.
    pub fn problems(&self) -> &Buffer {
        &self.problems
    }

    /// The nodal values of the solutions, (node).
    pub fn values(&self) -> &Buffer {
        &self.values
    }

    /// The slopes of the solutions, (segment), inside the bounds bit for bit; a segment has the index of its left node.
    pub fn slopes(&self) -> &Buffer {
        &self.slopes
    }
}

/// The proximal operator of `lambda TV2` under slope bounds for a bank of splines:
/// `argmin_f 1/2 sum_n w_n (f_n - y_n)^2 + lambda TV2(f)`, `s_min <= f' <= s_max`, per spline.
#[derive(Debug)]
pub struct NodalProx {
    solver: Tv2Solver,
    pose: Bound,
}

impl NodalProx {
    /// Prepares `problems` on `knots`; `targets` holds (y, w) per node, w > 0, and is read at every run.
    ///
    /// # Errors
    /// As [`Tv2Solver::new`].
    pub fn new(gpu: &Gpu, knots: &[f32], problems: &[Tv2Problem], targets: &Buffer) -> Result<Self> {
        let solver = Tv2Solver::new(gpu, knots, problems)?;
        let pose = gpu.kernel("tv2_nodes", &[])?.bind(
            gpu,
            &[
                ("params", solver.params.binding()),
                ("problems", (&solver.problems).into()),
                ("targets", targets.into()),
                ("knots", (&solver.knots).into()),
                ("gram", (&solver.gram).into()),
                ("moments", (&solver.moments).into()),
                ("slopes", (&solver.slopes).into()),
                ("flags", (&solver.flags).into()),
            ],
        )?;
        Ok(Self { solver, pose })
    }

    /// Records the whole computation: results are in [`NodalProx::solver`].
    pub fn record(&self, recorder: &mut Recorder<'_>) {
        recorder.dispatch(&self.pose, self.pose.groups([self.solver.count, 1, 1]), 0);
        self.solver.record(recorder, self.solver.ample_steps());
    }

    /// Values, slopes and status of the solutions.
    pub fn solver(&self) -> &Tv2Solver {
        &self.solver
    }
}
