// The minimiser of a quadratic plus lambda TV2 under slope bounds, on nonuniform nodes, by an active-set method:
//   min_f  1/2 f'Gf - b'f + lambda sum_n |s_n - s_{n-1}|    subject to  slope_min <= s_m <= slope_max.
// G is tridiagonal and given per segment: segment m adds A f_m^2 + 2 B f_m f_{m+1} + C f_{m+1}^2. With G diagonal this is
// the proximal operator of TV2 in a weighted norm; with the moments of samples it is a fit to them.
//
// f is linear between the nodes whose sign is not 0 and has the bound's slope where a side is not 0. One step:
//   1. solve  the quadratic is minimised over all f of this shape (tridiagonal elimination over the knots, O(count));
//   2. move   towards that minimiser, until a slope change would change its sign or a slope would leave its bounds: then
//             the knot is removed, or the bound joins the active set;
//   3. check  if nothing was in the way, the multipliers of everything inactive are computed and the worst offender of
//             every piece is set free. If there is none, f is optimal.
// The energy never rises, so no active set comes twice. f is kept as slopes, and G f - b as its two shares per segment
// (`moments`, negated); both are updated, never recomputed from f, so they keep their relative precision in f32.
//
// One workgroup per problem, of which the first invocation works: the recursions are sequential, the paths of different
// problems have nothing in common, and banks have many problems. (Alone in a workgroup, its loops never end on Mesa 22.3.6:
// the idle lanes of the vector keep them going.) Runs at most params.steps steps and can be dispatched again to continue; a
// finished problem is left alone.
// knots: (node), gram (A, B, C, 0), moments (two shares), slopes: (segment), flags: (node), work: (node, pivot,
// off-diagonal, load, shift), values f: (node), written at the end.
#import tv2

@group(0) @binding(0) var<uniform> params: Tv2Params;
@group(0) @binding(1) var<storage, read_write> problems: array<Tv2Problem>;
@group(0) @binding(2) var<storage, read> knots: array<f32>;
@group(0) @binding(3) var<storage, read> gram: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> flags: array<u32>;
@group(0) @binding(7) var<storage, read_write> work: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read_write> values: array<f32>;

var<private> head: u32;   // the problem's first and last node
var<private> tail: u32;
var<private> problem: Tv2Problem;

// What ends a step: how far along the move, at which node or segment, and why.
const NOTHING: u32 = 0u;
const KNOT_VANISHES: u32 = 1u;
const BOUND_BELOW: u32 = 2u;
const BOUND_ABOVE: u32 = 3u;

struct Obstacle {
    length: f32, // 1 is the whole way to the minimiser
    at: u32,
    kind: u32,
}

// The knot after node a, or the last node.
fn next_knot(a: u32) -> u32 {
    var b = a + 1u;
    while (b < tail && sign_at(b) == 0) {
        b++;
    }
    return b;
}

// The knot before node b, or the first node.
fn previous_knot(b: u32) -> u32 {
    var a = b - 1u;
    while (a > head && sign_at(a) == 0) {
        a--;
    }
    return a;
}

// The slope change per unit of the move, of the piece from knot a to knot b.
fn slope_shift(a: u32, b: u32) -> f32 {
    return select(0.0, (work[b].w - work[a].w) / (knots[b] - knots[a]), side_at(a) == 0);
}

// Solves for the shifts of f at the knots (work.w) that minimise the quadratic with all signs and sides kept. A piece on a
// bound moves as a rigid body, so both its ends share one unknown.
fn solve() {
    var pivot = 0.0;
    var load = 0.0;
    var a = head;
    while (a < tail) {
        let b = next_knot(a);
        if (side_at(a) != 0) {
            for (var m = a; m < b; m++) {
                pivot += gram[m].x + 2.0 * gram[m].y + gram[m].z;
                load += moments[m].x + moments[m].y;
            }
        } else {
            // f at node m is v f_a + u f_b, at node m + 1 it is v1 f_a + u1 f_b.
            let length = knots[b] - knots[a];
            var aa = 0.0;
            var ab = 0.0;
            var bb = 0.0;
            var load_a = 0.0;
            var load_b = 0.0;
            var u = 0.0;
            for (var m = a; m < b; m++) {
                let u1 = (knots[m + 1u] - knots[a]) / length;
                let v = 1.0 - u;
                let v1 = 1.0 - u1;
                let g = gram[m];
                aa += g.x * v * v + 2.0 * g.y * v * v1 + g.z * v1 * v1;
                ab += g.x * u * v + g.y * (u * v1 + v * u1) + g.z * u1 * v1;
                bb += g.x * u * u + 2.0 * g.y * u * u1 + g.z * u1 * u1;
                load_a += moments[m].x * v + moments[m].y * v1;
                load_b += moments[m].x * u + moments[m].y * u1;
                u = u1;
            }
            // lambda sum sign (s_n - s_{n-1}) is linear in f.
            let pull = problem.lambda * f32(sign_at(a) - sign_at(b)) / length;
            pivot += aa;
            load += load_a + pull;
            work[a] = vec4<f32>(pivot, ab, load, 0.0);
            // A knot without data on its left has no stiffness of its own there.
            let ratio = select(0.0, ab / pivot, pivot > 0.0);
            pivot = max(bb - ratio * ab, 0.0);
            load = load_b - pull - ratio * load;
        }
        a = b;
    }
    var shift = select(0.0, load / pivot, pivot > 0.0);
    work[tail].w = shift;
    var b = tail;
    while (b > head) {
        a = previous_knot(b);
        if (side_at(a) == 0) {
            let row = work[a];
            shift = select(0.0, (row.z - row.y * shift) / row.x, row.x > 0.0);
        }
        work[a].w = shift;
        b = a;
    }
}

// How far f can move before a slope change reaches 0 or a slope a bound.
fn first_obstacle() -> Obstacle {
    var found = Obstacle(1.0, 0u, NOTHING);
    var a = head;
    var slope_before = 0.0;
    var shift_before = 0.0;
    while (a < tail) {
        let b = next_knot(a);
        let slope = slopes[a];
        let shift = slope_shift(a, b);
        if (a > head) {
            let sign = f32(sign_at(a));
            let change = sign * (slope - slope_before);
            let rate = sign * (shift - shift_before);
            if (change + found.length * rate < 0.0) {
                found = Obstacle(min(max(change, 0.0) / -rate, 1.0), a, KNOT_VANISHES);
            }
        }
        if (slope + found.length * shift > problem.slope_max && shift > 0.0) {
            found = Obstacle(min(max(problem.slope_max - slope, 0.0) / shift, 1.0), a, BOUND_ABOVE);
        }
        if (slope + found.length * shift < problem.slope_min && shift < 0.0) {
            found = Obstacle(min(max(slope - problem.slope_min, 0.0) / -shift, 1.0), a, BOUND_BELOW);
        }
        slope_before = slope;
        shift_before = shift;
        a = b;
    }
    return found;
}

// Moves f by `length` times the shifts.
fn advance(length: f32) {
    problem.value_first += length * work[head].w;
    var a = head;
    while (a < tail) {
        let b = next_knot(a);
        let slope = length * slope_shift(a, b);
        let base = length * work[a].w;
        var shift = base;
        for (var m = a; m < b; m++) {
            let next = select(base + slope * (knots[m + 1u] - knots[a]), length * work[b].w, m + 1u == b);
            let g = gram[m];
            moments[m] -= vec2<f32>(g.x * shift + g.y * next, g.y * shift + g.z * next);
            slopes[m] += slope;
            shift = next;
        }
        a = b;
    }
}

// Gives the segments from a to b one slope and side.
fn fill(a: u32, b: u32, slope: f32, side: i32) {
    for (var m = a; m < b; m++) {
        slopes[m] = slope;
        set_side(m, side);
    }
}

// Removes knot n, whose slope change is 0: the pieces beside it become one, on a bound if one of them is.
fn remove_knot(n: u32) {
    set_sign(n, 0);
    let a = previous_knot(n);
    let b = next_knot(n);
    let left = side_at(a);
    let right = side_at(n);
    let mean = (slopes[a] * (knots[n] - knots[a]) + slopes[n] * (knots[b] - knots[n])) / (knots[b] - knots[a]);
    let slope = select(select(mean, slopes[n], right != 0), slopes[a], left != 0);
    fill(a, b, slope, select(right, left, left != 0));
}

// Holds the piece that starts at knot a to the bound on `side`; a neighbour on the same bound becomes one piece with it.
fn hold(a: u32, side: i32) {
    let b = next_knot(a);
    fill(a, b, select(problem.slope_min, problem.slope_max, side > 0), side);
    if (a > head && side_at(a - 1u) == side) {
        set_sign(a, 0);
    }
    if (b < tail && side_at(b) == side) {
        set_sign(b, 0);
    }
}

// The gradient of the quadratic with respect to f at node n.
fn gradient(n: u32) -> f32 {
    var g = -moments[n].x;
    if (n > head) {
        g -= moments[n - 1u].y;
    }
    return g;
}

// Optimality on a free piece: with z = lambda sign at its knots (0 at the ends), stationarity of every slope says
//   z_{m+1} = z_m - h_m F_m,  F_m = sum of the gradients up to node m,
// and f is optimal where |z| <= lambda. Each stretch of nodes beyond that gets a knot where it is worst. F at knot a follows
// from z at both ends, so that rounding does not add up from piece to piece. Returns the number of new knots.
fn release_free(a: u32, b: u32) -> u32 {
    let z_a = problem.lambda * f32(sign_at(a));
    let z_b = problem.lambda * f32(sign_at(b));
    var relative = 0.0;
    var sum = 0.0;
    for (var m = a; m < b; m++) {
        if (m > a) {
            relative += gradient(m);
        }
        sum += (knots[m + 1u] - knots[m]) * relative;
    }
    var force = (z_a - z_b - sum) / (knots[b] - knots[a]);
    let limit = problem.lambda * (1.0 + problem.tolerance);
    var z = z_a;
    var added = 0u;
    var worst = 0.0;
    var at = a;
    var sign = 0;
    for (var m = a; m + 1u < b; m++) {
        if (m > a) {
            force += gradient(m);
        }
        z -= (knots[m + 1u] - knots[m]) * force;
        let excess = abs(z) - limit;
        let here = select(-1, 1, z > 0.0);
        if (sign != 0 && (excess <= 0.0 || here != sign)) {
            set_sign(at, sign);
            added++;
            worst = 0.0;
            sign = 0;
        }
        if (excess > worst) {
            worst = excess;
            at = m + 1u;
            sign = here;
        }
    }
    if (sign != 0) {
        set_sign(at, sign);
        added++;
    }
    return added;
}

// Optimality on a piece held to a bound: the bound may push z, in mirrored units (times side) only upwards. The least path
// it can take never falls below -lambda; where it exceeds lambda, or its end exceeds z at knot b, no admissible path exists,
// and the segments between the last place where it was pushed and there are set free, with a knot at either end of them.
fn release_held(a: u32, b: u32, force_before: f32) -> u32 {
    let side = side_at(a);
    let mirror = f32(side);
    let lambda = problem.lambda;
    var force = force_before;
    var z = mirror * lambda * f32(sign_at(a));
    let z_b = mirror * lambda * f32(sign_at(b));
    var pushed = a;
    var worst = 0.0;
    var start = a;
    var end = a;
    for (var m = a; m < b; m++) {
        force += gradient(m);
        z -= (knots[m + 1u] - knots[m]) * mirror * force;
        if (z < -lambda) {
            z = -lambda;
            pushed = m + 1u;
        }
        let excess = z - select(lambda, z_b, m + 1u == b) - lambda * problem.tolerance;
        if (excess > worst) {
            worst = excess;
            start = pushed;
            end = m + 1u;
        }
    }
    if (start == end) {
        return 0u;
    }
    for (var m = start; m < end; m++) {
        set_side(m, 0);
    }
    if (start != a) {
        set_sign(start, -side);
    }
    if (end != b) {
        set_sign(end, side);
    }
    return 1u;
}

// Checks every piece and frees what is not optimal; the number of releases.
fn release() -> u32 {
    var released = 0u;
    var force = 0.0;
    var a = head;
    while (a < tail) {
        let b = next_knot(a);
        let before = force;
        for (var m = a; m < b; m++) {
            force += gradient(m);
        }
        if (side_at(a) == 0) {
            released += release_free(a, b);
        } else {
            released += release_held(a, b, before);
        }
        a = b;
    }
    return released;
}

fn step() {
    solve();
    let obstacle = first_obstacle();
    advance(obstacle.length);
    problem.steps++;
    if (obstacle.length > 0.0) {
        problem.moved = 1u;
    }
    switch (obstacle.kind) {
        case KNOT_VANISHES: {
            remove_knot(obstacle.at);
        }
        case BOUND_BELOW: {
            hold(obstacle.at, -1);
        }
        case BOUND_ABOVE: {
            hold(obstacle.at, 1);
        }
        default: {
            problem.checks++;
            // Rounding can make a release undo itself. Asking for less each time that happens, and a little less after
            // as many checks as there are nodes, ends it.
            if (problem.moved == 0u) {
                problem.tolerance *= 2.0;
            }
            if (problem.checks > problem.count) {
                problem.tolerance *= 1.1;
            }
            problem.moved = 0u;
            if (release() == 0u) {
                problem.status = OPTIMAL;
            }
        }
    }
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    if (local != 0u) {
        return;
    }
    problem = problems[id.x];
    head = problem.first;
    tail = problem.first + problem.count - 1u;
    for (var done = 0u; done < params.steps && problem.status == RUNNING; done++) {
        step();
    }
    var value = problem.value_first;
    values[head] = value;
    var m = head;
    while (m < tail) {
        value += slopes[m] * (knots[m + 1u] - knots[m]);
        m++;
        values[m] = value;
    }
    // A driver that cuts loops short (see src/spline/device/tv2.rs) has cut this one, too.
    problem.status = select(CUT_SHORT, problem.status, m == tail);
    problems[id.x] = problem;
}
