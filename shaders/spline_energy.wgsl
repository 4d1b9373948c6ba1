// Partial sums of the regularizer over a tile:
//   partial[slot][tile][c] = sum over pixels of alpha_c^-2 psi_c(alpha_c u[c]).
// One workgroup of 256 per (channel, slot), each invocation summing a fixed set of pixels, then a fixed tree.
// u: (slot, channel, row, column); partials: (slot, tile, channel), .x used.
#import tile
#import reduce
#import spline

const CHANNELS: u32 = 1u;

struct EnergyParams {
    region: Region,
    tile: u32,
    tiles: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: EnergyParams;
@group(0) @binding(1) var<uniform> knots: array<vec4<f32>, KNOTS>;
@group(0) @binding(2) var<uniform> channels: array<Channel, CHANNELS>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let channel = channels[group.x];
    let scale = channel.inverse_alpha * channel.inverse_alpha;
    var sum = 0.0;
    for (var row = 0u; row < params.region.rows; row++) {
        var line = 0.0;
        for (var col = local; col < params.region.cols; col += 256u) {
            let at = region_index(params.region, group.y, group.x, row, col);
            line += spline_potential(channel.alpha * u[at], channel.first, channel.count);
        }
        sum += line;
    }
    let total = workgroup_sum(local, vec4<f32>(sum * scale, 0.0, 0.0, 0.0));
    if (local == 0u) {
        partials[(group.y * params.tiles + params.tile) * CHANNELS + group.x] = total;
    }
}
