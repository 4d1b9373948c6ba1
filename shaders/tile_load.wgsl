// Copies a rectangle of an image into a tile frame, with zeros where the frame reaches over the image's border:
//   frame[slot](r, q) = image[active[slot]](r - top, q - left) inside the image, else 0.
// One invocation per frame pixel, z = slot. image: (image, row, column), frame: (slot, row, column).
#import tile

struct LoadParams {
    dst: Region,
    src_first: u32,        // index, in image 0, of the pixel under the first inside element of the rectangle
    src_row_stride: u32,
    src_image_stride: u32,
    pad0: u32,
}

@group(0) @binding(0) var<uniform> params: LoadParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (!region_holds(params.dst, id.y, id.x)) {
        return;
    }
    var value = 0.0;
    if (region_inside(params.dst, id.y, id.x)) {
        let row = id.y - params.dst.inside_top;
        let col = id.x - params.dst.inside_left;
        value = src[params.src_first + active_images[id.z] * params.src_image_stride + row * params.src_row_stride + col];
    }
    dst[region_index(params.dst, id.z, 0u, id.y, id.x)] = value;
}
