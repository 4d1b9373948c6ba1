// Of one group of parameters: sums[group] = ( sum g^2, sum v, 0, 0 ), g the gradient, v Adam's second moments.
// One workgroup of 256. gradient: (parameter), moments: (parameter) of (m, v).
#import reduce

struct GroupParams {
    count: u32,
    group: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: GroupParams;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> moments: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var n = local; n < params.count; n += 256u) {
        sum += vec4<f32>(gradient[n] * gradient[n], moments[n].y, 0.0, 0.0);
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        sums[params.group] = total;
    }
}
