// The derivative of gram_scale.wgsl, part 1 of 2: with g = dL/dw,
//   pulls[b] = dL/dd[b] = -1/2 margin d[b]^(-3/2) sum_a sum_k g[a, b, k] v[a, b, k].
// One workgroup of 256 per channel b. weights v, gradient g: (layer; output, input, row, column), row_sums, pulls: (layer; b).
#import gram
#import reduce

@group(0) @binding(0) var<uniform> params: GramParams;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;
@group(0) @binding(3) var<storage, read> row_sums: array<f32>;
@group(0) @binding(4) var<storage, read_write> pulls: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let taps = params.size * params.size;
    var sum = 0.0;
    for (var n = local; n < params.others * taps; n += 256u) {
        let at = gram_weight(params, n / taps, group.x, n % taps);
        sum += gradient[at] * weights[at];
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    if (local == 0u) {
        let d = row_sums[params.first_channel + group.x];
        let slope = -0.5 * params.margin * inverseSqrt(d) / d;
        pulls[params.first_channel + group.x] = select(0.0, slope * total, d > 0.0);
    }
}
