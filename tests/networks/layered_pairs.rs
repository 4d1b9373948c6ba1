//! Certificates of networks of layers against pairs of images: `|N(x) - N(y)| <= |x - y|`, and proximal operators and averaged
//! denoisers are firmly non-expansive.
//!
//! A network whose largest ratio is far below 1 tests nothing: a quarter more would pass. So there are networks that attain their
//! bounds, directions that are stretched most, and networks a thousandth beyond their bounds, which must be found out.

use crate::common::{EPS, gpu, values};
use crate::reference::device::turn;
use crate::reference::layered::Network;
use crate::reference::{dot, norm, widen};
use knotwork::filters::ConvLayer;
use knotwork::filters::norm::row_sum_bound;
use knotwork::layered::{Architecture, Layered, LayeredRunner, Parts};
use knotwork::spline::Spline;

/// What ratios and the inequality may exceed their bounds by, relatively.
const ALLOWED: f64 = 1e-6;
/// Images around one: all pairs of `IMAGES` are looked at, more than 1000.
const IMAGES: usize = 46;
/// How far the images are from the one in the middle, relative to its length.
const DISTANCES: [f64; 5] = [1e-3, 1e-2, 0.1, 0.5, 4.0];

/// A network with what is needed to judge it.
struct Case {
    model: Layered,
    reference: Network,
    size: [usize; 2],
    /// `a` of the firmly non-expansive map `(1 - a) x + a N(x)`; 1 if the network itself is to be one.
    averaging: f64,
}

/// Products that are not zero in a value of a layer or its adjoint, at most.
fn products(layer: &ConvLayer) -> usize {
    let taps = layer.size * layer.size;
    let of = |first: usize, stride: usize, count: usize| {
        let filters = (0..count).flat_map(move |n| (0..taps).map(move |t| (first + n * stride) * taps + t));
        filters.filter(|n| layer.weights[*n] != 0.0).count()
    };
    let rows = (0..layer.outputs).map(|o| of(o * layer.inputs, 1, layer.inputs));
    let columns = (0..layer.inputs).map(|i| of(i, layer.inputs, layer.outputs));
    rows.chain(columns).max().unwrap()
}

/// What pairs of images showed.
#[derive(Debug, Default)]
struct Seen {
    pairs: usize,
    /// `|N x - N y| / |x - y|`.
    largest: f64,
    /// How far a ratio or the inequality went beyond what is allowed, at most; negative if none did.
    beyond: f64,
    /// The least `(<F x - F y, x - y> - |F x - F y|^2) / |x - y|^2`.
    firmness: f64,
}

impl Case {
    fn new(model: Layered, size: [usize; 2]) -> Self {
        let averaging = match model.architecture {
            Architecture::Denoiser { .. } => 0.5,
            Architecture::Unrolled { .. } => 1.0,
        };
        let logs: Vec<Vec<f32>> = model
            .scalings
            .iter()
            .map(|s| s.iter().map(|a| a.ln()).collect())
            .collect();
        Self {
            reference: Network::new(&model, &logs),
            model,
            size,
            averaging,
        }
    }

    fn pixels(&self) -> usize {
        self.size[0] * self.size[1]
    }

    /// A bound of the l2 error of the network in f32 on images of length `length`. A sum of `n` products that are not zero errs
    /// by at most `(n + 1) EPS` times that of their sizes, in l2 `(n + 1) EPS ||W|| |u|` with the norm of the layer of absolute
    /// values; a shift and a spline by some roundings of what they add, `reach` at most. The parts of a network do not expand
    /// distances, so `|u| <= |u of 0| + length`, and errors add up.
    fn rounding(&self, length: f64) -> f64 {
        let responses = self
            .reference
            .responses(&self.reference.raw, &vec![0.0; self.pixels()], self.size);
        let mut total = 0.0;
        for (u, layer) in responses.iter().zip(self.model.filters.iter().cycle()) {
            let absolute = layer.weights.iter().map(|w| w.abs()).collect();
            let absolute = ConvLayer::new(layer.inputs, layer.outputs, layer.size, absolute).unwrap();
            let whole = row_sum_bound(&absolute).sqrt();
            total += (products(layer) + 1) as f64 * EPS * whole * (u + length);
        }
        for (set, splines) in self.model.activations.iter().enumerate() {
            let reach = splines.iter().enumerate().map(|(c, spline)| {
                let ends = spline.knots().iter().chain(spline.values());
                let furthest = ends.fold(0.0_f64, |m, v| m.max(v.abs()));
                furthest / f64::from(self.model.scalings[set][c]) + f64::from(self.model.shifts[set][c].abs())
            });
            let reach: f64 = reach.map(|r| r * r).sum::<f64>() * self.pixels() as f64;
            total += 8.0 * EPS * (reach.sqrt() + responses[set + 1] + length);
        }
        total
    }

    /// Climbs from `d` to the direction that the network stretches most at `x`: the power method on `J'J` in f64.
    fn climb(&self, x: &[f64], d: &mut Vec<f64>, rounds: usize) {
        for _ in 0..rounds {
            *d = self.reference.gram(&self.reference.raw, x, d, self.size);
            let length = norm(d).max(1e-30);
            d.iter_mut().for_each(|v| *v /= length);
        }
    }

    /// Images around `x`, a third of them along `steepest`, forwards and backwards, at all distances.
    fn around(&self, x: &[f64], steepest: &[f64], seed: u64) -> Vec<Vec<f64>> {
        let mut images = vec![x.iter().map(|v| f64::from(*v as f32)).collect::<Vec<_>>()];
        for n in 0..IMAGES as u64 - 1 {
            let far = DISTANCES[n as usize / 3 % DISTANCES.len()] * norm(x);
            let d = match n % 3 {
                0 if n % 2 == 0 => steepest.to_vec(),
                0 => steepest.iter().map(|v| -v).collect(),
                _ => {
                    let d = widen(&values(seed * 1000 + n, self.pixels()));
                    let length = norm(&d);
                    d.iter().map(|v| v / length).collect()
                }
            };
            images.push(x.iter().zip(d).map(|(x, d)| f64::from((x + far * d) as f32)).collect());
        }
        images
    }

    /// All pairs of images around each of `middles`, through `run`, which takes as many images as it gets.
    fn examine(&self, middles: &[Vec<f64>], run: impl Fn(&[Vec<f64>]) -> Vec<Vec<f64>>) -> Seen {
        let mut seen = Seen {
            firmness: f64::INFINITY,
            beyond: f64::NEG_INFINITY,
            ..Seen::default()
        };
        let mut steepest = vec![0.0; self.pixels()];
        for (n, middle) in middles.iter().enumerate() {
            // From where the last one ended, with something of every direction; at every fourth all the way.
            let fresh = values(n as u64, self.pixels());
            steepest
                .iter_mut()
                .zip(fresh)
                .for_each(|(d, v)| *d += 0.1 * f64::from(v));
            self.climb(middle, &mut steepest, if n % 4 == 0 { 8 } else { 1 });
            let images = self.around(middle, &steepest, 7 + n as u64);
            let results = run(&images);
            let longest = images.iter().map(|x| norm(x)).fold(0.0, f64::max);
            let error = self.rounding(longest);
            for (i, j) in (0..IMAGES).flat_map(|i| (0..i).map(move |j| (i, j))) {
                let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
                let (dx, dn) = (minus(&images[i], &images[j]), minus(&results[i], &results[j]));
                let apart = norm(&dx);
                if apart == 0.0 {
                    continue;
                }
                seen.pairs += 1;
                // Of images far apart rounding is no excuse.
                let rounding = if apart > 0.4 * norm(middle) {
                    0.0
                } else {
                    2.0 * error / apart
                };
                let ratio = norm(&dn) / apart;
                let a = self.averaging;
                let df: Vec<f64> = dx.iter().zip(&dn).map(|(x, n)| (1.0 - a) * x + a * n).collect();
                let firmness = (dot(&df, &dx) - dot(&df, &df)) / (apart * apart);
                if rounding < 1e-3 {
                    seen.largest = seen.largest.max(ratio);
                    seen.firmness = seen.firmness.min(firmness);
                }
                seen.beyond = seen.beyond.max(ratio - 1.0 - ALLOWED - rounding);
                // An error of F by e changes the inequality by at most e |x - y| (1 + 2) and its square.
                seen.beyond = seen.beyond.max(-firmness - ALLOWED - rounding * (3.0 + rounding));
            }
        }
        seen
    }

    /// The same on the device.
    fn examine_on_device(&self, middles: &[Vec<f64>]) -> Seen {
        let runner = LayeredRunner::new(gpu(), &self.model, IMAGES, self.size).unwrap();
        self.examine(middles, |images| {
            let flat: Vec<f32> = images.iter().flatten().map(|v| *v as f32).collect();
            let out = runner.run(gpu(), &flat).unwrap();
            out.chunks_exact(self.pixels()).map(widen).collect()
        })
    }
}

/// A layer of single taps: from input `i` to output `o` with weight `weight(o, i)`, displaced by `(o % 3 - 1, o / 3 % 3 - 1)` pixels where
/// `displaced`.
fn taps(outputs: usize, inputs: usize, displaced: bool, weight: impl Fn(usize, usize) -> f64) -> ConvLayer {
    let mut layer = ConvLayer::new(inputs, outputs, 3, vec![0.0; 9 * inputs * outputs]).unwrap();
    for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
        let tap = if displaced { o % 9 } else { 4 };
        layer.weights[(o * inputs + i) * 9 + tap] = weight(o, i) as f32;
    }
    layer
}

/// Slopes `left`, `middle` and `right`, with knots that f32 holds exactly.
fn bent(channel: usize, [left, middle, right]: [f64; 3]) -> Spline {
    let t = 0.25 + 0.125 * (channel % 3) as f64;
    let inner = middle * t;
    Spline::new(
        vec![-2.0 * t, -t, t, 2.0 * t],
        vec![-inner - left * t, -inner, inner, inner + right * t],
    )
    .unwrap()
}

fn unit(seed: u64, count: usize) -> Vec<f64> {
    let v = widen(&values(seed, count));
    let length = norm(&v);
    v.iter().map(|x| x / length).collect()
}

const CHANNELS: usize = 10;

/// `W_3 phi_2(W_2 phi_1(W_1 x))` that is an isometry wherever all responses are between the inner knots, as long as nothing is moved
/// beyond the border: `W_1` scales by a unit vector, `W_2` reflects the channels and displaces each, all slopes are 1 or -1, and `W_3` takes
/// everything back. The device divides the norms out of the filters, which come in all sizes.
fn tight_denoiser() -> Layered {
    let (v, h) = (unit(1, CHANNELS), unit(2, CHANNELS));
    let sign = |set: usize, c: usize| if (c + set).is_multiple_of(3) { -1.0 } else { 1.0 };
    let reflect = |o: usize, i: usize| f64::from(u8::from(o == i)) - 2.0 * h[o] * h[i];
    let back: Vec<f64> = (0..CHANNELS)
        .map(|o| sign(1, o) * (0..CHANNELS).map(|i| reflect(o, i) * sign(0, i) * v[i]).sum::<f64>())
        .collect();
    let last = taps(CHANNELS, 1, true, |o, _| back[o]).adjoint();
    let slopes = |set: usize, c: usize| [-1.0, 1.0, 0.5].map(|s| s * sign(set, c));
    through_the_device(Layered {
        name: "tight".into(),
        architecture: Architecture::Denoiser { averaging: 0.5 },
        filters: vec![
            taps(CHANNELS, 1, false, |o, _| 3.0 * v[o]),
            taps(CHANNELS, CHANNELS, true, |o, i| reflect(o, i) * (1.0 + 0.3 * i as f64)),
            last,
        ],
        shifts: vec![vec![0.0; CHANNELS]; 2],
        activations: (0..2)
            .map(|set| (0..CHANNELS).map(|c| bent(c, slopes(set, c))).collect())
            .collect(),
        scalings: vec![vec![1.0; CHANNELS], vec![0.5; CHANNELS]],
        slope_bounds: (-1.0, 1.0),
        sigma: 0.1,
        provenance: serde_json::Value::Null,
    })
}

/// `P = W' phi(W .)` with slopes 1 between the inner knots: the identity there, for which the inequality is an equation.
fn tight_proximal() -> Layered {
    let v = unit(3, CHANNELS);
    through_the_device(Layered {
        name: "tight".into(),
        architecture: one_step(),
        filters: vec![taps(CHANNELS, 1, true, |o, _| 0.2 * v[o])],
        shifts: vec![vec![0.03; CHANNELS]],
        activations: vec![(0..CHANNELS).map(|c| bent(c, [0.25, 1.0, 0.0])).collect()],
        scalings: vec![vec![1.0; CHANNELS]],
        slope_bounds: (0.0, 1.0),
        sigma: 0.1,
        provenance: serde_json::Value::Null,
    })
}

/// One step without a blur: `P` itself.
fn one_step() -> Architecture {
    Architecture::Unrolled {
        steps: 1,
        step: 0.5,
        blur: Vec::new(),
    }
}

fn through_the_device(raw: Layered) -> Layered {
    Parts::new(gpu(), &raw, true).unwrap().read(gpu(), &raw, true).unwrap()
}

fn shipped(name: &str) -> Layered {
    let mut model = Layered::shipped_or_file(std::path::Path::new(name)).unwrap();
    if let Architecture::Unrolled { .. } = model.architecture {
        assert_eq!(model.filters.len(), 1);
        model.architecture = one_step();
    }
    model
}

/// Edges under noise, between 0 and 1, some brighter.
fn middles(count: usize, [rows, cols]: [usize; 2]) -> Vec<Vec<f64>> {
    let one = |seed: u64| {
        let turn = values(seed, 4);
        let noise = values(500 + seed, rows * cols);
        let bright = if seed.is_multiple_of(4) { 3.0 } else { 1.0 };
        let pixel = |(n, noise): (usize, f32)| {
            let (row, col) = ((n / cols) as f32 - 4.0, (n % cols) as f32 - 4.0);
            let edge = if turn[0] * row + turn[1] * col > turn[2] {
                0.8
            } else {
                0.2
            };
            f64::from(bright * (edge + 0.17 * turn[3].abs() * noise))
        };
        noise.into_iter().enumerate().map(pixel).collect()
    };
    (1..=count as u64).map(one).collect()
}

#[test]
fn certified_constants_hold_for_pairs_and_are_attained() {
    let _turn = turn();
    for (name, model, size, attained, firmness) in [
        ("tight denoiser", tight_denoiser(), [6, 7], 0.9995, 1e-4),
        ("tight proximal operator", tight_proximal(), [6, 7], 0.9995, 1e-4),
        ("denoiser-25", shipped("denoiser-25"), [9, 10], 0.95, 0.03),
        ("deblur-8", shipped("deblur-8"), [9, 10], 0.8, 0.05),
    ] {
        let case = Case::new(model, size);
        let seen = case.examine_on_device(&middles(100, size));
        println!("{name}: {seen:?}");
        assert!(seen.pairs >= 100_000, "{name}: {seen:?}");
        assert!(seen.beyond <= 0.0, "{name}: {seen:?}");
        assert!(
            seen.largest > attained,
            "{name}: the pairs do not test anything: {seen:?}"
        );
        assert!(
            seen.firmness < firmness,
            "{name}: the pairs do not test firmness: {seen:?}"
        );
    }
}

/// Filters or slopes a thousandth too large are refused, and the pairs would show them.
#[test]
fn certified_constants_hold_for_pairs_only_of_networks_inside_them() {
    let _turn = turn();
    let steeper = |model: &Layered, set: usize| {
        let mut steep = model.clone();
        for spline in &mut steep.activations[set] {
            let values = spline.values().iter().map(|f| 1.001 * f).collect();
            *spline = Spline::new(spline.knots().to_vec(), values).unwrap();
        }
        steep
    };
    let larger = |model: &Layered, layer: usize| {
        let mut large = model.clone();
        large.filters[layer].weights.iter_mut().for_each(|w| *w *= 1.001);
        large
    };
    let (denoiser, proximal) = (tight_denoiser(), tight_proximal());
    let size = [6, 7];
    for model in [
        larger(&denoiser, 0),
        larger(&denoiser, 1),
        larger(&denoiser, 2),
        steeper(&denoiser, 1),
        larger(&proximal, 0),
        steeper(&proximal, 0),
    ] {
        assert!(LayeredRunner::new(gpu(), &model, 1, size).is_err());
        let case = Case::new(model, size);
        let seen = case.examine(&middles(5, size), |images| {
            let run = |x: &Vec<f64>| case.reference.run_with(&case.reference.raw, x, size);
            images.iter().map(run).collect()
        });
        assert!(seen.beyond > 5e-4, "{seen:?}");
    }
}
