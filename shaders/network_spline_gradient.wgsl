// Gradients of loss + lambda TV2 with respect to a spline's trained nodal values c and its scaling alpha, from the sums A, B
// per segment (see network_spline_sums):
//   at the clipped values f:  p_n = (A_n - B_n + B_{n-1}) / alpha,  mean p = sum_j A_j / (alpha N)
//   at the slopes:            r_j = 1[slope j free] (h_j sum_{m>j} (p_m - mean p) + lambda (sign a_j - sign a_{j+1}))
//   at the trained values:    dc_n = mean p + r_{n-1} / h_{n-1} - r_n / h_n
//   dalpha = sum_j A_j (s_j t_j - f_j) / alpha^2
// a_n: slope change at the interior knot n, TV2 = sum |a_n|, sign 0 = 0. Slots behind the last knot get 0.
// One invocation per spline. sums: (spline, segment); lambdas: (member); gradients: as parameters.
#import network_spline

const SEGMENTS: u32 = 15u; // slots - 1

@group(0) @binding(0) var<uniform> params: SplineParams;
@group(0) @binding(1) var<storage, read> parameters: array<f32>;
@group(0) @binding(2) var<storage, read> knots: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> counts: array<u32>;
@group(0) @binding(4) var<storage, read> lambdas: array<f32>;
@group(0) @binding(5) var<storage, read> sums: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> gradients: array<f32>;

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.total) {
        return;
    }
    let first = id.x * params.slots;
    let values = params.values + first;
    let segment = id.x * SEGMENTS;
    let count = counts[id.x];
    let alpha = parameters[params.alphas + id.x];
    let lambda = lambdas[id.x / params.splines];
    var mass = 0.0;
    var scaling = 0.0;
    for (var j = 0u; j + 1u < count; j++) {
        let k = knots[first + j];
        let a = sums[segment + j].x;
        mass += a;
        scaling += a * (k.z * k.x - k.y);
    }
    let mean = mass / (alpha * f32(count));
    gradients[params.alphas + id.x] = scaling / (alpha * alpha);
    for (var n = count; n < params.slots; n++) {
        gradients[values + n] = 0.0;
    }
    // From the last knot down: suffix = sum_{m > j} (p_m - mean), right = r_n / h_n, turn = sign a_{j+1}.
    var suffix = 0.0;
    var right = 0.0;
    var turn = 0.0;
    var right_sums = vec2<f32>(0.0);
    for (var n = count - 1u; n > 0u; n--) {
        let j = n - 1u;
        let left_sums = sums[segment + j];
        suffix += (right_sums.x - right_sums.y + left_sums.y) / alpha - mean;
        let h = knots[first + n].x - knots[first + j].x;
        let slope = knots[first + j].z;
        var left_turn = 0.0;
        if (j > 0u) {
            left_turn = sign(slope - knots[first + j - 1u].z);
        }
        let raw = (parameters[values + n] - parameters[values + j]) / h;
        let free = raw >= params.slope_min - SLOPE_ROUNDING && raw <= params.slope_max + SLOPE_ROUNDING;
        let left = select(0.0, suffix + lambda * (left_turn - turn) / h, free);
        gradients[values + n] = mean + left - right;
        right = left;
        turn = left_turn;
        right_sums = left_sums;
    }
    gradients[values] = mean - right;
}
