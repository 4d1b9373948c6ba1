//! Small models with everything nonuniform.

use knotwork::filters::{ConvLayer, FilterBank, norm};
use knotwork::model::dct::{DctSettings, dct};
use knotwork::model::{Border, NormKind, Ridge, Scaling};
use knotwork::spline::Spline;

use crate::common::values;

/// A layer with weights in [-1, 1).
pub fn layer(seed: u64, inputs: usize, outputs: usize, size: usize) -> ConvLayer {
    ConvLayer::new(inputs, outputs, size, values(seed, inputs * outputs * size * size)).unwrap()
}

/// `count` knots, unevenly spaced within about [-3, 3], with slopes in `[low, high]`.
pub fn spline(seed: u64, count: usize, low: f64, high: f64) -> Spline {
    let random: Vec<f64> = values(seed, 2 * count).iter().map(|v| f64::from(*v)).collect();
    let mut knots = vec![-2.5 + 0.4 * random[0]];
    let mut value = 0.3 * random[1];
    let mut heights = vec![value];
    for n in 1..count {
        let gap = 5.0 / (count - 1) as f64 * (1.0 + 0.9 * random[2 * n]);
        let slope = low + (high - low) * 0.5 * (1.0 + random[2 * n + 1]);
        knots.push(knots[n - 1] + gap);
        value += slope * gap;
        heights.push(value);
    }
    Spline::new(knots, heights).unwrap()
}

pub const SLOPES: (f64, f64) = (-0.5, 1.0);

/// Two layers, six channels, a spline and a scaling of its own for each.
pub fn weakly_convex() -> Ridge {
    let bank = FilterBank::new(vec![layer(11, 1, 3, 3), layer(12, 3, 6, 5)]).unwrap();
    let norm_squared = norm::upper_bound(&bank);
    let model = Ridge {
        bank,
        activations: (0..6)
            .map(|c| spline(20 + c, [2, 3, 5, 9, 17, 24][c as usize], SLOPES.0, SLOPES.1))
            .collect(),
        scaling: Scaling {
            log: (0..6).map(|c| spline(40 + c, 4, -0.4, 0.4)).collect(),
            epsilon: 0.01,
        },
        slope_bounds: SLOPES,
        sigma_range: (0.0, 1.0),
        norm_squared,
        norm_kind: NormKind::Bound,
        border: Border::Zero,
        name: "random".into(),
        provenance: serde_json::Value::Null,
    };
    let model = model.normalised(norm_squared, NormKind::Bound);
    model.check().unwrap();
    model
}

/// Eight 3x3 cosines that share one spline.
pub fn cosines() -> Ridge {
    let settings = DctSettings {
        size: 3,
        slope: 6.0,
        threshold: 0.5,
    };
    dct(&settings).unwrap()
}

/// 80 filters, enough for a layer that is multiplied at points.
pub fn many_cosines() -> Ridge {
    let settings = DctSettings {
        size: 9,
        slope: 6.0,
        threshold: 0.5,
    };
    dct(&settings).unwrap()
}

/// A ramp with an edge and noise, about [0, 1].
pub fn image(seed: u64, [h, w]: [usize; 2]) -> Vec<f32> {
    let noise = values(seed, h * w);
    (0..h * w)
        .map(|i| {
            let (r, q) = (i / w, i % w);
            let edge = if 2 * r > h { 0.4 } else { 0.0 };
            0.2 + edge + 0.3 * q as f32 / w as f32 + 0.12 * noise[i]
        })
        .collect()
}
