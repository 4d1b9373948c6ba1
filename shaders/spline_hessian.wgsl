// Product with the derivative of the activation, in place: the backward pass to the inputs, and the diagonal factor of the
// Hessian-vector product W'[phi'(alpha W x) * (W v)]:
//   v[c] <- phi_c'(alpha_c u[c]) v[c] inside the image, 0 outside.
// One workgroup of WALKERS per 4 * WALKERS * trips positions of a plane; group = (chunk, slot * CHANNELS + channel).
// u, v: (slot, channel, row, column).
#import walk
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them

@group(0) @binding(0) var<uniform> params: PointwiseParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(WALKERS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let slot = group.y / CHANNELS;
    let plane = group.y % CHANNELS;
    let channel = channels[slot * SLOT_RECORDS + plane];
    spline_load(channel);
    let first = region_index(params.region, slot, plane, 0u, 0u);
    var at = walk_start(params, group.x, local);
    for (var trip = 0u; trip < params.trips; trip++) {
        let quad = walk_quad(params, at, first);
        var x = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                x[k] = u[quad.index[k]];
            }
        }
        let slope = spline_slope(channel.alpha * x, channel);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                v[quad.index[k]] = select(0.0, slope[k] * v[quad.index[k]], quad.inside[k]);
            }
        }
        at = walk_next(params, at);
    }
}
