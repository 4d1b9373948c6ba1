// Derivatives of L = share sum nll through a flow (lib/flow), from the last layer to the first; g = dL/dy of a layer:
//   dL/du_1 = g_1 m(u_1) + g_2 T'(u_1) - share m'(u_1) / m(u_1),   dL/du_2 = g_2 n(u_2) - share n'(u_2) / n(u_2)
//   torque = dL/d angle = u_1 dL/du_2 - u_2 dL/du_1
// and dL/dx = dL/du turned back. m and n are continuous, so log m has a derivative and nothing is missed at knots, as it
// would be for piecewise-linear M and N, whose log-slopes jump.
// One invocation per quad, workgroups of 64. states: as flow_forward leaves them; inputs (u): (layer, coordinate, quad);
// pulls: (layer, coordinate, 2, quad) of g_i and -share / m(u_1) or -share / n(u_2); torques: (layer, quad).
#import flow
#import flow_spline

@group(0) @binding(0) var<uniform> params: FlowParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> records: array<Channel>;
@group(0) @binding(4) var<storage, read> states: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> inputs: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> pulls: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> torques: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let quad = id.x;
    let quads = params.quads;
    if (quad < quads) {
        let sample = vec4<u32>(4u * quad) + vec4<u32>(0u, 1u, 2u, 3u);
        let share = select(vec4<f32>(0.0), vec4<f32>(params.share), sample < vec4<u32>(params.samples));
        let end = LAYERS * DIMS * quads + quad;
        var g_first = share * states[end];
        var g_second = vec4<f32>(0.0);
        if (DIMS == 2u) {
            g_second = share * states[end + quads];
        }
        for (var l = LAYERS; l > 0u; l--) {
            let layer = l - 1u;
            let at = layer * DIMS * quads + quad;
            let pull = 2u * layer * DIMS * quads + quad;
            let x = states[at];
            pulls[pull] = g_first;
            if (DIMS == 1u) {
                let m = flow_flat(x, records[layer]);
                let m_pull = -share / m.value;
                inputs[at] = x;
                pulls[pull + quads] = m_pull;
                torques[layer * quads + quad] = vec4<f32>(0.0);
                g_first = g_first * m.value + m_pull * m.slope;
            } else {
                let y = states[at + quads];
                let tau = parameters[params.frames + 2u * layer];
                let frame = flow_frame(tau, 0.0);
                let u = frame.c * x - frame.s * y;
                let v = frame.s * x + frame.c * y;
                let m = flow_flat(u, records[layer]);
                let n = flow_flat(v, records[LAYERS + layer]);
                let t = flow_flat(u, records[2u * LAYERS + layer]);
                let m_pull = -share / m.value;
                let n_pull = -share / n.value;
                let du = g_first * m.value + g_second * t.slope + m_pull * m.slope;
                let dv = g_second * n.value + n_pull * n.slope;
                inputs[at] = u;
                inputs[at + quads] = v;
                pulls[pull + quads] = m_pull;
                pulls[pull + 2u * quads] = g_second;
                pulls[pull + 3u * quads] = n_pull;
                torques[layer * quads + quad] = u * dv - v * du;
                g_first = frame.c * du + frame.s * dv;
                g_second = frame.c * dv - frame.s * du;
            }
        }
    }
}
