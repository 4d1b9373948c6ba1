// The derivative of gram_scale.wgsl, part 2 of 2: the gradient with respect to v, in place of the one with respect to w:
//   dL/dv[a, b, k] = margin g[a, b, k] / sqrt(d[b])
//                  + sum_b' sum_tau (pulls[b] + pulls[b']) sign(c[b, b'](tau)) v[a, b', k + tau],
// for c[b', b](-tau) = c[b, b'](tau) depends on v[a, b, k] as well.
// One invocation per weight (a, b, k). weights v, gradient: (layer; output, input, row, column), correlations: (layer; b, b',
// lag), row_sums, pulls: (layer; b).
#import gram

@group(0) @binding(0) var<uniform> params: GramParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> correlations: array<f32>;
@group(0) @binding(3) var<storage, read> row_sums: array<f32>;
@group(0) @binding(4) var<storage, read> pulls: array<f32>;
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let size = params.size;
    let taps = size * size;
    if (id.x >= params.others * params.channels * taps) {
        return;
    }
    let a = id.x / (params.channels * taps);
    let b = id.x / taps % params.channels;
    let row = id.x % taps / size;
    let col = id.x % size;
    let d = row_sums[params.first_channel + b];
    let own = pulls[params.first_channel + b];
    let at = gram_weight(params, a, b, id.x % taps);
    var sum = select(0.0, params.margin * inverseSqrt(d) * gradient[at], d > 0.0);
    for (var other = 0u; other < params.channels; other++) {
        let pull = own + pulls[params.first_channel + other];
        let first = params.first_lag + (b * params.channels + other) * gram_lags(params);
        for (var tap = 0u; tap < taps; tap++) {
            let down = tap / size + size - 1u - row;
            let right = tap % size + size - 1u - col;
            let c = correlations[first + down * (2u * size - 1u) + right];
            sum += pull * sign(c) * weights[gram_weight(params, a, other, tap)];
        }
    }
    gradient[at] = sum;
}
