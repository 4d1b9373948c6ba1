//! Several measurements at once, through one operator and one regularizer.

use super::linear::{SIGMA, SIZE, cases, measure};
use crate::common::{gpu, turn, values};
use crate::reference::device::options;
use crate::reference::models::{cosines, image, weakly_convex};
use knotwork::Error;
use knotwork::operator::{Blur, Boundary, LinearOperator, Mask};
use knotwork::solver::{Given, Outcome, Reconstructor, Regularizer, Settings, Stop};

const PIXELS: usize = SIZE[0] * SIZE[1];

fn prepared(operator: &dyn LinearOperator, regularizer: Regularizer<'_>, images: usize) -> Reconstructor<'static> {
    let settings = Settings {
        lambda: 0.6,
        limits: Some((0.0, 0.9)),
        tolerance: 1e-4,
        max_iterations: 90,
        ..Settings::default()
    };
    let norm = operator.norm_squared(gpu()).unwrap();
    Reconstructor::with_norm(gpu(), operator, norm, regularizer, settings, images).unwrap()
}

/// Measurements and where to start: the last image is nearly there, the one before cannot be found in so many iterations.
fn measured(operator: &dyn LinearOperator, alone: &Reconstructor<'_>) -> Vec<[Vec<f32>; 2]> {
    let mut all: Vec<_> = (0..4)
        .map(|n| {
            let start = values(70 + n, PIXELS).iter().map(|v| 0.4 + 0.5 * v).collect();
            [measure(operator, &image(20 + n, SIZE)), start]
        })
        .collect();
    all[3][0].iter_mut().for_each(|v| *v = 40.0 * *v - 17.0);
    let [y, start] = all[1].clone();
    let found = alone.run(&y, &start, |_, _| {}).unwrap().image;
    all.push([y, found]);
    all
}

fn given(measured: &[[Vec<f32>; 2]]) -> Vec<Given<'_>> {
    let label = "";
    let each = measured.iter();
    each.map(|[measurement, start]| Given {
        measurement,
        start,
        label,
    })
    .collect()
}

fn bits(outcome: &Outcome) -> (Vec<u32>, u64, Option<u64>, String) {
    (
        outcome.image.iter().map(|v| v.to_bits()).collect(),
        outcome.energy.to_bits(),
        outcome.error_bound.map(f64::to_bits),
        format!(
            "{} {} {} {:?} {:?}",
            outcome.iterations, outcome.restarts, outcome.change, outcome.stop, outcome.history
        ),
    )
}

#[test]
fn images_have_the_bits_that_they_have_alone() {
    let _turn = turn();
    let circular = Blur::new(
        SIZE,
        vec![0.02, 0.1, -0.03, 0.08, 0.7, 0.05],
        [2, 3],
        Boundary::Circular,
    )
    .unwrap();
    let everything = Mask::new(SIZE, vec![1.0; PIXELS]).unwrap();
    let operators = cases().into_iter().map(|case| (case.name, case.operator));
    let certain: [(_, Box<dyn LinearOperator>); 2] = [
        ("circular blur", Box::new(circular)),
        ("everything", Box::new(everything)),
    ];
    let (mut ends, mut stops, mut bounds) = (Vec::new(), Vec::new(), 0);
    for (name, operator) in operators.chain(certain) {
        for model in [cosines(), weakly_convex()] {
            let regularizer = Regularizer::Ridge(&model, options(SIGMA));
            let alone = prepared(operator.as_ref(), regularizer, 1);
            let measured = measured(operator.as_ref(), &alone);
            let want: Vec<Outcome> = measured
                .iter()
                .map(|[y, start]| alone.run(y, start, |_, _| {}).unwrap())
                .collect();
            let given = given(&measured);
            // All of them, three and then the two that are left, and one.
            for images in [5, 3, 1] {
                let solver = prepared(operator.as_ref(), regularizer, images);
                assert_eq!(solver.at_once(), images);
                let mut heard = Vec::new();
                let got = solver
                    .run_many(&given, |done, change| heard.push((done, change)))
                    .unwrap();
                assert_eq!(got.len(), want.len());
                for (n, (got, want)) in got.iter().zip(&want).enumerate() {
                    assert_eq!(
                        bits(got),
                        bits(want),
                        "{name}, {}: image {n} of {images} at once",
                        model.name
                    );
                }
                assert!(heard.iter().any(|(done, change)| *done > 10 && *change > 0.0));
            }
            ends.extend(want.iter().map(|outcome| outcome.iterations));
            stops.extend(want.iter().map(|outcome| outcome.stop));
            bounds += want.iter().filter(|outcome| outcome.error_bound.is_some()).count();
        }
    }
    // Images left the others while these went on.
    assert!(
        ends.iter().min().unwrap() < &5 && ends.iter().max().unwrap() == &90,
        "{ends:?}"
    );
    assert!(stops.contains(&Stop::Converged) && stops.contains(&Stop::MaxIterations));
    assert!(bounds >= 10, "{bounds} outcomes have a bound of the error");
}

#[test]
fn total_variation_takes_one_after_the_other() {
    let _turn = turn();
    for case in cases() {
        let alone = prepared(case.operator.as_ref(), Regularizer::TotalVariation, 1);
        let several = prepared(case.operator.as_ref(), Regularizer::TotalVariation, 4);
        assert_eq!(several.at_once(), 1);
        let measured = measured(case.operator.as_ref(), &alone);
        let got = several.run_many(&given(&measured), |_, _| {}).unwrap();
        for ([y, start], got) in measured.iter().zip(&got) {
            assert_eq!(
                bits(got),
                bits(&alone.run(y, start, |_, _| {}).unwrap()),
                "{}",
                case.name
            );
        }
    }
}

#[test]
fn messages_say_which_image_they_are_about() {
    let _turn = turn();
    let model = cosines();
    let mask = Mask::new(SIZE, vec![1.0; PIXELS]).unwrap();
    let solver = prepared(&mask, Regularizer::Ridge(&model, options(SIGMA)), 3);
    let fine = vec![0.5; PIXELS];
    let mut hostile = fine.clone();
    hostile[40] = f32::NAN;
    let given = |measurement, label| Given {
        measurement,
        start: &fine,
        label,
    };
    let batch = [
        given(&fine, "slice 6: "),
        given(&fine, "slice 7: "),
        given(&hostile, "slice 8: "),
    ];
    for batch in [&batch[..], &[batch[2], batch[0]], &batch[2..]] {
        match solver.run_many(batch, |_, _| {}) {
            Err(Error::Diverged(what)) => assert!(what.starts_with("slice 8: the image became non-finite"), "{what}"),
            other => panic!("{other:?}"),
        }
    }
    // What went wrong leaves nothing behind.
    let again = solver.run_many(&batch[..2], |_, _| {}).unwrap();
    assert!(again.iter().all(|outcome| outcome.image.iter().all(|v| v.is_finite())));
    assert_eq!(bits(&again[0]), bits(&again[1]));
    // All are looked at before any is begun.
    let short = [batch[0], given(&fine[1..], "")];
    assert!(matches!(solver.run_many(&short, |_, _| {}), Err(Error::Data(_))));
    assert!(solver.run_many(&[], |_, _| {}).unwrap().is_empty());
}
