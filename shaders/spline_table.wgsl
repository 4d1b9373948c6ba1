// The table of a bank of trainable splines, made anew after the values changed:
//   knots[n] = (t_n, f_n, s_n, p_n) with s_n = (f_{n+1} - f_n) / (t_{n+1} - t_n), at the last knot the slope before it,
//   and p_n = psi(t_n), the integral from 0 to t_n: trapezoids summed outwards from the last knot at or left of 0, so that
//   nothing cancels against a distant origin.
// One invocation per spline, because the sums run along its knots; global id.x = spline.
// positions, values: (entry); ranges: (spline) of (first entry, count); knots: (entry).
#import nodal

@group(0) @binding(0) var<storage, read> positions: array<f32>;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read> ranges: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> knots: array<vec4<f32>>;

fn slope(n: u32) -> f32 {
    return nodal_slope(n, values[n], values[n + 1u]);
}

// Integral over that segment.
fn trapezoid(n: u32) -> f32 {
    return 0.5 * (values[n] + values[n + 1u]) * (positions[n + 1u] - positions[n]);
}

fn entry(n: u32, last: u32, p: f32) -> vec4<f32> {
    return vec4<f32>(positions[n], values[n], slope(min(n, last - 1u)), p);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&ranges)) {
        let first = ranges[id.x].x;
        let last = first + ranges[id.x].y - 1u;
        var origin = first;
        for (var n = first + 1u; n <= last; n++) {
            origin = select(origin, n, positions[n] <= 0.0);
        }
        let t = positions[origin];
        let start = t * (values[origin] - 0.5 * slope(min(origin, last - 1u)) * t);
        knots[origin] = entry(origin, last, start);
        var p = start;
        for (var n = origin; n < last; n++) {
            p += trapezoid(n);
            knots[n + 1u] = entry(n + 1u, last, p);
        }
        p = start;
        for (var n = origin; n > first; n--) {
            p -= trapezoid(n - 1u);
            knots[n - 1u] = entry(n - 1u, last, p);
        }
    }
}
