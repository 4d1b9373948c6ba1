// Conjugate gradients for (I + H) q = b, the start: q = 0, r = p = b.
// One workgroup of 256 per patch. b, q, r, p: (patch, pixel), states: (patch).
#import training
#import reduce

@group(0) @binding(0) var<uniform> params: TrainingParams;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> r: array<f32>;
@group(0) @binding(4) var<storage, read_write> p: array<f32>;
@group(0) @binding(5) var<storage, read_write> states: array<CgState>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = 0.0;
    for (var n = local; n < params.pixels; n += 256u) {
        let at = group.x * params.pixels + n;
        let value = b[at];
        q[at] = 0.0;
        r[at] = value;
        p[at] = value;
        sum += value * value;
    }
    let total = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    if (local == 0u) {
        var status = RUNNING;
        if (not_finite(total)) {
            status = NOT_FINITE;
        } else if (total == 0.0) {
            status = CONVERGED;
        }
        states[group.x] = CgState(total, total, 0u, status);
    }
}
