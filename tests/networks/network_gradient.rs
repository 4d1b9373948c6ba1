//! The training step of an ensemble against f64: orthonormalisation, forward pass and loss, and the gradient of the whole
//! objective against central differences for every parameter.

use crate::common::{EPS, assert_close, gpu, turn, values};
use crate::reference::models::spline;
use crate::reference::network::{Parameters, Use};
use knotwork::network::{Architecture, Ensemble, EnsembleSettings, LearningRates, Member, State};
use knotwork::spline::{SlopeBounds, Spline};
use knotwork::train::AdamSettings;

const BOUNDS: (f64, f64) = (-0.8, 1.0);

fn settings(widths: &[usize], slots: usize, project: bool) -> EnsembleSettings {
    EnsembleSettings {
        architecture: Architecture::new(widths).unwrap(),
        slots,
        bounds: SlopeBounds::new(BOUNDS.0, BOUNDS.1).unwrap(),
        iterations: 5,
        project,
        rates: LearningRates {
            weights: 4e-3,
            values: 2e-3,
            alphas: 1e-3,
        },
        adam: AdamSettings {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            hold: 3,
            steps: 10,
        },
    }
}

/// Slopes that are not on a bound to rounding, where either derivative is right and f32 decides otherwise than f64.
fn off_the_bounds(spline: &Spline) -> Spline {
    let off = |s: f64| {
        if (s - BOUNDS.0).abs().min((s - BOUNDS.1).abs()) < 2e-3 {
            s - 4e-3
        } else {
            s
        }
    };
    let slopes: Vec<f64> = spline.slopes().into_iter().map(off).collect();
    Spline::from_slopes(spline.knots().to_vec(), spline.values()[0], &slopes).unwrap()
}

/// Members with splines of 3 to `slots` knots, some slopes outside of the bounds.
fn members(architecture: &Architecture, count: usize, slots: usize) -> Vec<Member> {
    let splines = architecture.splines();
    (0..count as u64)
        .map(|m| Member {
            dense: values(100 + m, architecture.dense()),
            activations: (0..splines)
                .map(|s| spline(200 + 50 * m + s as u64, 3 + (s + m as usize) % (slots - 2), -1.1, 1.3))
                .map(|s| off_the_bounds(&s))
                .collect(),
            alphas: values(300 + m, splines).iter().map(|v| 1.5 + v).collect(),
        })
        .collect()
}

/// The settings as the reference takes them.
fn usage(settings: &EnsembleSettings, lambda: f32) -> Use {
    Use {
        iterations: settings.iterations,
        normalise: true,
        bounds: BOUNDS,
        lambda: f64::from(lambda),
    }
}

struct Case {
    settings: EnsembleSettings,
    members: Vec<Member>,
    x: Vec<f32>,
    y: Vec<f32>,
    lambdas: Vec<f32>,
    samples: usize,
}

impl Case {
    fn new(widths: &[usize], slots: usize, count: usize, samples: usize) -> Self {
        let settings = settings(widths, slots, false);
        Self {
            members: members(&settings.architecture, count, slots),
            x: values(1, count * widths[0] * samples).iter().map(|v| 2.0 * v).collect(),
            y: values(2, count * samples),
            lambdas: (0..count).map(|m| 0.01 * m as f32).collect(),
            samples,
            settings,
        }
    }

    fn ensemble(&self) -> Ensemble<'static> {
        Ensemble::new(gpu(), &self.settings, &self.members, (&self.x, &self.y), &self.lambdas).unwrap()
    }

    fn samples_of(&self, member: usize) -> (&[f32], &[f32]) {
        let inputs = self.settings.architecture.widths()[0] * self.samples;
        (
            &self.x[member * inputs..(member + 1) * inputs],
            &self.y[member * self.samples..(member + 1) * self.samples],
        )
    }
}

/// Widths, room for knots, members, samples: around the 64 samples and matrix entries of a workgroup, its 32 splines, and
/// the numbers of rows of segment sums.
fn cases() -> [Case; 5] {
    [
        Case::new(&[1, 2, 1], 3, 1, 1),
        Case::new(&[2, 5, 3, 1], 7, 3, 63),
        Case::new(&[1, 9, 8, 1], 16, 2, 65),
        Case::new(&[3, 17, 1], 34, 2, 130),
        Case::new(&[1, 3, 3, 3, 1], 101, 4, 64),
    ]
}

fn gradient(ensemble: &Ensemble<'_>) -> (Vec<f32>, Vec<f32>) {
    let mut recorder = gpu().record();
    ensemble.record_gradient(&mut recorder);
    recorder.submit();
    drop(recorder);
    (ensemble.gradient().unwrap(), ensemble.losses().unwrap())
}

#[test]
fn weights_are_orthonormalised_and_slopes_clipped() {
    let _turn = turn();
    for case in cases() {
        let networks = case.ensemble().networks().unwrap();
        for (network, member) in networks.iter().zip(&case.members) {
            let parameters = Parameters::new(&case.settings.architecture, member);
            let how = usage(&case.settings, 0.0);
            for layer in 0..case.settings.architecture.layers() {
                let (rows, columns) = case.settings.architecture.matrix(layer);
                let want = parameters.matrix(layer, how).transpose();
                let got: Vec<f32> = network.weights(layer).iter().map(|w| *w as f32).collect();
                // Entries are at most 1; an iteration multiplies an earlier error by 3/2 + 3/2 at most near 0 singular
                // values and adds the rounding of two products with as many terms as the shorter and the longer side.
                let tolerance = 3.0_f64.powi(case.settings.iterations as i32) * (rows + columns + 8) as f64 * EPS;
                assert_close("weights", &got, want.as_slice(), |_| tolerance);
            }
            for (s, activation) in network.activations().iter().enumerate() {
                let want = parameters.clipped(s, how);
                let got: Vec<f32> = activation.values().iter().map(|f| *f as f32).collect();
                // Sums of increments and of their differences from the values, in f32.
                let knots = &parameters.knots[s];
                let reach = 2.0 * (knots[knots.len() - 1] - knots[0]) + want.iter().fold(0.0, |m, f| f.abs().max(m));
                assert_close("values", &got, &want, |_| 4.0 * want.len() as f64 * EPS * reach);
                let (low, high) = activation.slope_range();
                let steepest = |n: usize| 8.0 * EPS * reach / (knots[n + 1] - knots[n]);
                let slack = (0..knots.len() - 1).map(steepest).fold(0.0, f64::max);
                assert!(
                    low >= BOUNDS.0 - slack && high <= BOUNDS.1 + slack,
                    "{low} {high} {slack}"
                );
            }
        }
    }
}

/// The derivative of a sum of terms with respect to one parameter by central differences.
struct Difference {
    value: f64,
    /// What half the step changes: truncation, rounding, and samples that cross a knot.
    unsure: f64,
    /// Sum of the absolute derivatives of the terms, which rounding in f32 is relative to.
    size: f64,
}

impl Difference {
    fn new(parameters: &mut Parameters, n: usize, terms: impl Fn(&Parameters) -> Vec<f64>) -> Self {
        let mut quotients = |step: f64| -> Vec<f64> {
            let value = *parameters.free(n);
            *parameters.free(n) = value + step;
            let above = terms(parameters);
            *parameters.free(n) = value - step;
            let below = terms(parameters);
            *parameters.free(n) = value;
            above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * step)).collect()
        };
        let (coarse, fine) = (quotients(2e-6), quotients(1e-6));
        Self {
            value: fine.iter().sum(),
            unsure: coarse.iter().zip(&fine).map(|(a, b)| (a - b).abs()).sum(),
            size: fine.iter().map(|d| d.abs()).sum(),
        }
    }
}

#[test]
fn loss_and_gradient_of_every_parameter() {
    let _turn = turn();
    for case in cases() {
        let ensemble = case.ensemble();
        let (got, losses) = gradient(&ensemble);
        let mut of_some_parameter = 0;
        for (m, member) in case.members.iter().enumerate() {
            let mut parameters = Parameters::new(&case.settings.architecture, member);
            let how = usage(&case.settings, case.lambdas[m]);
            let (x, y) = case.samples_of(m);
            let loss: f64 = parameters.terms(x, y, how)[..case.samples].iter().sum();
            // Rounding errors of the layers add up unit by unit, each bounded by a few of its sums' lengths.
            let depth = 16.0 * case.settings.architecture.units() as f64;
            assert_close("loss", &losses[m..=m], &[loss], |_| depth * EPS * (1.0 + loss));
            let places = parameters.places(ensemble.layout(), m);
            let differences: Vec<_> = (0..places.len())
                .map(|n| Difference::new(&mut parameters, n, |p| p.terms(x, y, how)))
                .collect();
            let dense = case.settings.architecture.dense();
            for (group, own) in [("dense", 0..dense), ("splines", dense..places.len())] {
                // The products with Jacobians mix the sums of a group: each is exact to the rounding of the largest.
                let largest = differences[own.clone()].iter().map(|d| d.size).fold(0.0, f64::max);
                let want: Vec<f64> = differences[own.clone()].iter().map(|d| d.value).collect();
                let device: Vec<f32> = places[own.clone()].iter().map(|p| got[*p]).collect();
                let tolerance = |n: usize| 3.0 * differences[own.start + n].unsure + 1e-9 + depth * EPS * largest;
                let name = format!("{:?}, member {m}, {group}", case.settings.architecture.widths());
                assert_close(&name, &device, &want, tolerance);
                of_some_parameter += (0..want.len())
                    .filter(|n| want[*n].abs() > 10.0 * tolerance(*n))
                    .count();
            }
        }
        // Not a comparison of zeros.
        assert!(2 * of_some_parameter > case.members.len() * case.settings.architecture.dense());
    }
}

#[test]
fn steps_are_repeatable_and_members_independent() {
    let _turn = turn();
    for project in [false, true] {
        let mut case = Case::new(&[1, 9, 8, 1], 16, 3, 65);
        case.settings.project = project;
        let train = |case: &Case| -> (State, Vec<f32>) {
            let ensemble = case.ensemble();
            let mut recorder = gpu().record();
            for _ in 0..7 {
                ensemble.record_step(&mut recorder);
            }
            recorder.submit();
            drop(recorder);
            (ensemble.state().unwrap(), ensemble.losses().unwrap())
        };
        let (first, losses) = train(&case);
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&first.parameters), bits(&train(&case).0.parameters));
        // The middle member alone.
        let alone = Case {
            settings: case.settings.clone(),
            members: vec![case.members[1].clone()],
            x: case.samples_of(1).0.to_vec(),
            y: case.samples_of(1).1.to_vec(),
            lambdas: vec![case.lambdas[1]],
            samples: case.samples,
        };
        let (single, loss) = train(&alone);
        assert_eq!(loss[0].to_bits(), losses[1].to_bits());
        let dense = case.settings.architecture.dense();
        assert_eq!(
            bits(&single.parameters[..dense]),
            bits(&first.parameters[dense..2 * dense])
        );
    }
}

#[test]
fn a_gradient_depends_on_nothing_that_was_there_before() {
    let _turn = turn();
    let case = Case::new(&[2, 5, 3, 1], 7, 3, 63);
    let ensemble = case.ensemble();
    let want = gradient(&ensemble);
    let state = ensemble.state().unwrap();
    // Other parameters, more knots: every buffer holds something else, also behind the last knots.
    let mut other = state.clone();
    for (s, count) in other.counts.iter_mut().enumerate() {
        let slot = s * ensemble.layout().slots;
        for n in *count as usize..ensemble.layout().slots {
            other.positions[slot + n] = other.positions[slot + n - 1] + 0.5;
            other.parameters[ensemble.layout().values(s) + n] = 0.1 * n as f32;
        }
        *count = ensemble.layout().slots as u32;
    }
    other.parameters.iter_mut().for_each(|p| *p += 0.01);
    ensemble.set_state(&other).unwrap();
    assert_ne!(gradient(&ensemble), want);
    ensemble.set_state(&state).unwrap();
    assert_eq!(gradient(&ensemble), want);
}

#[test]
fn projected_weights_stay_within_norm_one() {
    let _turn = turn();
    let mut case = Case::new(&[1, 9, 8, 1], 16, 2, 65);
    case.settings.project = true;
    case.settings.iterations = 40;
    case.settings.rates.weights = 0.03;
    case.settings.adam.steps = 1000;
    case.settings.adam.hold = 1000;
    let ensemble = case.ensemble();
    for _ in 0..5 {
        let mut recorder = gpu().record();
        for _ in 0..20 {
            ensemble.record_step(&mut recorder);
        }
        recorder.submit();
        drop(recorder);
        for network in ensemble.networks().unwrap() {
            let norms = network.certificate().norms;
            // Two products with at most 9 terms in f32, entries at most 1.
            assert!(
                norms.iter().all(|n| *n <= 1.0 + 9.0 * 9.0 * EPS && *n > 0.99),
                "{norms:?}"
            );
        }
    }
    case.settings.rates.weights = 0.2;
    let refused = Ensemble::new(gpu(), &case.settings, &case.members, (&case.x, &case.y), &case.lambdas);
    assert!(refused.err().unwrap().to_string().contains("learning rate"));
}
