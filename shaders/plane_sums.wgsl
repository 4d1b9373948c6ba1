// The gradient with respect to the shifts of plane_shift.wgsl: sums[c] = sum over slots and positions of g[s, c](r, q), which
// replaces what was there or is added to it.
// One workgroup of 256 per channel; invocations walk positions. g: (slot, channel, row, column), sums: (channel).
#import tile
#import reduce

struct PlaneSumParams {
    region: Region,
    slots: u32,
    accumulate: u32,   // 1: add to the sums
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: PlaneSumParams;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let positions = params.region.rows * params.region.cols;
    var sum = 0.0;
    for (var slot = 0u; slot < params.slots; slot++) {
        var part = 0.0;
        for (var n = local; n < positions; n += 256u) {
            let row = n / params.region.cols;
            let col = n % params.region.cols;
            if (region_inside(params.region, row, col)) {
                part += g[region_index(params.region, slot, group.x, row, col)];
            }
        }
        sum += part;
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    if (local == 0u) {
        sums[group.x] = total + select(0.0, sums[group.x], params.accumulate == 1u);
    }
}
