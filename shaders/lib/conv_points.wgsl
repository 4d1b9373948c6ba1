// The same correlation as lib/conv.wgsl with two fifths of its products: rows of filters and of pixels are polynomials, multiplied
// by their values at points (Winograd, 1980; F(4, 5) along rows). A row of a filter is cut in SEGMENTS of 5 taps, the last one padded
// with zeros. For four columns of outputs and the eight pixels d under a segment g,
//   y = A' sum (G g) (B' d),   elementwise products, the sum over source planes, filter rows and segments:
// points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity; 8 products where 20 are. G g comes ready from the host or weights_pack.wgsl,
// B' d is made once for all filters that meet it, and A' follows when all is summed.
//
// An invocation holds the points of HELD source planes at a time: of all of them, loaded once for all groups, or of some,
// added to the sums of its CO planes. ROWS is a multiple of 4; a vec4 is four rows of one column or point.
// weights: for every group and HELD planes (c, point, tap) but for the taps behind the last whole quad, then (c, tap, point) of these;
// taps go by plane, segment and filter row.
//
// The importing kernel declares weights, too, and has the entry point, which calls conv_points(); hold_weights and weight as in lib/conv.wgsl.
#import conv_block

const POINTS: u32 = 8u;
const SEGMENT: u32 = 5u;
const HELD: u32 = 1u;         // source planes whose points are held at a time; divides PLANES
const SEGMENTS: u32 = 1u;     // K / 5, rounded up
const BUNDLES: u32 = 1u;      // HELD * SEGMENTS
const TAP_QUADS: u32 = 1u;    // BUNDLES * K / 4
const TAPS_LEFT: u32 = 1u;    // BUNDLES * K % 4
const ROW_QUADS: u32 = 1u;    // ROWS / 4
const WINDOW_QUADS: u32 = 2u; // WINDOW_ROWS / 4, rounded up
const TRIP_QUADS: u32 = 40u;  // of the weights of a group and HELD planes
const TRIPS = PLANES / HELD;
const ALL_QUADS = GROUPS * TRIPS * TRIP_QUADS;

const POINT_QUADS: u32 = WINDOW_QUADS + 1u;
const PLANE_QUADS: u32 = 24u; // SEGMENTS * POINTS * POINT_QUADS
const TAP_ROWS: u32 = 8u;     // K, rounded up to a multiple of 4
const TAP_QUAD_ROWS: u32 = 2u; // TAP_ROWS / 4

// Points of one source plane, (segment, point, row), and of HELD of them; rows to a multiple of 4 and four more, those behind
// the window's are not used.
var<private> made: array<vec4<f32>, PLANE_QUADS>;
var<private> points: array<vec4<f32>, HELD * PLANE_QUADS>;

// The columns of a window that the region's outputs meet. A product of polynomials sees all of its pixels: behind these zeros stand,
// whatever lies there.
var<private> met: array<bool, SPAN_COLS>;

// Functions of their own because naga's time to read one grows with the square of its length.
fn load_points(block: Block, first: u32) {
    // @unroll 64
    for (var p = 0u; p < HELD; p++) {
        make_points(block, first + p);
        // @unroll 1024
        for (var n = 0u; n < PLANE_QUADS; n++) {
            points[p * PLANE_QUADS + n] = made[n];
        }
    }
}

fn make_points(block: Block, plane: u32) {
    load_window(block, plane);
    // @unroll 64
    for (var g = 0u; g < SEGMENTS; g++) {
        // @unroll 64
        for (var q = 0u; q < WINDOW_QUADS; q++) {
            var d: array<vec4<f32>, POINTS>;
            // @unroll 8
            for (var x = 0u; x < POINTS; x++) {
                let column = vec4<f32>(window[4u * q * SPAN_COLS + g * SEGMENT + x], window[(4u * q + 1u) * SPAN_COLS + g * SEGMENT + x],
                    window[(4u * q + 2u) * SPAN_COLS + g * SEGMENT + x], window[(4u * q + 3u) * SPAN_COLS + g * SEGMENT + x]);
                d[x] = select(vec4<f32>(0.0), column, met[g * SEGMENT + x]);
            }
            let v = to_points(d);
            // @unroll 8
            for (var j = 0u; j < POINTS; j++) {
                made[(g * POINTS + j) * POINT_QUADS + q] = v[j];
            }
        }
    }
}

// B' d: the values of a polynomial at a point and at its negative share their even and their odd powers.
fn to_points(d: array<vec4<f32>, POINTS>) -> array<vec4<f32>, POINTS> {
    let even_1 = d[2] - 4.25 * d[4] + d[6];
    let odd_1 = d[1] - 4.25 * d[3] + d[5];
    let even_2 = 0.25 * d[2] - 1.25 * d[4] + d[6];
    let odd_2 = 0.5 * d[1] - 2.5 * d[3] + 2.0 * d[5];
    let even_half = 4.0 * d[2] - 5.0 * d[4] + d[6];
    let odd_half = 2.0 * d[1] - 2.5 * d[3] + 0.5 * d[5];
    return array<vec4<f32>, POINTS>(
        d[0] - d[6] + 5.25 * (d[4] - d[2]),
        even_1 + odd_1, even_1 - odd_1,
        even_2 + odd_2, even_2 - odd_2,
        even_half + odd_half, even_half - odd_half,
        d[7] - d[1] + 5.25 * (d[3] - d[5]),
    );
}

// A' m: four columns of outputs.
fn from_points(m: array<vec4<f32>, POINTS>) -> mat4x4<f32> {
    let even = array<vec4<f32>, 3>(m[1] + m[2], m[3] + m[4], m[5] + m[6]);
    let odd = array<vec4<f32>, 3>(m[1] - m[2], m[3] - m[4], m[5] - m[6]);
    return mat4x4<f32>(
        m[0] + even[0] + even[1] + even[2],
        odd[0] + 2.0 * odd[1] + 0.5 * odd[2],
        even[0] + 4.0 * even[1] + 0.25 * even[2],
        odd[0] + 8.0 * odd[1] + 0.125 * odd[2] + m[7],
    );
}

// Four rows from each of the first four on.
fn shifts(a: vec4<f32>, b: vec4<f32>) -> array<vec4<f32>, 4> {
    return array<vec4<f32>, 4>(a, vec4<f32>(a.yzw, b.x), vec4<f32>(a.zw, b.xy), vec4<f32>(a.w, b.xyz));
}

fn conv_points(id: vec3<u32>, launched: vec3<u32>) {
    let block = take_block(id, launched);
    // @unroll 64
    for (var x = 0u; x < SPAN_COLS; x++) {
        met[x] = 4u * block.column + x < params.dst.cols + K - 1u;
    }
    if (TRIPS == 1u) {
        load_points(block, 0u);
    }
    for (var group = 0u; group < GROUPS; group++) {
        var sum: array<vec4<f32>, CO * POINTS * ROW_QUADS>;
        for (var trip = 0u; trip < TRIPS; trip++) {
            if (TRIPS > 1u) {
                load_points(block, trip * HELD);
            }
            hold_weights((group * TRIPS + trip) * TRIP_QUADS);
            // @unroll 8
            for (var j = 0u; j < POINTS; j++) {
                // @unroll 64
                for (var r = 0u; r < ROW_QUADS; r++) {
                    var taps: array<vec4<f32>, BUNDLES * TAP_ROWS>; // the points of four rows for each tap
                    // @unroll 64
                    for (var b = 0u; b < BUNDLES; b++) {
                        // @unroll 64
                        for (var k = 0u; k < TAP_QUAD_ROWS; k++) {
                            let four = shifts(points[(b * POINTS + j) * POINT_QUADS + r + k], points[(b * POINTS + j) * POINT_QUADS + r + k + 1u]);
                            // @unroll 4
                            for (var y = 0u; y < 4u; y++) {
                                taps[b * TAP_ROWS + 4u * k + y] = four[y];
                            }
                        }
                    }
                    // @unroll 64
                    for (var c = 0u; c < CO; c++) {
                        var total = sum[(c * POINTS + j) * ROW_QUADS + r];
                        // @unroll 1024
                        for (var t = 0u; t < TAP_QUADS; t++) {
                            total += mat4x4<f32>(taps[4u * t / K * TAP_ROWS + 4u * t % K], taps[(4u * t + 1u) / K * TAP_ROWS + (4u * t + 1u) % K],
                                taps[(4u * t + 2u) / K * TAP_ROWS + (4u * t + 2u) % K], taps[(4u * t + 3u) / K * TAP_ROWS + (4u * t + 3u) % K])
                                * weight((c * POINTS + j) * TAP_QUADS + t);
                        }
                        // @unroll 4
                        for (var t = 0u; t < TAPS_LEFT; t++) {
                            total += taps[(4u * TAP_QUADS + t) / K * TAP_ROWS + (4u * TAP_QUADS + t) % K]
                                * weight(CO * POINTS * TAP_QUADS + ((c * TAPS_LEFT + t) * POINTS + j) / 4u)[j % 4u];
                        }
                        sum[(c * POINTS + j) * ROW_QUADS + r] = total;
                    }
                }
            }
        }
        // @unroll 64
        for (var c = 0u; c < CO; c++) {
            // @unroll 64
            for (var r = 0u; r < ROW_QUADS; r++) {
                var m: array<vec4<f32>, POINTS>;
                // @unroll 8
                for (var j = 0u; j < POINTS; j++) {
                    m[j] = sum[(c * POINTS + j) * ROW_QUADS + r];
                }
                let rows = transpose(from_points(m));
                // @unroll 4
                for (var y = 0u; y < 4u; y++) {
                    outputs[4u * r + y] = rows[y];
                }
            }
            store_outputs(block, group * CO + c);
        }
    }
}
