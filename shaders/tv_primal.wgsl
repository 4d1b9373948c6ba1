// x(u) = clamp(v - D' u, low, high), the image that a dual field of total variation stands for.
// One invocation per pixel. v, x: (row, column); dual: (row, column) of two components, those that point beyond the image 0.
#import tv

@group(0) @binding(0) var<uniform> params: TvParams;
@group(0) @binding(1) var<storage, read> v: array<f32>;
@group(0) @binding(2) var<storage, read> dual: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let at = id.y * params.cols + id.x;
    let here = dual[at];
    var transposed = -here.x - here.y;
    if (id.y > 0u) {
        transposed += dual[at - params.cols].x;
    }
    if (id.x > 0u) {
        transposed += dual[at - 1u].y;
    }
    x[at] = clamp(v[at] - transposed, params.low, params.high);
}
