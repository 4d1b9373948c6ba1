// Shared by the three parts of the accelerated gradient: its parameters and the state of each image.

const RUNNING: u32 = 0u;
const CONVERGED: u32 = 1u;
const NOT_FINITE: u32 = 2u;

struct AgdParams {
    pixels: u32,       // per image
    groups: u32,       // workgroups of 4096 pixels per image
    lambda: f32,
    step: f32,         // 1 / (1 + lambda L), L the Lipschitz constant of grad R
    low: f32,          // the box
    high: f32,
    tolerance: f32,    // stop when |x - x_old| <= tolerance scale
    accelerate: u32,   // 0: plain proximal gradient
}

struct AgdState {
    t: f32,            // momentum sequence, 1 at a restart
    beta: f32,         // weight of x - x_old in the next extrapolation
    change: f32,       // |x - x_old| / scale
    iterations: u32,
    status: u32,
    restarts: u32,
    scale: f32,        // what changes are measured by; 0: |x|
    pad1: u32,
}
