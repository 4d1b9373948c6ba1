// Splitting, part 2 of 5: the gradient of the x-step,   g = x - y + rho W'q,   set among zeros for the Fourier transform.
// One invocation of 64 per element of a plane, y = slot (lib/split.wgsl). q_back = W'q: (slot, pixel); x, y: (image, pixel);
// planes: (slot, row, column), complex.
#import split

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read> x: array<f32>;
@group(0) @binding(4) var<storage, read> q_back: array<f32>;
@group(0) @binding(5) var<storage, read_write> planes: array<vec2<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let elements = params.plane_rows * params.plane_cols;
    if (id.x >= elements) {
        return;
    }
    // Below 0 these wrap around to large numbers, outside of the image as well.
    let row = id.x / params.plane_cols - params.top;
    let col = id.x % params.plane_cols - params.left;
    var g = 0.0;
    if (row < params.rows && col < params.cols) {
        let pixels = params.rows * params.cols;
        let pixel = row * params.cols + col;
        let at = active_images[id.y] * pixels + pixel;
        g = (x[at] - y[at]) + params.penalty * q_back[id.y * pixels + pixel];
    }
    planes[id.y * elements + id.x] = vec2<f32>(g, 0.0);
}
