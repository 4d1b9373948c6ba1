// First pass of the gradient with respect to a layer's filters. With y[o](p) = sum_i sum_k w[o, i, k] x[i](p + k - K/2), x = 0
// outside the image, and the gradient g of the loss with respect to y:
//   dL/dw[o, i, ky, kx] = sum over images, r, q of  g[o](r, q) * x[i](r + ky - K/2, q + kx - K/2).
//
// One invocation sums for CO x CI filters, TAPS rows of each, over strips 4 columns wide, one after the other. It walks down
// a strip: a step loads a vec4 of g per plane and one row of x, and keeps the TAPS - 1 rows above that the step before had
// loaded, so that every value loaded meets as many taps and planes as registers can hold sums for. Then a workgroup adds up,
// 32 sums at a time. group = (chunk of strips, block of filters: (block of o, block of i, block of ky)).
// g: (image, o, row, column), x: (image, i, row, column) with zeros within K/2 of the image, and behind its last row some
// that may hold anything finite; partials: (chunk, o, i, ky, kx).

const K: u32 = 5u;
const INPUTS: u32 = 1u;
const OUTPUTS: u32 = 4u;
const CO: u32 = 4u;      // divides OUTPUTS
const CI: u32 = 1u;      // divides INPUTS
const TAPS: u32 = 5u;    // divides K
const CHUNKS: u32 = 4u;  // of 32 sums: CO * CI * TAPS * K of them, rounded up
const LANES: u32 = 32u;  // invocations per workgroup, at least 32

const COLS: u32 = 4u + K - 1u;
const KEPT: u32 = TAPS - 1u;
const CHUNK: u32 = 32u;
const PITCH: u32 = 33u;  // sums of an invocation in workgroup memory, and one word so that banks differ
const SUMS = CO * CI * TAPS * K;

struct WeightGradientParams {
    rows: u32,           // size of the image
    cols: u32,
    across: u32,         // strips side by side
    bands: u32,          // strips one below the other
    band_rows: u32,
    strips: u32,         // in all images
    trips: u32,          // strips per invocation
    first_chunk: u32,    // where the chunks of this launch go in partials
    g_first: u32,        // index of the value at pixel (0, 0) of plane 0, image 0
    g_row_stride: u32,
    g_plane_stride: u32,
    g_image_stride: u32,
    x_first: u32,
    x_row_stride: u32,
    x_plane_stride: u32,
    x_image_stride: u32,
}

@group(0) @binding(0) var<uniform> params: WeightGradientParams;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> partials: array<f32>;

var<workgroup> sh_sums: array<f32, LANES * PITCH>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first_tap = group.y % (K / TAPS) * TAPS;
    let first_i = group.y / (K / TAPS) % (INPUTS / CI) * CI;
    let first_o = group.y / (K / TAPS) / (INPUTS / CI) * CO;

    var sum: array<f32, CHUNKS * CHUNK>;
    for (var trip = 0u; trip < params.trips; trip++) {
        let wanted = (group.x * params.trips + trip) * LANES + local;
        // Behind the last strip an invocation walks no row.
        let strip = min(wanted, params.strips - 1u);
        let col = strip % params.across * 4u;
        let band = strip / params.across % params.bands;
        let image = strip / params.across / params.bands;
        let top = band * params.band_rows;
        let rows = select(0u, min(params.band_rows, params.rows - top), wanted < params.strips);
        let live = vec4<u32>(col, col + 1u, col + 2u, col + 3u) < vec4<u32>(params.cols);
        var g_at = params.g_first + image * params.g_image_stride + first_o * params.g_plane_stride
            + top * params.g_row_stride + col;
        // The row that tap row first_tap meets one row above the strip; indices wrap, as in conv.wgsl.
        var x_at = params.x_first + image * params.x_image_stride + first_i * params.x_plane_stride
            + (top + first_tap) * params.x_row_stride + col - (K / 2u) * (params.x_row_stride + 1u);

        // window[i, t, c] of the step at row r: x[first_i + i](r + first_tap + t - K/2, col + c - K/2).
        var window: array<f32, CI * TAPS * COLS>;
        // @unroll 64
        for (var t = 0u; t < KEPT; t++) {
            // @unroll 64
            for (var i = 0u; i < CI; i++) {
                // @unroll 64
                for (var c = 0u; c < COLS; c++) {
                    window[(i * TAPS + t + 1u) * COLS + c] = x[x_at + i * params.x_plane_stride + c];
                }
            }
            x_at += params.x_row_stride;
        }
        for (var row = 0u; row < rows; row++) {
            // @unroll 64
            for (var i = 0u; i < CI; i++) {
                // @unroll 64
                for (var t = 0u; t < KEPT; t++) {
                    // @unroll 64
                    for (var c = 0u; c < COLS; c++) {
                        window[(i * TAPS + t) * COLS + c] = window[(i * TAPS + t + 1u) * COLS + c];
                    }
                }
                // @unroll 64
                for (var c = 0u; c < COLS; c++) {
                    window[(i * TAPS + TAPS - 1u) * COLS + c] = x[x_at + i * params.x_plane_stride + c];
                }
            }
            var upstream: array<vec4<f32>, CO>;
            // @unroll 64
            for (var o = 0u; o < CO; o++) {
                let at = g_at + o * params.g_plane_stride;
                upstream[o] = select(vec4<f32>(0.0), vec4<f32>(g[at], g[at + 1u], g[at + 2u], g[at + 3u]), live);
            }
            // @unroll 64
            for (var i = 0u; i < CI; i++) {
                // @unroll 64
                for (var t = 0u; t < TAPS; t++) {
                    // @unroll 64
                    for (var kx = 0u; kx < K; kx++) {
                        let met = vec4<f32>(window[(i * TAPS + t) * COLS + kx], window[(i * TAPS + t) * COLS + kx + 1u],
                            window[(i * TAPS + t) * COLS + kx + 2u], window[(i * TAPS + t) * COLS + kx + 3u]);
                        // @unroll 64
                        for (var o = 0u; o < CO; o++) {
                            sum[((o * CI + i) * TAPS + t) * K + kx] += dot(upstream[o], met);
                        }
                    }
                }
            }
            g_at += params.g_row_stride;
            x_at += params.x_row_stride;
        }
    }

    let chunk_base = (params.first_chunk + group.x) * (OUTPUTS * INPUTS * K * K);
    // @unroll 64
    for (var part = 0u; part < CHUNKS; part++) {
        // @unroll 64
        for (var j = 0u; j < CHUNK; j++) {
            sh_sums[local * PITCH + j] = sum[part * CHUNK + j];
        }
        workgroupBarrier();
        let n = part * CHUNK + local;
        if (local < CHUNK && n < SUMS) {
            var total = 0.0;
            for (var lane = 0u; lane < LANES; lane++) {
                total += sh_sums[lane * PITCH + local];
            }
            let o = first_o + n / (CI * TAPS * K);
            let i = first_i + n / (TAPS * K) % CI;
            let tap = first_tap * K + n % (TAPS * K);
            partials[chunk_base + (o * INPUTS + i) * (K * K) + tap] = total;
        }
        workgroupBarrier();
    }
}
