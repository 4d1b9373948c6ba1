// Second pass of every reduction: totals[slot] = sum over n of partials[slot][n], in a fixed order.
// One workgroup of 256 per slot. partials: (slot, n), totals: (slot).
#import reduce

struct TotalParams {
    count: u32,
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: TotalParams;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var n = local; n < params.count; n += 256u) {
        sum += partials[group.x * params.count + n];
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        totals[group.x] = total;
    }
}
