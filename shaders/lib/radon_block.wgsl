// Shared by the back projections, of which an invocation computes 4 x 4 pixels. The importing kernel declares
// var<uniform> params: RadonParams;   and   var<storage, read_write> image: array<f32>;   (row, column).
#import radon

fn lowest(v: vec4<f32>) -> f32 {
    return min(min(v.x, v.y), min(v.z, v.w));
}

fn highest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// Stores a block, or adds it to what earlier launches left; columns of the matrix stand for rows of the image.
fn store_block(block: mat4x4<f32>, row: u32, col: u32) {
    // @unroll 4
    for (var r = 0u; r < 4u; r++) {
        // @unroll 4
        for (var c = 0u; c < 4u; c++) {
            if (row + r < params.rows && col + c < params.cols) {
                let at = (row + r) * params.cols + col + c;
                var value = block[r][c];
                if (params.accumulate == 1u) {
                    value += image[at];
                }
                image[at] = value;
            }
        }
    }
}
