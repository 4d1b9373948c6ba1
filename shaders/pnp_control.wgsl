// Plug-and-play, the decision behind each iteration, made once and stored for all: change = |T x - x| / |x| for the iteration x <- T x,
// |T z - z| / |x| where z <- T z moves z and x is made from it; stop if change <= tolerance, or if a sum is not finite. The two
// norms go to the history, a ring that the host reads in time.
// One workgroup of 256. partials: (group of 4096 pixels), state: one, history: (iteration modulo its length).
#import pnp
#import reduce

@group(0) @binding(0) var<uniform> params: PnpParams;
@group(0) @binding(1) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> state: PnpState;
@group(0) @binding(3) var<storage, read_write> history: array<vec2<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    let groups = (params.pixels + 4095u) / 4096u;
    var sum = vec4<f32>(0.0);
    for (var n = local; n < groups; n += 256u) {
        sum += partials[n];
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u && state.status == RUNNING) {
        history[state.iterations % arrayLength(&history)] = sqrt(total.xy);
        state.iterations += 1u;
        // max keeps the quotient finite where x is all zero.
        state.change = sqrt(total.x / max(total.y, 1e-30));
        if (not_finite(total.x) || not_finite(total.y) || not_finite(total.z)) {
            state.status = NOT_FINITE;
        } else if (state.change <= params.tolerance) {
            state.status = CONVERGED;
        }
    }
}
