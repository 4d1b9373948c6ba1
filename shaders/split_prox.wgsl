// Splitting, part 1 of 5: the proximal step on the responses w = W x, which leaves the dual variable:
//   v = w + d,   u = J_c(alpha_c v) / alpha_c,   d <- v - u,   0 outside the image,
// where J_c = (id + (lambda / rho) phi_c)^-1 is the spline with knots t_j + (lambda / rho) f_j and values t_j, so that u
// minimises lambda alpha_c^-2 psi_c(alpha_c u) + rho/2 (u - v)^2. d counts as 0 before an image's first iteration.
// One workgroup of WALKERS per 4 * WALKERS * trips positions of a plane; group = (chunk, slot * CHANNELS + channel).
// w, dual: (slot, channel, row, column).
#import agd
#import walk
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them

@group(0) @binding(0) var<uniform> params: PointwiseParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> active_images: array<u32>;
@group(0) @binding(4) var<storage, read> states: array<AgdState>;
@group(0) @binding(5) var<storage, read> w: array<f32>;
@group(0) @binding(6) var<storage, read_write> dual: array<f32>;

@compute @workgroup_size(WALKERS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let slot = group.y / CHANNELS;
    let plane = group.y % CHANNELS;
    let fresh = states[active_images[slot]].iterations == 0u;
    let channel = channels[slot * SLOT_RECORDS + plane];
    spline_load(channel);
    let first = region_index(params.region, slot, plane, 0u, 0u);
    var at = walk_start(params, group.x, local);
    for (var trip = 0u; trip < params.trips; trip++) {
        let quad = walk_quad(params, at, first);
        var v = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.inside[k]) {
                v[k] = w[quad.index[k]];
                if (!fresh) {
                    v[k] += dual[quad.index[k]];
                }
            }
        }
        let d = v - spline_value(channel.alpha * v, channel) * channel.inverse_alpha;
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                dual[quad.index[k]] = select(0.0, d[k], quad.inside[k]);
            }
        }
        at = walk_next(params, at);
    }
}
