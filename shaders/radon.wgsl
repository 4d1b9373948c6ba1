// Radon transform: sinogram(ray) = length of the ray in a step times the sum over steps k of the image at u(j, k), linearly
// interpolated.
// One invocation per ray, workgroup of 64 detectors, y = beam. image: (row, column); sinogram: (angle, detector).
#import radon

@group(0) @binding(0) var<uniform> params: RadonParams;
@group(0) @binding(1) var<storage, read> beams: array<Beam>;
@group(0) @binding(2) var<storage, read> image: array<f32>;
@group(0) @binding(3) var<storage, read_write> sinogram: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let beam = beams[id.y];
    if (id.x >= beam.count) {
        return;
    }
    var steps = params.cols;
    var across = params.rows;
    var step_stride = 1u;
    var across_stride = params.cols;
    if (beam.along_rows == 1u) {
        steps = params.rows;
        across = params.cols;
        step_stride = params.cols;
        across_stride = 1u;
    }
    let detector = beam.first + id.x;
    let own = ray(beam, detector);
    let base = own.at_middle;
    let per_step = own.per_step;
    // Steps at which -1 < u < across, and one more at either end, for rounding.
    var from_step = 0u;
    var to_step = steps;
    if (abs(per_step) > 1e-6) {
        let enter = (-1.0 - base) / per_step + middle(steps);
        let leave = (f32(across) - base) / per_step + middle(steps);
        from_step = u32(clamp(floor(min(enter, leave)) - 1.0, 0.0, f32(steps)));
        to_step = u32(clamp(ceil(max(enter, leave)) + 2.0, 0.0, f32(steps)));
    }
    let last = i32(across) - 1;
    var sum = 0.0;
    for (var k = from_step; k < to_step; k++) {
        let u = base + per_step * (f32(k) - middle(steps));
        let left = i32(floor(u));
        let fraction = u - f32(left);
        let at = k * step_stride;
        let a = image[at + u32(clamp(left, 0, last)) * across_stride];
        let b = image[at + u32(clamp(left + 1, 0, last)) * across_stride];
        sum += select(0.0, (1.0 - fraction) * a, left >= 0 && left <= last);
        sum += select(0.0, fraction * b, left >= -1 && left < last);
    }
    sinogram[beam.row + detector] = own.length * sum;
}
