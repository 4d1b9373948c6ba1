// The symbol of W'W, the Fourier series of the filters' summed autocorrelation c (filter_correlation.wgsl), along a row of frequencies:
//   S = B_0 + 2 Re sum_{lx > 0} B_lx z^lx,   B_lx = sum_ly c[ly, lx] w^ly,   z and w on the unit circle.
// The importing kernel declares   var<storage, read> correlation: array<f32>;   (ly + side - 1, lx), and
// var<workgroup> sh_b: array<vec2<f32>, ..>   for the B of its row.

// c[-n, lx] w^-n + c[n, lx] w^n
fn symbol_pair(n: u32, lx: u32, side: u32, wave: vec2<f32>) -> vec2<f32> {
    let above = correlation[(side - 1u - n) * side + lx];
    let below = correlation[(side - 1u + n) * side + lx];
    return vec2<f32>(below + above, below - above) * wave;
}

// S at z, by Horner's scheme.
fn symbol_at(z: vec2<f32>, side: u32) -> f32 {
    var sum = vec2<f32>(0.0);
    for (var n = side - 1u; n > 0u; n--) {
        let b = sh_b[n] + sum;
        sum = vec2<f32>(b.x * z.x - b.y * z.y, b.x * z.y + b.y * z.x);
    }
    return sh_b[0].x + 2.0 * sum.x;
}
