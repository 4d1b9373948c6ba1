// An image laid into a frame: frame(p, q) = image at the positions that `frame_source` names, or 0. With step > 1, zeros
// stand between the pixels too: frame(top + step r, left + step c) = image(r, c), the transpose of taking every step-th.
// One invocation per frame element. src: (row, column), dst: (frame row, frame column).
#import frame

@group(0) @binding(0) var<uniform> params: FrameParams;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let step = i32(params.step);
    // The image with its zeros in between ends with its last pixel.
    let row = frame_source(id.y, params.top, (params.image_rows - 1u) * params.step + 1u, params.boundary);
    let col = frame_source(id.x, params.left, (params.image_cols - 1u) * params.step + 1u, params.boundary);
    var value = 0.0;
    if (row >= 0 && col >= 0 && row % step == 0 && col % step == 0) {
        value = src[u32(row / step) * params.image_cols + u32(col / step)];
    }
    dst[id.y * params.cols + id.x] = value;
}
