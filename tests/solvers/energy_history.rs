//! The energies that reconstructions tell of the way to the minimiser.

use super::linear::{SIGMA, SIZE, cases, measure, problem};
use crate::common::{gpu, turn, values};
use crate::reference::device::options;
use crate::reference::models::{cosines, image, weakly_convex};
use crate::reference::widen;
use knotwork::solver::{Method, Outcome, Reconstructor, Regularizer, Settings, Stop};

#[test]
fn energies_on_the_way_are_those_of_the_iterates() {
    let _turn = turn();
    let (convex, weakly) = (cosines(), weakly_convex());
    for case in cases() {
        let y = measure(case.operator.as_ref(), &image(4, SIZE));
        let start = values(5, 154).iter().map(|v| 0.5 + 0.4 * v).collect::<Vec<f32>>();
        for (model, lambda) in [(Some(&convex), 0.5), (Some(&weakly), 5.0), (None, 0.05)] {
            let name = format!("{} {:?}", case.name, model.map(|m| &m.name));
            let settings = Settings {
                lambda,
                limits: Some((0.0, 1.0)),
                tolerance: 1e-9,
                max_iterations: 34,
                method: Method::Accelerated,
                noise_tolerance: None,
            };
            let regularizer = match model {
                Some(model) => Regularizer::Ridge(model, options(SIGMA)),
                None => Regularizer::TotalVariation,
            };
            let run = |settings: Settings| {
                let solver = Reconstructor::new(gpu(), case.operator.as_ref(), regularizer, settings).unwrap();
                solver.run(&y, &start, |_, _| {}).unwrap()
            };
            let copy = cases().into_iter().find(|c| c.name == case.name).unwrap();
            let problem = problem(copy, model.unwrap_or(&convex), &settings, &y, 1.0);
            let energy = |x: &[f64]| match model {
                Some(_) => problem.energy(x),
                None => problem.energy_of_variation(x),
            };
            let told = |outcome: &Outcome| -> Vec<usize> { outcome.history.entries.iter().map(|e| e.0).collect() };

            let outcome = run(settings);
            assert_eq!(told(&outcome), [0, 10, 20, 30, 34], "{name}");
            for &(iterations, got) in &outcome.history.entries {
                let x = match iterations {
                    0 => start.clone(),
                    _ => {
                        let settings = Settings {
                            max_iterations: iterations,
                            ..settings
                        };
                        let stopped = run(settings);
                        assert_eq!(stopped.energy, got, "{name}, {iterations}: another iterate");
                        stopped.image
                    }
                };
                let (want, error) = energy(&widen(&x));
                assert!(
                    (got - want).abs() <= error,
                    "{name}, {iterations}: {got}, want {want} within {error:e}"
                );
            }
            let entries = &outcome.history.entries;
            assert_eq!(entries.last().unwrap().1, outcome.energy, "{name}");
            for pair in entries.windows(2) {
                // Of convex ones only those at restarts do not rise.
                let (_, error) = energy(&widen(&outcome.image));
                let falls = pair[1].1 <= pair[0].1 + 2.0 * error;
                assert!(
                    falls || model.is_none_or(|m| m.weak_convexity() == 0.0),
                    "{name}: {entries:?}"
                );
            }
            assert!(outcome.energy < 0.9 * entries[0].1, "{name}: {entries:?}");

            // However many iterations go between two looks at the device, it ends with the last.
            let settings = Settings {
                tolerance: 1e-4,
                max_iterations: 4000,
                ..settings
            };
            let outcome = run(settings);
            assert_eq!(outcome.stop, Stop::Converged, "{name}");
            let mut want: Vec<usize> = (0..outcome.iterations).step_by(10).collect();
            want.push(outcome.iterations);
            assert_eq!(told(&outcome), want, "{name}");
            assert_eq!(outcome.history.entries.last().unwrap().1, outcome.energy, "{name}");
        }
    }
}
