// Root-sum-of-squares of coil images: image(r, c) = sqrt(sum_coil |grid(coil, ifftshift(r, c))|^2).
// One invocation per pixel, workgroup of 32 x 4.
// grid: (coil, row, column) in the transform's order (lib/mri.wgsl); image: (row, column), real.
#import mri

@group(0) @binding(0) var<uniform> params: MriParams;
@group(0) @binding(1) var<storage, read> grid: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(32, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    var sum = 0.0;
    for (var coil = 0u; coil < params.coils; coil++) {
        let value = grid[transform_index(coil, id.y, id.x, params)];
        sum += dot(value, value);
    }
    image[id.y * params.cols + id.x] = sqrt(sum);
}
