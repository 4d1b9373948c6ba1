// Zero-padded correlation of a stack of planes with one group of CO filters:
//   dst[c](r, q) (+)= sum_p sum_ky sum_kx  w[p, ky, kx, c] * src[p](r + ky - K/2, q + kx - K/2),   p < PLANES,
// and dst = 0 outside the image, which is the zero that the next layer's padding reads. The adjoint of a layer is this
// same kernel with flipped filters and exchanged plane roles.
//
// One invocation computes CO planes x ROWS rows x 4 columns, a vec4 per row. For every source plane it loads the pixels under its outputs
// once, into `window`, and uses each for every filter tap and plane that it meets; larger blocks mean fewer loads, smaller
// ones fewer registers. global id = (column block, row block, image).
// src: (image, plane, row, column) frame with slack behind the last row; weights: (source plane, ky, kx, c) in vec4s, each
// source plane padded to whole vec4s so that within a plane every index is a literal.
#import tile

const K: u32 = 5u;
const PLANES: u32 = 1u;   // source planes summed by one launch
const ADDS: u32 = 1u;     // 0: no launch adds to dst, so none reads it
const CO: u32 = 4u;
const ROWS: u32 = 4u;
const WORKGROUP_X: u32 = 8u;
const WORKGROUP_Y: u32 = 8u;

const WINDOW_ROWS: u32 = ROWS + K - 1u;
const WINDOW_COLS: u32 = 4u + K - 1u;
const PLANE_QUADS = (K * K * CO + 3u) / 4u;

struct ConvParams {
    dst: Region,
    src_first: u32,    // index of the source value under the first output, plane 0, image 0
    src_row_stride: u32,
    src_plane_stride: u32,
    src_image_stride: u32,
    accumulate: u32,   // 1: add to dst
    pad0: u32,
    pad1: u32,
    pad2: u32,
}

@group(0) @binding(0) var<uniform> params: ConvParams;
@group(0) @binding(1) var<uniform> weights: array<vec4<f32>, PLANES * PLANE_QUADS>;
@group(0) @binding(2) var<storage, read> src: array<f32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

fn store(image: u32, plane: u32, row: u32, col: u32, value: f32) {
    if (region_holds(params.dst, row, col)) {
        let at = region_index(params.dst, image, plane, row, col);
        var total = select(0.0, value, region_inside(params.dst, row, col));
        if (ADDS == 1u && params.accumulate != 0u) {
            total += dst[at];
        }
        dst[at] = total;
    }
}

@compute @workgroup_size(WORKGROUP_X, WORKGROUP_Y)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row0 = id.y * ROWS;
    let col0 = id.x * 4u;
    // No early return for invocations beyond the region: they read slack and store nothing.
    let corner = params.src_first + id.z * params.src_image_stride
        + row0 * params.src_row_stride + col0 - (K / 2u) * (params.src_row_stride + 1u);

    var sum: array<vec4<f32>, CO * ROWS>;
    for (var plane = 0u; plane < PLANES; plane++) {
        let first = corner + plane * params.src_plane_stride;
        var window: array<f32, WINDOW_ROWS * WINDOW_COLS>;
        // @unroll 64
        for (var y = 0u; y < WINDOW_ROWS; y++) {
            // @unroll 64
            for (var x = 0u; x < WINDOW_COLS; x++) {
                window[y * WINDOW_COLS + x] = src[first + y * params.src_row_stride + x];
            }
        }
        // @unroll 64
        for (var kx = 0u; kx < K; kx++) {
            var shifted: array<vec4<f32>, WINDOW_ROWS>;
            // @unroll 64
            for (var y = 0u; y < WINDOW_ROWS; y++) {
                shifted[y] = vec4<f32>(window[y * WINDOW_COLS + kx], window[y * WINDOW_COLS + kx + 1u],
                    window[y * WINDOW_COLS + kx + 2u], window[y * WINDOW_COLS + kx + 3u]);
            }
            // @unroll 64
            for (var ky = 0u; ky < K; ky++) {
                // @unroll 64
                for (var c = 0u; c < CO; c++) {
                    let w = weights[plane * PLANE_QUADS + ((ky * K + kx) * CO + c) / 4u][((ky * K + kx) * CO + c) % 4u];
                    // @unroll 64
                    for (var y = 0u; y < ROWS; y++) {
                        sum[c * ROWS + y] += w * shifted[y + ky];
                    }
                }
            }
        }
    }

    // @unroll 64
    for (var c = 0u; c < CO; c++) {
        // @unroll 64
        for (var y = 0u; y < ROWS; y++) {
            // @unroll 64
            for (var x = 0u; x < 4u; x++) {
                store(id.z, c, row0 + y, col0 + x, sum[c * ROWS + y][x]);
            }
        }
    }
}
