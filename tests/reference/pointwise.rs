//! A nonexpansive network that is one spline, on the device and in f64.

use knotwork::filters::Region;
use knotwork::gpu::{Buffer, Gpu, Recorder};
use knotwork::solver::Nonexpansive;
use knotwork::spline::Spline;
use knotwork::spline::device::{Pointwise, TrainableBank};

/// `N` applies a spline to every pixel.
pub struct PointwiseNetwork {
    _bank: TrainableBank,
    pass: Pointwise,
    input: Buffer,
    output: Buffer,
    lipschitz: f64,
}

impl PointwiseNetwork {
    pub fn new(gpu: &Gpu, spline: &Spline, [rows, cols]: [usize; 2], lipschitz: f64) -> Self {
        let pixels = rows * cols;
        let region = Region {
            rows: rows as u32,
            cols: cols as u32,
            row_stride: cols as u32,
            plane_stride: pixels as u32,
            image_stride: pixels as u32,
            inside_rows: rows as u32,
            inside_cols: cols as u32,
            ..Default::default()
        };
        let bank = TrainableBank::new(gpu, std::slice::from_ref(spline), &[1.0]).unwrap();
        let (input, output) = (
            gpu.buffer("input", pixels).unwrap(),
            gpu.buffer("output", pixels).unwrap(),
        );
        let pass = bank.forward(gpu, &[region], 1, &input, &output).unwrap();
        Self {
            _bank: bank,
            pass,
            input,
            output,
            lipschitz,
        }
    }
}

impl Nonexpansive for PointwiseNetwork {
    fn record(&self, recorder: &mut Recorder<'_>) {
        self.pass.record(recorder, 0, 1);
    }

    fn input(&self) -> &Buffer {
        &self.input
    }

    fn output(&self) -> &Buffer {
        &self.output
    }

    fn lipschitz(&self) -> f64 {
        self.lipschitz
    }
}

/// `N = 2 prox - Id` of the soft threshold at `t`, which makes `D` with averaging 1/2 that threshold.
pub fn reflected_threshold(t: f64) -> Spline {
    Spline::new(vec![-2.0 * t, -t, t, 2.0 * t], vec![0.0, t, -t, 0.0]).unwrap()
}

/// A spline with slopes all over [-1, 1], both ends among them.
pub fn wavy() -> Spline {
    let knots = vec![-0.9, -0.4, -0.1, 0.2, 0.35, 0.8, 1.2];
    let slopes = [1.0, -0.7, 0.3, -1.0, 0.9, 0.1];
    let mut values = vec![-0.6];
    for (n, slope) in slopes.iter().enumerate() {
        values.push(values[n] + slope * (knots[n + 1] - knots[n]));
    }
    Spline::new(knots, values).unwrap()
}
