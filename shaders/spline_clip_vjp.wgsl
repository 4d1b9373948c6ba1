// Vector-Jacobian product of spline_clip: from the gradient of a loss with respect to the clipped values that with respect to
// the raw ones. With m = mean(gradient) and q_j = sum over n > j of (gradient[n] - m) on the segments whose slope lies in
// [low, high], else 0,
//   result[n] = m - q_n + q_{n-1}.
// A slope on a bound counts as inside, so that a spline that starts on its bounds can move off them.
// One invocation per spline, because the sum runs along its knots; global id.x = spline.
// positions, raw, gradient, result: (entry); ranges: (spline) of (first entry, count).
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
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> result: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&ranges)) {
        let first = ranges[id.x].x;
        let last = first + ranges[id.x].y - 1u;
        var sum = 0.0;
        for (var n = first; n <= last; n++) {
            sum += gradient[n];
        }
        let mean = sum / f32(ranges[id.x].y);
        var suffix = 0.0;
        var right = 0.0; // what the segment right of entry n gives to it
        for (var n = last; n > first; n--) {
            suffix += gradient[n] - mean;
            let slope = nodal_slope(n - 1u, raw[n - 1u], raw[n]);
            let through = select(0.0, suffix, slope >= params.low && slope <= params.high);
            result[n] = mean - right + through;
            right = through;
        }
        result[first] = mean - right;
    }
}
