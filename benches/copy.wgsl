// The floor of every pointwise kernel: y <- u with the thread mapping of shaders/spline_forward.wgsl.
#import walk

const CHANNELS: u32 = 1u;

@group(0) @binding(0) var<uniform> params: PointwiseParams;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = region_index(params.region, group.y / CHANNELS, group.y % CHANNELS, 0u, 0u);
    var at = walk_start(params, group.x, local);
    for (var trip = 0u; trip < params.trips; trip++) {
        let quad = walk_quad(params, at, first);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.holds[k]) {
                y[quad.index[k]] = u[quad.index[k]];
            }
        }
        at = walk_next(params, at);
    }
}
