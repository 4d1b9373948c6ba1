//! The flow before training.

use super::config::FlowConfig;
use super::model::{Flow, Frame};
use crate::spline::Spline;
use crate::{Error, Result};

/// Angles of the layers in turn, as tangents of their halves: 45 and 90 degrees, so that neighbouring layers shear in
/// directions that differ and no coordinate is left alone.
const TURNS: [f32; 2] = [0.414_213_57, 1.0];

/// How far the outermost knots reach at least, in standard deviations: normal points lie beyond once in 2000.
const REACH: f64 = 3.5;

/// The flow with which training starts: standardisation to mean 0 and variance 1 of `points` (point, coordinate), and layers
/// that only turn, on knots halfway between the quantiles of what arrives there and an even grid. The former resolve the data,
/// the latter what layers in front will make of them.
///
/// # Errors
/// [`Error::Data`] for points that do not spread in every coordinate.
pub fn start_flow(config: &FlowConfig, dims: usize, points: &[f64]) -> Result<Flow> {
    let count = (points.len() / dims) as f64;
    let (mut mean, mut scale) = (Vec::new(), Vec::new());
    for i in 0..dims {
        let along = || points.iter().skip(i).step_by(dims);
        let centre = along().sum::<f64>() / count;
        let variance = along().map(|x| (x - centre).powi(2)).sum::<f64>() / count;
        if !(variance.is_normal() && (variance as f32).is_normal()) {
            return Err(Error::Data(format!(
                "coordinate {i} of the points has the variance {variance:e}, which f32 cannot standardise; rescale it"
            )));
        }
        mean.push(centre);
        scale.push(variance.sqrt());
    }
    let mut flow = Flow {
        name: config.name.clone(),
        mean,
        scale,
        frames: Vec::new(),
        slopes: Vec::new(),
        shears: Vec::new(),
        slope_bounds: config.slope_bounds()?,
        shear_bound: config.model.shear,
        provenance: serde_json::Value::Null,
    };
    let mut planes: Vec<Vec<f64>> = (0..dims)
        .map(|i| {
            let along = points.iter().skip(i).step_by(dims);
            along.map(|x| (x - flow.mean[i]) / flow.scale[i]).collect()
        })
        .collect();
    let (mut seconds, mut shears) = (Vec::new(), Vec::new());
    for layer in 0..config.model.layers {
        let frame = Frame {
            tau: if dims == 2 { TURNS[layer % TURNS.len()] } else { 0.0 },
            shift: 0.0,
        };
        if dims == 2 {
            let [c, s] = frame.rotation();
            let (mut first, mut second) = (Vec::new(), Vec::new());
            for (x, y) in planes[0].iter().zip(&planes[1]) {
                first.push(c * x - s * y);
                second.push(s * x + c * y);
            }
            planes = vec![first, second];
        }
        let knots: Vec<Vec<f64>> = planes.iter().map(|p| knots(p, config.model.knots)).collect();
        let constant = |t: &[f64], value: f64| Spline::new(t.to_vec(), vec![value; t.len()]);
        flow.slopes.push(constant(&knots[0], 1.0)?);
        if dims == 2 {
            seconds.push(constant(&knots[1], 1.0)?);
            shears.push(constant(&knots[0], 0.0)?);
        }
        flow.frames.push(frame);
    }
    flow.slopes.append(&mut seconds);
    flow.shears = shears;
    flow.check()?;
    Ok(flow)
}

/// `count` knots in f32, each the mean of a quantile of `values` and a point of an even grid.
fn knots(values: &[f64], count: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let (low, high) = (sorted[0].min(-REACH), sorted[last].max(REACH));
    (0..count)
        .map(|k| {
            let part = k as f64 / (count - 1) as f64;
            let even = low + (high - low) * part;
            let quantile = match k {
                0 => low,
                k if k + 1 == count => high,
                _ => sorted[(part * last as f64).round() as usize],
            };
            f64::from((0.5 * (even + quantile)) as f32)
        })
        .collect()
}
