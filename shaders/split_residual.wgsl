// Splitting, part 2 of 5: the gradient of the x-step,
//   g = x - y + rho W'(W x - u + d) = x - y + rho (2 W'd - W'd_old),   since W x - u = d - d_old,
// set among zeros for the Fourier transform; then W'd is the old one. W'd_old counts as 0 before an image's first iteration.
// One invocation of 64 per element of a plane, two columns of a row, y = slot (lib/split.wgsl). back = W'd: (slot, pixel);
// x, y, old_back: (image, pixel); planes: (slot, element), complex.
#import agd
#import split

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> states: array<AgdState>;
@group(0) @binding(5) var<storage, read> back: array<f32>;
@group(0) @binding(6) var<storage, read_write> old_back: array<f32>;
@group(0) @binding(7) var<storage, read_write> planes: array<vec2<f32>>;

// g at a place in the plane of a slot, 0 outside the image.
fn gradient(slot: u32, plane_row: u32, plane_col: u32) -> f32 {
    // Below 0 these wrap around to large numbers, outside of the image as well.
    let row = plane_row - params.top;
    let col = plane_col - params.left;
    if (row >= params.rows || col >= params.cols) {
        return 0.0;
    }
    let pixels = params.rows * params.cols;
    let pixel = row * params.cols + col;
    let image = active_images[slot];
    let at = image * pixels + pixel;
    let now = back[slot * pixels + pixel];
    let before = select(old_back[at], 0.0, states[image].iterations == 0u);
    old_back[at] = now;
    return (x[at] - y[at]) + params.penalty * (2.0 * now - before);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let pairs = params.plane_cols / 2u;
    let elements = params.plane_rows * pairs;
    if (id.x < elements) {
        let row = id.x / pairs;
        let col = 2u * (id.x - row * pairs);
        planes[id.y * elements + id.x] = vec2<f32>(gradient(id.y, row, col), gradient(id.y, row, col + 1u));
    }
}
