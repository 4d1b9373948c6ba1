// Power iteration's normalisation: dst = src / |src|, with |src|^2 = totals[0].z from inner_product and sum_partials.
// A zero src gives zero. One invocation per pixel of one image.

struct NormaliseParams {
    pixels: u32,
    row: u32,      // pixels per row of workgroups: more than 65535 groups do not fit one dimension
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: NormaliseParams;
@group(0) @binding(1) var<storage, read> totals: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pixel = id.y * params.row + id.x;
    if (id.x < params.row && pixel < params.pixels) {
        let norm2 = totals[0].z;
        dst[pixel] = select(0.0, src[pixel] * inverseSqrt(norm2), norm2 > 0.0);
    }
}
