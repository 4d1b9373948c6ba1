// The transpose of mri_expand.wgsl: image(r, c) = Re sum_coil conj(S_coil(r, c)) grid(coil, ifftshift(r, c)).
// One invocation per pixel, workgroup of 32 x 4.
// maps: (coil, row, column); grid: (coil, row, column) in the transform's order (lib/mri.wgsl); image: (row, column), real.
#import mri

@group(0) @binding(0) var<uniform> params: MriParams;
@group(0) @binding(1) var<storage, read> maps: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> grid: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(32, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let pixel = id.y * params.cols + id.x;
    var sum = 0.0;
    for (var coil = 0u; coil < params.coils; coil++) {
        let map = maps[coil * params.rows * params.cols + pixel];
        sum += dot(map, grid[transform_index(coil, id.y, id.x, params)]);
    }
    image[pixel] = sum;
}
