// Sampling of k-space: kspace(coil, r, c) = mask(r, c) grid(coil, uncentred(r, c)), or its transpose, from k-space to the grid.
// One invocation per sample and coil, workgroup of 32 x 4 samples, z = coil.
// mask: (row, column); src, dst: (coil, row, column), one of them centred, the other in the transform's order (lib/mri.wgsl).
#import mri

@group(0) @binding(0) var<uniform> params: MriParams;
@group(0) @binding(1) var<storage, read> mask: array<f32>;
@group(0) @binding(2) var<storage, read> src: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<vec2<f32>>;

@compute @workgroup_size(32, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let sample = id.y * params.cols + id.x;
    let centred = id.z * params.rows * params.cols + sample;
    let moved = transform_index(id.z, id.y, id.x, params);
    if (params.adjoint == 1u) {
        dst[moved] = mask[sample] * src[centred];
    } else {
        dst[centred] = mask[sample] * src[moved];
    }
}
