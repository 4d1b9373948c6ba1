//! Networks of layers in f64, with parameters before the norms of the layers are divided out.

use knotwork::filters::LayerShape;
use knotwork::layered::{Architecture, Layered};

/// The margin of `src/layered/unit_norm.rs`.
const MARGIN: f64 = 1.0 - 5e-6_f32 as f64;

/// A network whose numbers can be moved one by one.
#[derive(Clone)]
pub struct Network {
    pub shapes: Vec<LayerShape>,
    pub raw: Vec<Vec<f64>>,
    pub shifts: Vec<Vec<f64>>,
    pub logs: Vec<Vec<f64>>,
    pub knots: Vec<Vec<Vec<f64>>>,
    pub values: Vec<Vec<Vec<f64>>>,
    pub architecture: Architecture,
    pub blur: Option<(usize, Vec<f64>)>,
}

/// Planes of one size.
pub type Planes = Vec<Vec<f64>>;

impl Network {
    pub fn new(model: &Layered, logs: &[Vec<f32>]) -> Self {
        let widen = |v: &Vec<f32>| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        let splines = |part: fn(&knotwork::spline::Spline) -> Vec<f64>| {
            model
                .activations
                .iter()
                .map(|set| set.iter().map(part).collect())
                .collect()
        };
        Self {
            shapes: model.filters.iter().map(|l| l.shape()).collect(),
            raw: model.filters.iter().map(|l| widen(&l.weights)).collect(),
            shifts: model.shifts.iter().map(widen).collect(),
            logs: logs.iter().map(widen).collect(),
            knots: splines(|s| s.knots().to_vec()),
            values: splines(|s| s.values().to_vec()),
            architecture: model.architecture.clone(),
            blur: model.blur().unwrap().map(|l| (l.size, widen(&l.weights))),
        }
    }

    /// Every layer divided by the roots of the row sums of its Gram operator on the side with fewer channels.
    pub fn filters(&self) -> Vec<Vec<f64>> {
        self.shapes
            .iter()
            .zip(&self.raw)
            .map(|(s, w)| unit_norm(s, w))
            .collect()
    }

    /// The network of one image.
    pub fn run(&self, image: &[f64], size: [usize; 2]) -> Vec<f64> {
        self.run_with(&self.filters(), image, size)
    }

    /// The same with filters as they are given.
    pub fn run_with(&self, filters: &[Vec<f64>], image: &[f64], size: [usize; 2]) -> Vec<f64> {
        match &self.architecture {
            Architecture::Denoiser { .. } => {
                let mut planes = vec![image.to_vec()];
                let last = filters.len() - 1;
                for (layer, own) in filters[..last].iter().enumerate() {
                    planes = correlate(&self.shapes[layer], own, &planes, size);
                    self.activate(layer, &mut planes);
                }
                correlate(&self.shapes[last], &filters[last], &planes, size).remove(0)
            }
            Architecture::Unrolled { steps, step, .. } => {
                let mut x = image.to_vec();
                for t in 0..*steps {
                    let layer = t.min(filters.len() - 1);
                    x = self.iterate(layer, &filters[layer], *step, &x, image, size);
                }
                x
            }
        }
    }

    /// One iteration of proximal gradients: `P(x - step H'(H x - y))`.
    pub fn iterate(
        &self,
        layer: usize,
        filters: &[f64],
        step: f64,
        x: &[f64],
        y: &[f64],
        size: [usize; 2],
    ) -> Vec<f64> {
        let blurred = self.blurred(x, size, false);
        let residual: Vec<f64> = blurred.iter().zip(y).map(|(a, b)| a - b).collect();
        let pull = self.blurred(&residual, size, true);
        let z: Vec<f64> = x.iter().zip(&pull).map(|(x, p)| x - step * p).collect();
        let mut planes = correlate(&self.shapes[layer], filters, &[z], size);
        self.activate(layer, &mut planes);
        scatter(&self.shapes[layer], filters, &planes, size).remove(0)
    }

    pub fn blurred(&self, x: &[f64], size: [usize; 2], adjoint: bool) -> Vec<f64> {
        let Some((side, taps)) = &self.blur else {
            return x.to_vec();
        };
        let shape = LayerShape {
            inputs: 1,
            outputs: 1,
            size: *side,
        };
        let apply = if adjoint { scatter } else { correlate };
        apply(&shape, taps, &[x.to_vec()], size).remove(0)
    }

    /// The length of what every layer reads, with filters as they are given: of the image, then of the activations.
    pub fn responses(&self, filters: &[Vec<f64>], image: &[f64], size: [usize; 2]) -> Vec<f64> {
        let length = |planes: &Planes| planes.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
        let mut planes = vec![image.to_vec()];
        let mut lengths = vec![length(&planes)];
        for (set, own) in filters.iter().enumerate().take(self.knots.len()) {
            planes = correlate(&self.shapes[set], own, &planes, size);
            self.activate(set, &mut planes);
            lengths.push(length(&planes));
        }
        lengths
    }

    /// `J' J d` with the Jacobian `J` at `x` of a denoiser or of `P`, the only step of an unrolled network without a blur.
    pub fn gram(&self, filters: &[Vec<f64>], x: &[f64], d: &[f64], size: [usize; 2]) -> Vec<f64> {
        let (mut planes, mut along) = (vec![x.to_vec()], vec![d.to_vec()]);
        let mut slopes = Vec::new();
        for set in 0..self.knots.len() {
            planes = correlate(&self.shapes[set], &filters[set], &planes, size);
            along = correlate(&self.shapes[set], &filters[set], &along, size);
            slopes.push(self.activate(set, &mut planes));
            times(&mut along, &slopes[set]);
        }
        // The last layer and its adjoint, or the adjoint of the only one and that layer.
        let last = filters.len() - 1;
        let (shape, own) = (&self.shapes[last], &filters[last]);
        let mut back = match self.architecture {
            Architecture::Denoiser { .. } => scatter(shape, own, &correlate(shape, own, &along, size), size),
            Architecture::Unrolled { .. } => correlate(shape, own, &scatter(shape, own, &along, size), size),
        };
        for set in (0..self.knots.len()).rev() {
            times(&mut back, &slopes[set]);
            back = scatter(&self.shapes[set], &filters[set], &back, size);
        }
        back.remove(0)
    }

    /// Applies the activations of a set in place; returns their slopes.
    fn activate(&self, set: usize, planes: &mut [Vec<f64>]) -> Planes {
        let mut slopes = Vec::new();
        for (c, plane) in planes.iter_mut().enumerate() {
            let alpha = self.logs[set][c].exp();
            let (knots, values) = (&self.knots[set][c], &self.values[set][c]);
            let mut own = Vec::with_capacity(plane.len());
            for u in plane.iter_mut() {
                let at = alpha * (*u + self.shifts[set][c]);
                own.push(slope(knots, values, at));
                *u = interpolate(knots, values, at) / alpha;
            }
            slopes.push(own);
        }
        slopes
    }
}

fn times(planes: &mut Planes, factors: &Planes) {
    for (v, f) in planes.iter_mut().flatten().zip(factors.iter().flatten()) {
        *v *= f;
    }
}

pub fn unit_norm(shape: &LayerShape, raw: &[f64]) -> Vec<f64> {
    let by_outputs = shape.outputs < shape.inputs;
    let (channels, others) = if by_outputs {
        (shape.outputs, shape.inputs)
    } else {
        (shape.inputs, shape.outputs)
    };
    let k = shape.size as i64;
    let at = |a: usize, b: usize, y: i64, x: i64| {
        let (o, i) = if by_outputs { (b, a) } else { (a, b) };
        shape.index(o, i, y as usize, x as usize)
    };
    let mut result = raw.to_vec();
    for b in 0..channels {
        let mut sum = 0.0;
        for c in 0..channels {
            for (dy, dx) in (1 - k..k).flat_map(|y| (1 - k..k).map(move |x| (y, x))) {
                let mut correlation = 0.0;
                for a in 0..others {
                    for (y, x) in (0..k).flat_map(|y| (0..k).map(move |x| (y, x))) {
                        if (0..k).contains(&(y + dy)) && (0..k).contains(&(x + dx)) {
                            correlation += raw[at(a, b, y, x)] * raw[at(a, c, y + dy, x + dx)];
                        }
                    }
                }
                sum += correlation.abs();
            }
        }
        for a in 0..others {
            for (y, x) in (0..k).flat_map(|y| (0..k).map(move |x| (y, x))) {
                result[at(a, b, y, x)] *= MARGIN / sum.sqrt();
            }
        }
    }
    result
}

fn correlate(shape: &LayerShape, w: &[f64], x: &[Vec<f64>], size: [usize; 2]) -> Planes {
    moved(shape, w, x, size, false)
}

fn scatter(shape: &LayerShape, w: &[f64], y: &[Vec<f64>], size: [usize; 2]) -> Planes {
    moved(shape, w, y, size, true)
}

fn moved(shape: &LayerShape, w: &[f64], from: &[Vec<f64>], [h, wd]: [usize; 2], adjoint: bool) -> Planes {
    let r = shape.size / 2;
    let mut to = vec![vec![0.0; h * wd]; if adjoint { shape.inputs } else { shape.outputs }];
    for (o, i) in (0..shape.outputs).flat_map(|o| (0..shape.inputs).map(move |i| (o, i))) {
        for (ky, kx) in (0..shape.size).flat_map(|y| (0..shape.size).map(move |x| (y, x))) {
            let weight = w[shape.index(o, i, ky, kx)];
            if weight == 0.0 {
                continue;
            }
            for (row, col) in (0..h).flat_map(|row| (0..wd).map(move |col| (row, col))) {
                let (y, x) = (row + ky, col + kx);
                if y < r || x < r || y - r >= h || x - r >= wd {
                    continue;
                }
                let (p, q) = (row * wd + col, (y - r) * wd + x - r);
                if adjoint {
                    to[i][q] += weight * from[o][p];
                } else {
                    to[o][p] += weight * from[i][q];
                }
            }
        }
    }
    to
}

/// A continuous piecewise-linear function through `(t, f)`, outer segments extended.
pub fn interpolate(t: &[f64], f: &[f64], x: f64) -> f64 {
    let segment = segment(t, x);
    f[segment] + slope(t, f, x) * (x - t[segment])
}

/// Its slope, right of a knot the one behind it.
fn slope(t: &[f64], f: &[f64], x: f64) -> f64 {
    let segment = segment(t, x);
    (f[segment + 1] - f[segment]) / (t[segment + 1] - t[segment])
}

fn segment(t: &[f64], x: f64) -> usize {
    t[1..t.len() - 1].iter().filter(|k| x >= **k).count()
}
