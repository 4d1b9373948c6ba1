//! Flows: integrals, certificates, training, resuming, known distributions, files.

use crate::common::{gpu, turn, values};
use crate::reference::flow::{ReferenceFlow, lively};
use knotwork::Error;
use knotwork::flow::{
    DensityGrid, Distribution, Evaluator, Flow, FlowConfig, FlowData, FlowState, FlowTrainer, Frame, bounding_box,
    grid_points, reduce_flow, score, start_flow,
};
use knotwork::io::noise::gaussian;
use knotwork::spline::{SlopeBounds, Spline};
use std::path::Path;

fn flow(dims: usize) -> Flow {
    lively(dims, 3, |i| [5, 9, 12][i % 3], 8)
}

/// The integral of the density over a box that holds all but 4e-6 of its mass.
fn integral(evaluator: &Evaluator) -> f64 {
    let dims = evaluator.flow().dims();
    // Latent points up to 5 have that mass; their images lie in this box.
    let rim: Vec<f64> = (0..400)
        .flat_map(|k| {
            let angle = 0.05 * f64::from(k);
            [5.0 * angle.cos(), 5.0 * angle.sin()][..dims].to_vec()
        })
        .collect();
    let ranges = bounding_box(&evaluator.flow().inverse(&rim).unwrap(), dims, 0.02);
    let cells = vec![if dims == 1 { 20_000 } else { 700 }; dims];
    DensityGrid::new(evaluator, &ranges, &cells).unwrap().integral()
}

/// The largest Euclidean distance between points and where they come back to.
fn farthest(points: &[f64], back: &[f64], dims: usize) -> f64 {
    assert_eq!(back.len(), points.len());
    let distance = |(x, y): (&[f64], &[f64])| x.iter().zip(y).fold(0.0, |d: f64, (x, y)| d.hypot(x - y));
    let all = points.chunks_exact(dims).zip(back.chunks_exact(dims)).map(distance);
    all.inspect(|d| assert!(d.is_finite())).fold(0.0, f64::max)
}

#[test]
fn densities_integrate_to_one() {
    let _turn = turn();
    for dims in [1, 2] {
        let found = integral(&Evaluator::new(gpu(), &flow(dims), 1 << 16).unwrap());
        assert!((found - 1.0).abs() < 1e-3, "{found}");
    }
}

#[test]
fn points_come_back() {
    let _turn = turn();
    for dims in [1, 2] {
        let evaluator = Evaluator::new(gpu(), &flow(dims), 1000).unwrap();
        // More than fit at once, and far out on both sides.
        let points: Vec<f64> = values(4, 2500 * dims).iter().map(|v| 6.0 * f64::from(*v)).collect();
        let (flow, reference) = (evaluator.flow(), ReferenceFlow::new(evaluator.flow()));
        let latent = flow.latent(&points).unwrap();
        for (x, z) in points.chunks_exact(dims).zip(latent.chunks_exact(dims)) {
            let want = reference.forward(x).0;
            assert!(farthest(&want, z, dims) < 1e-12, "{z:?}, not {want:?}");
        }
        let back = flow.inverse(&latent).unwrap();
        let worst = farthest(&points, &back, dims);
        assert!(worst <= 1e-12, "{worst:e}");
        assert!((flow.round_trip(&points).unwrap() - worst).abs() <= 1e-3 * worst);
        // Samples come from the device, in single precision.
        let normal: Vec<f64> = gaussian(5, 0, 1500 * dims).iter().map(|z| f64::from(*z)).collect();
        let exact = flow.inverse(&normal).unwrap();
        let lost = farthest(&evaluator.sample(5, 1500).unwrap(), &exact, dims);
        assert!(lost < 1e-5, "{lost:e}");
        // A sample depends on seed and number only.
        let (few, many) = (evaluator.sample(5, 7).unwrap(), evaluator.sample(5, 1500).unwrap());
        assert_eq!(few, many[..7 * dims]);
        assert_ne!(few, evaluator.sample(6, 7).unwrap());
    }
}

#[test]
fn certificates_bound_what_layers_do_and_are_met() {
    for dims in [1, 2] {
        let whole = flow(dims);
        for l in 0..whole.layers() {
            let mut slopes = vec![whole.slopes[l].clone()];
            if dims == 2 {
                slopes.push(whole.slopes[whole.layers() + l].clone());
            }
            let layer = Flow {
                mean: vec![0.0; dims],
                scale: vec![1.0; dims],
                frames: vec![whole.frames[l]],
                slopes,
                shears: whole.shears.get(l).cloned().into_iter().collect(),
                ..whole.clone()
            };
            let (constants, reference) = (layer.certificate(), ReferenceFlow::new(&layer));
            assert_eq!(constants.layers[0], whole.certificate().layers[l]);
            let (mut largest, mut smallest) = (0.0_f64, f64::INFINITY);
            let random = values(l as u64, 40_000 * dims);
            for (n, p) in random.chunks_exact(dims).enumerate() {
                let p: Vec<f64> = p.iter().map(|v| 5.0 * f64::from(*v)).collect();
                let angle = n as f64;
                let by = [1e-5 * angle.cos(), 1e-5 * angle.sin()];
                let q: Vec<f64> = p.iter().zip(by).map(|(p, b)| p + b).collect();
                let length = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                let ratio = length(&reference.forward(&p).0, &reference.forward(&q).0) / length(&p, &q);
                (largest, smallest) = (largest.max(ratio), smallest.min(ratio));
            }
            let (up, down) = (constants.lipschitz, 1.0 / constants.inverse_lipschitz);
            assert!(
                largest <= up * (1.0 + 1e-6) && smallest >= down * (1.0 - 1e-6),
                "{largest} {up} {smallest} {down}"
            );
            // 40000 random pairs come near: the bounds are no wild ones.
            assert!(
                largest >= 0.9 * up && smallest <= 1.15 * down,
                "{largest} {up} {smallest} {down}"
            );
        }
    }
}

#[test]
fn known_distributions_are_normalised_and_drawn_from() {
    for distribution in Distribution::ALL {
        let dims = distribution.dims();
        let (ranges, spacing) = distribution.support();
        let cells: Vec<usize> = ranges.iter().map(|r| ((r.1 - r.0) / spacing) as usize).collect();
        let volume: f64 = ranges
            .iter()
            .zip(&cells)
            .map(|(r, n)| (r.1 - r.0) / *n as f64)
            .product();
        let density = distribution.log_density(&grid_points(&ranges, &cells));
        let mass = volume * density.iter().map(|l| l.exp()).sum::<f64>();
        assert!((mass - 1.0).abs() < 1e-6, "{distribution:?}: {mass}");
        let points = distribution.points(3, 9, 20_000);
        assert_eq!(points[..10 * dims], distribution.points(3, 9, 10));
        let terms: Vec<f64> = distribution.log_density(&points).iter().map(|l| -l).collect();
        let mean = terms.iter().sum::<f64>() / terms.len() as f64;
        let variance = terms.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / terms.len() as f64;
        let error = (variance / terms.len() as f64).sqrt();
        let entropy = distribution.entropy();
        assert!(
            (mean - entropy).abs() < 4.0 * error,
            "{distribution:?}: {mean} +- {error}, entropy {entropy}"
        );
    }
    // Modes that hardly overlap: nearly the entropy of one and the choice among 8, and never more.
    let separate = (2.0 * std::f64::consts::PI * std::f64::consts::E * 0.125).ln() + 8.0_f64.ln();
    let entropy = Distribution::Ring.entropy();
    assert!(entropy < separate && entropy > separate - 0.02, "{entropy} {separate}");
}

#[test]
fn shipped_flows_are_what_their_settings_promise() {
    let _turn = turn();
    for (name, distribution) in [
        ("flow-moons", Distribution::Moons),
        ("flow-ring", Distribution::Ring),
        ("flow-hills", Distribution::Hills),
    ] {
        let flow = Flow::shipped_or_file(Path::new(name)).unwrap();
        assert_eq!(flow.name, name);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/configs/{name}.toml"));
        let config = serde_json::to_value(FlowConfig::read(&file).unwrap()).unwrap();
        assert_eq!(flow.provenance["config"], config);
        assert!(flow.to_bytes().unwrap().len() < 100_000);
        let evaluator = Evaluator::new(gpu(), &flow, 1 << 15).unwrap();
        let points = distribution.points(11, 1 << 40, 30_000);
        // The log-ratio has the mean of the divergence and hardly any spread: 30000 points tell it to 0.003.
        let found = score(&evaluator, &points, Some(distribution)).unwrap();
        let excess = found.nll - distribution.entropy();
        assert!(found.divergence.unwrap() < 0.04 && excess < 0.05, "{name}: {found:?}");
        let back = flow.inverse(&flow.latent(&points).unwrap()).unwrap();
        let worst = farthest(&points, &back, flow.dims());
        assert!(worst <= 1e-11, "{name}: {worst:e}");
        let mass = integral(&evaluator);
        assert!((mass - 1.0).abs() < 1e-3, "{name}: {mass}");
        let samples = evaluator.sample(1, 20_000).unwrap();
        // Those of the device are the inverse of normal points up to rounding that gaps enlarge.
        let normal: Vec<f64> = gaussian(1, 0, samples.len()).iter().map(|z| f64::from(*z)).collect();
        let lost = farthest(&samples, &flow.inverse(&normal).unwrap(), flow.dims());
        assert!(lost < 2e-5, "{name}: {lost:e}");
        let likely = distribution.log_density(&samples).iter().map(|l| -l).sum::<f64>() / 20_000.0;
        assert!(
            (likely - distribution.entropy()).abs() < 0.15,
            "{name}: samples have {likely} nats"
        );
    }
}

fn tiny(data: &str, steps: u64) -> FlowConfig {
    let mut config = FlowConfig {
        data: data.into(),
        batch: 256,
        ..Default::default()
    };
    config.model.layers = if data == "hills" { 3 } else { 4 };
    config.model.knots = 14;
    config.schedule.steps = steps;
    config.validation.points = 4000;
    config.check().unwrap();
    config
}

fn trainer(config: &FlowConfig) -> FlowTrainer<'static> {
    let data = FlowData::new(&config.data, config.seed, config.validation.points).unwrap();
    let flow = start_flow(config, data.dims(), &data.start_points()).unwrap();
    let state = FlowState::start(config, data.hash(), flow);
    FlowTrainer::new(gpu(), &state, data).unwrap()
}

#[test]
fn training_learns_a_density_and_few_knots_keep_it() {
    let _turn = turn();
    for (name, steps, within) in [("hills", 1200, 0.02), ("moons", 900, 0.06)] {
        let mut trainer = trainer(&tiny(name, steps));
        let first = trainer.steps(1).unwrap()[0];
        while trainer.progress().step < steps {
            trainer.steps(steps).unwrap();
        }
        let flow = trainer.flow().unwrap();
        flow.check().unwrap();
        let data = trainer.data();
        let evaluator = Evaluator::new(gpu(), &flow, 4000).unwrap();
        let found = score(&evaluator, data.held_out(), data.distribution()).unwrap();
        let divergence = found.divergence.unwrap();
        assert!((0.0..within).contains(&divergence), "{name}: {divergence}");
        assert!(found.nll < f64::from(first) - 0.2);
        let (reduced, report) = reduce_flow(gpu(), &flow, data.held_out(), 0.01).unwrap();
        assert!(
            report.after < report.before && report.nll_after <= report.nll_before + 0.01,
            "{report:?}"
        );
        assert_eq!(reduced.splines().map(Spline::len).sum::<usize>(), report.after);
        reduced.check().unwrap();
        assert_eq!(reduce_flow(gpu(), &flow, data.held_out(), 0.0).unwrap().0, flow);
    }
}

#[test]
fn a_resumed_training_goes_on_to_the_same_bits() {
    let _turn = turn();
    let points = std::env::temp_dir().join(format!("knotwork-flow-{}.csv", std::process::id()));
    let rows: Vec<String> = values(2, 400)
        .chunks_exact(2)
        .map(|p| format!("{},{}", p[0], p[1] * p[0]))
        .collect();
    std::fs::write(&points, rows.join("\n")).unwrap();
    for source in ["ring", points.to_str().unwrap()] {
        let config = tiny(source, 100);
        let finish = |mut trainer: FlowTrainer<'static>, until: u64| -> FlowState {
            while trainer.progress().step < until {
                trainer.steps(until).unwrap();
            }
            let mut state = trainer.state().unwrap();
            state.progress.seconds = 0.0;
            state
        };
        let whole = finish(trainer(&config), 100);
        assert_eq!(
            whole.to_bytes().unwrap(),
            finish(trainer(&config), 100).to_bytes().unwrap()
        );
        let part = FlowState::from_bytes(&finish(trainer(&config), 37).to_bytes().unwrap()).unwrap();
        let data = FlowData::new(source, config.seed, config.validation.points).unwrap();
        let resumed = finish(FlowTrainer::new(gpu(), &part, data).unwrap(), 100);
        assert_eq!(whole.to_bytes().unwrap(), resumed.to_bytes().unwrap());
        assert_ne!(whole.flow, part.flow);
    }
    std::fs::remove_file(points).unwrap();
}

#[test]
fn files_hold_what_was_written_and_nothing_that_breaks_its_bounds() {
    let model = flow(2);
    let bytes = model.to_bytes().unwrap();
    assert_eq!(Flow::from_bytes(&bytes).unwrap(), model);
    assert_eq!(Flow::from_bytes(&flow(1).to_bytes().unwrap()).unwrap(), flow(1));
    for length in (0..bytes.len()).step_by(97) {
        assert!(
            matches!(Flow::from_bytes(&bytes[..length]), Err(Error::Data(_))),
            "{length}"
        );
    }
    let refused = |change: &dyn Fn(&mut Flow), expected: &str| {
        let mut other = flow(2);
        change(&mut other);
        let message = other.to_bytes().unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(
        &|f| f.slope_bounds = SlopeBounds::invertible(0.125, 1.0).unwrap(),
        "slope function",
    );
    refused(
        &|f| f.slope_bounds = SlopeBounds::new(-1.0, 8.0).unwrap(),
        "slope bounds",
    );
    refused(&|f| f.shear_bound = 0.01, "shear 0");
    refused(&|f| f.scale[1] = 0.0, "scales positive");
    refused(
        &|f| {
            f.frames[0] = Frame {
                tau: f32::NAN,
                shift: 0.0,
            }
        },
        "finite",
    );
    refused(&|f| drop(f.slopes.pop()), "make no flow");
    refused(
        &|f| f.slopes[0] = Spline::uniform(-1.0, 1.0, vec![1.0; 34]).unwrap(),
        "34 knots",
    );
    // A certificate that promises more than the model has.
    let lie = String::from_utf8_lossy(&bytes).to_string();
    let stated = serde_json::to_string(&model.certificate().lipschitz).unwrap();
    assert!(lie.contains(&stated));
    let at = bytes
        .windows(stated.len())
        .position(|w| w == stated.as_bytes())
        .unwrap();
    let mut tampered = bytes.clone();
    tampered[at] = if tampered[at] == b'1' { b'2' } else { b'1' };
    let message = Flow::from_bytes(&tampered).unwrap_err().to_string();
    assert!(message.contains("certificate"), "{message}");
    // Every byte of the numbers changed in turn: refused or still a valid flow, never a panic.
    for at in (bytes.len() - 1500..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x7f;
        if let Ok(read) = Flow::from_bytes(&damaged) {
            read.check().unwrap();
        }
    }
}

#[test]
fn points_that_are_none_are_refused() {
    let _turn = turn();
    let evaluator = Evaluator::new(gpu(), &flow(2), 10).unwrap();
    for (points, expected) in [
        (vec![1.0, 2.0, 3.0], "no points of 2"),
        (vec![1.0, 2.0, f64::NAN, 0.0], "point 1"),
        (vec![1e300, 2.0], "point 0"),
    ] {
        let message = evaluator.log_density(&points).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
    // So far out that the square overflows, and none at all.
    assert_eq!(evaluator.log_density(&[1e30, -1e30]).unwrap(), [f32::NEG_INFINITY]);
    // Or where infinities meet on the way.
    assert_eq!(evaluator.log_density(&[3e38, 3e38]).unwrap(), [f32::NEG_INFINITY]);
    assert!(evaluator.log_density(&[]).unwrap().is_empty());
}
