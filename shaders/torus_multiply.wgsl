// A spectrum times that of a filter, dst(k) = src(k) filter_spectrum(k), or times its conjugate: a convolution on the torus, or a
// correlation. One invocation per frequency; all arrays (torus row, torus column), complex.
#import torus

@group(0) @binding(0) var<uniform> params: TorusParams;
@group(0) @binding(1) var<storage, read> filter_spectrum: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec2<f32>>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.torus_cols || id.y >= params.torus_rows) {
        return;
    }
    let at = id.y * params.torus_cols + id.x;
    let a = src[at];
    var b = filter_spectrum[at];
    b.y = select(b.y, -b.y, params.conjugate == 1u);
    dst[at] = vec2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
