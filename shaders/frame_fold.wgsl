// The transpose of laying an image into a frame (step 1): image(r, c) = sum of the frame over all copies of (r, c), in the
// order before, here, behind. One invocation per pixel. src: (frame row, frame column), dst: (row, column).
#import frame

@group(0) @binding(0) var<uniform> params: FrameParams;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> dst: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.image_cols || id.y >= params.image_rows) {
        return;
    }
    let rows = frame_copies(id.y, params.top, params.image_rows, params.rows, params.boundary);
    let cols = frame_copies(id.x, params.left, params.image_cols, params.cols, params.boundary);
    var sum = 0.0;
    for (var m = 0u; m < 3u; m++) {
        for (var n = 0u; n < 3u; n++) {
            if (rows[m] >= 0 && cols[n] >= 0) {
                sum += src[u32(rows[m]) * params.cols + u32(cols[n])];
            }
        }
    }
    dst[id.y * params.image_cols + id.x] = sum;
}
