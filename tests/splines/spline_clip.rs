//! Clipping of slopes on the device, and its vector-Jacobian product, against the f64 functions.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, values};
use crate::reference::device::turn;
use crate::reference::models::spline;
use knotwork::spline::device::{SlopeClip, TrainableBank};
use knotwork::spline::{SlopeBounds, Spline, clip_slopes, clip_slopes_vjp};

const GUARD: usize = 33;

/// 1000 splines of 2 to 128 knots with slopes in [-1.5, 2], every fourth in [-0.4, 0.9]: some clipped, some not.
fn splines() -> Vec<Spline> {
    let round = |v: &[f64]| v.iter().map(|x| f64::from(*x as f32)).collect();
    (0..1000)
        .map(|i| {
            let count = if i % 50 == 0 { 128 } else { 2 + i * 7 % 39 };
            let (low, high) = if i % 4 == 0 { (-0.4, 0.9) } else { (-1.5, 2.0) };
            let s = spline(i as u64, count, low, high);
            Spline::new(round(s.knots()), round(s.values())).unwrap()
        })
        .collect()
}

/// Whether a slope is so near a bound that f32 may decide otherwise.
fn undecided(s: &Spline, bounds: &SlopeBounds) -> bool {
    let sizes = s.values().windows(2).zip(s.knots().windows(2));
    let unsure = |(f, t): (&[f64], &[f64])| 4.0 * EPS * (f[0].abs() + f[1].abs()) / (t[1] - t[0]);
    let near = |slope: f64, by: f64| (slope - bounds.min()).abs() <= by || (slope - bounds.max()).abs() <= by;
    s.slopes()
        .into_iter()
        .zip(sizes)
        .any(|(slope, at)| near(slope, unsure(at) + 8.0 * EPS * slope.abs()))
}

#[test]
fn clipped_values_and_their_derivative_agree_with_float64() {
    let _turn = turn();
    let splines = splines();
    let bank = TrainableBank::new(gpu(), &splines, &vec![1.0; splines.len()]).unwrap();
    let flat: Vec<f32> = splines.iter().flat_map(|s| s.values()).map(|v| *v as f32).collect();
    let upstream = values(9, flat.len());
    let raw = gpu().upload("raw", &flat).unwrap();
    let gradient = gpu().upload("gradient", &upstream).unwrap();
    let result = gpu().buffer("result", flat.len() + GUARD).unwrap();
    for bounds in [
        SlopeBounds::new(-0.5, 1.0).unwrap(),
        SlopeBounds::monotone(f64::INFINITY).unwrap(),
        SlopeBounds::none(),
    ] {
        assert!(splines.iter().all(|s| !undecided(s, &bounds)), "choose another seed");
        let clip = SlopeClip::new(gpu(), &bank, &bounds, &raw, &gradient, &result).unwrap();
        let run = || -> (Vec<f32>, Vec<f32>) {
            gpu().write(bank.values(), &poison(flat.len())).unwrap();
            gpu().write(&result, &poison(result.len())).unwrap();
            let mut recorder = gpu().record();
            clip.record(&mut recorder);
            clip.record_vjp(&mut recorder);
            recorder.submit();
            (gpu().read(bank.values()).unwrap(), gpu().read(&result).unwrap())
        };
        let (clipped, pulled) = run();
        let (pulled, guard) = pulled.split_at(flat.len());
        assert!(guard.iter().all(|v| poisoned(*v)), "written behind the result");
        let (mut want, mut error, mut back, mut back_error) = (vec![], vec![], vec![], vec![]);
        let (mut first, mut changed) = (0, 0);
        for s in &splines {
            let part = first..first + s.len();
            let host = clip_slopes(s, &bounds).unwrap();
            if host == *s {
                assert!(
                    clipped[part.clone()]
                        .iter()
                        .zip(&flat[part.clone()])
                        .all(|(a, b)| a.to_bits() == b.to_bits())
                );
            } else {
                changed += 1;
            }
            // Running sums of increments and of differences: every one rounds what it has reached.
            let path: f64 = s.values().windows(2).map(|f| (f[1] - f[0]).abs()).sum::<f64>() + s.values()[0].abs();
            want.extend_from_slice(host.values());
            error.extend(vec![4.0 * EPS * (s.len() + 8) as f64 * path; s.len()]);
            let g: Vec<f64> = upstream[part.clone()].iter().map(|v| f64::from(*v)).collect();
            back.extend(clip_slopes_vjp(s, &bounds, &g).unwrap());
            let total: f64 = g.iter().map(|g| g.abs()).sum();
            back_error.extend(vec![4.0 * EPS * s.len() as f64 * total; s.len()]);
            first += s.len();
        }
        assert_eq!(changed == 0, bounds == SlopeBounds::none(), "{changed} splines clipped");
        assert_close("clipped", &clipped, &want, |i| error[i]);
        assert_close("pulled back", pulled, &back, |i| back_error[i]);
        let again = run();
        assert!(clipped.iter().zip(&again.0).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(pulled.iter().zip(&again.1).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn the_product_is_the_derivative_of_clipping() {
    let _turn = turn();
    let splines: Vec<_> = splines().into_iter().take(12).collect();
    let bounds = SlopeBounds::new(-0.5, 1.0).unwrap();
    let bank = TrainableBank::new(gpu(), &splines, &[1.0; 12]).unwrap();
    let flat: Vec<f32> = splines.iter().flat_map(|s| s.values()).map(|v| *v as f32).collect();
    let upstream = values(10, flat.len());
    let raw = gpu().upload("raw", &flat).unwrap();
    let gradient = gpu().upload("gradient", &upstream).unwrap();
    let result = gpu().buffer("result", flat.len()).unwrap();
    let clip = SlopeClip::new(gpu(), &bank, &bounds, &raw, &gradient, &result).unwrap();
    let mut recorder = gpu().record();
    clip.record_vjp(&mut recorder);
    recorder.submit();
    let got: Vec<f32> = gpu().read(&result).unwrap();
    let mut entry = 0;
    for s in &splines {
        let g = &upstream[entry..entry + s.len()];
        let total: f64 = g.iter().map(|g| f64::from(g.abs())).sum();
        for n in 0..s.len() {
            let step = 1e-7;
            // <g, clip(f)>, linear in f as long as no slope crosses its bound.
            let moved = |by: f64| -> f64 {
                let mut f = s.values().to_vec();
                f[n] += by;
                let clipped = clip_slopes(&Spline::new(s.knots().to_vec(), f).unwrap(), &bounds).unwrap();
                clipped.values().iter().zip(g).map(|(v, g)| v * f64::from(*g)).sum()
            };
            let quotient = (moved(step) - moved(-step)) / (2.0 * step);
            let error = 4.0 * EPS * s.len() as f64 * total + 1e-15 * total / step * 10.0;
            let value = f64::from(got[entry + n]);
            assert!((value - quotient).abs() <= error, "{value} against {quotient}");
        }
        entry += s.len();
    }
}
