// Shared by the kernels that keep the norm of one layer of filters at 1: parameters, and where its symbol is largest.

struct FilterNormParams {
    filters: u32,
    size: u32,         // side of the filters, at most 16
    grid: u32,         // points of the frequency grid per axis, a power of 2
    factor: f32,       // what the maximum over the grid is divided by to bound the supremum (src/filters/norm.rs)
}

struct FilterPeak {
    largest: f32,      // maximum of the symbol over the grid
    scale: f32,        // sqrt(factor / largest)
    row: u32,          // where it is: frequencies 2 pi row / grid and 2 pi col / grid
    col: u32,
}
