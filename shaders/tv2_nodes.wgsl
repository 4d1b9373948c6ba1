// Poses the proximal problem of nodal values to tv2_prox:  1/2 sum_n w_n (f_n - y_n)^2 + lambda TV2(f), from the line of
// admissible slope nearest to 0 through the first target.
// One invocation per problem. targets (y, w), w > 0: (node); the other arrays are those of tv2_prox.
#import tv2

@group(0) @binding(0) var<uniform> params: Tv2Params;
@group(0) @binding(1) var<storage, read_write> problems: array<Tv2Problem>;
@group(0) @binding(2) var<storage, read> targets: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read> knots: array<f32>;
@group(0) @binding(4) var<storage, read_write> gram: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> moments: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(7) var<storage, read_write> flags: array<u32>;

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.problems) {
        return;
    }
    let head = problems[id.x].first;
    let tail = head + problems[id.x].count - 1u;
    let slope = clamp(0.0, problems[id.x].slope_min, problems[id.x].slope_max);
    let origin = targets[head].x;
    for (var n = head; n <= tail; n++) {
        let weight = targets[n].y;
        let residual = targets[n].x - origin - slope * (knots[n] - knots[head]);
        if (n < tail) {
            gram[n] = vec4<f32>(weight, 0.0, 0.0, 0.0);
            moments[n] = vec2<f32>(weight * residual, 0.0);
            slopes[n] = slope;
        } else {
            gram[n - 1u].z = weight;
            moments[n - 1u].y = weight * residual;
        }
        flags[n] = FREE;
    }
    problems[id.x].value_first = origin;
    problems[id.x].tolerance = params.tolerance;
    problems[id.x].steps = 0u;
    problems[id.x].checks = 0u;
    problems[id.x].status = RUNNING;
    problems[id.x].moved = 0u;
}
