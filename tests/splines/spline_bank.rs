//! Banks of trainable splines: the table that the device derives, upload and readback, scalings.

use crate::common::{EPS, assert_close, gpu, poison, poisoned, values};
use crate::reference::Hinges;
use crate::reference::device::turn;
use crate::reference::models::spline;
use knotwork::spline::Spline;
use knotwork::spline::device::TrainableBank;

/// The spline as the device holds it.
fn rounded(s: &Spline) -> Spline {
    let round = |v: &[f64]| v.iter().map(|x| f64::from(*x as f32)).collect();
    Spline::new(round(s.knots()), round(s.values())).unwrap()
}

/// `count` splines with 2 to 40 knots, some of them entirely to one side of 0.
fn many(count: usize) -> Vec<Spline> {
    let shift = [0.0, 0.0, 4.0, -7.5];
    (0..count)
        .map(|i| {
            let s = spline(i as u64, 2 + (i * 7) % 39, -1.5, 2.0);
            let knots = s.knots().iter().map(|t| t + shift[i % 4]).collect();
            rounded(&Spline::new(knots, s.values().to_vec()).unwrap())
        })
        .collect()
}

/// Slopes as quotients and integrals by the hinge formula, with the errors that f32 may make of them.
fn expected_table(s: &Spline) -> Vec<[(f64, f64); 4]> {
    let hinges = Hinges::new(s);
    let (t, f) = (s.knots(), s.values());
    let last = t.len() - 1;
    let slope = |n: usize| (f[n + 1] - f[n]) / (t[n + 1] - t[n]);
    // Two differences and a quotient of 2.5 units in the last place; a trapezoid has three roundings, and every sum one.
    let area = |n: usize| 0.5 * (f[n].abs() + f[n + 1].abs()) * (t[n + 1] - t[n]);
    let reach = t.iter().position(|t| *t > 0.0).unwrap_or(t.len()).saturating_sub(1);
    let steep = slope(reach.min(last - 1)).abs();
    let start = t[reach].abs() * (f[reach].abs() + steep * t[reach].abs());
    (0..t.len())
        .map(|n| {
            let s = slope(n.min(last - 1));
            let areas: f64 = (n.min(reach)..n.max(reach)).map(area).sum();
            let terms = n.abs_diff(reach) + 4;
            let error = 10.0 * EPS * start + EPS * terms as f64 * (areas + start);
            [
                (t[n], 0.0),
                (f[n], 0.0),
                (s, 8.0 * EPS * s.abs()),
                (hinges.potential(t[n]), error),
            ]
        })
        .collect()
}

#[test]
fn the_table_holds_slopes_and_integrals_of_thousands_of_splines() {
    let _turn = turn();
    let splines = many(3000);
    let flat = |f: fn(&Spline) -> &[f64]| -> Vec<f32> {
        splines.iter().flat_map(|s| f(s).iter().map(|v| *v as f32)).collect()
    };
    let (mut ranges, mut entries) = (Vec::new(), 0);
    for s in &splines {
        ranges.push([entries, s.len() as u32]);
        entries += s.len() as u32;
    }
    let guard = 9;
    let table = gpu().upload("table", &poison(4 * entries as usize + guard)).unwrap();
    let bound = gpu()
        .kernel("spline_table", &[])
        .unwrap()
        .bind(
            gpu(),
            &[
                ("positions", (&gpu().upload("t", &flat(Spline::knots)).unwrap()).into()),
                ("values", (&gpu().upload("f", &flat(Spline::values)).unwrap()).into()),
                ("ranges", (&gpu().upload("ranges", &ranges).unwrap()).into()),
                ("knots", (&table).into()),
            ],
        )
        .unwrap();
    let mut recorder = gpu().record();
    recorder.dispatch(&bound, bound.groups([ranges.len() as u32, 1, 1]), 0);
    recorder.submit();
    let got: Vec<f32> = gpu().read(&table).unwrap();
    let (got, behind) = got.split_at(4 * entries as usize);
    assert!(behind.iter().all(|v| poisoned(*v)), "written behind the table");
    let (want, error): (Vec<f64>, Vec<f64>) = splines.iter().flat_map(expected_table).flatten().unzip();
    assert_close("table", got, &want, |i| error[i]);

    // The bank makes the same table of the same splines, bit for bit.
    let bank = TrainableBank::new(gpu(), &splines, &vec![1.0; splines.len()]).unwrap();
    let again: Vec<f32> = gpu().read(bank.table()).unwrap();
    assert!(got.iter().zip(&again).all(|(a, b)| a.to_bits() == b.to_bits()));
}

#[test]
fn splines_come_back_as_they_were_and_follow_their_values() {
    let _turn = turn();
    let splines = many(57);
    let bank = TrainableBank::new(gpu(), &splines, &vec![1.0; 57]).unwrap();
    assert_eq!(bank.splines(gpu()).unwrap(), splines);
    assert_eq!(bank.entries(), splines.iter().map(Spline::len).sum::<usize>());

    let moved = values(5, bank.entries());
    gpu().write(bank.values(), &moved).unwrap();
    let mut recorder = gpu().record();
    bank.record_refresh(&mut recorder);
    recorder.submit();
    let now = bank.splines(gpu()).unwrap();
    let table: Vec<f32> = gpu().read(bank.table()).unwrap();
    let (want, error): (Vec<f64>, Vec<f64>) = now.iter().flat_map(expected_table).flatten().unzip();
    assert_close("moved table", &table, &want, |i| error[i]);
    let held: Vec<f32> = now.iter().flat_map(|s| s.values()).map(|v| *v as f32).collect();
    assert_eq!(held, moved);

    gpu().write(bank.values(), &[f32::NAN]).unwrap();
    let error = bank.splines(gpu()).unwrap_err().to_string();
    assert!(error.contains("trained spline 0"), "{error}");
}

#[test]
fn channels_have_records_in_every_slot() {
    let _turn = turn();
    let splines = many(3);
    let alphas = [1.0, 2.0, 0.5, 4.0, 8.0, 0.25_f32];
    let bank = TrainableBank::with_slots(gpu(), &splines, 3, &alphas).unwrap();
    assert_eq!((bank.channels(), bank.slots(), bank.shared()), (3, Some(2), false));
    let check = |bank: &TrainableBank, alphas: &[f32], spline_of: fn(usize) -> usize| {
        let records: Vec<[u32; 4]> = gpu().read(bank.records()).unwrap();
        assert_eq!(records.len(), alphas.len());
        for (i, (record, alpha)) in records.iter().zip(alphas).enumerate() {
            let (first, count) = bank.ranges()[spline_of(i)];
            assert_eq!(*record, [first, count, alpha.to_bits(), (1.0 / alpha).to_bits()]);
        }
    };
    check(&bank, &alphas, |i| i % 3);
    let other = alphas.map(|a| a * 3.0);
    bank.set_alphas(gpu(), &other).unwrap();
    check(&bank, &other, |i| i % 3);
    let shared = TrainableBank::new(gpu(), &splines[1..2], &alphas).unwrap();
    assert!(shared.shared() && shared.channels() == 6);
    check(&shared, &alphas, |_| 0);

    for wrong in [0.0, -1.0, f32::NAN, f32::INFINITY, f32::MAX] {
        assert!(
            bank.set_alphas(gpu(), &[1.0, 1.0, 1.0, 1.0, 1.0, wrong]).is_err(),
            "{wrong}"
        );
    }
    assert!(bank.set_alphas(gpu(), &[1.0; 3]).is_err());
    assert!(TrainableBank::new(gpu(), &splines, &[1.0; 2]).is_err());
    assert!(TrainableBank::new(gpu(), &[], &[]).is_err());
    assert!(TrainableBank::with_slots(gpu(), &splines, 3, &[1.0; 5]).is_err());
}
