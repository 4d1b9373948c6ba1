//! Kernels of flows against f64: outputs poisoned and guarded, awkward numbers of samples, the same bits twice.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, turn, values};
use crate::reference::flow::{ReferenceFlow, lively};
use knotwork::flow::{Flow, FlowDevice, FlowEntry, FlowGradient, FlowParams, ProjectParams, Projection};
use knotwork::gpu::Buffer;
use knotwork::spline::{SlopeBounds, clip_slopes};

const GUARD: usize = 37;
/// Numbers of samples: one, around a quad, a workgroup of quads, and a prime.
const COUNTS: [usize; 6] = [1, 3, 5, 256, 257, 1009];

/// Points that keep away from all knots by more than f32 could confuse, (point, coordinate).
fn points(flow: &Flow, count: usize) -> Vec<f64> {
    let reference = ReferenceFlow::new(flow);
    let candidates = values(count as u64, 8 * flow.dims() * (count + 4));
    let mut chosen = Vec::new();
    for candidate in candidates.chunks_exact(flow.dims()) {
        let point: Vec<f64> = candidate.iter().map(|v| 2.5 * f64::from(*v)).collect();
        if chosen.len() < flow.dims() * count && reference.forward(&point).2 > 2e-5 {
            chosen.extend(point);
        }
    }
    assert_eq!(chosen.len(), flow.dims() * count);
    chosen
}

fn flow(dims: usize, layers: usize) -> Flow {
    // Between 2 and 33 knots, all numbers of pivots.
    lively(dims, layers, |i| [2, 9, 33, 5][i % 4], 3 + dims as u64)
}

/// All kernels of a pass bound to guarded memory.
struct Bench {
    device: FlowDevice,
    quads: usize,
    buffers: Vec<(&'static str, Buffer, usize)>,
    launches: Vec<(knotwork::gpu::Bound, [u32; 3])>,
}

impl Bench {
    fn new(flow: &Flow, points: &[f64]) -> Self {
        let device = FlowDevice::new(gpu(), flow).unwrap();
        let (dims, layers) = (flow.dims(), flow.layers());
        let samples = points.len() / dims;
        let quads = samples.div_ceil(4);
        let slots = flow.splines().map(|s| s.len()).max().unwrap();
        let constants = [
            ("PIVOTS", slots as u32 - 1),
            ("LAYERS", layers as u32),
            ("DIMS", dims as u32),
        ];
        // The batch lies behind two quads of others.
        let stride = quads + 3;
        let mut planes = vec![9.0_f32; 4 * stride * dims];
        for (n, point) in points.chunks_exact(dims).enumerate() {
            for i in 0..dims {
                planes[4 * (i * stride + 2) + n] = ((point[i] - flow.mean[i]) / flow.scale[i]) as f32;
            }
        }
        let entries = device.bank().entries();
        let constant =
            dims as f64 * 0.5 * (2.0 * std::f64::consts::PI).ln() + flow.scale.iter().map(|s| s.ln()).sum::<f64>();
        let params = gpu()
            .params(&[FlowParams {
                quads: quads as u32,
                samples: samples as u32,
                source: 2,
                stride: stride as u32,
                frames: entries as u32,
                entry: 1,
                share: 1.0 / samples as f32,
                constant: constant as f32,
            }])
            .unwrap();
        let source = gpu().upload("points", &planes).unwrap();
        let sizes = [
            ("states", 4 * quads * dims * (layers + 1)),
            ("nll", 4 * quads),
            ("inputs", 4 * quads * dims * layers),
            ("pulls", 8 * quads * dims * layers),
            ("torques", 4 * quads * layers),
            ("gradient", entries + 2 * layers),
            ("losses", 3),
            ("samples", 4 * quads * dims),
        ];
        let buffers: Vec<_> = sizes
            .into_iter()
            .map(|(name, len)| {
                (
                    name,
                    gpu().buffer(name, (len + GUARD).next_multiple_of(4)).unwrap(),
                    len,
                )
            })
            .collect();
        let named = |name: &str| -> &Buffer { &buffers.iter().find(|b| b.0 == name).unwrap().1 };
        // The entries, built here from the flow once more.
        let mut table = Vec::new();
        for (index, spline) in flow.splines().enumerate() {
            let (l, kind) = (index % layers, index / layers);
            let t = spline.knots();
            for n in 0..t.len() {
                table.push(FlowEntry {
                    left: if n == 0 { -99.0 } else { t[n - 1] as f32 },
                    knot: t[n] as f32,
                    right: if n + 1 == t.len() { 99.0 } else { t[n + 1] as f32 },
                    ends: u32::from(n == 0) | u32::from(n + 1 == t.len()) << 1,
                    plane: (l * dims + usize::from(kind == 1)) as u32,
                    pull: (l * dims + usize::from(kind > 0)) as u32,
                    shear: u32::from(kind == 2),
                    pad0: 0,
                });
            }
        }
        let table = gpu().upload("entries", &table).unwrap();
        let mut launches = Vec::new();
        let wide = [(quads as u32).div_ceil(64), 1, 1];
        {
            let all = |name: &str, memory: &[&str], groups: [u32; 3]| {
                let mut bound = vec![("params", params.binding())];
                for &m in memory {
                    bound.push(match m {
                        "parameters" => (m, device.parameters().into()),
                        "knots" => (m, device.bank().table().into()),
                        "records" => (m, device.bank().records().into()),
                        "points" => (m, (&source).into()),
                        "entries" => (m, (&table).into()),
                        other => (m, named(other).into()),
                    });
                }
                let own = if memory.contains(&"knots") {
                    &constants[..]
                } else {
                    &constants[1..]
                };
                (gpu().kernel(name, own).unwrap().bind(gpu(), &bound).unwrap(), groups)
            };
            launches.push(all(
                "flow_forward",
                &["parameters", "knots", "records", "points", "states", "nll"],
                wide,
            ));
            launches.push(all(
                "flow_backward",
                &["parameters", "knots", "records", "states", "inputs", "pulls", "torques"],
                wide,
            ));
            launches.push(all(
                "flow_spline_gradient",
                &["entries", "inputs", "pulls", "gradient"],
                [entries as u32, 1, 1],
            ));
            launches.push(all(
                "flow_totals",
                &["parameters", "pulls", "torques", "nll", "gradient", "losses"],
                [layers as u32 + 1, 1, 1],
            ));
        }
        // Backwards from z, which lies behind the states of all layers.
        let latent = gpu().buffer("latent", 4 * quads * dims).unwrap();
        let inverse = gpu()
            .kernel("flow_inverse", &constants)
            .unwrap()
            .bind(
                gpu(),
                &[
                    ("params", params.binding()),
                    ("parameters", device.parameters().into()),
                    ("knots", device.bank().table().into()),
                    ("records", device.bank().records().into()),
                    ("latent", (&latent).into()),
                    ("samples", named("samples").into()),
                ],
            )
            .unwrap();
        launches.push((inverse, wide));
        let bench = Self {
            device,
            quads,
            buffers,
            launches,
        };
        bench.run_with(&latent, 4 * quads * dims * layers);
        bench
    }

    fn run_with(&self, latent: &Buffer, z: usize) {
        for (_, buffer, _) in &self.buffers {
            gpu().write(buffer, &poison(buffer.len())).unwrap();
        }
        let mut recorder = gpu().record();
        for (n, (bound, groups)) in self.launches.iter().enumerate() {
            if n == 4 {
                recorder.copy(self.buffers[0].1.slice(z, latent.len()), latent.all());
            }
            recorder.dispatch(bound, *groups, 0);
        }
        recorder.submit();
    }

    /// An output, all of it written and nothing behind it.
    fn read(&self, name: &str) -> Vec<f32> {
        let (_, buffer, len) = self.buffers.iter().find(|b| b.0 == name).unwrap();
        let mut all: Vec<f32> = gpu().read(buffer).unwrap();
        assert!(all[*len..].iter().all(|v| poisoned(*v)), "written behind {name}");
        all.truncate(*len);
        if name == "losses" {
            assert!(poisoned(all[0]) && poisoned(all[2]), "other losses were written");
        } else {
            assert!(all.iter().all(|v| v.is_finite()), "{name} is not written everywhere");
        }
        all
    }
}

/// The same flow with everything moved by up to `size` relative to itself: what roundings on the way amount to.
fn shaken(reference: &ReferenceFlow, seed: u64, size: f64) -> ReferenceFlow {
    let mut other = reference.clone();
    let noise = values(seed, reference.parameters.len());
    for (p, r) in other.parameters.iter_mut().zip(&noise) {
        *p += size * (p.abs() + 0.1) * f64::from(*r);
    }
    for (t, r) in other.knots.iter_mut().flatten().zip(values(seed + 1, 4000)) {
        *t += size * (t.abs() + 0.1) * f64::from(r);
    }
    other
}

/// How far an f32 evaluation may be from `of(reference)`: what relative changes of all parameters and knots by some roundings
/// do, eight times the largest of a few.
fn tolerance(reference: &ReferenceFlow, of: impl Fn(&ReferenceFlow) -> Vec<f64>) -> Vec<f64> {
    let value = of(reference);
    let mut error: Vec<f64> = value.iter().map(|v| 8.0 * EPS * (v.abs() + 1.0)).collect();
    for seed in 0..4 {
        for ((e, a), b) in error
            .iter_mut()
            .zip(of(&shaken(reference, 50 + 2 * seed, 4.0 * EPS)))
            .zip(&value)
        {
            *e = e.max(8.0 * (a - b).abs() + 8.0 * EPS * (b.abs() + 1.0));
        }
    }
    error
}

#[test]
fn densities_latent_points_and_inverses_agree_with_float64() {
    let _turn = turn();
    for (dims, layers) in [(1, 1), (1, 4), (2, 1), (2, 3)] {
        let flow = flow(dims, layers);
        let reference = ReferenceFlow::new(&flow);
        for count in COUNTS {
            let points = points(&flow, count);
            let bench = Bench::new(&flow, &points);
            let each = |of: &dyn Fn(&ReferenceFlow, &[f64]) -> Vec<f64>, r: &ReferenceFlow| -> Vec<f64> {
                points.chunks_exact(dims).flat_map(|p| of(r, p)).collect()
            };
            let nll = |r: &ReferenceFlow| each(&|r, p| vec![r.nll(p)], r);
            let error = tolerance(&reference, nll);
            assert_close("nll", &bench.read("nll")[..count], &nll(&reference), |n| error[n]);

            let latent = |r: &ReferenceFlow| each(&|r, p| r.forward(p).0, r);
            let states = bench.read("states");
            let z = &states[4 * bench.quads * dims * layers..];
            let got: Vec<f32> = (0..dims * count)
                .map(|k| z[k % dims * 4 * bench.quads + k / dims])
                .collect();
            let error = tolerance(&reference, latent);
            assert_close("z", &got, &latent(&reference), |n| error[n]);

            // Back again. The inverse is Lipschitz with the constant of the certificate, but for the standardisation.
            let stretch = flow
                .certificate()
                .layers
                .iter()
                .map(|l| l.inverse_lipschitz)
                .product::<f64>();
            let samples = bench.read("samples");
            for (k, x) in points.iter().enumerate() {
                let (n, i) = (k / dims, k % dims);
                let standardised = (x - flow.mean[i]) / flow.scale[i];
                let back = f64::from(samples[i * 4 * bench.quads + n]);
                let bound = 64.0 * EPS * layers as f64 * stretch * (1.0 + standardised.abs());
                assert!(
                    (back - standardised).abs() <= bound.min(1e-5),
                    "{back} for {standardised}"
                );
            }
        }
    }
}

#[test]
fn the_log_determinant_is_that_of_difference_quotients() {
    let _turn = turn();
    let step = 1e-6;
    for (dims, layers) in [(1, 3), (2, 3)] {
        let flow = flow(dims, layers);
        let reference = ReferenceFlow::new(&flow);
        let points = points(&flow, 301);
        let bench = Bench::new(&flow, &points);
        let nll = bench.read("nll");
        for (n, point) in points.chunks_exact(dims).enumerate() {
            let moved = |i: usize, by: f64| {
                let mut p = point.to_vec();
                p[i] += by;
                reference.forward(&p).0
            };
            let column = |i: usize| -> Vec<f64> {
                let (a, b) = (moved(i, step), moved(i, -step));
                a.iter().zip(&b).map(|(a, b)| (a - b) / (2.0 * step)).collect()
            };
            let determinant = match dims {
                1 => column(0)[0],
                _ => column(0)[0] * column(1)[1] - column(0)[1] * column(1)[0],
            };
            let z = reference.forward(point).0;
            let normal: f64 = z
                .iter()
                .map(|z| 0.5 * z * z + 0.5 * (2.0 * std::f64::consts::PI).ln())
                .sum();
            let got = normal - f64::from(nll[n]);
            assert!(
                (got - determinant.ln()).abs() < 2e-5,
                "{got} against {}",
                determinant.ln()
            );
        }
    }
}

#[test]
fn gradients_of_all_parameters_are_those_of_difference_quotients() {
    let _turn = turn();
    let step = 1e-6;
    for (dims, layers) in [(1, 2), (2, 1), (2, 3)] {
        let flow = flow(dims, layers);
        let reference = ReferenceFlow::new(&flow);
        for count in [1, 5, 257] {
            let points = points(&flow, count);
            let bench = Bench::new(&flow, &points);
            let gradient = |r: &ReferenceFlow, points: &[f64]| -> Vec<f64> {
                let parameters = 0..r.parameters.len();
                parameters
                    .map(|p| {
                        let moved = |by: f64| {
                            let mut other = r.clone();
                            other.parameters[p] += by;
                            other.loss(points)
                        };
                        (moved(step) - moved(-step)) / (2.0 * step)
                    })
                    .collect()
            };
            let want = gradient(&reference, &points);
            // A sum of samples rounds by their sizes; every one of them by what shaking does.
            let mut error = vec![1e-8; want.len()];
            for point in points.chunks_exact(dims) {
                let one = gradient(&reference, point);
                for (e, g) in error.iter_mut().zip(one) {
                    *e += 16.0 * EPS * (1.0 + count as f64 / 256.0) * g.abs() / count as f64;
                }
            }
            for seed in 0..2 {
                let other = gradient(&shaken(&reference, 90 + 2 * seed, 4.0 * EPS), &points);
                for ((e, a), b) in error.iter_mut().zip(other).zip(&want) {
                    *e = e.max(16.0 * (a - b).abs());
                }
            }
            let got = bench.read("gradient");
            assert_close("gradient", &got, &want, |p| error[p]);
            let loss = f64::from(bench.read("losses")[1]);
            assert!((loss - reference.loss(&points)).abs() < 1e-5 * loss.abs());
            // Every group takes part: slopes, shears, angles, shifts.
            let largest = |range: std::ops::Range<usize>| want[range].iter().fold(0.0, |m: f64, g| m.max(g.abs()));
            let frames = bench.device.bank().entries();
            let slopes: usize = flow.slopes.iter().map(|s| s.len()).sum();
            assert!(largest(0..slopes) > 1e-3 && largest(frames..want.len()) > 1e-3);
            assert!(dims == 1 || largest(slopes..frames) > 1e-3);
            // The library's own tables give the same bits, whatever lies in the batches beside.
            let again = |batches: usize| -> Vec<u32> {
                let library = FlowGradient::new(gpu(), &bench.device, &flow, count, batches).unwrap();
                library.set_points(gpu(), &flow, &points.repeat(batches)).unwrap();
                let mut recorder = gpu().record();
                library.record(&mut recorder, batches - 1);
                recorder.submit();
                let read: Vec<f32> = gpu().read(library.gradient()).unwrap();
                read.iter().map(|g| g.to_bits()).collect()
            };
            let bits: Vec<u32> = got.iter().map(|g| g.to_bits()).collect();
            assert_eq!(again(1), bits);
            assert_eq!(again(3), bits);
        }
    }
}

#[test]
fn projections_keep_all_bounds() {
    let _turn = turn();
    let mut flow = flow(2, 3);
    let device = FlowDevice::new(gpu(), &flow).unwrap();
    flow.slope_bounds = SlopeBounds::invertible(0.5, 1.5).unwrap();
    flow.shear_bound = 0.75;
    let projection = Projection::new(gpu(), &device, &flow).unwrap();
    let before: Vec<f32> = gpu().read(device.parameters()).unwrap();
    gpu()
        .write(device.bank().values(), &poison(device.bank().entries()))
        .unwrap();
    let mut recorder = gpu().record();
    projection.record(&mut recorder);
    recorder.submit();
    drop(recorder);
    let after: Vec<f32> = gpu().read(device.parameters()).unwrap();
    let bank: Vec<f32> = gpu().read(device.bank().values()).unwrap();
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&bank), bits(&after[..bank.len()]));
    assert_eq!(bits(&before[bank.len()..]), bits(&after[bank.len()..]));
    let shear = SlopeBounds::new(-0.75, 0.75).unwrap();
    let (mut first, mut changed) = (0, [0, 0]);
    for (index, spline) in flow.splines().enumerate() {
        let got = &after[first..first + spline.len()];
        let is_slope = index < flow.slopes.len();
        let want: Vec<f64> = if is_slope {
            spline.values().iter().map(|v| v.clamp(0.5, 1.5)).collect()
        } else {
            clip_slopes(spline, &shear).unwrap().values().to_vec()
        };
        let path: f64 = spline.values().windows(2).map(|f| (f[1] - f[0]).abs()).sum::<f64>() + spline.values()[0].abs();
        let error = if is_slope {
            0.0
        } else {
            4.0 * EPS * (spline.len() + 8) as f64 * path
        };
        assert_close("projected", got, &want, |_| error);
        changed[usize::from(is_slope)] += usize::from(want != spline.values());
        first += spline.len();
    }
    assert!(changed.iter().all(|c| *c >= 2), "{changed:?}");
    assert_eq!(size_of::<ProjectParams>(), 32);
}
