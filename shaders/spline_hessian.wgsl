// Diagonal factor of the Hessian-vector product W'[phi'(alpha W x) * (W v)], in place on the responses of v:
//   v[c] <- phi_c'(alpha_c u[c]) v[c] inside the image, 0 outside.
// One invocation per 4 pixels of a row, 32 apart, so that a channel's record is fetched once for them;
// global id = (column / 4, row, image * CHANNELS + channel). u, v: (image, channel, row, column).
#import tile
#import spline

const CHANNELS: u32 = 1u;

struct RegionParams {
    region: Region,
}

@group(0) @binding(0) var<uniform> params: RegionParams;
@group(0) @binding(1) var<uniform> knots: array<vec4<f32>, KNOTS>;
@group(0) @binding(2) var<uniform> channels: array<Channel, CHANNELS>;
@group(0) @binding(3) var<storage, read> u: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let channel = channels[id.z % CHANNELS];
    let line = region_index(params.region, id.z / CHANNELS, id.z % CHANNELS, id.y, 0u);
    let col0 = (id.x - local.x) * 4u + local.x;
    // @unroll 4
    for (var k = 0u; k < 4u; k++) {
        let col = col0 + k * 32u;
        if (region_holds(params.region, id.y, col)) {
            let slope = spline_slope(channel.alpha * u[line + col], channel.first, channel.count);
            v[line + col] = select(0.0, slope * v[line + col], region_inside(params.region, id.y, col));
        }
    }
}
