// The active set of a TV2 problem and the state of its solution: what the kernels tv2_* share.
//
// Problem c lives on `count` consecutive nodes t_0 < ... < t_{count-1} from `first`. Its unknown is a continuous
// piecewise-linear f with a slope s_m on every segment [t_m, t_{m+1}]; arrays per segment use the index of its left node.
//   flags[n] = (sign + 1) + 4 (side + 1)
//   sign: -1, 0, 1, the sign that the slope change at node n is held to; 0: no slope change there, n is no knot;
//   side: -1, 0, 1: segment n is held to the lower bound, free, held to the upper bound.
// A *piece* is a run of segments between two knots: one slope, one side.
// The importing kernel declares   var<storage, read_write> flags: array<u32>;

const RUNNING: u32 = 0u;
const OPTIMAL: u32 = 1u;
const CUT_SHORT: u32 = 2u;
const FREE: u32 = 5u; // no knot, no bound

struct Tv2Params {
    problems: u32,
    steps: u32,      // at most this many in one dispatch
    tolerance: f32,  // with which a problem starts
    pad0: u32,
}

struct Tv2Problem {
    first: u32,        // index of its first node
    count: u32,        // number of nodes, at least 2
    lambda: f32,       // weight of TV2
    slope_min: f32,    // -3.4e38 for none
    slope_max: f32,
    value_first: f32,  // f(t_0)
    tolerance: f32,    // relative violation of the optimality conditions that counts as none
    steps: u32,        // active-set steps done
    checks: u32,       // times the optimality conditions were checked
    status: u32,       // RUNNING, OPTIMAL or CUT_SHORT
    moved: u32,        // whether f moved since the last check
    pad0: u32,
}

fn sign_at(n: u32) -> i32 {
    return i32(flags[n] & 3u) - 1;
}

fn side_at(m: u32) -> i32 {
    return i32(flags[m] >> 2u) - 1;
}

fn set_sign(n: u32, sign: i32) {
    flags[n] = (flags[n] & 12u) | u32(sign + 1);
}

fn set_side(m: u32, side: i32) {
    flags[m] = (flags[m] & 3u) | (u32(side + 1) << 2u);
}
