// One layer of every member, backwards: g = W^T d' at the activations' outputs, d = g phi'(alpha u) at their inputs, where
// d' is the gradient at the layer's outputs. At a knot the right segment counts, as in the forward pass.
// One invocation per 4 samples, all IN inputs; one workgroup of 64 per 256 samples, group = (samples / 256, member).
// pre, delta, post_gradient: (member, unit, sample); matrices: (member, dense).
#import network
#import spline

const IN: u32 = 10u;
const OUT: u32 = 10u;

@group(0) @binding(0) var<uniform> params: LayerParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> matrices: array<f32>;
@group(0) @binding(3) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> counts: array<u32>;
@group(0) @binding(5) var<storage, read> pre: array<f32>;
@group(0) @binding(6) var<storage, read_write> delta: array<f32>;
@group(0) @binding(7) var<storage, read_write> post_gradient: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = network_quad(params.samples, group.x * 256u + local);
    let member = group.y;
    var behind: array<vec4<f32>, OUT>;
    // @unroll 16
    for (var o = 0u; o < OUT; o++) {
        let output = (member * params.units + params.to_unit + o) * params.samples;
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            behind[o][k] = delta[output + quad.sample[k]];
        }
    }
    for (var i = 0u; i < IN; i++) {
        let column = member * params.dense + params.weights + i;
        var g = vec4<f32>(0.0);
        // @unroll 16
        for (var o = 0u; o < OUT; o++) {
            g += matrices[column + o * IN] * behind[o];
        }
        let input = (member * params.units + params.from_unit + i) * params.samples;
        let s = member * params.splines + params.from_spline + i;
        let alpha = parameters[params.alphas + s];
        var u = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            u[k] = pre[input + quad.sample[k]];
        }
        let channel = Channel(s * params.slots, counts[s], alpha, 1.0 / alpha);
        spline_load(channel);
        let d = g * spline_slope(alpha * u, channel);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.exists[k]) {
                post_gradient[input + quad.sample[k]] = g[k];
                delta[input + quad.sample[k]] = d[k];
            }
        }
    }
}
