// Poses a fit to samples to tv2_prox: the moments of the samples in every segment, about the spline that is there.
// Sample (x, y, w) in segment m counts with u = (x - t_m) / h_m, r = y - f(x) and the weight v of its loss:
//   A = sum v (1-u)^2, B = sum v u (1-u), C = sum v u^2, moments (sum v (1-u) r, sum v u r).
// v = w for the squared loss. Huber's loss, v = w min(1, delta / |r|), and the absolute one, v = w / max(|r|, delta), are
// majorised at the current f by such a quadratic, so that solving again and again descends (iteratively reweighted least
// squares).
// One invocation per segment, summing its samples in order. samples (x, y, w, 0), sorted by x; starts: first sample of each
// segment, and their number at the end; knots, values: (node); the other arrays: (segment).

const SQUARED: u32 = 0u;
const HUBER: u32 = 1u;
const ABSOLUTE: u32 = 2u;

struct SampleParams {
    segments: u32,
    loss: u32,
    delta: f32,  // Huber's threshold; of the absolute loss the residual below which it is smoothed
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: SampleParams;
@group(0) @binding(1) var<storage, read> samples: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> knots: array<f32>;
@group(0) @binding(4) var<storage, read> values: array<f32>;
@group(0) @binding(5) var<storage, read> slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> gram: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> moments: array<vec2<f32>>;

fn loss_weight(weight: f32, residual: f32) -> f32 {
    let size = abs(residual);
    if (params.loss == HUBER) {
        return select(weight, weight * params.delta / size, size > params.delta);
    }
    if (params.loss == ABSOLUTE) {
        return weight / max(size, params.delta);
    }
    return weight;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = id.x;
    if (m >= params.segments) {
        return;
    }
    let start = knots[m];
    let length = knots[m + 1u] - start;
    var g = vec3<f32>(0.0);
    var load = vec2<f32>(0.0);
    for (var i = starts[m]; i < starts[m + 1u]; i++) {
        let sample = samples[i];
        let residual = sample.y - values[m] - slopes[m] * (sample.x - start);
        let weight = loss_weight(sample.z, residual);
        let u = (sample.x - start) / length;
        let v = 1.0 - u;
        g += weight * vec3<f32>(v * v, u * v, u * u);
        load += weight * residual * vec2<f32>(v, u);
    }
    gram[m] = vec4<f32>(g, 0.0);
    moments[m] = load;
}
