// Back projection by interpolation, the last step of filtered back projection (not the transpose of radon.wgsl):
//   image(r, c) = sum_a 1 / U^2 times the sinogram of angle a at detector j, linearly interpolated, 0 outside, with
//   U = 1 + deeper_per_column C + deeper_per_row R,  j = detector + (per_column C + per_row R) / U,
//   C = c - mid_column,  R = r - mid_row:
// the detector of the ray through the pixel's centre, whose distance from the source, along the middle ray, is U times that of
// the image's centre. For parallel rays U = 1.
// One invocation per pixel. views: (angle); sinogram: (angle, detector).
#import radon

struct View {
    detector: f32,
    per_column: f32,
    per_row: f32,
    deeper_per_column: f32,
    deeper_per_row: f32,
    pad0: f32,
    pad1: f32,
    pad2: f32,
}

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> views: array<View>;
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
    for (var a = params.first; a < params.first + params.count; a++) {
        let view = views[a];
        let closer = 1.0 / (1.0 + view.deeper_per_column * col + view.deeper_per_row * row);
        let place = view.detector + (view.per_column * col + view.per_row * row) * closer;
        let j = clamp(place, -2.0, f32(params.detectors) + 1.0);
        let left = i32(floor(j));
        let fraction = j - f32(left);
        let first = a * params.detectors;
        let p = sinogram[first + u32(clamp(left, 0, last))];
        let q = sinogram[first + u32(clamp(left + 1, 0, last))];
        let below = select(0.0, (1.0 - fraction) * p, left >= 0 && left <= last);
        let above = select(0.0, fraction * q, left >= -1 && left < last);
        sum += closer * closer * (below + above);
    }
    let at = id.y * params.cols + id.x;
    if (params.accumulate == 1u) {
        sum += image[at];
    }
    image[at] = sum;
}
