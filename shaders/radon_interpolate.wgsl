// Back projection by interpolation, the last step of filtered back projection (not the transpose of radon.wgsl):
//   image(r, c) = sum_a 1 / U^2 times the sinogram of angle a at detector j, linearly interpolated, 0 outside, with
//   U = 1 + deeper_per_column C + deeper_per_row R,  j = detector + (per_column C + per_row R) / U,
//   C = c - mid_column,  R = r - mid_row:
// the detector of the ray through the pixel's centre, whose distance from the source, along the middle ray, is U times that of
// the image's centre. For parallel rays U = 1.
// One invocation per 4 x 4 pixels, so that a value loaded meets all pixels that it is interpolated for: detector j counts for those at
// place p as max(0, 1 - |p - j|). Workgroup of 8 x 8. views: (angle); sinogram: (angle, detector).
#import radon_block

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

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let col = id.x * 4u;
    let row = id.y * 4u;
    if (col >= params.cols || row >= params.rows) {
        return;
    }
    let cols = vec4<f32>(0.0, 1.0, 2.0, 3.0) + (f32(col) - middle(params.cols));
    let first_row = f32(row) - middle(params.rows);
    let end = f32(params.detectors);
    // Columns of a matrix stand for rows of the image.
    var total = mat4x4<f32>();
    for (var a = params.first; a < params.first + params.count; a++) {
        let view = views[a];
        var closer = mat4x4<f32>();
        var places = mat4x4<f32>();
        var low = end;
        var high = -1.0;
        // @unroll 4
        for (var r = 0u; r < 4u; r++) {
            let R = first_row + f32(r);
            closer[r] = 1.0 / (1.0 + view.deeper_per_column * cols + view.deeper_per_row * R);
            places[r] = view.detector + (view.per_column * cols + view.per_row * R) * closer[r];
            low = min(low, lowest(places[r]));
            high = max(high, highest(places[r]));
        }
        // The detectors on either side of each place and between them.
        let from_detector = u32(clamp(floor(low), 0.0, end));
        let to_detector = u32(clamp(floor(high) + 2.0, 0.0, end));
        var block = mat4x4<f32>();
        for (var j = from_detector; j < to_detector; j++) {
            let value = sinogram[a * params.detectors + j];
            // @unroll 4
            for (var r = 0u; r < 4u; r++) {
                block[r] += value * max(1.0 - abs(places[r] - f32(j)), vec4<f32>(0.0));
            }
        }
        // @unroll 4
        for (var r = 0u; r < 4u; r++) {
            total[r] += closer[r] * closer[r] * block[r];
        }
    }
    store_block(total, row, col);
}
