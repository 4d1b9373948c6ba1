//! The optimiser of ridge regularizers: the proximal step of nodal values against the exact host solver, clipping, refusal.

use crate::common::{gpu, values};
use crate::reference::device::turn;
use crate::reference::models::layer;
use knotwork::Error;
use knotwork::filters::FilterBank;
use knotwork::gpu::Buffer;
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::tv2::{Loss, fit_tv2};
use knotwork::spline::{Samples, SlopeBounds, Spline};
use knotwork::train::{BatchShape, Optimiser, OptimiserSettings, ParameterGradient, TrainableRidge};

const BOUNDS: (f64, f64) = (-1.0, 5.0);

/// Symmetric knots, uneven; odd values inside the bounds.
fn odd_spline(scale: f64, count: usize) -> Spline {
    let half: Vec<f64> = (1..=count / 2)
        .map(|n| scale * (n as f64 + 0.3 * (n * n) as f64))
        .collect();
    let middle = if count % 2 == 1 { vec![0.0] } else { vec![] };
    let knots: Vec<f64> = half
        .iter()
        .rev()
        .map(|t| -t)
        .chain(middle)
        .chain(half.iter().copied())
        .collect();
    let knots: Vec<f64> = knots.iter().map(|t| f64::from(*t as f32)).collect();
    let phi = |t: f64| t.signum() * (2.0 * t.abs()).min(scale * 1.7);
    Spline::new(knots.clone(), knots.iter().map(|t| f64::from(phi(*t) as f32)).collect()).unwrap()
}

fn model(splines: Vec<Spline>) -> Ridge {
    Ridge {
        bank: FilterBank::new(vec![layer(5, 1, splines.len(), 3)]).unwrap(),
        activations: splines,
        scaling: Scaling {
            log: vec![Spline::new(vec![0.0, 0.5], vec![0.1, -0.2]).unwrap()],
            epsilon: 0.01,
        },
        norm_squared: 1.0,
        norm_kind: NormKind::Estimate,
        border: Border::Zero,
        slope_bounds: BOUNDS,
        sigma_range: (0.0, 0.5),
        name: "raw".into(),
        provenance: serde_json::Value::Null,
    }
}

struct Bench {
    ridge: TrainableRidge,
    gradient: ParameterGradient,
}

impl Bench {
    fn new(model: &Ridge) -> Self {
        Self::with(model, true)
    }

    fn with(model: &Ridge, unit_norm: bool) -> Self {
        let batch = BatchShape {
            patches: 1,
            height: 3,
            width: 3,
            zero_mean: true,
            composed: unit_norm,
            unit_norm,
            style: None,
        };
        let ridge = TrainableRidge::new(gpu(), model, batch).unwrap();
        let plane = gpu().upload("plane", &values(1, 9)).unwrap();
        let gradient = ridge.parameter_gradient(gpu(), &plane, &plane).unwrap();
        Self { ridge, gradient }
    }

    fn optimiser(&self, odd: bool, settings: &OptimiserSettings) -> knotwork::Result<Optimiser> {
        let bounds = SlopeBounds::new(BOUNDS.0, BOUNDS.1).unwrap();
        Optimiser::for_ridge(gpu(), &self.ridge, &self.gradient, &bounds, odd, settings)
    }

    fn groups(&self) -> [&Buffer; 3] {
        [
            self.gradient.weights(),
            self.gradient.activations(),
            self.gradient.scalings(),
        ]
    }

    fn parameters(&self) -> [Vec<f32>; 3] {
        [
            self.ridge.weights(),
            self.ridge.activations().values(),
            self.ridge.scalings().values(),
        ]
        .map(|b| gpu().read(b).unwrap())
    }

    /// Gradients of step `step`, written to the device.
    fn pose(&self, step: u64, gain: f32) -> Vec<f32> {
        let [_, entries, _] = self.groups().map(|group| {
            let g: Vec<f32> = values(100 + 3 * step + group.len() as u64, group.len())
                .iter()
                .map(|v| gain * v)
                .collect();
            gpu().write(group, &g).unwrap();
            g
        });
        entries
    }
}

const SETTINGS: OptimiserSettings = OptimiserSettings {
    filters: 1e-2,
    values: 0.02,
    scalings: 1e-2,
    decays: [0.8, 0.9],
    tv2: 1e-7,
    clip: 0.0,
};

#[test]
fn values_take_the_exact_proximal_step_inside_the_bounds() {
    let _turn = turn();
    for odd in [true, false] {
        let splines = vec![odd_spline(0.01, 9), odd_spline(0.2, 4), odd_spline(0.05, 12)];
        let bench = Bench::new(&model(splines.clone()));
        let mut optimiser = bench.optimiser(odd, &SETTINGS).unwrap();
        let counts: Vec<usize> = splines.iter().map(Spline::len).collect();
        let total: usize = counts.iter().sum();
        let bounds = SlopeBounds::new(BOUNDS.0, BOUNDS.1).unwrap();
        let (mut m, mut v) = (vec![0.0; total], vec![0.0; total]);
        let (mut at_bounds, mut straight) = (0, 0);
        for step in 0..6_u64 {
            // From where the device is, so that only the rounding of one step counts.
            let before: Vec<f64> = bench.parameters()[1].iter().map(|f| f64::from(*f)).collect();
            let g: Vec<f64> = bench.pose(step, 1e-3).iter().map(|g| f64::from(*g)).collect();
            let rate = 1.0 / (1.0 + step as f64);
            optimiser.step(gpu(), rate).unwrap().unwrap();
            let after = bench.parameters()[1].clone();
            let mut first = 0;
            for (spline, &count) in splines.iter().zip(&counts) {
                let mirror = |n: usize| first + count - 1 - n;
                let unbiased = |decay: f64| 1.0 - decay.powi(step as i32 + 1);
                for n in 0..count {
                    let own = first + n;
                    let g = if odd { 0.5 * (g[own] - g[mirror(n)]) } else { g[own] };
                    m[own] = 0.8 * m[own] + 0.2 * g;
                    v[own] = 0.9 * v[own] + 0.1 * g * g;
                }
                let largest = v[first..first + count].iter().fold(0.0_f64, |a, b| a.max(*b));
                let scale: Vec<f64> = (first..first + count)
                    .map(|n| {
                        (v[n] / unbiased(0.9))
                            .sqrt()
                            .max(1e-2 * (largest / unbiased(0.9)).sqrt())
                    })
                    .collect();
                let eta = rate * 0.02;
                let targets: Vec<f64> = (0..count)
                    .map(|n| before[first + n] - eta * m[first + n] / unbiased(0.8) / scale[n])
                    .collect();
                let weights: Vec<f64> = scale.iter().map(|s| s / eta).collect();
                let samples = Samples::new(spline.knots(), &targets, Some(&weights)).unwrap();
                let want = fit_tv2(&samples, Loss::Squared, 1e-7, &bounds).unwrap().spline;
                let size = targets.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
                for n in 0..count {
                    let got = f64::from(after[first + n]);
                    let want = want.value(spline.knots()[n]);
                    assert!(
                        (got - want).abs() < 2e-4 * size,
                        "step {step}, entry {n}: {got} against {want}, size {size}"
                    );
                    if odd {
                        assert!(after[first + n] == -after[mirror(n)], "not antisymmetric");
                    }
                }
                let got: Vec<f64> = after[first..first + count].iter().map(|f| f64::from(*f)).collect();
                let got = Spline::new(spline.knots().to_vec(), got).unwrap();
                let (low, high) = got.slope_range();
                assert!(
                    low > BOUNDS.0 - 1e-3 && high < BOUNDS.1 + 1e-3,
                    "slopes {low} to {high}"
                );
                let held = |s: &f64| (s - BOUNDS.0).abs() < 1e-3 || (s - BOUNDS.1).abs() < 1e-3;
                at_bounds += got.slopes().iter().filter(|s| held(s)).count();
                straight += got.slope_changes().iter().filter(|a| a.abs() < 1e-3).count();
                first += count;
            }
        }
        assert!(at_bounds > 3, "bounds never held: {at_bounds}");
        assert!(straight > 3, "TV2 never made a piece straight: {straight}");
        let back = bench.ridge.to_ridge(gpu()).unwrap();
        back.check().unwrap();
    }
}

/// Coefficients of a filter in the orthonormal basis of cosines, from the formula of `filter_cosines.wgsl`; or back.
fn cosines(filter: &[f64], size: usize, inverse: bool) -> Vec<f64> {
    let c = |u: usize, k: usize| {
        let scale = if u == 0 { 1.0 } else { 2.0 } / size as f64;
        scale.sqrt() * (std::f64::consts::PI * (k as f64 + 0.5) * u as f64 / size as f64).cos()
    };
    let basis = |u: [usize; 2], k: [usize; 2]| c(u[0], k[0]) * c(u[1], k[1]);
    let place = |n: usize| [n / size, n % size];
    let entry = |n: usize, m: usize| match inverse {
        true => basis(place(m), place(n)),
        false => basis(place(n), place(m)),
    };
    let taps = size * size;
    (0..taps)
        .map(|n| (0..taps).map(|m| entry(n, m) * filter[m]).sum())
        .collect()
}

#[test]
fn filters_take_adams_step_on_their_cosine_coefficients() {
    let _turn = turn();
    // One side above and one below what 64 invocations cover in one round; the largest; two layers of different sides, also where the
    // filters are their composition.
    let one = |filters: usize, size: usize| vec![layer(5, 1, filters, size)];
    let layered = || vec![layer(6, 1, 2, 5), layer(7, 2, 3, 3)];
    for (layers, unit_norm) in [
        (one(3, 7), true),
        (one(2, 9), true),
        (one(1, 15), true),
        (layered(), false),
        (layered(), true),
    ] {
        let shapes: Vec<[usize; 2]> = layers.iter().map(|l| [l.inputs * l.outputs, l.size]).collect();
        let model = Ridge {
            bank: FilterBank::new(layers).unwrap(),
            ..model(vec![odd_spline(0.01, 9)])
        };
        let bench = Bench::with(&model, unit_norm);
        let mut optimiser = bench.optimiser(true, &SETTINGS).unwrap();
        let mut moments = vec![[0.0; 2]; bench.ridge.weights().len()];
        for step in 0..3_u64 {
            let before = bench.parameters()[0].clone();
            bench.pose(step, 1e-3);
            let g: Vec<f32> = gpu().read(bench.groups()[0]).unwrap();
            optimiser.step(gpu(), 0.5).unwrap().unwrap();
            let after = &bench.parameters()[0];
            let mut first = 0;
            for &[filters, size] in &shapes {
                for _ in 0..filters {
                    let own = first..first + size * size;
                    let wide = |all: &[f32]| all[own.clone()].iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
                    let (mut coefficients, slopes) =
                        (cosines(&wide(&before), size, false), cosines(&wide(&g), size, false));
                    for (n, moment) in moments[own.clone()].iter_mut().enumerate() {
                        *moment = [
                            0.8 * moment[0] + 0.2 * slopes[n],
                            0.9 * moment[1] + 0.1 * slopes[n] * slopes[n],
                        ];
                        let unbiased = |decay: f64| 1.0 - decay.powi(step as i32 + 1);
                        let scale = (moment[1] / unbiased(0.9)).sqrt();
                        coefficients[n] -= 0.5 * 1e-2 * moment[0] / unbiased(0.8) / scale;
                    }
                    let want = cosines(&coefficients, size, true);
                    for (n, want) in want.iter().enumerate() {
                        let got = f64::from(after[first + n]);
                        assert!(
                            (got - want).abs() < 2e-6,
                            "step {step}, side {size}, weight {n} of the filter at {first}: {got} against {want}"
                        );
                    }
                    first = own.end;
                }
            }
            assert_eq!(first, after.len());
        }
    }
}

#[test]
fn filters_beyond_the_step_s_memory_are_refused() {
    let _turn = turn();
    let model = Ridge {
        bank: FilterBank::new(vec![layer(5, 1, 1, 17)]).unwrap(),
        ..model(vec![odd_spline(0.01, 9)])
    };
    let error = Bench::with(&model, false).optimiser(true, &SETTINGS).unwrap_err();
    assert!(matches!(&error, Error::Usage(e) if e.contains("at most 15")), "{error}");
}

#[test]
fn long_gradients_are_clipped_and_the_rest_moves_as_adam_does() {
    let _turn = turn();
    let bench = Bench::new(&model(vec![odd_spline(0.01, 9)]));
    let settings = OptimiserSettings { clip: 2.0, ..SETTINGS };
    let mut optimiser = bench.optimiser(true, &settings).unwrap();
    for step in 0..25 {
        bench.pose(step, 1.0);
        let result = optimiser.step(gpu(), 1.0).unwrap().unwrap();
        assert_eq!(result.factors, [1.0; 3], "step {step}");
    }
    bench.pose(25, 1000.0);
    let before: Vec<f64> = optimiser
        .moments()
        .iter()
        .map(|m| {
            gpu()
                .read::<f32>(*m)
                .unwrap()
                .iter()
                .skip(1)
                .step_by(2)
                .map(|v| f64::from(*v))
                .sum()
        })
        .collect();
    let decay = f64::from(optimiser.clock().decay2);
    let result = optimiser.step(gpu(), 1.0).unwrap().unwrap();
    for (g, before) in before.iter().enumerate() {
        let longest = 2.0 * (before / (1.0 - decay)).sqrt();
        let kept = result.norms[g] * result.factors[g];
        assert!(
            (kept / longest - 1.0).abs() < 1e-5,
            "group {g}: {kept} of at most {longest}"
        );
    }
}

#[test]
fn gradients_that_are_not_finite_change_nothing() {
    let _turn = turn();
    for group in 0..3 {
        for bad in [f32::NAN, f32::INFINITY] {
            let bench = Bench::new(&model(vec![odd_spline(0.01, 9), odd_spline(0.2, 5)]));
            let mut optimiser = bench.optimiser(true, &SETTINGS).unwrap();
            bench.pose(1, 1.0);
            optimiser.step(gpu(), 1.0).unwrap().unwrap();
            let state = |o: &Optimiser| {
                let moments: Vec<Vec<f32>> = o.moments().into_iter().map(|m| gpu().read(m).unwrap()).collect();
                let bits = |all: Vec<Vec<f32>>| all.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                (bits(bench.parameters().to_vec()), bits(moments), o.clock())
            };
            let before = state(&optimiser);
            bench.pose(2, 1.0);
            let mut g: Vec<f32> = gpu().read(bench.groups()[group]).unwrap();
            g[1] = bad;
            gpu().write(bench.groups()[group], &g).unwrap();
            assert_eq!(optimiser.step(gpu(), 1.0).unwrap(), None);
            assert!(state(&optimiser) == before, "group {group}, {bad}");
        }
    }
}

#[test]
fn settings_out_of_range_are_refused() {
    let _turn = turn();
    let bench = Bench::new(&model(vec![odd_spline(0.01, 9)]));
    for (settings, why) in [
        (
            OptimiserSettings {
                filters: -1.0,
                ..SETTINGS
            },
            "filters",
        ),
        (
            OptimiserSettings {
                values: 0.0,
                ..SETTINGS
            },
            "values",
        ),
        (
            OptimiserSettings {
                scalings: f64::NAN,
                ..SETTINGS
            },
            "scalings",
        ),
        (
            OptimiserSettings {
                tv2: f64::INFINITY,
                ..SETTINGS
            },
            "tv2",
        ),
        (OptimiserSettings { clip: -2.0, ..SETTINGS }, "clip"),
        (
            OptimiserSettings {
                decays: [1.0, 0.9],
                ..SETTINGS
            },
            "decays",
        ),
    ] {
        let error = bench.optimiser(true, &settings).unwrap_err();
        assert!(matches!(&error, Error::Usage(e) if e.contains(why)), "{error}");
    }
    assert!(bench.optimiser(true, &SETTINGS).unwrap().step(gpu(), 0.0).is_err());
    let lopsided = Spline::new(vec![-1.0, 0.0, 2.0], vec![0.0, 0.1, 0.2]).unwrap();
    let bench = Bench::new(&model(vec![lopsided]));
    assert!(matches!(bench.optimiser(true, &SETTINGS), Err(Error::Data(_))));
    bench.optimiser(false, &SETTINGS).unwrap();
}
