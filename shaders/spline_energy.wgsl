// Partial sums of the regularizer over a tile:
//   partial[slot][tile][c] = sum over pixels of alpha_c^-2 psi_c(alpha_c u[c]).
// One workgroup of 256 per (channel, slot), each invocation summing a fixed set of pixels, then a fixed tree.
// u: (slot, channel, row, column); partials: (slot, tile, channel), .x used.
#import walk
#import reduce
#import spline

const CHANNELS: u32 = 1u;
const SLOT_RECORDS: u32 = 0u; // records from slot to slot: 0 if all slots share them

struct EnergyParams {
    walk: PointwiseParams, // one chunk: all positions
    tile: u32,
    tiles: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: EnergyParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let channel = channels[group.y * SLOT_RECORDS + group.x];
    spline_load(channel);
    let first = region_index(params.walk.region, group.y, group.x, 0u, 0u);
    var at = walk_start(params.walk, 0u, local);
    var sums = vec4<f32>(0.0);
    for (var trip = 0u; trip < params.walk.trips; trip++) {
        let quad = walk_quad(params.walk, at, first);
        var x = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                x[k] = u[quad.index[k]];
            }
        }
        let potential = spline_potential(channel.alpha * x, channel);
        sums += select(vec4<f32>(0.0), potential, quad.holds);
        at = walk_next(params.walk, at);
    }
    let sum = (sums.x + sums.y) + (sums.z + sums.w);
    let scale = channel.inverse_alpha * channel.inverse_alpha;
    let total = workgroup_sum(local, vec4<f32>(sum * scale, 0.0, 0.0, 0.0));
    if (local == 0u) {
        partials[(group.y * params.tiles + params.tile) * CHANNELS + group.x] = total;
    }
}
