// Filters of norm at most 1 (lib/gram.wgsl): d[b] = sum_b' sum_tau |c[b, b'](tau)|, w[a, b, k] = margin v[a, b, k] / sqrt(d[b]);
// filters that are 0 stay 0.
// One workgroup of 256 per channel b. weights, effective: (layer; output, input, row, column), correlations: (layer; b, b', lag),
// row_sums: (layer; b).
#import gram
#import reduce

@group(0) @binding(0) var<uniform> params: GramParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> correlations: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> effective: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let row = params.channels * gram_lags(params);
    var sum = 0.0;
    for (var n = local; n < row; n += 256u) {
        sum += abs(correlations[params.first_lag + group.x * row + n]);
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    if (local == 0u) {
        row_sums[params.first_channel + group.x] = total;
    }
    let scale = select(0.0, params.margin * inverseSqrt(total), total > 0.0);
    let taps = params.size * params.size;
    for (var n = local; n < params.others * taps; n += 256u) {
        let at = gram_weight(params, n / taps, group.x, n % taps);
        effective[at] = scale * weights[at];
    }
}
