// Slopes clipped to bounds, the mean of the nodal values kept, spline by spline:
//   s_j = clip((f_{j+1} - f_j) / h_j, low, high),   g_0 = 0, g_{j+1} = g_j + s_j h_j,   values = g + mean(f - g).
// A spline whose slopes are all inside is copied bit for bit.
// One invocation per spline, because the sum runs along its knots; global id.x = spline.
// positions, raw, values: (entry); ranges: (spline) of (first entry, count).
#import nodal

struct ClipParams {
    low: f32,
    high: f32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: ClipParams;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> raw: array<f32>;
@group(0) @binding(4) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&ranges)) {
        let first = ranges[id.x].x;
        let end = first + ranges[id.x].y;
        // From f_0 instead of 0: the shift is then the mean of the differences that clipping made, which is small.
        var g = raw[first];
        var difference = 0.0;
        var clipped = false;
        values[first] = g;
        for (var n = first; n + 1u < end; n++) {
            let slope = nodal_slope(n, raw[n], raw[n + 1u]);
            let inside = clamp(slope, params.low, params.high);
            clipped = clipped || inside != slope;
            g += inside * (positions[n + 1u] - positions[n]);
            values[n + 1u] = g;
            difference += raw[n + 1u] - g;
        }
        let shift = difference / f32(end - first);
        for (var n = first; n < end; n++) {
            values[n] = select(raw[n], values[n] + shift, clipped);
        }
    }
}
