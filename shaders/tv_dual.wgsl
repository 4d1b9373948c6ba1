// One step of the accelerated projected gradient for the dual of total variation's proximal operator:
//   u' = q + D x(q) / 8, shortened to |u'| <= radius at every pixel;   q <- u' + beta (u' - u),   u <- u'.
// One invocation per pixel. x: (row, column); u, q: (row, column) of two components.
#import tv

@group(0) @binding(0) var<uniform> params: TvParams;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> u: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> q: array<vec2<f32>>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let at = id.y * params.cols + id.x;
    let before = u[at];
    var next = q[at] + 0.125 * difference(id.y, id.x);
    let size = length(next);
    if (size > params.radius) {
        next *= params.radius / size;
    }
    u[at] = next;
    q[at] = next + params.beta * (next - before);
}
