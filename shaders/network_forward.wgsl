// One layer of every member: a = phi(alpha u) / alpha (ACTIVATED = 1) or a = u (the input), then u' = W a + b.
// One invocation per 4 samples, which computes all OUT outputs, so that every input is read and every spline evaluated once;
// one workgroup of 64 per 256 samples, group = (samples / 256, member). pre, post: (member, unit, sample); matrices: (member, dense); table: see lib/spline.
#import network
#import spline

const IN: u32 = 10u;
const OUT: u32 = 10u;
const ACTIVATED: u32 = 1u;

@group(0) @binding(0) var<uniform> params: LayerParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> matrices: array<f32>;
@group(0) @binding(3) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> counts: array<u32>;
@group(0) @binding(5) var<storage, read_write> pre: array<f32>;
@group(0) @binding(6) var<storage, read_write> post: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let quad = network_quad(params.samples, group.x * 256u + local);
    let member = group.y;
    let dense = member * params.dense;
    var sums: array<vec4<f32>, OUT>;
    // @unroll 16
    for (var o = 0u; o < OUT; o++) {
        sums[o] = vec4<f32>(parameters[dense + params.biases + o]);
    }
    for (var i = 0u; i < IN; i++) {
        let input = (member * params.units + params.from_unit + i) * params.samples;
        var a = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            a[k] = pre[input + quad.sample[k]];
        }
        if (ACTIVATED == 1u) {
            let s = member * params.splines + params.from_spline + i;
            let alpha = parameters[params.alphas + s];
            let channel = Channel(s * params.slots, counts[s], alpha, 1.0 / alpha);
            spline_load(channel);
            a = spline_value(alpha * a, channel) / alpha;
            // @unroll 4
            for (var k = 0u; k < QUAD; k++) {
                if (quad.exists[k]) {
                    post[input + quad.sample[k]] = a[k];
                }
            }
        }
        let column = dense + params.weights + i;
        // @unroll 16
        for (var o = 0u; o < OUT; o++) {
            sums[o] += matrices[column + o * IN] * a;
        }
    }
    // @unroll 16
    for (var o = 0u; o < OUT; o++) {
        let output = (member * params.units + params.to_unit + o) * params.samples;
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (quad.exists[k]) {
                pre[output + quad.sample[k]] = sums[o][k];
            }
        }
    }
}
