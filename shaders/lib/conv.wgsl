// Zero-padded correlation of a stack of planes with GROUPS groups of CO filters, one group after the other:
//   dst[c](r, q) (+)= sum_p sum_ky sum_kx  w[p, ky, kx, c] * src[p](r + ky - K/2, q + kx - K/2),   p < PLANES,
// and dst = 0 outside the image, which is the zero that the next layer's padding reads. The adjoint of a layer is this
// same kernel with flipped filters and exchanged plane roles.
//
// For every source plane an invocation loads the pixels under its block (lib/conv_block.wgsl) once, into `window`, and uses each for every
// filter tap and plane that it meets; larger blocks mean fewer loads, smaller ones fewer registers. All taps of one row of one plane come
// before the next, so that its sums stay in registers.
// weights: for every group and source plane (c, tap) but for the last taps, then the last taps (c), in vec4s, padded to whole ones.
// Tap t = ky * K + kx; K * K is odd.
//
// The importing kernel declares weights, too, and has the entry point, which calls conv(). It says how weights get
// to the invocations: hold_weights(first) is told where the quads of a group and plane begin, weight(i) is the i-th of them, i a literal.
#import conv_block

const TAP_QUADS: u32 = 6u;    // (K * K - 1) / 4
const PLANE_QUADS = (K * K * CO + 3u) / 4u;
const ALL_QUADS = GROUPS * PLANES * PLANE_QUADS;

fn conv(id: vec3<u32>, launched: vec3<u32>) {
    let block = take_block(id, launched);
    if (PLANES == 1u) {
        load_window(block, 0u);
    }
    for (var group = 0u; group < GROUPS; group++) {
        var sum: array<vec4<f32>, CO * ROWS>;
        for (var plane = 0u; plane < PLANES; plane++) {
            if (PLANES > 1u) {
                load_window(block, plane);
            }
            var taps: array<vec4<f32>, WINDOW_ROWS * K>; // the source under the four columns for each filter tap
            // @unroll 64
            for (var y = 0u; y < WINDOW_ROWS; y++) {
                // @unroll 64
                for (var kx = 0u; kx < K; kx++) {
                    taps[y * K + kx] = vec4<f32>(window[y * SPAN_COLS + kx], window[y * SPAN_COLS + kx + 1u],
                        window[y * SPAN_COLS + kx + 2u], window[y * SPAN_COLS + kx + 3u]);
                }
            }
            hold_weights((group * PLANES + plane) * PLANE_QUADS);
            // @unroll 64
            for (var y = 0u; y < ROWS; y++) {
                // @unroll 64
                for (var c = 0u; c < CO; c++) {
                    var row = sum[c * ROWS + y];
                    // @unroll 1024
                    for (var t = 0u; t < TAP_QUADS; t++) {
                        row += mat4x4<f32>(taps[y * K + 4u * t], taps[y * K + 4u * t + 1u], taps[y * K + 4u * t + 2u],
                            taps[y * K + 4u * t + 3u]) * weight(c * TAP_QUADS + t);
                    }
                    sum[c * ROWS + y] = row + weight(CO * TAP_QUADS + c / 4u)[c % 4u] * taps[y * K + K * K - 1u];
                }
            }
        }
        // @unroll 64
        for (var c = 0u; c < CO; c++) {
            // @unroll 64
            for (var y = 0u; y < ROWS; y++) {
                outputs[y] = sum[c * ROWS + y];
            }
            store_outputs(block, group * CO + c);
        }
    }
}
