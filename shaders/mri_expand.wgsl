// What each coil sees of an image: grid(coil, ifftshift(r, c)) = S_coil(r, c) x(r, c).
// One invocation per pixel and coil, workgroup of 32 x 4 pixels, z = coil.
// maps: (coil, row, column); image: (row, column), real; grid: (coil, row, column) in the transform's order (lib/mri.wgsl).
#import mri

@group(0) @binding(0) var<uniform> params: MriParams;
@group(0) @binding(1) var<storage, read> maps: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read> image: array<f32>;
@group(0) @binding(3) var<storage, read_write> grid: array<vec2<f32>>;

@compute @workgroup_size(32, 4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let pixel = id.y * params.cols + id.x;
    let map = maps[id.z * params.rows * params.cols + pixel];
    grid[transform_index(id.z, id.y, id.x, params)] = map * image[pixel];
}
