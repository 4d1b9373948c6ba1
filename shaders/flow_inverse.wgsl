// A flow backwards (lib/flow), layer by layer in closed form:
//   u_1 = M^-1(y_1 - shift),  u_2 = N^-1(y_2 - T(u_1)),  x = (c u_1 + s u_2, c u_2 - s u_1)
// One invocation per quad, workgroups of 64. latent: (coordinate, quad); records: (spline); samples: (coordinate, quad).
#import flow
#import flow_spline

@group(0) @binding(0) var<uniform> params: FlowParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> records: array<Channel>;
@group(0) @binding(4) var<storage, read> latent: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> samples: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quad = id.x;
    if (quad < params.quads) {
        var first = latent[quad];
        var second = vec4<f32>(0.0);
        if (DIMS == 2u) {
            second = latent[params.quads + quad];
        }
        for (var l = LAYERS; l > 0u; l--) {
            let layer = l - 1u;
            let frame = flow_frame(parameters[params.frames + 2u * layer], parameters[params.frames + 2u * layer + 1u]);
            let u = flow_solve(first - frame.shift, records[layer]);
            if (DIMS == 1u) {
                first = u;
            } else {
                let t = flow_flat(u, records[2u * LAYERS + layer]);
                let v = flow_solve(second - t.value, records[LAYERS + layer]);
                first = frame.c * u + frame.s * v;
                second = frame.c * v - frame.s * u;
            }
        }
        samples[quad] = first;
        if (DIMS == 2u) {
            samples[params.quads + quad] = second;
        }
    }
}
