//! The spline kernels (value, slope, potential) against the hinge formula, pixel by pixel.

use crate::common;
use crate::common::{EPS, assert_close, gpu, poison, values};
use crate::reference::device::{Bench, options, turn};
use crate::reference::models::spline;
use crate::reference::{Hinges, widen};
use knotwork::filters::{ConvLayer, FilterBank};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::{Spline, SplineBank};

/// Every response is the pixel itself: `channels` filters of one tap with weight 1.
fn identity(channels: usize, activations: Vec<Spline>, log: Vec<f64>) -> Ridge {
    Ridge {
        bank: FilterBank::new(vec![ConvLayer::new(1, channels, 1, vec![1.0; channels]).unwrap()]).unwrap(),
        activations,
        scaling: Scaling {
            log: log
                .into_iter()
                .map(|s| Spline::new(vec![0.0, 2.0], vec![s, s]).unwrap())
                .collect(),
            epsilon: 0.0,
        },
        slope_bounds: (-10.0, 10.0),
        sigma_range: (0.0, 2.0),
        norm_squared: channels as f64,
        norm_kind: NormKind::Bound,
        border: Border::Zero,
        name: "identity".into(),
        provenance: serde_json::Value::Null,
    }
}

/// A spline whose knots f32 holds exactly.
fn exact_spline(seed: u64, count: usize) -> Spline {
    let s = spline(seed, count, -3.0, 5.0);
    let knots = s.knots().iter().map(|t| f64::from(*t as f32)).collect();
    Spline::new(knots, s.values().to_vec()).unwrap()
}

/// Arguments on, beside and between the knots, and far outside of them.
fn arguments(s: &Spline) -> Vec<f32> {
    let mut x = vec![-1e6, -100.0, -7.5, 7.5, 100.0, 1e6, 0.0, -0.0, f32::MIN_POSITIVE];
    for pair in s.knots().windows(2) {
        x.push(((pair[0] + pair[1]) / 2.0) as f32);
    }
    for t in s.knots().iter().map(|t| *t as f32) {
        x.extend([t, t.next_down(), t.next_up()]);
    }
    x.extend(values(1, 20).iter().map(|v| 3.0 * v));
    x
}

const COUNTS: [usize; 15] = [2, 3, 4, 5, 6, 9, 16, 17, 18, 31, 32, 33, 40, 65, 128];

#[test]
fn values_slopes_and_potentials_at_and_around_every_knot() {
    let _turn = turn();
    for (case, count) in COUNTS.into_iter().enumerate() {
        let activation = exact_spline(case as u64, count);
        let hinges = Hinges::new(&activation);
        // A power of two, so that alpha u is a knot exactly where it should be one.
        let (sigma, alpha) = [(1.0, 1.0), (0.25, 4.0), (2.0, 0.5)][case % 3];
        let at = arguments(&activation);
        let x: Vec<f32> = at.iter().map(|v| v / alpha as f32).collect();
        let directions = values(3, x.len());
        let model = identity(1, vec![activation], vec![0.0]);
        model.check().unwrap();
        let name = format!("{count} knots, alpha {alpha}");

        let one_row = [1, x.len()];
        let bench = Bench::new(
            gpu(),
            one_row,
            std::slice::from_ref(&x),
            std::slice::from_ref(&directions),
            &[0],
        );
        let prepared = bench.prepare(&model, &options(sigma));
        let at = widen(&at);
        let want: Vec<f64> = at.iter().map(|v| hinges.value(*v) / alpha).collect();
        let error: Vec<f64> = at.iter().map(|v| hinges.value_error(*v, 0.0) / alpha).collect();
        assert_close(&format!("{name}: value"), &bench.gradient(&prepared, 1), &want, |i| {
            error[i]
        });

        // Nothing is undecided: the segment that starts at the knot counts.
        let slopes: Vec<f64> = at.iter().map(|v| hinges.slope(*v)).collect();
        let want: Vec<f64> = slopes.iter().zip(&directions).map(|(s, d)| s * f64::from(*d)).collect();
        let tolerance = |i: usize| 4.0 * EPS * want[i].abs() + 1e-12;
        assert_close(&format!("{name}: slope"), &bench.hessian(&prepared), &want, tolerance);

        // One image of one pixel per argument: one energy per argument.
        let images: Vec<_> = x.iter().map(|v| vec![*v]).collect();
        let active: Vec<u32> = (0..x.len() as u32).collect();
        let bench = Bench::new(gpu(), [1, 1], &images, &images, &active);
        let got = bench.energy(&bench.prepare(&model, &options(sigma)), x.len());
        let want: Vec<f64> = at.iter().map(|v| hinges.potential(*v) / (alpha * alpha)).collect();
        let error: Vec<f64> = at
            .iter()
            .map(|v| hinges.potential_error(*v, 0.0) / (alpha * alpha))
            .collect();
        assert_close(&format!("{name}: potential"), &got, &want, |i| error[i]);
    }
}

#[test]
fn every_channel_uses_its_own_spline_and_scaling() {
    let _turn = turn();
    let size = [5, 67];
    let x: Vec<f32> = values(2, 3 * 335).iter().map(|v| 4.0 * v).collect();
    let images: Vec<_> = x.chunks(335).map(<[f32]>::to_vec).collect();
    let own: Vec<_> = COUNTS
        .iter()
        .enumerate()
        .map(|(c, n)| spline(50 + c as u64, *n, -2.0, 2.0))
        .collect();
    let scalings: Vec<_> = (0..COUNTS.len()).map(|c| 0.37 * c as f64 - 1.5).collect();
    for (activations, log) in [
        (own.clone(), scalings.clone()),
        (own.clone(), vec![0.3]),
        (own[7..8].to_vec(), scalings),
    ] {
        let model = identity(COUNTS.len(), activations.clone(), log.clone());
        let sigma = 0.7;
        let active = [2, 0, 1];
        let bench = Bench::new(gpu(), size, &images, &images, &active);
        let prepared = bench.prepare(&model, &options(sigma));
        gpu()
            .write(prepared.responses(), &poison(prepared.responses().len()))
            .unwrap();
        let mut recorder = gpu().record();
        prepared.record_responses(&mut recorder, 0, 3);
        prepared.record_activation(&mut recorder, 0, 3);
        recorder.submit();
        let got: Vec<f32> = gpu().read(prepared.responses()).unwrap();
        let (mut want, mut error) = (Vec::new(), Vec::new());
        for image in active {
            for c in 0..COUNTS.len() {
                let hinges = Hinges::new(&activations[c.min(activations.len() - 1)]);
                let alpha = log[c.min(log.len() - 1)].exp() / sigma;
                for v in &images[image as usize] {
                    let v = alpha * f64::from(*v);
                    let value = hinges.value(v);
                    want.push(value / alpha);
                    error.push((hinges.value_error(v, 3.0 * EPS * v.abs()) + 3.0 * EPS * value.abs()) / alpha);
                }
            }
        }
        // Frames of a 1x1 filter have no border, but their rows are whole texels.
        let stride = prepared.tiling().row_stride;
        let (frames, slack) = got.split_at(want.len() / size[1] * stride);
        let rows = || frames.chunks(stride).map(|row| row.split_at(size[1]));
        let responses: Vec<f32> = rows().flat_map(|(row, _)| row.to_vec()).collect();
        let slack = slack
            .iter()
            .chain(rows().flat_map(|(_, rest)| rest))
            .collect::<Vec<_>>();
        assert_close("activations", &responses, &want, |i| error[i]);
        assert!(
            slack.iter().all(|v| common::poisoned(**v)),
            "written behind the responses"
        );
    }
}

#[test]
fn a_bank_drops_only_knots_that_do_not_matter() {
    let bent = Spline::new(vec![-2.0, -1.0, 0.5, 1.0, 2.0], vec![-1.0, 0.5, 0.25, 1.0, 1.5]).unwrap();
    let grid: Vec<f64> = (0..=128).map(|n| -2.0 + n as f64 / 32.0).collect();
    let fine = bent.resampled(&grid).unwrap();
    let bank = SplineBank::new(&[bent.clone(), fine]);
    assert_eq!(bank.ranges, [(0, 5), (5, 5)]);
    assert_eq!(bank.entries[..5], bank.entries[5..]);
    for (entry, (t, f)) in bank.entries.iter().zip(bent.knots().iter().zip(bent.values())) {
        assert_eq!([entry[0], entry[1]], [*t as f32, *f as f32]);
        let potential = Hinges::new(&bent).potential(*t);
        assert!(
            (f64::from(entry[3]) - potential).abs() <= 2.0 * EPS * potential.abs(),
            "{entry:?}"
        );
    }
    let slopes: Vec<f32> = bank.entries[..5].iter().map(|e| e[2]).collect();
    let want = [1.5, -1.0 / 6.0, 1.5, 0.5, 0.5].map(|s: f64| s as f32);
    assert!(
        slopes.iter().zip(want).all(|(s, w)| (s - w).abs() <= f32::EPSILON),
        "{slopes:?}"
    );

    // A bend that f32 can see stays, one that it cannot see goes.
    let with_bend = |height: f64| {
        let s = Spline::new(vec![-1.0, 0.0, 1.0], vec![-1.0, height, 1.0]).unwrap();
        SplineBank::new(&[s]).ranges[0].1
    };
    assert_eq!((with_bend(2.0 * EPS), with_bend(0.1 * EPS), with_bend(0.0)), (3, 2, 2));

    // A smooth function on a fine grid: nothing that was dropped deviates by more than half a unit in the last place.
    let smooth: Vec<f64> = grid.iter().map(|t| (3.0 * t).sin() + 2e-8 * (40.0 * t).cos()).collect();
    let smooth = Spline::new(grid, smooth).unwrap();
    let bank = SplineBank::new(std::slice::from_ref(&smooth));
    let (t, f) = (smooth.knots(), smooth.values());
    let kept: Vec<usize> = bank
        .entries
        .iter()
        .map(|e| t.iter().position(|t| *t as f32 == e[0]).unwrap())
        .collect();
    assert_eq!((kept[0], kept[kept.len() - 1]), (0, t.len() - 1));
    for pair in kept.windows(2) {
        for k in pair[0] + 1..pair[1] {
            let chord = f[pair[0]] + (f[pair[1]] - f[pair[0]]) / (t[pair[1]] - t[pair[0]]) * (t[k] - t[pair[0]]);
            assert!((chord - f[k]).abs() <= EPS, "knot {k}");
        }
    }
    assert_eq!(bank.longest(), kept.len());
}
