// Shared by the kernels of plug-and-play reconstruction: their parameters and the state of an iteration.

const RUNNING: u32 = 0u;
const CONVERGED: u32 = 1u;
const NOT_FINITE: u32 = 2u;

struct PnpParams {
    pixels: u32,
    keep: f32,         // the denoiser's argument is keep x + add q
    add: f32,
    averaging: f32,    // a of D(v) = (1 - a) v + a s N(v / s)
    strength: f32,     // s
    low: f32,          // the box
    high: f32,
    tolerance: f32,    // stop when the fixed-point residual falls to this
}

struct PnpState {
    change: f32,       // the last fixed-point residual
    iterations: u32,
    status: u32,
    pad0: u32,
}

// D(v) from what the network made of v / s.
fn denoised(params: PnpParams, v: f32, network: f32) -> f32 {
    return (1.0 - params.averaging) * v + params.averaging * (params.strength * network);
}
