// The derivative of the normalisation of filters, part 1 of 2: for every filter f of the normalised w and its gradient g,
//   sums[f] = ( <g_f, w_f>,  Re w^_f,  Im w^_f,  0 ),   w^_f = sum_k w[f, k] e^(i omega k)  at the peak of the symbol.
// One workgroup of 256 per filter, one invocation per tap. w, g: (filter, row, column).
#import filter_norm
#import reduce

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> peak: FilterPeak;
@group(0) @binding(2) var<storage, read> waves: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let taps = params.size * params.size;
    var sum = vec4<f32>(0.0);
    if (local < taps) {
        let at = group.x * taps + local;
        let phase = peak.row * (local / params.size) + peak.col * (local % params.size);
        let w = weights[at];
        sum = vec4<f32>(gradient[at] * w, w * waves[phase & (params.grid - 1u)], 0.0);
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        sums[group.x] = total;
    }
}
