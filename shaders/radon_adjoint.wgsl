// Matched back projection, the transpose of radon.wgsl, gathered: image(pixel) = sum over angles and over the few rays that
// touch the pixel of scale max(0, 1 - |u(j, k) - i|) sinogram(a, j), with u from the same expression.
// One invocation per 4 pixels of a row, workgroup of 16 x 16. image: (row, column); sinogram: (angle, detector).
#import radon

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> angles: array<AngleEntry>;
@group(0) @binding(2) var<storage, read> sinogram: array<f32>;
@group(0) @binding(3) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(16, 16)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    if (col >= params.cols || id.y >= params.rows) {
        return;
    }
    let columns = vec4<f32>(f32(col)) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    let rows = vec4<f32>(f32(id.y));
    let mid_detector = middle(params.detectors);
    let last = i32(params.detectors) - 1;
    var total = vec4<f32>(0.0);
    for (var a = params.first_angle; a < params.first_angle + params.angles; a++) {
        let angle = angles[a];
        let by_rows = vec4<bool>(angle.along_rows == 1u);
        let steps = select(columns - middle(params.cols), rows - middle(params.rows), by_rows);
        let across = select(rows, columns, by_rows);
        let base = angle.per_step * steps;
        // |u - across| < 1 for detectors less than 1 / |per_detector| from here.
        let reach = abs(1.0 / angle.per_detector);
        let nearest = (across - base - angle.origin) / angle.per_detector + mid_detector;
        let first = ceil(clamp(nearest - reach, vec4<f32>(-1e6), vec4<f32>(1e6)));
        let row = a * params.detectors;
        var sum = vec4<f32>(0.0);
        for (var n = 0u; n < angle.touching; n++) {
            let j = first + f32(n);
            let u = angle.origin + angle.per_detector * (j - mid_detector) + base;
            let weight = max(1.0 - abs(u - across), vec4<f32>(0.0));
            let detector = vec4<i32>(j);
            let held = clamp(detector, vec4<i32>(0), vec4<i32>(last));
            let values = vec4<f32>(sinogram[row + u32(held.x)], sinogram[row + u32(held.y)],
                sinogram[row + u32(held.z)], sinogram[row + u32(held.w)]);
            sum += select(vec4<f32>(0.0), weight * values, detector == held);
        }
        total += angle.scale * sum;
    }
    // @unroll 4
    for (var n = 0u; n < 4u; n++) {
        if (col + n < params.cols) {
            let at = id.y * params.cols + col + n;
            var value = total[n];
            if (params.accumulate == 1u) {
                value += image[at];
            }
            image[at] = value;
        }
    }
}
