// Pointwise activation of a filter bank's responses, in place:
//   u[c] <- phi_c(alpha_c u[c]) / alpha_c inside the image, 0 outside, which is what the adjoint's zero padding reads.
// The derivative is phi_c'(alpha_c u): scaling changes where the knots lie, never the slopes.
// One invocation per 4 pixels of a row, 32 apart, so that a channel's record is fetched once for them;
// global id = (column / 4, row, image * CHANNELS + channel). u: (image, channel, row, column).
#import tile
#import spline

const CHANNELS: u32 = 1u;

struct RegionParams {
    region: Region,
}

@group(0) @binding(0) var<uniform> params: RegionParams;
@group(0) @binding(1) var<uniform> knots: array<vec4<f32>, KNOTS>;
@group(0) @binding(2) var<uniform> channels: array<Channel, CHANNELS>;
@group(0) @binding(3) var<storage, read_write> u: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let channel = channels[id.z % CHANNELS];
    let line = region_index(params.region, id.z / CHANNELS, id.z % CHANNELS, id.y, 0u);
    let col0 = (id.x - local.x) * 4u + local.x;
    // @unroll 4
    for (var k = 0u; k < 4u; k++) {
        let col = col0 + k * 32u;
        if (region_holds(params.region, id.y, col)) {
            let value = spline_value(channel.alpha * u[line + col], channel.first, channel.count) * channel.inverse_alpha;
            u[line + col] = select(0.0, value, region_inside(params.region, id.y, col));
        }
    }
}
