// Mean squared error of every member and its gradient at the output unit, the last one:
//   loss = 1/S sum (u - y)^2,   d = 2 (u - y) / S
// One workgroup of 256 per member. pre, delta: (member, unit, sample); targets: (member, sample); losses: (member).
#import reduce

struct LossParams {
    samples: u32,
    units: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: LossParams;
@group(0) @binding(1) var<storage, read> pre: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let output = (group.x * params.units + params.units - 1u) * params.samples;
    let share = 1.0 / f32(params.samples);
    var sum = 0.0;
    for (var s = local; s < params.samples; s += 256u) {
        let r = pre[output + s] - targets[group.x * params.samples + s];
        delta[output + s] = 2.0 * share * r;
        sum += r * r;
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0));
    if (local == 0u) {
        losses[group.x] = total.x * share;
    }
}
