// What the search for a segment among nonuniform knots costs is measured against this: the same activation on a uniform grid,
//   y[c] <- (f_n + (f_{n+1} - f_n) (g - n)) / alpha_c,   g = (alpha_c u[c] - t_0) / h,   n = floor(g) clamped,
// the index computed and the two values gathered. Thread mapping and shapes as in shaders/spline_forward.wgsl; the values are
// those of `knots`, whose t_0 and t_1 give the grid.
#import walk

const CHANNELS: u32 = 1u;

struct Channel {
    first: u32,
    count: u32,
    alpha: f32,
    inverse_alpha: f32,
}

@group(0) @binding(0) var<uniform> params: PointwiseParams;
@group(0) @binding(1) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> channels: array<Channel>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read> u: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let slot = group.y / CHANNELS;
    let plane = group.y % CHANNELS;
    let channel = channels[plane];
    let origin = knots[channel.first].x;
    let per_step = 1.0 / (knots[channel.first + 1u].x - origin);
    let last = channel.count - 2u;
    let first = region_index(params.region, slot, plane, 0u, 0u);
    var at = walk_start(params, group.x, local);
    for (var trip = 0u; trip < params.trips; trip++) {
        let quad = walk_quad(params, at, first);
        var value = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                let grid = (channel.alpha * u[quad.index[k]] - origin) * per_step;
                let n = min(u32(max(grid, 0.0)), last);
                let left = values[channel.first + n];
                value[k] = left + (values[channel.first + n + 1u] - left) * (grid - f32(n));
            }
        }
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                y[quad.index[k]] = select(0.0, value[k] * channel.inverse_alpha, quad.inside[k]);
            }
        }
        at = walk_next(params, at);
    }
}
