// One step of conjugate gradients for (I + H) q = b behind the product h = H p, patch by patch:
//   w = p + h,  alpha = |r|^2 / <p, w>,  q += alpha p,  r -= alpha w,  p <- r + (|r|^2 / |r_before|^2) p.
// A patch ends at |r| <= tolerance |b|, at <p, w> <= 0, which for a positive semidefinite I + H only rounding brings about
// (q is kept), or when a sum is not finite. One workgroup of 256 per patch, which owns it: no other kernel is needed.
// h, q, r, p: (patch, pixel), states: (patch).
#import training
#import reduce

@group(0) @binding(0) var<uniform> params: TrainingParams;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read_write> q: array<f32>;
@group(0) @binding(3) var<storage, read_write> r: array<f32>;
@group(0) @binding(4) var<storage, read_write> p: array<f32>;
@group(0) @binding(5) var<storage, read_write> states: array<CgState>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = group.x * params.pixels;
    var sum = 0.0;
    for (var n = local; n < params.pixels; n += 256u) {
        let direction = p[first + n];
        sum += direction * (direction + h[first + n]);
    }
    let curvature = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    // Every invocation must have read the sum before the next reduction overwrites it.
    workgroupBarrier();
    let state = states[group.x];
    let moves = state.status == RUNNING && curvature > 0.0 && !not_finite(curvature);
    var alpha = 0.0;
    if (moves) {
        alpha = state.residual / curvature;
    }
    sum = 0.0;
    for (var n = local; n < params.pixels; n += 256u) {
        let at = first + n;
        if (moves) {
            let direction = p[at];
            q[at] += alpha * direction;
            let rest = r[at] - alpha * (direction + h[at]);
            r[at] = rest;
            sum += rest * rest;
        }
    }
    let residual = workgroup_sum(local, vec4<f32>(sum, 0.0, 0.0, 0.0)).x;
    if (moves) {
        let beta = residual / state.residual;
        for (var n = local; n < params.pixels; n += 256u) {
            p[first + n] = r[first + n] + beta * p[first + n];
        }
    }
    if (local == 0u && state.status == RUNNING) {
        var next = state;
        if (not_finite(curvature) || not_finite(residual)) {
            next.status = NOT_FINITE;
        } else if (!moves) {
            next.status = NO_DESCENT;
        } else {
            next.residual = residual;
            next.iterations += 1u;
            if (residual <= params.tolerance * params.tolerance * state.start) {
                next.status = CONVERGED;
            }
        }
        states[group.x] = next;
    }
}
