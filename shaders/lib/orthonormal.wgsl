// Shared by the orthonormalisation of weight matrices and its derivative.
//
//   B_0 = V / |V|_F,   B_{k+1} = 3/2 B_k - 1/2 B_k B_k^T B_k,   W = B_iterations      (Bjorck and Bowie 1971, order 1)
//
// Every singular value s of B_0 is at most 1 and maps to 3/2 s - 1/2 s^3, which lies in [s, 1]: |W| <= 1 holds after any
// number of iterations, not only after convergence to orthonormal rows or columns.
//
// With `project`, W replaces V, and later steps start without the division (`normalise` 0) from a matrix that an optimiser
// step has moved a little off an orthonormal one. s in [0, 2] maps to [-1, 1], so |W| <= 1 still holds, and an error e of a
// singular value becomes 3/2 e^2: two iterations do.

const LAYERS: u32 = 4u;
const ENTRIES: u32 = 100u; // largest rows * columns, and columns * columns

struct MatrixRecord {
    weights: u32,      // where the matrix starts among a member's dense parameters, row by row
    rows: u32,
    columns: u32,
    pad0: u32,
}

struct MatrixParams {
    dense: u32,        // weights and biases per member
    iterations: u32,
    normalise: u32,    // 1: B_0 = V / |V|_F, 0: B_0 = V
    project: u32,      // 1: V is replaced by W
}
