//! Mehrotra's predictor-corrector primal-dual interior-point method on the chain, O(N) per iteration.

use super::certificate::{Certificate, Dual, Primal, Problem};
use super::loss::Loss;
use super::riccati::{self, Control, Quadratic, Step};

/// The best iterate found, by duality gap.
pub(super) struct Solution {
    pub primal: Primal,
    pub dual: Dual,
    pub certificate: Certificate,
    pub iterations: usize,
}

/// More than ever seen; the typical count is 10 to 40.
const MAX_ITERATIONS: usize = 200;
/// Iterations without a smaller gap after which rounding has been reached.
const PATIENCE: usize = 15;
/// The part of the way to the boundary that a step may take.
const FRACTION: f64 = 0.995;

/// A pair of non-negative numbers whose product the method drives to 0.
#[derive(Clone, Copy)]
struct Pair {
    primal: f64,
    dual: f64,
    primal_step: f64,
    dual_step: f64,
}

impl Pair {
    fn new(primal: f64, dual: f64) -> Self {
        Self {
            primal,
            dual,
            primal_step: 0.0,
            dual_step: 0.0,
        }
    }

    fn ratio(&self) -> f64 {
        self.primal / self.dual
    }

    /// The step of the primal member when the dual one stays, towards the product `target`. In the corrector the
    /// products of the predictor's steps enter; in the predictor they are reset to 0.
    fn centring(&self, target: f64) -> f64 {
        (target - self.primal_step * self.dual_step) / self.dual - self.primal
    }

    fn advance(&mut self, length: f64) {
        self.primal += length * self.primal_step;
        self.dual += length * self.dual_step;
    }

    /// How far along the step both members stay non-negative.
    fn room(&self) -> f64 {
        let one = |value: f64, step: f64| if step < 0.0 { -value / step } else { f64::INFINITY };
        one(self.primal, self.primal_step).min(one(self.dual, self.dual_step))
    }
}

/// A term `limit * |.|` softened by a quadratic core: elongation = compliance * dual + plus - minus, |dual| <= limit. It
/// stands for a data term (elongation = residual) or for one slope change. `sides` are (plus, limit - dual) and
/// (minus, limit + dual); without them the term is purely quadratic, or absent when the limit is 0.
struct Spring {
    compliance: f64,
    dual: f64,
    sides: Option<[Pair; 2]>,
    gap: f64,
    dual_step: f64,
}

impl Spring {
    fn new(compliance: f64, limit: f64, elongation: f64, product: f64) -> Self {
        let rigid = Self {
            compliance,
            dual: 0.0,
            sides: None,
            gap: 0.0,
            dual_step: 0.0,
        };
        if limit == 0.0 {
            return Self {
                compliance: f64::INFINITY,
                ..rigid
            };
        }
        if limit == f64::INFINITY {
            return Self {
                dual: elongation / compliance,
                ..rigid
            };
        }
        let plus = Pair::new(elongation.max(0.0) + product / limit, limit);
        let minus = Pair::new((-elongation).max(0.0) + product / limit, limit);
        Self {
            sides: Some([plus, minus]),
            ..rigid
        }
    }

    fn softness(&self) -> f64 {
        self.compliance
            + self
                .sides
                .as_ref()
                .map_or(0.0, |[plus, minus]| plus.ratio() + minus.ratio())
    }

    /// Prepares the linearised law `dual_step = (elongation_step + gap) / softness` and returns (softness, gap).
    fn linearise(&mut self, elongation: f64, target: f64) -> (f64, f64) {
        if self.compliance == f64::INFINITY {
            return (f64::INFINITY, 0.0);
        }
        self.gap = elongation - self.compliance * self.dual;
        if let Some([plus, minus]) = &self.sides {
            self.gap -= plus.primal - minus.primal;
            self.gap -= plus.centring(target) - minus.centring(target);
        }
        (self.softness(), self.gap)
    }

    fn set_step(&mut self, dual_step: f64, target: f64) {
        self.dual_step = dual_step;
        if let Some([plus, minus]) = &mut self.sides {
            for (pair, sign) in [(plus, 1.0), (minus, -1.0)] {
                pair.primal_step = pair.centring(target) + sign * pair.ratio() * dual_step;
                pair.dual_step = -sign * dual_step;
            }
        }
    }
}

struct State<'a> {
    problem: &'a Problem,
    primal: Primal,
    data: Vec<Spring>,
    changes: Vec<Spring>,
    /// (slope - min, multiplier) per segment; empty without a lower bound.
    low: Vec<Pair>,
    /// (max - slope, multiplier) per segment; empty without an upper bound.
    high: Vec<Pair>,
}

/// Solves the problem, which must have `min < max`, to the smallest gap that rounding admits. `floor` is the smallest
/// objective the gap is compared with.
pub(super) fn solve(problem: &Problem, start_slope: f64, floor: f64) -> Solution {
    let mut state = State::start(problem, start_slope);
    let mut best = state.solution(0);
    for iteration in 1..=MAX_ITERATIONS {
        if best.certificate.relative(floor) <= 1e-14 || iteration > best.iterations + PATIENCE && best.iterations > 0 {
            break;
        }
        if !state.iterate() {
            break;
        }
        let solution = state.solution(iteration);
        if solution.certificate.gap < best.certificate.gap {
            best = solution;
        }
    }
    best
}

impl<'a> State<'a> {
    fn start(problem: &'a Problem, start_slope: f64) -> Self {
        let segments = problem.spacings.len();
        let slope = match (problem.min.is_finite(), problem.max.is_finite()) {
            (true, true) => {
                let margin = 0.1 * (problem.max - problem.min);
                start_slope.clamp(problem.min + margin, problem.max - margin)
            }
            (true, false) => start_slope.max(problem.min + 1.0),
            (false, true) => start_slope.min(problem.max - 1.0),
            (false, false) => start_slope,
        };
        // One common product for all pairs starts on the central path as far as scales are known.
        let product = (0.1 * problem.lambda).max(1e-3);
        let primal = Primal {
            first: -0.5 * slope,
            slopes: vec![slope; segments],
            changes: vec![0.0; segments - 1],
        };
        let values = primal.values(&problem.spacings);
        let data = (0..=segments).map(|n| {
            let w = problem.weights[n];
            Spring::new(
                problem.loss.compliance(w),
                problem.loss.limit(w),
                values[n] - problem.y[n],
                product,
            )
        });
        let bound = |slack: f64| {
            if slack.is_finite() {
                vec![Pair::new(slack, product / slack); segments]
            } else {
                vec![]
            }
        };
        Self {
            problem,
            data: data.collect(),
            changes: (1..segments)
                .map(|_| Spring::new(0.0, problem.lambda, 0.0, product))
                .collect(),
            low: bound(slope - problem.min),
            high: bound(problem.max - slope),
            primal,
        }
    }

    fn pairs(&self) -> impl Iterator<Item = &Pair> {
        let springs = self
            .data
            .iter()
            .chain(&self.changes)
            .filter_map(|s| s.sides.as_ref())
            .flatten();
        springs.chain(&self.low).chain(&self.high)
    }

    fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        let springs = self
            .data
            .iter_mut()
            .chain(&mut self.changes)
            .filter_map(|s| s.sides.as_mut())
            .flatten();
        springs.chain(&mut self.low).chain(&mut self.high)
    }

    fn mean_product(&self, length: f64) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for pair in self.pairs() {
            sum += (pair.primal + length * pair.primal_step) * (pair.dual + length * pair.dual_step);
            count += 1.0;
        }
        sum / f64::max(count, 1.0)
    }

    fn room(&self) -> f64 {
        self.pairs().map(Pair::room).fold(f64::INFINITY, f64::min)
    }

    /// One predictor-corrector step; false when the step is no longer finite.
    fn iterate(&mut self) -> bool {
        for pair in self.pairs_mut() {
            (pair.primal_step, pair.dual_step) = (0.0, 0.0);
        }
        let now = self.mean_product(0.0);
        self.newton(0.0);
        let length = self.room().min(1.0);
        let reachable = self.mean_product(length);
        // The corrector anticipates the products of the part of the predictor that can be taken; with all of them a
        // short predictor makes the method cycle.
        for pair in self.pairs_mut() {
            pair.primal_step *= length;
            pair.dual_step *= length;
        }
        let target = now * (reachable / now).clamp(0.0, 1.0).powi(3);
        let step = self.newton(if now > 0.0 { target } else { 0.0 });
        let length = (FRACTION * self.room()).min(1.0);
        if !(length > 0.0 && step.values.iter().all(|v| v.is_finite())) {
            return false;
        }
        self.apply(&step, length);
        true
    }

    /// Solves the Newton system for the product `target` and stores the steps of all pairs.
    fn newton(&mut self, target: f64) -> Step {
        let values = self.primal.values(&self.problem.spacings);
        let mut data_model = Vec::with_capacity(values.len());
        for (n, spring) in self.data.iter_mut().enumerate() {
            let (softness, gap) = spring.linearise(values[n] - self.problem.y[n], target);
            data_model.push(Quadratic {
                gradient: spring.dual + gap / softness,
                weight: 1.0 / softness,
            });
        }
        let mut slope_model = vec![Quadratic::default(); self.primal.slopes.len()];
        let sides = [(&self.low, -1.0, self.problem.min), (&self.high, 1.0, self.problem.max)];
        for (pairs, sign, bound) in sides {
            for (j, pair) in pairs.iter().enumerate() {
                let drift = sign * (bound - self.primal.slopes[j]) - pair.primal;
                // Eliminating the pair: dual step = -(centring + drift + ...) / ratio, see `bound_dual_step`.
                slope_model[j].gradient += sign * (pair.dual + bound_dual_step(pair, target, drift));
                slope_model[j].weight += 1.0 / pair.ratio();
            }
        }
        let mut change_model = Vec::with_capacity(self.changes.len());
        for (i, spring) in self.changes.iter_mut().enumerate() {
            let (softness, gap) = spring.linearise(self.primal.changes[i], target);
            change_model.push(Control {
                softness,
                dual: spring.dual,
                gap,
            });
        }
        let step = riccati::solve(&self.problem.spacings, &data_model, &slope_model, &change_model);
        for (n, spring) in self.data.iter_mut().enumerate() {
            let dual_step = (step.values[n] + spring.gap) / spring.softness();
            spring.set_step(dual_step, target);
        }
        for (spring, dual_step) in self.changes.iter_mut().zip(&step.duals) {
            spring.set_step(*dual_step, target);
        }
        for (pairs, sign, bound) in [
            (&mut self.low, -1.0, self.problem.min),
            (&mut self.high, 1.0, self.problem.max),
        ] {
            for (j, pair) in pairs.iter_mut().enumerate() {
                let drift = sign * (bound - self.primal.slopes[j]) - pair.primal;
                let slack_step = drift - sign * step.slopes[j];
                pair.dual_step = bound_dual_step(pair, target, slack_step);
                pair.primal_step = slack_step;
            }
        }
        step
    }

    fn apply(&mut self, step: &Step, length: f64) {
        self.primal.first += length * step.values[0];
        let mut slope = self.primal.slopes[0] + length * step.slopes[0];
        self.primal.slopes[0] = slope;
        for (i, change) in self.primal.changes.iter_mut().enumerate() {
            *change += length * step.changes[i];
            slope += *change;
            self.primal.slopes[i + 1] = slope;
        }
        for pair in self.pairs_mut() {
            pair.advance(length);
        }
        for spring in self.data.iter_mut().chain(&mut self.changes) {
            spring.dual += length * spring.dual_step;
        }
    }

    fn solution(&self, iterations: usize) -> Solution {
        let multipliers = |pairs: &[Pair]| pairs.iter().map(|pair| pair.dual).collect();
        let dual = Dual {
            changes: self.changes.iter().map(|spring| spring.dual).collect(),
            low: multipliers(&self.low),
            high: multipliers(&self.high),
        };
        let mut certificate = self.problem.certify(&self.primal, &dual);
        if self.problem.loss != Loss::Squared {
            let data: Vec<f64> = self.data.iter().map(|spring| spring.dual).collect();
            let other = self.problem.certify_from_data(&self.primal, &data, &dual);
            certificate = other.filter(|other| other.gap < certificate.gap).unwrap_or(certificate);
        }
        Solution {
            certificate,
            primal: self.primal.clone(),
            dual,
            iterations,
        }
    }
}

/// The step of a bound's multiplier when its slack moves by `slack_step`, towards the product `target`.
fn bound_dual_step(pair: &Pair, target: f64, slack_step: f64) -> f64 {
    (target - pair.primal_step * pair.dual_step - pair.dual * slack_step) / pair.primal - pair.dual
}
