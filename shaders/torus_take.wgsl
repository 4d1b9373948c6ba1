// The real plane on a torus: dst(r, c) = Re src(r, c). Transposes torus_embed.
// One invocation per pixel of the plane. src: (torus row, torus column), complex; dst: (row, column).
#import torus

@group(0) @binding(0) var<uniform> params: TorusParams;
@group(0) @binding(1) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    dst[id.y * params.cols + id.x] = src[id.y * params.torus_cols + id.x].x;
}
