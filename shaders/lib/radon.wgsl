// Rays by Joseph's method (1982), the same numbers for projection and back projection.
//
// A ray is walked along the axis to which it is closer, along rows or along columns. A beam is a run of neighbouring detectors
// of one angle whose rays are walked along the same axis: all of them if rays are parallel, up to three beams per angle in a
// fan. At step k of the walk the ray of detector j meets the other axis, `across`, at
//   u(j, k) = (origin + per_detector m + (per_step + turning m) K) / (1 + closing m),  m = j - middle,  K = k - mid_step,
// between two pixels that share its length within the step as linear interpolation does: pixel i gets max(0, 1 - |u - i|) of it.
// Parallel rays have turning = closing = 0. Counting from the middle keeps u exact to about 1e-4 pixels in f32.

const FAN: u32 = 0u;  // 0: parallel rays, which need no division

struct RadonParams {
    rows: u32,
    cols: u32,
    detectors: u32,
    first: u32,        // the beams, or angles, of this launch
    count: u32,
    accumulate: u32,   // back projection: add to what earlier launches left
    pad0: u32,
    pad1: u32,
}

struct Beam {
    origin: f32,
    per_detector: f32,
    per_step: f32,
    turning: f32,
    closing: f32,
    middle: f32,
    scale: f32,        // length within a step; in a fan, of a ray that meets steps at right angles
    along_rows: u32,   // 1: a step is a row, across are columns
    row: u32,          // where the angle's row of the sinogram starts
    first: u32,        // the detectors of the beam
    count: u32,
    touching: u32,     // no pixel lies within 1 of more detectors' rays than this; the host cuts launches by it
}

// u = at_middle + per_step K, and the length within a step.
struct Ray {
    at_middle: f32,
    per_step: f32,
    length: f32,
}

fn middle(count: u32) -> f32 {
    return 0.5 * f32(i32(count) - 1);
}

// The ray of detector j.
fn ray(beam: Beam, j: u32) -> Ray {
    let m = f32(j) - beam.middle;
    if (FAN == 0u) {
        return Ray(beam.origin + beam.per_detector * m, beam.per_step, beam.scale);
    }
    let divisor = 1.0 + beam.closing * m;
    let per_step = (beam.per_step + beam.turning * m) / divisor;
    return Ray((beam.origin + beam.per_detector * m) / divisor, per_step, beam.scale * sqrt(1.0 + per_step * per_step));
}

// The j, between detectors, for which u = v at K.
fn detectors_at(beam: Beam, v: vec4<f32>, K: vec4<f32>) -> vec4<f32> {
    let rest = v - (beam.origin + beam.per_step * K);
    if (FAN == 0u) {
        return rest * (1.0 / beam.per_detector) + beam.middle;
    }
    return rest / (beam.per_detector + beam.turning * K - beam.closing * v) + beam.middle;
}
