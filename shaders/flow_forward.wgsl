// A flow and the negative log-density of its samples (lib/flow), z the output of the last layer:
//   nll = |z|^2 / 2 - sum over layers (log m(u_1) + log n(u_2)) + constant
// One invocation per quad of samples, workgroups of 64. points: (coordinate, quad of `stride`); records: (spline);
// states, what goes into every layer and z: (layer + 1, coordinate, quad); nll: (quad).
#import flow
#import flow_spline

@group(0) @binding(0) var<uniform> params: FlowParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> records: array<Channel>;
@group(0) @binding(4) var<storage, read> points: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> states: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> nll: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quad = id.x;
    if (quad < params.quads) {
        var first = points[params.source + quad];
        var second = vec4<f32>(0.0);
        if (DIMS == 2u) {
            second = points[params.stride + params.source + quad];
        }
        var sum = vec4<f32>(0.0);
        for (var l = 0u; l < LAYERS; l++) {
            let at = l * DIMS * params.quads + quad;
            states[at] = first;
            let frame = flow_frame(parameters[params.frames + 2u * l], parameters[params.frames + 2u * l + 1u]);
            if (DIMS == 1u) {
                let m = flow_flat(first, records[l]);
                first = m.integral + frame.shift;
                sum += log(m.value);
            } else {
                states[at + params.quads] = second;
                let u = frame.c * first - frame.s * second;
                let v = frame.s * first + frame.c * second;
                let m = flow_flat(u, records[l]);
                let n = flow_flat(v, records[LAYERS + l]);
                let t = flow_flat(u, records[2u * LAYERS + l]);
                first = m.integral + frame.shift;
                second = n.integral + t.value;
                sum += log(m.value) + log(n.value);
            }
        }
        let at = LAYERS * DIMS * params.quads + quad;
        states[at] = first;
        if (DIMS == 2u) {
            states[at + params.quads] = second;
        }
        nll[quad] = 0.5 * (first * first + second * second) - sum + params.constant;
    }
}
