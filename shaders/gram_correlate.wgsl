// Correlations of a layer's filters, the Gram operator of lib/gram.wgsl:
//   c[b, b'](tau) = sum_a sum_k v[a, b, k] v[a, b', k + tau].
// One invocation per (b, b', tau), taps and lags counted row by row, tau from -(K-1) to K-1 in both directions.
// weights: (layer; output, input, row, column), correlations: (layer; b, b', lag).
#import gram

@group(0) @binding(0) var<uniform> params: GramParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> correlations: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let lags = gram_lags(params);
    if (id.x >= params.channels * params.channels * lags) {
        return;
    }
    let size = params.size;
    let pair = id.x / lags;
    let lag = id.x % lags;
    // tau + K - 1.
    let down = lag / (2u * size - 1u);
    let right = lag % (2u * size - 1u);
    var sum = 0.0;
    for (var a = 0u; a < params.others; a++) {
        for (var tap = 0u; tap < size * size; tap++) {
            let row = tap / size + down;
            let col = tap % size + right;
            // Wraps around where the second tap lies before the first row or column.
            let row2 = row - (size - 1u);
            let col2 = col - (size - 1u);
            if (row2 < size && col2 < size) {
                let other = gram_weight(params, a, pair % params.channels, row2 * size + col2);
                sum += weights[gram_weight(params, a, pair / params.channels, tap)] * weights[other];
            }
        }
    }
    correlations[params.first_lag + id.x] = sum;
}
