//! Denoising by splitting: its iterations in f64, its minimisers, what it hands over and to whom.

use crate::common::{EPS, gpu, turn};
use crate::reference::device::options;
use crate::reference::models::{cosines, image, many_cosines, spline, weakly_convex};
use crate::reference::problem::{Problem, distance};
use crate::reference::{Bounded, Hinges, RidgeReference, norm, widen};
use knotwork::filters::ConvPlan;
use knotwork::gpu::KernelStyle;
use knotwork::model::device::RunOptions;
use knotwork::model::{Ridge, Shipped};
use knotwork::solver::{Denoiser, Method, Outcome, Settings, Stop, split_planes};
use std::f64::consts::TAU;
use std::path::Path;

const SIZE: [usize; 2] = [23, 18];
const SIGMA: f64 = 0.1;
/// `rho / lambda` of the program.
const PENALTY: f64 = 2.5;

fn splitting() -> Settings {
    Settings {
        method: Method::Splitting,
        tolerance: 1e-6,
        max_iterations: 3000,
        ..Settings::default()
    }
}

fn run_with(model: &Ridge, options: &RunOptions, settings: Settings, noisy: &[&[f32]]) -> Vec<Outcome> {
    let denoiser = Denoiser::new(gpu(), model, options, settings, SIZE, noisy.len()).unwrap();
    denoiser.run(noisy, |_, _, _| {}).unwrap()
}

fn run(model: &Ridge, settings: Settings, noisy: &[&[f32]]) -> Vec<Outcome> {
    run_with(model, &options(SIGMA), settings, noisy)
}

fn cases() -> Vec<(Ridge, f64)> {
    vec![(cosines(), 1.0), (weakly_convex(), 1.0), (weakly_convex(), 1.9)]
}

/// The iteration in f64 by other means: powers of the filters' transforms instead of their autocorrelation, bisection instead of an
/// inverse spline, the circulant inverse as a sum over positions.
struct Reference<'a> {
    ridge: RidgeReference<'a>,
    splines: Vec<Hinges>,
    alphas: Vec<f64>,
    penalty: f64,
    lambda: f64,
    y: Vec<f64>,
    planes: [usize; 2],
    /// Impulse response of `1 / (1 + rho S)`.
    kernel: Vec<f64>,
}

impl<'a> Reference<'a> {
    fn new(model: &'a Ridge, lambda: f64, noisy: &[f32]) -> Self {
        let channels = model.bank.channels();
        let of = |c: usize| &model.activations[c.min(model.activations.len() - 1)];
        let side = 2 * model.bank.radius() + 1;
        let planes = split_planes(SIZE, side);
        assert!(planes[1].is_multiple_of(2) && (0..2).all(|axis| planes[axis] >= SIZE[axis] + side - 1));
        let [rows, cols] = planes;
        let penalty = PENALTY * lambda;
        let filters = model.bank.effective_filters();
        let inverse: Vec<f64> = (0..rows * cols)
            .map(|f| {
                let (u, v) = (f / cols, f % cols);
                let power = |filter: &[f64]| {
                    let (mut re, mut im) = (0.0, 0.0);
                    for (k, w) in filter.iter().enumerate() {
                        let phase =
                            TAU * ((u * (k / side)) as f64 / rows as f64 + (v * (k % side)) as f64 / cols as f64);
                        re += w * phase.cos();
                        im += w * phase.sin();
                    }
                    re * re + im * im
                };
                1.0 / (1.0 + penalty * filters.chunks(side * side).map(power).sum::<f64>())
            })
            .collect();
        let kernel = (0..rows * cols)
            .map(|x| {
                let (r, c) = (x / cols, x % cols);
                let wave = |f: usize| {
                    let (u, v) = (f / cols, f % cols);
                    (TAU * ((u * r) as f64 / rows as f64 + (v * c) as f64 / cols as f64)).cos()
                };
                (0..rows * cols).map(|f| inverse[f] * wave(f)).sum::<f64>() / (rows * cols) as f64
            })
            .collect();
        Self {
            ridge: RidgeReference::new(model, SIGMA, SIZE),
            splines: (0..channels).map(|c| Hinges::new(of(c))).collect(),
            alphas: model.alphas(SIGMA).unwrap(),
            penalty,
            lambda,
            y: widen(noisy),
            planes,
            kernel,
        }
    }

    /// `u` with `alpha (u - v) rho + lambda phi(alpha u) = 0`.
    fn prox(&self, channel: usize, v: f64) -> f64 {
        let (alpha, spline) = (self.alphas[channel], &self.splines[channel]);
        let defect = |t: f64| t + self.lambda / self.penalty * spline.value(t) - alpha * v;
        let reach = 4.0 * (alpha * v).abs() + 100.0;
        let (mut low, mut high) = (-reach, reach);
        assert!(defect(low) < 0.0 && defect(high) > 0.0);
        for _ in 0..120 {
            let middle = 0.5 * (low + high);
            if defect(middle) < 0.0 {
                low = middle
            } else {
                high = middle
            }
        }
        low / alpha
    }

    fn solve(&self, g: &[f64]) -> Vec<f64> {
        let [rows, cols] = self.planes;
        let place = |pixel: usize| (pixel / SIZE[1], pixel % SIZE[1]);
        (0..g.len())
            .map(|to| {
                let (r, c) = place(to);
                let term = |from: usize| {
                    let (s, d) = place(from);
                    g[from] * self.kernel[(rows + r - s) % rows * cols + (cols + c - d) % cols]
                };
                (0..g.len()).map(term).sum()
            })
            .collect()
    }

    /// The iterate, and how far f32 may be from it in norm if every iteration passes on the error of the one before.
    fn iterate(&self, iterations: usize) -> (Vec<f64>, f64) {
        let mut x = self.y.clone();
        let pixels = x.len();
        let mut dual = vec![0.0; pixels * self.alphas.len()];
        let mut error = 0.0;
        for _ in 0..iterations {
            let w = self.ridge.responses(&x);
            let mut q = Bounded::exact(&dual);
            for (at, d) in dual.iter_mut().enumerate() {
                let v = w.value[at] + *d;
                let u = self.prox(at / pixels, v);
                *d = v - u;
                q.value[at] = w.value[at] - u + *d;
                // w counts in v, in u and by itself, J expands by at most 1 / (1 + slope_min / PENALTY) < 1.3.
                q.error[at] = 4.0 * w.error[at] + 12.0 * EPS * (v.abs() + u.abs());
            }
            let back = self.ridge.adjoint(q);
            let g: Vec<f64> = (0..pixels)
                .map(|i| x[i] - self.y[i] + self.penalty * back.value[i])
                .collect();
            let step = self.solve(&g);
            // Some 60 roundings on the way through two transforms of planes of 24 x 24 or 30.
            error += self.penalty * norm(&back.error) + 60.0 * EPS * norm(&g) + 4.0 * EPS * norm(&x);
            x.iter_mut().zip(&step).for_each(|(x, s)| *x -= s);
        }
        // Errors of earlier iterations pass through W, the prox and the step: a few times as large at most here.
        (x, 3.0 * error)
    }
}

#[test]
fn the_first_iterations_are_those_of_the_formula() {
    let _turn = turn();
    for (model, lambda) in cases() {
        let noisy = image(3, SIZE);
        let reference = Reference::new(&model, lambda, &noisy);
        for iterations in [1, 2] {
            let settings = Settings {
                lambda,
                max_iterations: iterations,
                tolerance: 1e-9,
                ..splitting()
            };
            let outcome = run(&model, settings, &[&noisy]).remove(0);
            assert_eq!((outcome.stop, outcome.iterations), (Stop::MaxIterations, iterations));
            let (want, allowed) = reference.iterate(iterations);
            let apart = distance(&widen(&outcome.image), &want);
            let name = format!("{} lambda {lambda}, iteration {iterations}", model.name);
            assert!(apart <= allowed, "{name}: {apart:e}, allowed {allowed:e}");
            let moved = distance(&want, &reference.iterate(iterations - 1).0);
            assert!(
                allowed < 0.2 * moved,
                "{name}: allowed {allowed:e} of a step of {moved:e}"
            );
        }
    }
}

/// The proximal step goes along with the last layer, whatever cuts it, whether products are taken tap by tap or at points.
#[test]
fn every_style_takes_the_steps_of_the_formula() {
    let _turn = turn();
    // Launches for some of the channels each must find these channels' splines.
    let mut many = many_cosines();
    many.activations = (0..80).map(|c| spline(c, 7, 0.0, 1.0)).collect();
    for model in [weakly_convex(), many] {
        let noisy = image(3, SIZE);
        let settings = Settings {
            max_iterations: 2,
            tolerance: 1e-9,
            ..splitting()
        };
        let (want, _) = Reference::new(&model, 1.0, &noisy).iterate(2);
        let mut at_points = 0;
        for style in KernelStyle::ALL {
            let last = model.bank.layers().last().unwrap();
            let plan = ConvPlan::new(style, last.inputs, last.outputs, last.size);
            at_points += usize::from(plan.held.is_some());
            let styled = RunOptions {
                style: Some(style),
                ..options(SIGMA)
            };
            let outcome = run_with(&model, &styled, settings, &[&noisy]).remove(0);
            let apart = distance(&widen(&outcome.image), &want);
            let name = format!("{} {style:?}", model.name);
            // Some ten roundings; a wrong channel or a stale variable is five orders off.
            let allowed = 2e-6 * norm(&want);
            assert!(apart <= allowed, "{name}: {apart:e}, allowed {allowed:e}");
        }
        assert_eq!(at_points > 0, model.bank.channels() == 80);
    }
}

#[test]
fn more_knots_than_it_has_room_for_are_left_to_the_accelerated_gradient() {
    let _turn = turn();
    let noisy = image(9, SIZE);
    let mut model = cosines();
    for (knots, split) in [(4000, true), (4200, false)] {
        model.activations = vec![spline(1, knots, 0.0, 1.0)];
        let limited = |method| Settings {
            method,
            max_iterations: 3,
            ..splitting()
        };
        let [a, b] = [Method::Splitting, Method::Accelerated].map(|m| run(&model, limited(m), &[&noisy]).remove(0));
        assert_eq!(a.image != b.image, split, "{knots} knots");
    }
}

#[test]
fn it_reaches_the_minimiser_of_the_accelerated_gradient_in_fewer_iterations() {
    let _turn = turn();
    for (model, lambda) in cases() {
        let noisy = image(1, SIZE);
        let settings = Settings { lambda, ..splitting() };
        let outcome = run(&model, settings, &[&noisy]).remove(0);
        let gradient = Settings {
            method: Method::Accelerated,
            ..settings
        };
        let other = run(&model, gradient, &[&noisy]).remove(0);
        let name = format!("{} lambda {lambda}", model.name);
        assert_eq!(outcome.stop, Stop::Converged, "{name}");
        assert!(
            outcome.iterations < other.iterations,
            "{name}: {} iterations, {} by gradients",
            outcome.iterations,
            other.iterations
        );
        let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &settings);
        let best = problem.accelerated(900);
        let off = problem.distance_bound(&best);
        let apart = distance(&widen(&outcome.image), &best);
        let way = distance(&problem.y, &best);
        assert!(off < 1e-4 * way, "{name}: the reference is off by {off:e} of {way:e}");
        assert!(
            apart <= off + 1e-4 * way,
            "{name}: {apart:e} from the minimiser, {way:e} from the start"
        );
        let (energy, error) = problem.energy(&widen(&outcome.image));
        assert!(
            (outcome.energy - energy).abs() <= error,
            "{name}: energy {}, want {energy}",
            outcome.energy
        );
    }
}

#[test]
fn results_depend_neither_on_the_batch_nor_on_tiles_nor_on_the_run() {
    let _turn = turn();
    let images = [
        image(5, SIZE),
        vec![0.0; SIZE[0] * SIZE[1]],
        image(6, SIZE).iter().map(|v| 4.0 * v - 2.0).collect(),
    ];
    // Nothing but zeros is a minimiser for the first model, and is found out at the first look, behind the first iteration: the images
    // behind it go on in other slots.
    for (model, early) in [(cosines(), true), (weakly_convex(), false)] {
        let settings = Settings {
            tolerance: 1e-5,
            ..splitting()
        };
        let alone: Vec<_> = images.iter().map(|y| run(&model, settings, &[y]).remove(0)).collect();
        let counts: Vec<_> = alone.iter().map(|o| o.iterations).collect();
        assert!(
            counts[0] != counts[1] && (counts[1] == 1) == early,
            "{counts:?} test nothing"
        );
        let same = |got: &Outcome, want: &Outcome, what: &str| {
            assert_eq!((got.iterations, got.change), (want.iterations, want.change), "{what}");
            assert!(got.image == want.image, "{what}: images differ");
        };
        let denoiser = Denoiser::new(gpu(), &model, &options(SIGMA), settings, SIZE, 3).unwrap();
        // The second and the third time, dual variables of other images lie where new ones start.
        for order in [&[0, 1, 2][..], &[1, 2, 0], &[2, 0, 1], &[1, 1]] {
            let batch: Vec<&[f32]> = order.iter().map(|&i| images[i].as_slice()).collect();
            let together = denoiser.run(&batch, |_, _, _| {}).unwrap();
            for (got, &i) in together.iter().zip(order) {
                same(got, &alone[i], &format!("{} {order:?}", model.name));
            }
        }
        let tiled = RunOptions {
            tile: Some(8),
            ..options(SIGMA)
        };
        same(
            &run_with(&model, &tiled, settings, &[&images[0]])[0],
            &alone[0],
            "tiles of 8",
        );
    }
}

#[test]
fn what_it_does_not_finish_the_accelerated_gradient_does() {
    let _turn = turn();
    // A trained one is as little convex as it may be, and slow in the end. This one does not mirror its images, as the reference does not.
    let model = Shipped::or_file(Path::new("wcrr-48")).unwrap();
    let noisy = image(8, SIZE);
    let settings = Settings {
        tolerance: 4e-7,
        ..splitting()
    };
    let outcome = run(&model, settings, &[&noisy]).remove(0);
    assert_eq!(outcome.stop, Stop::Converged);
    assert!(
        outcome.iterations > 60,
        "{} iterations hand nothing over",
        outcome.iterations
    );
    let stopped = Settings {
        max_iterations: 60,
        ..settings
    };
    let before = run(&model, stopped, &[&noisy]).remove(0);
    assert_eq!((before.stop, before.iterations), (Stop::MaxIterations, 60));
    let problem = Problem::new(&model, SIGMA, SIZE, &noisy, &settings);
    let steep = |o: &Outcome| {
        let x = widen(&o.image);
        norm(&problem.ridge.objective_gradient(&x, &problem.y, settings.lambda))
    };
    assert!(
        steep(&outcome) < 0.7 * steep(&before),
        "{} {}",
        steep(&outcome),
        steep(&before)
    );
}

#[test]
fn under_a_box_it_is_the_accelerated_gradient() {
    let _turn = turn();
    let noisy = image(9, SIZE);
    let settings = Settings {
        limits: Some((0.3, 0.7)),
        ..splitting()
    };
    let accelerated = Settings {
        method: Method::Accelerated,
        ..settings
    };
    for model in [cosines(), weakly_convex()] {
        let [a, b] = [settings, accelerated].map(|s| run(&model, s, &[&noisy]).remove(0));
        assert!(a.image == b.image && a.iterations == b.iterations && a.restarts == b.restarts);
    }
}

#[test]
fn changes_may_be_measured_by_the_noise() {
    let _turn = turn();
    let model = cosines();
    let noisy = image(4, SIZE);
    let scale = |o: &Outcome| norm(&widen(&o.image)) / (SIZE[0] as f64 * SIZE[1] as f64).sqrt();
    for fraction in [1e-1, 1e-2, 1e-3] {
        let settings = Settings {
            tolerance: 1e-9,
            noise_tolerance: Some(fraction),
            ..splitting()
        };
        let outcome = run(&model, settings, &[&noisy]).remove(0);
        assert_eq!(outcome.stop, Stop::Converged);
        assert!(outcome.change <= fraction && outcome.iterations < 60, "{outcome:?}");
        // The same stop, said relative to the image.
        let relative = Settings {
            tolerance: fraction * SIGMA / scale(&outcome) * 1.001,
            noise_tolerance: None,
            ..settings
        };
        assert_eq!(
            run(&model, relative, &[&noisy])[0].iterations,
            outcome.iterations,
            "{fraction}"
        );
    }
}
