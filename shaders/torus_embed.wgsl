// A real plane laid onto the torus: dst(r, c) = scale src(r, c), zero everywhere else. With scale 1 it
// transposes torus_take.
// One invocation per value of the torus. src: (row, column); dst: (torus row, torus column), complex.
#import torus

@group(0) @binding(0) var<uniform> params: TorusParams;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec2<f32>>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.torus_cols || id.y >= params.torus_rows) {
        return;
    }
    var value = 0.0;
    if (id.y < params.rows && id.x < params.cols) {
        value = params.scale * src[id.y * params.cols + id.x];
    }
    dst[id.y * params.torus_cols + id.x] = vec2(value, 0.0);
}
