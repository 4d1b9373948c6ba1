// Safeguarded accelerated descent, part 2 of 3: one decision per image, made once and stored for part 3.
// SAFEGUARD: the step is taken if D <= -MARGIN L |x' - x|^2, or if it started without momentum, for then D <= -L/2 |x' - x|^2
//   by the projection onto the box; f falls by at least MARGIN L |x' - x|^2 in every step taken. Otherwise x stays and the
//   next step starts from it: t = 1, beta = 0.
// RESTART: every step is taken; momentum ends where <z - x', x' - x> > 0, which comes in the place of D.
//   t' = (1 + sqrt(1 + 4 t^2)) / 2,  beta = (t - 1) / t';  stop if |x' - x| and L / |H|^2 |x' - z| are at most
//   tolerance |x'|, or if a sum is not finite.
// One workgroup of 256 per slot. partials: (slot, group of 4096 pixels), states: (image).
#import descent
#import reduce

const MARGIN: f32 = 5e-4;

@group(0) @binding(0) var<uniform> params: DescentParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> states: array<DescentState>;

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
    if (local == 0u && state.status != RUNNING) {
        // What is recorded behind the last step must not move x, however many iterations were recorded at once.
        state.accepted = 0u;
    } else if (local == 0u) {
        state.iterations += 1u;
        state.accepted = 1u;
        if (not_finite(total.x) || not_finite(total.y) || not_finite(total.z) || not_finite(total.w)) {
            state.status = NOT_FINITE;
        }
        var back = total.x > 0.0;
        if (params.rule == SAFEGUARD) {
            back = state.beta > 0.0 && total.x > -MARGIN * params.lipschitz * total.y;
            state.accepted = select(1u, 0u, back);
        }
        if (state.accepted == 1u) {
            // max keeps the quotient finite for an all-zero image.
            state.change = sqrt(total.y / max(total.z, 1e-30));
            state.residual = params.scale * sqrt(total.w / max(total.z, 1e-30));
            if (state.status == RUNNING && max(state.change, state.residual) <= params.tolerance) {
                state.status = CONVERGED;
            }
        }
        let t_next = 0.5 * (1.0 + sqrt(1.0 + 4.0 * state.t * state.t));
        state.beta = (state.t - 1.0) / t_next;
        state.t = t_next;
        if (params.rule == PLAIN) {
            state.beta = 0.0;
        } else if (back) {
            state.t = 1.0;
            state.beta = 0.0;
            state.restarts += 1u;
        }
    }
    if (local == 0u) {
        states[image] = state;
    }
}
