// Continuous piecewise-linear splines on nonuniform knots, four arguments at a time.
//
// A spline is `count` consecutive entries of `knots` from `first`: (t, f, s, p) = knot, value there, slope of the segment
// that starts there (the last entry repeats the last segment's slope), and p = psi(t), the integral of the spline from 0
// to t. Outside the knots the end segments extend. At a knot the right segment counts: slope(t_j) = s_j.
// The importing kernel declares   var<storage, read> knots: array<vec4<f32>>;   and calls spline_load before anything else.
//
// The segment of x is the largest j <= count - 2 with t_j <= x, or 0. PIVOTS entries wait in registers, loaded once for all
// arguments of an invocation, because a load costs more than a comparison on every driver. Up to PIVOTS segments they are
// all there are and the search is a chain of selections; longer splines keep every 2^HALVINGS-th entry and finish by halving.
#import channel

const PIVOTS: u32 = 16u;
const PIVOTS_AFTER_FIRST: u32 = PIVOTS - 1u;
const HALVINGS: u32 = 0u;
const GATHERED: u32 = 4u; // arguments that finish by halving

// The entries of four segments.
struct Pieces {
    t: vec4<f32>,
    f: vec4<f32>,
    s: vec4<f32>,
    p: vec4<f32>,
}

var<private> pivots: array<vec4<f32>, PIVOTS>;

// Behind the last segment its entry is repeated: whichever copy is selected, the result is the same.
fn spline_load(c: Channel) {
    // @unroll 32
    for (var j = 0u; j < PIVOTS; j++) {
        pivots[j] = knots[c.first + min(j << HALVINGS, c.count - 2u)];
    }
}

fn spline_pieces(x: vec4<f32>, c: Channel) -> Pieces {
    var k: Pieces;
    if (HALVINGS == 0u) {
        // @unroll 4
        for (var i = 0u; i < 4u; i++) {
            var piece = pivots[0];
            // @unroll 32
            for (var j = 0u; j < PIVOTS_AFTER_FIRST; j++) {
                piece = select(piece, pivots[j + 1u], pivots[j + 1u].x <= x[i]);
            }
            k.t[i] = piece.x;
            k.f[i] = piece.y;
            k.s[i] = piece.z;
            k.p[i] = piece.w;
        }
    } else {
        var segment = vec4<u32>(0u);
        // @unroll 32
        for (var j = 0u; j < PIVOTS_AFTER_FIRST; j++) {
            segment += select(vec4<u32>(0u), vec4<u32>(1u), vec4<f32>(pivots[j + 1u].x) <= x);
        }
        let last = c.count - 2u;
        segment = min(segment << vec4<u32>(HALVINGS), vec4<u32>(last));
        for (var width = (1u << HALVINGS) >> 1u; width > 0u; width = width >> 1u) {
            // @unroll 4
            for (var i = 0u; i < GATHERED; i++) {
                let middle = min(segment[i] + width, last);
                segment[i] = select(segment[i], middle, knots[c.first + middle].x <= x[i]);
            }
        }
        // @unroll 4
        for (var i = 0u; i < GATHERED; i++) {
            let entry = knots[c.first + segment[i]];
            k.t[i] = entry.x;
            k.f[i] = entry.y;
            k.s[i] = entry.z;
            k.p[i] = entry.w;
        }
    }
    return k;
}

// f(x) = f_j + s_j (x - t_j)
fn spline_value(x: vec4<f32>, c: Channel) -> vec4<f32> {
    let k = spline_pieces(x, c);
    return k.f + k.s * (x - k.t);
}

// f'(x) = s_j
fn spline_slope(x: vec4<f32>, c: Channel) -> vec4<f32> {
    return spline_pieces(x, c).s;
}

// psi(x) = p_j + f_j d + s_j d^2 / 2 with d = x - t_j
fn spline_potential(x: vec4<f32>, c: Channel) -> vec4<f32> {
    let k = spline_pieces(x, c);
    let d = x - k.t;
    return k.p + d * (k.f + 0.5 * k.s * d);
}
