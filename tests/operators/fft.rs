//! Fourier transforms on the device against rustfft in f64.

use crate::common::{gpu, poison, poisoned, relative_l2, turn, values};
use knotwork::Error;
use knotwork::operator::{Direction, Fft};
use rustfft::FftPlanner;
use rustfft::num_complex::Complex;

const GUARD: usize = 66;
/// What is promised for every size: relative error in l2.
const PROMISE: f64 = 1e-6;

/// Transforms between guarded buffers whose result was poisoned.
fn run(fft: &Fft, direction: Direction, x: &[f32]) -> Vec<f32> {
    let src = gpu().upload("src", &[x, &[f32::NAN; GUARD]].concat()).unwrap();
    let dst = gpu().upload("dst", &poison(x.len() + GUARD)).unwrap();
    let pass = fft.pass(gpu(), direction, &src, &dst).unwrap();
    let mut recorder = gpu().record();
    pass.record(&mut recorder);
    recorder.submit();
    let mut all: Vec<f32> = gpu().read(&dst).unwrap();
    let rest = all.split_off(x.len());
    assert!(rest.iter().all(|v| poisoned(*v)), "written behind the result");
    all
}

/// The orthonormal transform of (plane, row, column) in f64.
fn reference(planner: &mut FftPlanner<f64>, [rows, cols]: [usize; 2], direction: Direction, x: &[f32]) -> Vec<f64> {
    let mut plan = |n| match direction {
        Direction::Forward => planner.plan_fft_forward(n),
        Direction::Inverse => planner.plan_fft_inverse(n),
    };
    let (along_rows, along_cols) = (plan(cols), plan(rows));
    let mut values: Vec<Complex<f64>> = x
        .chunks(2)
        .map(|v| Complex::new(f64::from(v[0]), f64::from(v[1])))
        .collect();
    values.chunks_mut(cols).for_each(|row| along_rows.process(row));
    for plane in values.chunks_mut(rows * cols) {
        for c in 0..cols {
            let mut column: Vec<_> = (0..rows).map(|r| plane[r * cols + c]).collect();
            along_cols.process(&mut column);
            (0..rows).for_each(|r| plane[r * cols + c] = column[r]);
        }
    }
    let scale = 1.0 / ((rows * cols) as f64).sqrt();
    values.iter().flat_map(|v| [v.re * scale, v.im * scale]).collect()
}

/// The error of one transform, and of coming back from it.
fn errors(planner: &mut FftPlanner<f64>, planes: usize, size: [usize; 2], direction: Direction) -> [f64; 2] {
    let fft = Fft::new(planes, size).unwrap();
    let x = values((size[0] * 7919 + size[1]) as u64, fft.elements());
    let back = match direction {
        Direction::Forward => Direction::Inverse,
        Direction::Inverse => Direction::Forward,
    };
    let got = run(&fft, direction, &x);
    let there = relative_l2(&got, &reference(planner, size, direction, &x));
    let and_back = relative_l2(
        &run(&fft, back, &got),
        &x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(),
    );
    [there, and_back]
}

#[test]
fn every_size_from_2_to_1025_agrees_with_rustfft() {
    let _turn = turn();
    let mut planner = FftPlanner::new();
    let mut worst = [(0, 0.0); 2];
    for n in 2..=1025 {
        // Rows forward and back, columns the other way round.
        for (axis, (size, direction)) in [([1, n], Direction::Forward), ([n, 1], Direction::Inverse)]
            .into_iter()
            .enumerate()
        {
            let [error, both] = errors(&mut planner, 1, size, direction);
            assert!(error <= PROMISE, "{size:?} {direction:?}: relative error {error:e}");
            assert!(both <= 2.0 * PROMISE, "{size:?} {direction:?} and back: {both:e}");
            if error > worst[axis].1 {
                worst[axis] = (n, error);
            }
        }
    }
    println!(
        "largest errors (size, relative l2): rows {:?}, columns {:?}",
        worst[0], worst[1]
    );
}

#[test]
fn planes_of_any_shape_agree_with_rustfft() {
    let _turn = turn();
    let mut planner = FftPlanner::new();
    for (planes, size) in [
        (1, [1, 1]),
        (3, [1, 1]),
        (1, [17, 1]),
        (5, [2, 3]),
        (3, [13, 26]),
        (2, [37, 64]),
        (2, [96, 59]),
        (3, [101, 103]),
        (4, [77, 130]),
        (1, [320, 368]),
        (2, [4096, 3]),
        (1, [2, 4093]),
        (1, [3, 16384]),
    ] {
        for direction in [Direction::Forward, Direction::Inverse] {
            let [error, both] = errors(&mut planner, planes, size, direction);
            assert!(
                error <= PROMISE,
                "{planes} planes of {size:?}: relative error {error:e}"
            );
            assert!(both <= 2.0 * PROMISE, "{planes} planes of {size:?} and back: {both:e}");
        }
    }
}

#[test]
fn transforms_keep_lengths_and_inner_products_and_repeat_bitwise() {
    let _turn = turn();
    for size in [[64, 48], [31, 90]] {
        let fft = Fft::new(2, size).unwrap();
        let (x, y) = (values(1, fft.elements()), values(2, fft.elements()));
        let (fx, fy) = (run(&fft, Direction::Forward, &x), run(&fft, Direction::Forward, &y));
        assert_eq!(fx, run(&fft, Direction::Forward, &x), "not repeatable");
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let size_of = |a: &[f32]| dot(a, a).sqrt();
        let allowed = 2.0 * PROMISE * size_of(&x) * size_of(&y);
        assert!((size_of(&fx) - size_of(&x)).abs() <= PROMISE * size_of(&x));
        assert!((dot(&fx, &fy) - dot(&x, &y)).abs() <= allowed);
    }
}

#[test]
fn the_impulse_becomes_a_wave() {
    let _turn = turn();
    // x = 1 at (2, 5): X(u, v) = exp(-2 pi i (2 u / rows + 5 v / cols)) / sqrt(rows cols), the formula itself.
    let size = [6, 19];
    let fft = Fft::new(1, size).unwrap();
    let mut x = vec![0.0; fft.elements()];
    x[2 * (2 * size[1] + 5)] = 1.0;
    let want: Vec<f64> = (0..size[0] * size[1])
        .flat_map(|at| {
            let turns = 2.0 * (at / size[1]) as f64 / 6.0 + 5.0 * (at % size[1]) as f64 / 19.0;
            let (sin, cos) = (2.0 * std::f64::consts::PI * turns).sin_cos();
            [cos, -sin].map(|v| v / 114_f64.sqrt())
        })
        .collect();
    assert!(relative_l2(&run(&fft, Direction::Forward, &x), &want) <= PROMISE);
}

#[test]
fn impossible_sizes_are_refused() {
    for (planes, size) in [(0, [4, 4]), (1, [0, 4]), (1, [4, 0]), (1, [16385, 4])] {
        let error = Fft::new(planes, size).unwrap_err();
        assert!(
            matches!(&error, Error::Data(_)) && error.to_string().contains("want"),
            "{error}"
        );
    }
}
