// Accelerated projected gradient, part 2 of 3: one decision per image, made once and stored for the others to read.
//   t' = (1 + sqrt(1 + 4 t^2)) / 2,  beta = (t - 1) / t';  restart (t' = 1, beta = 0) if <z - x, x - x_old> > 0;
//   stop if |x - x_old| <= tolerance scale, with scale = |x| unless the state has one, or if a sum is not finite.
// One workgroup of 256 per slot. partials: (slot, group), states: (image).
#import agd
#import reduce

@group(0) @binding(0) var<uniform> params: AgdParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> states: array<AgdState>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    var sum = vec4<f32>(0.0);
    for (var n = local; n < params.groups; n += 256u) {
        sum += partials[group.x * params.groups + n];
    }
    let total = workgroup_sum(local, sum);
    let image = active_images[group.x];
    var state = states[image];
    if (local == 0u && state.status == RUNNING) {
        state.iterations += 1u;
        if (not_finite(total.x) || not_finite(total.y) || not_finite(total.z) || not_finite(total.w)) {
            state.status = NOT_FINITE;
        } else {
            // max keeps the quotient finite for an all-zero image.
            var scale = sqrt(max(total.z, 1e-30));
            if (state.scale > 0.0) {
                scale = state.scale;
            }
            state.change = sqrt(total.y) / scale;
            if (state.change <= params.tolerance) {
                state.status = CONVERGED;
            }
        }
        let t_next = 0.5 * (1.0 + sqrt(1.0 + 4.0 * state.t * state.t));
        state.beta = (state.t - 1.0) / t_next;
        state.t = t_next;
        if (params.accelerate == 0u) {
            state.beta = 0.0;
        } else if (total.x > 0.0) {
            state.t = 1.0;
            state.beta = 0.0;
            state.restarts += 1u;
        }
        states[image] = state;
    }
}
