// How the invocations of a workgroup share the positions of a rectangle, four at a time.
//
// Positions are numbered row by row. A workgroup takes consecutive ones, invocation `local` every WALKERS-th of them, so
// that neighbours load neighbours whatever the width of the rectangle. One division finds the first position; from there
// row and column step with a carry.
#import tile

const WALKERS: u32 = 256u; // invocations per workgroup
const QUAD: u32 = 4u;

struct PointwiseParams {
    region: Region,
    step_rows: u32,    // WALKERS = step_rows * cols + step_cols
    step_cols: u32,
    trips: u32,        // quads per invocation
    pad0: u32,
}

struct Walk {
    row: u32,
    col: u32,
}

// Four positions of one plane: the indices of their elements, whether they are in the rectangle and in the image.
struct Quad {
    index: vec4<u32>,
    holds: vec4<bool>,
    inside: vec4<bool>,
}

fn walk_start(p: PointwiseParams, group: u32, local: u32) -> Walk {
    let position = group * p.trips * QUAD * WALKERS + local;
    let row = position / p.region.cols;
    return Walk(row, position - row * p.region.cols);
}

// The quad that starts at a position; `first` is the index of the plane's first element.
fn walk_quad(p: PointwiseParams, start: Walk, first: u32) -> Quad {
    var quad = Quad(vec4<u32>(0u), vec4<bool>(false), vec4<bool>(false));
    var at = start;
    // @unroll 4
    for (var k = 0u; k < QUAD; k++) {
        quad.index[k] = first + at.row * p.region.row_stride + at.col;
        quad.holds[k] = at.row < p.region.rows;
        quad.inside[k] = quad.holds[k] && region_inside(p.region, at.row, at.col);
        at = walk_step(p, at);
    }
    return quad;
}

fn walk_step(p: PointwiseParams, at: Walk) -> Walk {
    let col = at.col + p.step_cols;
    let wraps = col >= p.region.cols;
    return Walk(at.row + p.step_rows + select(0u, 1u, wraps), select(col, col - p.region.cols, wraps));
}

fn walk_next(p: PointwiseParams, start: Walk) -> Walk {
    var at = start;
    // @unroll 4
    for (var k = 0u; k < QUAD; k++) {
        at = walk_step(p, at);
    }
    return at;
}
