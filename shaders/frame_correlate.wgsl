// Correlation of a frame with a kernel of any size, at every step-th position:
//   dst(r, c) = sum_{i < kernel_rows, j < kernel_cols} k(i, j) src(step r + i, step c + j).
// One invocation computes 4 x 4 positions: a row of the kernel slides over four columns held in one vec4, so that a pixel is
// loaded once for 16 multiply-adds. With step > 1 all positions are computed and the wanted ones stored.
// src: (frame row, frame column), its slack behind the last row is read but never used; dst: (row, column);
// taps: (kernel_rows + 3, kernel_cols), entry (m, j) = k(m, j), k(m - 1, j), k(m - 2, j), k(m - 3, j), 0 outside of k:
// what the pixel in row m of a block weighs in each of its four rows.

struct CorrelateParams {
    rows: u32,         // of dst
    cols: u32,
    src_cols: u32,     // elements per frame row
    kernel_rows: u32,
    kernel_cols: u32,
    step: u32,
    pad0: u32,
    pad1: u32,
}

@group(0) @binding(0) var<uniform> params: CorrelateParams;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read> taps: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

fn store(row: u32, col: u32, values: vec4<f32>) {
    let r = row / params.step;
    if (r >= params.rows || r * params.step != row) {
        return;
    }
    // @unroll 4
    for (var n = 0u; n < 4u; n++) {
        let c = (col + n) / params.step;
        if (c < params.cols && c * params.step == col + n) {
            dst[r * params.cols + c] = values[n];
        }
    }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.y * 4u;
    let col = id.x * 4u;
    if (row > (params.rows - 1u) * params.step || col > (params.cols - 1u) * params.step) {
        return;
    }
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    for (var m = 0u; m < params.kernel_rows + 3u; m++) {
        let first = (row + m) * params.src_cols + col;
        var v = vec4<f32>(0.0, src[first], src[first + 1u], src[first + 2u]);
        for (var j = 0u; j < params.kernel_cols; j++) {
            v = vec4<f32>(v.yzw, src[first + j + 3u]);
            let w = taps[m * params.kernel_cols + j];
            s0 += w.x * v;
            s1 += w.y * v;
            s2 += w.z * v;
            s3 += w.w * v;
        }
    }
    store(row, col, s0);
    store(row + 1u, col, s1);
    store(row + 2u, col, s2);
    store(row + 3u, col, s3);
}
