// The splines of a flow, four arguments at a time, see lib/flow: constant beyond their outermost knots.
// The importing kernel declares   var<storage, read> knots: array<vec4<f32>>;   see lib/spline.
#import spline

// A spline with its derivative and its integral from 0.
struct Flat {
    value: vec4<f32>,
    slope: vec4<f32>,
    integral: vec4<f32>,
}

fn flow_flat(x: vec4<f32>, c: Channel) -> Flat {
    spline_load(c);
    let low = vec4<f32>(pivots[0].x);
    let high = vec4<f32>(knots[c.first + c.count - 1u].x);
    let inner = clamp(x, low, high);
    let k = spline_pieces(inner, c);
    let d = inner - k.t;
    let value = k.f + k.s * d;
    let integral = k.p + d * (k.f + 0.5 * k.s * d) + (x - inner) * value;
    return Flat(value, select(vec4<f32>(0.0), k.s, (x >= low) & (x < high)), integral);
}

// The u whose integral is y, for a positive spline: on a segment f d + s d^2 / 2 = r has the root
// d = 2 r / (f + sqrt(f^2 + 2 s r)), in which nothing cancels; the root is the value of the spline at u.
fn flow_solve(y: vec4<f32>, c: Channel) -> vec4<f32> {
    spline_load(c);
    var t = vec4<f32>(pivots[0].x);
    var f = vec4<f32>(pivots[0].y);
    var s = vec4<f32>(pivots[0].z);
    var p = vec4<f32>(pivots[0].w);
    // @unroll 32
    for (var j = 0u; j < PIVOTS_AFTER_FIRST; j++) {
        let right = vec4<f32>(pivots[j + 1u].w) <= y;
        t = select(t, vec4<f32>(pivots[j + 1u].x), right);
        f = select(f, vec4<f32>(pivots[j + 1u].y), right);
        s = select(s, vec4<f32>(pivots[j + 1u].z), right);
        p = select(p, vec4<f32>(pivots[j + 1u].w), right);
    }
    let r = y - p;
    let inside = t + 2.0 * r / (f + sqrt(max(f * f + 2.0 * s * r, vec4<f32>(0.0))));
    let first = pivots[0];
    let last = knots[c.first + c.count - 1u];
    let before = first.x + (y - first.w) / first.y;
    let behind = last.x + (y - last.w) / last.y;
    return select(select(inside, behind, y >= vec4<f32>(last.w)), before, y < vec4<f32>(first.w));
}
