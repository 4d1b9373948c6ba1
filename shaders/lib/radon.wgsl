// Parallel rays by Joseph's method (1982), the same numbers for projection and back projection.
//
// A ray of angle theta is walked along the axis to which it is closer: rows if |cos theta| >= |sin theta|, else columns.
// At step k of the walk it meets the other axis, `across`, at
//   u(j, k) = origin + per_detector (j - mid_detector) + per_step (k - mid_step),
// between two pixels that share it as linear interpolation does: pixel i gets the weight scale max(0, 1 - |u - i|).
// Counting from the middle keeps u exact to about 1e-4 pixels in f32.

struct RadonParams {
    rows: u32,
    cols: u32,
    detectors: u32,
    first_angle: u32,  // the angles of this launch
    angles: u32,
    accumulate: u32,   // back projection: add to what earlier launches left
    pad0: u32,
    pad1: u32,
}

struct AngleEntry {
    origin: f32,
    per_detector: f32,
    per_step: f32,
    scale: f32,
    along_rows: u32,   // 1: a step is a row, across are columns
    touching: u32,     // no pixel lies within 1 of more detectors' rays than this
    pad0: u32,
    pad1: u32,
}

fn middle(count: u32) -> f32 {
    return 0.5 * f32(i32(count) - 1);
}
