// Splitting, part 4 of 5: x <- x - s with the filtered gradient s, the same for z, at which the responses are taken, and the
// sums that part 5 (agd_control.wgsl) decides by: ( 0, |s|^2, |x|^2, |s|^2 ). Images that have stopped are left alone.
// One workgroup of 256 per 4096 pixels, y = slot. planes: (slot, element), complex (lib/split.wgsl);
// x, z: (image, pixel); partials: (slot, group).
#import agd
#import reduce
#import split

@group(0) @binding(0) var<uniform> params: SplitParams;
@group(0) @binding(1) var<storage, read> active_images: array<u32>;
@group(0) @binding(2) var<storage, read> states: array<AgdState>;
@group(0) @binding(3) var<storage, read> planes: array<vec2<f32>>;
@group(0) @binding(4) var<storage, read_write> x: array<f32>;
@group(0) @binding(5) var<storage, read_write> z: array<f32>;
@group(0) @binding(6) var<storage, read_write> partials: array<vec4<f32>>;

var<workgroup> sh_sum: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let image = active_images[group.y];
    let running = states[image].status == RUNNING;
    let pixels = params.rows * params.cols;
    let pairs = params.plane_cols / 2u;
    let plane = group.y * params.plane_rows * pairs;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < 16u; k++) {
        let pixel = group.x * 4096u + k * 256u + local;
        if (running && pixel < pixels) {
            let row = pixel / params.cols + params.top;
            let col = pixel % params.cols + params.left;
            let pair = planes[plane + row * pairs + col / 2u];
            let s = select(pair.y, pair.x, col % 2u == 0u);
            let at = image * pixels + pixel;
            let x_new = x[at] - s;
            x[at] = x_new;
            z[at] = x_new;
            sum += vec4<f32>(0.0, s * s, x_new * x_new, s * s);
        }
    }
    let total = workgroup_sum(local, sum);
    if (local == 0u) {
        partials[group.y * groups.x + group.x] = total;
    }
}
