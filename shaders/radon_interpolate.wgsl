// Back projection by interpolation, the last step of filtered back projection (not the transpose of radon.wgsl):
//   image(r, c) = sum_a the sinogram of angle a at the detector position of the line through the pixel's centre,
//   j = detector(a) + per_column(a) (c - mid_column) + per_row(a) (r - mid_row), linearly interpolated, 0 outside.
// One invocation per pixel. lines: (angle), (detector, per_column, per_row, 0); sinogram: (angle, detector).
#import radon

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> lines: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> sinogram: array<f32>;
@group(0) @binding(3) var<storage, read_write> image: array<f32>;

@compute @workgroup_size(32, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols || id.y >= params.rows) {
        return;
    }
    let col = f32(id.x) - middle(params.cols);
    let row = f32(id.y) - middle(params.rows);
    let last = i32(params.detectors) - 1;
    var sum = 0.0;
    for (var a = params.first_angle; a < params.first_angle + params.angles; a++) {
        let line = lines[a];
        let j = clamp(line.x + line.y * col + line.z * row, -2.0, f32(params.detectors) + 1.0);
        let left = i32(floor(j));
        let fraction = j - f32(left);
        let first = a * params.detectors;
        let p = sinogram[first + u32(clamp(left, 0, last))];
        let q = sinogram[first + u32(clamp(left + 1, 0, last))];
        sum += select(0.0, (1.0 - fraction) * p, left >= 0 && left <= last);
        sum += select(0.0, fraction * q, left >= -1 && left < last);
    }
    let at = id.y * params.cols + id.x;
    if (params.accumulate == 1u) {
        sum += image[at];
    }
    image[at] = sum;
}
