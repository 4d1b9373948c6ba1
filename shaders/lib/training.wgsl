// Shared by the kernels of training: one slot of a batch is one patch.

const RUNNING: u32 = 0u;
const CONVERGED: u32 = 1u;
const NOT_FINITE: u32 = 2u;
const NO_DESCENT: u32 = 3u;

struct TrainingParams {
    pixels: u32,       // per patch
    tolerance: f32,    // conjugate gradients stop at |r| <= tolerance |b|
    step: f32,         // of the unrolled gradient descent, else 1
    loss: u32,         // 0: |x - c|^2 / 2, 1: |x - c|
    width: u32,        // columns of a patch
    margin: u32,       // pixels along the border of a patch that do not count
    pad0: u32,
    pad1: u32,
}

struct CgState {
    residual: f32,     // |r|^2
    start: f32,        // |b|^2
    iterations: u32,
    status: u32,
}

// One spline entry: where its spline lies in the bank, and the entry mirrored at the middle of the spline.
struct Entry {
    first: u32,
    count: u32,
    mirror: u32,
    pad0: u32,
}

struct ValuesParams {
    entries: u32,
    odd: u32,          // 1: splines are antisymmetric
    learning_rate: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    floor: f32,        // smallest scale of an entry, relative to the largest of its spline
    pad0: u32,
}
