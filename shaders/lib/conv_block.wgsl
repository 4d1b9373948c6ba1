// What the layers of filters have in common, however they form their sums: the block of outputs of an invocation, its window, its stores.
//
// One invocation computes CO planes x ROWS rows x 4 columns at a time. A workgroup computes WORKGROUP_X x WORKGROUP_Y blocks, z = image;
// with WORKGROUP_Y = 0 the blocks of an image are numbered row by row and a workgroup takes the next WORKGROUP_X of them, whatever row
// they are in.
// The source is either `src`, (image, plane, row, column) frame with slack behind the last row, or `texels`, the same planes with
// four columns a texel (src/gpu/texture.rs): one of ELEMENT_ROWS and TEXEL_ROWS is WINDOW_ROWS, the other 0.
//
// With PROXIMAL the proximal step of splitting (src/solver/splitting.rs) follows on the sums w, a plane being a channel of a regularizer:
// dst holds dual variables d, 0 at the start, and receives
//   d <- v - J_c(alpha_c v) / alpha_c = D_c(alpha_c v) / alpha_c,   v = w + d,
// where J_c = (id + ratio phi_c)^-1 and D_c = id - J_c are splines with the knots t_j + ratio f_j. D_c is summed segment by segment,
//   D_c(x) = D_c(T_0) + sum_j S_j clamp(x - T_j, low_j, high_j),
// so that a knot is loaded once for all outputs of a plane. pieces: (T_j, S_j, low_j, high_j) per segment of a spline and, behind its
// last one, (D_c(T_0), 0, 0, 0), as split_table.wgsl makes them.
//
// The importing kernel declares params, src, dst, texels, pieces and channels.
#import tile
#import channel

const K: u32 = 5u;
const PLANES: u32 = 1u;       // source planes summed by one launch
const ADDS: u32 = 1u;         // 0: no launch adds to dst, so none reads it
const GROUPS: u32 = 1u;       // of CO destination planes, in one launch
const CO: u32 = 4u;
const ROWS: u32 = 4u;
const ELEMENT_ROWS: u32 = 8u;
const TEXEL_ROWS: u32 = 0u;
const SHIFT: u32 = 0u;        // column, in the first texel, of the leftmost pixel of a window
const TEXELS: u32 = 2u;       // texels that hold a row of a window
const PROXIMAL: u32 = 0u;     // 1: the sums are no outputs, but what the proximal step is taken on
const PIECES: u32 = 1u;       // entries of `pieces`
const SLOT_RECORDS: u32 = 0u; // entries of `channels` from image to image: 0 if all images share them
const WORKGROUP_X: u32 = 16u;
const WORKGROUP_Y: u32 = 4u;

const WINDOW_ROWS: u32 = ROWS + K - 1u;
const WINDOW_COLS: u32 = 4u + K - 1u;
const SPAN_ROWS: u32 = 8u;    // of `window`, at least those that are loaded; the others are zero
const SPAN_COLS: u32 = 8u;

struct ConvParams {
    dst: Region,
    src_first: u32,    // index of the source value under the first output, plane 0, image 0
    src_row_stride: u32,
    src_plane_stride: u32,
    src_image_stride: u32,
    accumulate: u32,   // 1: add to dst
    first_plane: u32,  // of the planes of an image in `texels`
    image_planes: u32, // planes of an image
    plane_rows: u32,   // rows of a plane
    per_layer: u32,    // planes of a layer
    texel_row: u32,    // of the top left pixel of the first window in a plane
    texel_col: u32,
    first_output: u32, // plane of dst.first
}

// A block of outputs: its image, its first row, and its columns from 4 * column on.
struct Block {
    image: u32,
    row: u32,
    column: u32,
}

// The block's window of one source plane.
var<private> window: array<f32, SPAN_ROWS * SPAN_COLS>;
// One plane of its outputs.
var<private> outputs: array<vec4<f32>, ROWS>;
// Which of them are stored, and which of these lie in the image.
var<private> holds: array<vec4<bool>, ROWS>;
var<private> inside: array<vec4<bool>, ROWS>;

// No early return for invocations without a block: they do the last one and store nothing.
fn take_block(id: vec3<u32>, launched: vec3<u32>) -> Block {
    let across = (params.dst.cols + 3u) / 4u;
    let down = (params.dst.rows + ROWS - 1u) / ROWS;
    var place = id.xy;
    if (WORKGROUP_Y == 0u) {
        let number = id.y * launched.x * WORKGROUP_X + id.x;
        place = vec2<u32>(number % across, number / across);
    }
    let exists = place.x < across && place.y < down;
    place = min(place, vec2<u32>(across, down) - 1u);
    let block = Block(id.z, place.y * ROWS, place.x);
    // @unroll 64
    for (var y = 0u; y < ROWS; y++) {
        // @unroll 64
        for (var x = 0u; x < 4u; x++) {
            holds[y][x] = exists && region_holds(params.dst, block.row + y, 4u * block.column + x);
            inside[y][x] = region_inside(params.dst, block.row + y, 4u * block.column + x);
        }
    }
    return block;
}

fn load_window(block: Block, plane: u32) {
    let corner = params.src_first + block.image * params.src_image_stride + plane * params.src_plane_stride
        + block.row * params.src_row_stride + 4u * block.column - (K / 2u) * (params.src_row_stride + 1u);
    // @unroll 64
    for (var y = 0u; y < ELEMENT_ROWS; y++) {
        // @unroll 64
        for (var x = 0u; x < WINDOW_COLS; x++) {
            window[y * SPAN_COLS + x] = src[corner + y * params.src_row_stride + x];
        }
    }
    let at = block.image * params.image_planes + params.first_plane + plane;
    let layer = at / params.per_layer;
    let top = at % params.per_layer * params.plane_rows + params.texel_row + block.row;
    let left = params.texel_col + block.column;
    // @unroll 64
    for (var y = 0u; y < TEXEL_ROWS; y++) {
        // Blocks that reach beyond the region may look beyond the texture; what they read there is not used.
        let last = textureDimensions(texels) - 1u;
        var row: array<vec4<f32>, TEXELS>;
        // @unroll 64
        for (var x = 0u; x < TEXELS; x++) {
            row[x] = textureLoad(texels, min(vec2<u32>(left + x, top + y), last), layer, 0);
        }
        // @unroll 64
        for (var x = 0u; x < WINDOW_COLS; x++) {
            window[y * SPAN_COLS + x] = row[(SHIFT + x) / 4u][(SHIFT + x) % 4u];
        }
    }
}

// Functions of their own because naga's time to read one grows with the square of its length.
fn store_outputs(block: Block, plane: u32) {
    let at = region_index(params.dst, block.image, plane, block.row, 4u * block.column);
    // @unroll 1
    for (var step = 0u; step < PROXIMAL; step++) {
        proximal_step(at, channels[block.image * SLOT_RECORDS + params.first_output + plane]);
    }
    // @unroll 64
    for (var y = 0u; y < ROWS; y++) {
        store_row(at + y * params.dst.row_stride, outputs[y], holds[y], inside[y]);
    }
}

fn store_row(at: u32, sum: vec4<f32>, holds: vec4<bool>, inside: vec4<bool>) {
    // @unroll 4
    for (var x = 0u; x < 4u; x++) {
        if (holds[x]) {
            var total = select(0.0, sum[x], inside[x]);
            if (ADDS == 1u && params.accumulate != 0u) {
                total += dst[at + x];
            }
            dst[at + x] = total;
        }
    }
}

fn proximal_step(at: u32, channel: Channel) {
    // @unroll 64
    for (var y = 0u; y < ROWS; y++) {
        outputs[y] = channel.alpha * (outputs[y] + stored_row(at + y * params.dst.row_stride, holds[y]));
    }
    let last = channel.first + channel.count - 1u;
    var totals: array<vec4<f32>, ROWS>;
    // @unroll 64
    for (var y = 0u; y < ROWS; y++) {
        totals[y] = vec4<f32>(pieces[last].x);
    }
    for (var j = channel.first; j < last; j++) {
        let piece = pieces[j];
        // @unroll 64
        for (var y = 0u; y < ROWS; y++) {
            totals[y] += piece.y * clamp(outputs[y] - piece.x, vec4<f32>(piece.z), vec4<f32>(piece.w));
        }
    }
    // @unroll 64
    for (var y = 0u; y < ROWS; y++) {
        outputs[y] = channel.inverse_alpha * totals[y];
    }
}

fn stored_row(at: u32, holds: vec4<bool>) -> vec4<f32> {
    var row: vec4<f32>;
    // @unroll 4
    for (var x = 0u; x < 4u; x++) {
        if (holds[x]) {
            row[x] = dst[at + x];
        }
    }
    return row;
}
