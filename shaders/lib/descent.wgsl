// Shared by the parts of the safeguarded accelerated descent: its parameters and its state.

const RUNNING: u32 = 0u;
const CONVERGED: u32 = 1u;
const NOT_FINITE: u32 = 2u;

struct DescentParams {
    pixels: u32,
    lambda: f32,
    lipschitz: f32,    // L of the gradient of f: the step is 1 / L
    weak: f32,         // f + weak/2 |x|^2 is convex
    low: f32,          // the box
    high: f32,
    tolerance: f32,    // stop where |x' - x| and scale |x' - z| are at most tolerance |x'|
    rule: u32,         // which steps are taken: SAFEGUARD, RESTART or PLAIN
    scale: f32,        // L / |H|^2
    groups: u32,       // of 4096 pixels in an image
    pad0: u32,
    pad1: u32,
}

const SAFEGUARD: u32 = 0u; // those that provably descend
const RESTART: u32 = 1u;   // all, without momentum after one that points back
const PLAIN: u32 = 2u;     // all, never with momentum

struct DescentState {
    t: f32,            // momentum sequence, 1 at a restart
    beta: f32,         // weight of x' - x in the extrapolation
    change: f32,       // |x' - x| / |x'| of the last step taken
    iterations: u32,
    status: u32,
    restarts: u32,
    accepted: u32,     // whether the last step was taken
    residual: f32,     // scale |x' - z| / |x'| of the last step taken
}
