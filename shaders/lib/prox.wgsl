// Shared by the kernels of the proximal operator of the data term: entry 0 of the table is the start, the others are the steps.

struct ProxParams {
    pixels: u32,
    gamma: f32,
    keep: f32,         // d <- keep d + add r
    add: f32,
}
