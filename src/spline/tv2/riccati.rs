//! The Newton system of the interior-point method, solved in O(N) by a backward Riccati recursion.
//!
//! With the state `(f_j, s_j)` at the start of segment j and the slope change `a` as control,
//! `f_{j+1} = f_j + h_j s_j`, `s_j = s_{j-1} + a_j`, the Newton step minimises a quadratic cost along the chain. The cost
//! to go is kept as `E f^2 / 2 + P (s + k f)^2 / 2 + gf f + gs s`. In this form E, P and k are built from sums and
//! products of non-negative numbers only (the Schur complement is expanded by Lagrange's identity), so every digit is
//! right even when barrier weights and spacings span many orders of magnitude. A banded Cholesky factorisation of the
//! same system loses them.

/// The quadratic model `gradient * step + weight * step^2 / 2` of one value or one slope.
#[derive(Clone, Copy, Default)]
pub(super) struct Quadratic {
    pub gradient: f64,
    pub weight: f64,
}

/// The model of one slope change: `dual * a + (a^2 / 2 + gap * a) / softness`. A softness of infinity is a slope change
/// without cost.
#[derive(Clone, Copy)]
pub(super) struct Control {
    pub softness: f64,
    pub dual: f64,
    pub gap: f64,
}

/// The minimiser: steps of the values, slopes and slope changes, and of the multipliers of the slope changes.
#[derive(Default)]
pub(super) struct Step {
    pub values: Vec<f64>,
    pub slopes: Vec<f64>,
    pub changes: Vec<f64>,
    pub duals: Vec<f64>,
}

#[derive(Clone, Copy, Default)]
struct CostToGo {
    e: f64,
    p: f64,
    k: f64,
    gf: f64,
    gs: f64,
}

/// Minimises the chain's quadratic model. `values` has one entry per node, all with positive weight, `slopes` one per
/// segment, `changes` one per interior node.
pub(super) fn solve(spacings: &[f64], values: &[Quadratic], slopes: &[Quadratic], changes: &[Control]) -> Step {
    let segments = spacings.len();
    let mut stages = vec![CostToGo::default(); segments];
    let mut next = CostToGo {
        e: values[segments].weight,
        gf: values[segments].gradient,
        ..CostToGo::default()
    };
    for j in (0..segments).rev() {
        stages[j] = before_segment(next, spacings[j], values[j], slopes[j]);
        if j > 0 {
            next = before_change(stages[j], changes[j - 1]);
        }
    }
    let first = stages[0];
    let mut f = (first.k * first.gs - first.gf) / first.e;
    let mut s = -first.gs / first.p - first.k * f;
    let mut step = Step::default();
    for (j, stage) in stages.iter().enumerate() {
        if j > 0 {
            f += spacings[j - 1] * s;
            let Control { softness, dual, gap } = changes[j - 1];
            let slope_gradient = stage.p * (s + stage.k * f) + stage.gs;
            let (change, dual_step) = if softness == f64::INFINITY {
                (-slope_gradient / stage.p, 0.0)
            } else {
                let dual_step = -(dual + slope_gradient - stage.p * gap) / (1.0 + softness * stage.p);
                (softness * dual_step - gap, dual_step)
            };
            s += change;
            step.changes.push(change);
            step.duals.push(dual_step);
        }
        step.values.push(f);
        step.slopes.push(s);
    }
    step.values.push(f + spacings[segments - 1] * s);
    step
}

/// The cost to go at the start of a segment of length `h` from the one at its end.
fn before_segment(end: CostToGo, h: f64, value: Quadratic, slope: Quadratic) -> CostToGo {
    let lean = 1.0 + end.k * h;
    let p = end.e * h * h + end.p * lean * lean + slope.weight;
    CostToGo {
        e: value.weight + (end.e * end.p + end.e * slope.weight + end.p * slope.weight * end.k * end.k) / p,
        p,
        k: (end.e * h + end.p * end.k * lean) / p,
        gf: end.gf + value.gradient,
        gs: end.gf * h + end.gs + slope.gradient,
    }
}

/// The cost to go before a slope change from the one after it: minimised over the change.
fn before_change(after: CostToGo, control: Control) -> CostToGo {
    let (p, gs) = if control.softness == f64::INFINITY {
        (0.0, 0.0)
    } else {
        let damping = 1.0 / (1.0 + control.softness * after.p);
        let pull = after.p * (control.gap + control.softness * control.dual);
        (after.p * damping, (after.gs - pull) * damping)
    };
    CostToGo {
        p,
        gs,
        gf: after.gf + after.k * (gs - after.gs),
        ..after
    }
}
