// What the gradient of a spline's nodal values needs, per segment j and over the samples whose x = alpha u lies in it:
//   A_j = sum g,   B_j = sum g (x - t_j) / h_j        (g: gradient at the activation's output; end segments extend)
// One workgroup of ROWS per spline: group = (spline, member). An invocation adds every ROWS-th sample to its own row of
// sums, then the rows are added in order: no atomics, the same bits on every run.
// pre (u), post_gradient (g): (member, unit, sample); knots: (spline, slot); sums: (spline, segment) of (A, B).
#import network_spline
#import spline

const QUAD: u32 = 4u; // samples at a time
const ROWS: u32 = 64u;
const SEGMENTS: u32 = 15u; // slots - 1
const SHARED: u32 = 960u;  // ROWS SEGMENTS

@group(0) @binding(0) var<uniform> params: SplineParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> counts: array<u32>;
@group(0) @binding(4) var<storage, read> pre: array<f32>;
@group(0) @binding(5) var<storage, read> post_gradient: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<vec2<f32>>;

var<workgroup> sh_sums: array<vec2<f32>, SHARED>;

@compute @workgroup_size(ROWS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let spline = group.y * params.splines + group.x;
    let first = spline * params.slots;
    let count = counts[spline];
    let alpha = parameters[params.alphas + spline];
    let unit = (group.y * params.units + params.first_unit + group.x) * params.samples;
    let row = local * SEGMENTS;
    for (var j = 0u; j < SEGMENTS; j++) {
        sh_sums[row + j] = vec2<f32>(0.0);
    }
    let channel = Channel(first, count, alpha, 1.0 / alpha);
    spline_load(channel);
    for (var n = local; n < params.samples; n += QUAD * ROWS) {
        let sample = vec4<u32>(n) + ROWS * vec4<u32>(0u, 1u, 2u, 3u);
        var x = vec4<f32>(0.0);
        var g = vec4<f32>(0.0);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            if (sample[k] < params.samples) {
                x[k] = alpha * pre[unit + sample[k]];
                g[k] = post_gradient[unit + sample[k]];
            }
        }
        // Samples that do not exist have the gradient 0.
        let pieces = spline_pieces(x, channel);
        // @unroll 4
        for (var k = 0u; k < QUAD; k++) {
            let j = u32(pieces.p[k]);
            let h = knots[first + j + 1u].x - pieces.t[k];
            sh_sums[row + j] += vec2<f32>(g[k], g[k] * (x[k] - pieces.t[k]) / h);
        }
    }
    workgroupBarrier();
    for (var j = local; j < SEGMENTS; j += ROWS) {
        var total = vec2<f32>(0.0);
        for (var r = 0u; r < ROWS; r++) {
            total += sh_sums[r * SEGMENTS + j];
        }
        sums[spline * SEGMENTS + j] = total;
    }
}
