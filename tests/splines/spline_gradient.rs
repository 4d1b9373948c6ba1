//! Forward and backward passes of trainable banks and the gradients with respect to their parameters.

use crate::common;
use crate::common::{assert_close, gpu, poison, values};
use crate::reference::Hinges;
use crate::reference::device::turn;
use crate::reference::models::spline;
use crate::reference::responses::{Setting, frames, vectors};
use knotwork::gpu::Recorder;
use knotwork::spline::Spline;
use knotwork::spline::device::{BankGradient, BankHistogram, TrainableBank};

/// A spline that f32 holds exactly.
fn rounded(seed: u64, count: usize) -> Spline {
    let s = spline(seed, count, -1.5, 2.0);
    let round = |v: &[f64]| v.iter().map(|x| f64::from(*x as f32)).collect();
    Spline::new(round(s.knots()), round(s.values())).unwrap()
}

/// Scalings around 1, every third a power of 2, so that products with it are exact.
fn scalings(seed: u64, count: usize) -> Vec<f32> {
    let random = values(seed, count);
    let scaling = |(i, v): (usize, &f32)| {
        if i % 3 == 0 {
            [0.5, 1.0, 4.0][i / 3 % 3]
        } else {
            (0.9 * v).exp()
        }
    };
    random.iter().enumerate().map(scaling).collect()
}

fn settings() -> Vec<Setting> {
    let counts = [2, 3, 9, 16, 17, 18, 32, 33, 49, 128];
    let splines = |counts: &[usize]| counts.iter().enumerate().map(|(c, n)| rounded(c as u64, *n)).collect();
    let many: Vec<usize> = (0..3000).map(|i| 2 + i * 7 % 39).collect();
    vec![
        Setting {
            name: "frames with scalings per slot",
            splines: splines(&counts),
            channels: 10,
            alphas: scalings(1, 20),
            slots: 2,
            region: frames(10, 7, 13),
        },
        Setting {
            name: "one spline for all channels",
            splines: vec![rounded(7, 21)],
            channels: 7,
            alphas: scalings(2, 7),
            slots: 3,
            region: frames(7, 23, 67),
        },
        Setting {
            name: "one element",
            splines: splines(&[2, 5]),
            channels: 2,
            alphas: vec![1.0, 0.3],
            slots: 1,
            region: vectors(2, 1),
        },
        Setting {
            name: "3000 splines on vectors",
            splines: splines(&many),
            channels: 3000,
            alphas: scalings(3, 3000),
            slots: 1,
            region: vectors(3000, 37),
        },
        Setting {
            name: "many chunks",
            splines: splines(&[16, 40]),
            channels: 2,
            alphas: vec![2.0, 0.7],
            slots: 2,
            region: frames(2, 91, 131),
        },
    ]
}

impl Setting {
    fn bank(&self) -> TrainableBank {
        if self.alphas.len() == self.channels {
            TrainableBank::new(gpu(), &self.splines, &self.alphas).unwrap()
        } else {
            TrainableBank::with_slots(gpu(), &self.splines, self.channels, &self.alphas).unwrap()
        }
    }

    /// The elements of the region out of `all`; the rest must still be what it was.
    fn inside_region(&self, all: &[f32], before: &[f32]) -> Vec<f32> {
        let elements = self.elements();
        let mut untouched = vec![true; all.len()];
        elements.iter().for_each(|e| untouched[e.index] = false);
        for (i, _) in untouched.iter().enumerate().filter(|(_, u)| **u) {
            assert_eq!(
                all[i].to_bits(),
                before[i].to_bits(),
                "{}: wrote element {i}",
                self.name
            );
        }
        elements.iter().map(|e| all[e.index]).collect()
    }
}

fn run(record: impl Fn(&mut Recorder<'_>)) {
    let mut recorder = gpu().record();
    record(&mut recorder);
    recorder.submit();
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn forward_and_backward_follow_every_spline() {
    let _turn = turn();
    for setting in settings() {
        let (name, slots) = (setting.name, setting.slots as u32);
        let bank = setting.bank();
        let inputs = setting.inputs(11);
        let (want, error) = setting.outputs(&inputs);
        let u = gpu().upload("u", &inputs).unwrap();
        let before = poison(inputs.len());
        let y = gpu().upload("y", &before).unwrap();
        let forward = bank.forward(gpu(), &[setting.region], setting.slots, &u, &y).unwrap();
        run(|r| forward.record(r, 0, slots));
        let out: Vec<f32> = gpu().read(&y).unwrap();
        let got = setting.inside_region(&out, &before);
        assert_close(&format!("{name}: forward"), &got, &want, |i| error[i]);

        // The backward pass from the same inputs; a knot belongs to the segment that starts there.
        let upstream = setting.upstream(12, &inputs);
        let v = gpu().upload("v", &upstream).unwrap();
        let backward = bank.backward(gpu(), &[setting.region], setting.slots, &u, &v).unwrap();
        run(|r| backward.record(r, 0, slots));
        let got = setting.inside_region(&gpu().read::<f32>(&v).unwrap(), &upstream);
        let hinges: Vec<_> = setting.splines.iter().map(Hinges::new).collect();
        let slopes = setting.elements().into_iter().map(|e| {
            if !e.inside {
                return (0.0, 0.0);
            }
            let h = &hinges[setting.spline(e.channel)];
            // Rounded as on the device: the slope jumps at knots.
            let x = f64::from(setting.alpha(e) as f32 * inputs[e.index]);
            let want = h.slope(x) * f64::from(upstream[e.index]);
            (want, 12.0 * common::EPS * want.abs() + 1e-12)
        });
        let (want, error): (Vec<f64>, Vec<f64>) = slopes.unzip();
        assert_close(&format!("{name}: backward"), &got, &want, |i| error[i]);

        // In place gives the bits of the other.
        let in_place = bank
            .forward_in_place(gpu(), &[setting.region], setting.slots, &u)
            .unwrap();
        run(|r| in_place.record(r, 0, slots));
        let got = setting.inside_region(&gpu().read::<f32>(&u).unwrap(), &inputs);
        assert!(
            same_bits(&got, &setting.inside_region(&out, &before)),
            "{name}: in place"
        );
    }
}

#[test]
fn gradients_of_values_and_scalings_are_sums_of_hats() {
    let _turn = turn();
    for setting in settings() {
        let name = setting.name;
        let bank = setting.bank();
        let inputs = setting.inputs(21);
        let upstream = setting.upstream(22, &inputs);
        let u = gpu().upload("u", &inputs).unwrap();
        let g = gpu().upload("g", &upstream).unwrap();
        let gradient = BankGradient::new(gpu(), &bank, &[setting.region], setting.slots, &u, &g).unwrap();
        let read = |accumulate: bool| -> (Vec<f32>, Vec<f32>) {
            run(|r| gradient.record(r, 0, accumulate));
            (
                gpu().read(gradient.values()).unwrap(),
                gpu().read(gradient.alphas()).unwrap(),
            )
        };
        for buffer in [gradient.values(), gradient.alphas()] {
            gpu().write(buffer, &poison(buffer.len())).unwrap();
        }
        let (of_values, of_alphas) = read(false);
        // Per invocation 64, its workgroup 64, then chunks, slots and channels that share.
        let chunks = (setting.region.rows * setting.region.cols).div_ceil(256) as usize;
        let depth = 128 + chunks * setting.slots * setting.channels.div_ceil(setting.splines.len());
        let [values, alphas] = setting.gradients(&inputs, &upstream, depth);
        assert_close(&format!("{name}: values"), &of_values, &values.0, |i| {
            values.1[i] + 1e-30
        });
        assert_close(&format!("{name}: scalings"), &of_alphas, &alphas.0, |i| {
            alphas.1[i] + 1e-30
        });

        let again = read(false);
        assert!(
            same_bits(&of_values, &again.0) && same_bits(&of_alphas, &again.1),
            "{name}: two runs"
        );
        // Adding a number to itself is exact.
        let twice = read(true);
        let doubled = |v: &[f32]| v.iter().map(|v| 2.0 * v).collect::<Vec<_>>();
        assert!(same_bits(&doubled(&of_values), &twice.0), "{name}: accumulated values");
        assert!(
            same_bits(&doubled(&of_alphas), &twice.1),
            "{name}: accumulated scalings"
        );
    }
}

#[test]
fn gradients_are_derivatives_of_a_loss() {
    let _turn = turn();
    let setting = &settings()[0];
    let mut inputs = setting.inputs(31);
    let elements = setting.elements();
    // On a knot a scaling has two one-sided derivatives: keep further off than the steps below reach.
    for e in elements.iter().filter(|e| e.inside) {
        let knots = setting.splines[setting.spline(e.channel)].knots();
        let near = |x: f64| knots.iter().any(|t| (x - t).abs() < 1e-3 * x.abs());
        while near(setting.alpha(*e) * f64::from(inputs[e.index])) {
            inputs[e.index] = 1.003 * inputs[e.index] + 0.001;
        }
    }
    let targets = values(32, elements.len());
    // L = 1/2 sum (y - target)^2 in f64.
    let residuals = |s: &Setting| -> Vec<f64> {
        let of = |(e, y, t): (&bool, f64, &f32)| if *e { y - f64::from(*t) } else { 0.0 };
        let inside: Vec<_> = elements.iter().map(|e| e.inside).collect();
        let outputs = s.outputs(&inputs).0;
        inside
            .iter()
            .zip(outputs)
            .zip(&targets)
            .map(|((e, y), t)| of((e, y, t)))
            .collect()
    };
    let loss = |s: &Setting| 0.5 * residuals(s).iter().map(|r| r * r).sum::<f64>();
    let mut upstream = poison(inputs.len());
    for (e, r) in elements.iter().zip(residuals(setting)) {
        upstream[e.index] = r as f32;
    }
    let bank = setting.bank();
    let u = gpu().upload("u", &inputs).unwrap();
    let g = gpu().upload("g", &upstream).unwrap();
    let gradient = BankGradient::new(gpu(), &bank, &[setting.region], setting.slots, &u, &g).unwrap();
    run(|r| gradient.record(r, 0, false));
    let of_values: Vec<f32> = gpu().read(gradient.values()).unwrap();
    let of_alphas: Vec<f32> = gpu().read(gradient.alphas()).unwrap();
    let [values, alphas] = setting.gradients(&inputs, &upstream, 300);
    assert!(of_values.iter().filter(|v| **v != 0.0).count() > of_values.len() / 2);

    let copy = || Setting {
        splines: setting.splines.clone(),
        alphas: setting.alphas.clone(),
        ..*setting
    };
    let mut entry = 0;
    for (c, s) in setting.splines.iter().enumerate() {
        for n in 0..s.len() {
            // The loss is quadratic in a value: the difference quotient has no error but rounding.
            let step = 1e-3;
            let moved = |by: f64| {
                let mut other = copy();
                let mut f = s.values().to_vec();
                f[n] += by;
                other.splines[c] = Spline::new(s.knots().to_vec(), f).unwrap();
                loss(&other)
            };
            if n % 5 == 0 || n + 2 > s.len() {
                let quotient = (moved(step) - moved(-step)) / (2.0 * step);
                let error = 2.0 * values.1[entry] + 1e-15 * loss(setting) / step;
                let got = f64::from(of_values[entry]);
                assert!(
                    (got - quotient).abs() <= error,
                    "spline {c}, value {n}: {got} against {quotient}, {error:e}"
                );
            }
            entry += 1;
        }
    }
    // f32 steps, so that scalings are what they seem.
    for (i, got) in of_alphas.iter().enumerate() {
        let alpha = setting.alphas[i];
        let (up, down) = (alpha * 1.0005, alpha * 0.9995);
        let moved = |to: f32| {
            let mut other = copy();
            other.alphas[i] = to;
            loss(&other)
        };
        let quotient = (moved(up) - moved(down)) / f64::from(up - down);
        let got = f64::from(*got);
        let error = alphas.1[i] + 1e-5 * loss(setting) / f64::from(alpha);
        assert!(
            (got - quotient).abs() <= error,
            "scaling {i}: {got} against {quotient}, {error:e}"
        );
    }
}

#[test]
fn histograms_count_every_input_once() {
    let _turn = turn();
    for setting in settings() {
        let bank = setting.bank();
        let inputs = setting.inputs(41);
        let u = gpu().upload("u", &inputs).unwrap();
        let histogram = BankHistogram::new(gpu(), &bank, &[setting.region], setting.slots, &u).unwrap();
        run(|r| histogram.record(r, 0, setting.slots as u32));
        let once = histogram.read(gpu()).unwrap();
        assert_eq!(once, setting.histograms(&inputs), "{}", setting.name);
        run(|r| histogram.record(r, 0, setting.slots as u32));
        let twice = histogram.read(gpu()).unwrap();
        assert!(
            once.iter()
                .flatten()
                .zip(twice.iter().flatten())
                .all(|(a, b)| 2.0 * a == *b)
        );
        run(|r| histogram.record_clear(r));
        assert!(histogram.read(gpu()).unwrap().iter().flatten().all(|c| *c == 0.0));
    }
}

#[test]
fn more_slots_than_scalings_or_planes_are_refused() {
    let _turn = turn();
    let setting = &settings()[0];
    let bank = setting.bank();
    let u = gpu().upload("u", &setting.inputs(51)).unwrap();
    let error = bank
        .forward_in_place(gpu(), &[setting.region], 3, &u)
        .unwrap_err()
        .to_string();
    assert!(error.contains("scalings for 2"), "{error}");
    let shared = TrainableBank::new(gpu(), &setting.splines, &setting.alphas[..10]).unwrap();
    let error = shared
        .forward_in_place(gpu(), &[setting.region], 6554, &u)
        .unwrap_err()
        .to_string();
    assert!(error.contains("65535"), "{error}");
}
