// Continuous piecewise-linear splines on nonuniform knots.
//
// A spline is `count` consecutive entries of `knots` from `first`: (t, f, s, p) = knot, value there, slope of the segment
// that starts there (the last entry repeats the last segment's slope), and p = psi(t), the integral of the spline from 0
// to t. Outside the knots the end segments extend. At a knot the right segment counts: slope(t_j) = s_j.
// The importing kernel declares   var<uniform> knots: array<vec4<f32>, KNOTS>;

const KNOTS: u32 = 16u;
const SEARCH_STEPS: u32 = 4u; // ceil(log2(largest count - 1)): halvings until one segment is left

// How a channel of a filter bank uses a spline: phi(alpha u) / alpha.
struct Channel {
    first: u32,       // first entry of its spline in `knots`
    count: u32,       // entries
    alpha: f32,
    inverse_alpha: f32,
}

// Index of the segment of x, 0 <= index <= count - 2: the largest j with t_j <= x, clamped.
fn spline_segment(x: f32, first: u32, count: u32) -> u32 {
    var low = 0u;
    var high = count - 1u;
    // @unroll 8
    for (var step = 0u; step < SEARCH_STEPS; step++) {
        let middle = (low + high) >> 1u;
        let right = knots[first + middle].x <= x && middle > low;
        low = select(low, middle, right);
        high = select(max(middle, low + 1u), high, right);
    }
    return low;
}

// f(x) = f_j + s_j (x - t_j)
fn spline_value(x: f32, first: u32, count: u32) -> f32 {
    let k = knots[first + spline_segment(x, first, count)];
    return k.y + k.z * (x - k.x);
}

// f'(x) = s_j
fn spline_slope(x: f32, first: u32, count: u32) -> f32 {
    return knots[first + spline_segment(x, first, count)].z;
}

// psi(x) = p_j + f_j d + s_j d^2 / 2 with d = x - t_j
fn spline_potential(x: f32, first: u32, count: u32) -> f32 {
    let k = knots[first + spline_segment(x, first, count)];
    let d = x - k.x;
    return k.w + d * (k.y + 0.5 * k.z * d);
}
