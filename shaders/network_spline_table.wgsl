// The splines that the layers evaluate, from the trained nodal values c: slopes clipped to their bounds, mean preserved.
//   s_n = clip((c_{n+1} - c_n) / h_n),  g_n = sum_{j<n} s_j h_j,  f_n = g_n + mean(c - g)
// Values whose slopes all lie inside are taken as they are.
// One invocation per spline. positions (t): (spline, slot); counts: (spline); knots: (spline, slot) of (t, f, s, n):
// where lib/spline has the potential, which no network needs, they say which segment was found.
#import network_spline

@group(0) @binding(0) var<uniform> params: SplineParams;
@group(0) @binding(1) var<storage, read> positions: array<f32>;
@group(0) @binding(2) var<storage, read> counts: array<u32>;
@group(0) @binding(3) var<storage, read> parameters: array<f32>;
@group(0) @binding(4) var<storage, read_write> knots: array<vec4<f32>>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.total) {
        return;
    }
    let first = id.x * params.slots;
    let values = params.values + first;
    let count = counts[id.x];
    var g = 0.0;
    var shift = parameters[values];
    var clipped = false;
    for (var n = 0u; n + 1u < count; n++) {
        let h = positions[first + n + 1u] - positions[first + n];
        let raw = (parameters[values + n + 1u] - parameters[values + n]) / h;
        let s = clamp(raw, params.slope_min, params.slope_max);
        clipped = clipped || s != raw;
        g += s * h;
        shift += parameters[values + n + 1u] - g;
    }
    shift = select(0.0, shift / f32(count), clipped);
    g = 0.0;
    var s = 0.0;
    for (var n = 0u; n < count; n++) {
        let t = positions[first + n];
        let c = parameters[values + n];
        if (n + 1u < count) {
            s = clamp((parameters[values + n + 1u] - c) / (positions[first + n + 1u] - t), params.slope_min, params.slope_max);
        }
        knots[first + n] = vec4<f32>(t, select(c, g + shift, clipped), s, f32(n));
        if (n + 1u < count) {
            g += s * (positions[first + n + 1u] - t);
        }
    }
}
