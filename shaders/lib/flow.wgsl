// Shared by the kernels of a flow of LAYERS layers in DIMS dimensions. A layer takes x to y:
//
//   u = (c x_1 - s x_2, s x_1 + c x_2),  c = (1 - tau^2) / (1 + tau^2),  s = 2 tau / (1 + tau^2)
//   y_1 = M(u_1) + shift,  y_2 = N(u_2) + T(u_1),  M(u) = integral of m from 0 to u, N(u) that of n
//
// with continuous piecewise-linear m, n > 0 and T, all constant beyond their outermost knots; the logarithm of its Jacobian
// determinant is log m(u_1) + log n(u_2). With DIMS = 1 it is y = M(x) + shift. The rational c and s make an orthogonal
// matrix up to rounding, which the sine and cosine of WGSL, accurate to 2^-11 only, need not do.
//
// Splines are numbered m of all layers, then n, then T. `parameters` holds nodal values of all splines, then (tau, shift)
// per layer. Arrays over samples are planes of quads, vec4s of four samples.

const LAYERS: u32 = 2u;
const DIMS: u32 = 2u;

struct FlowParams {
    quads: u32,       // of the batch
    samples: u32,     // that count: those behind them fill up the last quads
    source: u32,      // first quad of the batch in a plane of `points`
    stride: u32,      // quads of a plane of `points`
    frames: u32,      // where tau of the first layer is in `parameters`
    entry: u32,       // where the loss of the batch goes
    share: f32,       // what a sample counts in the loss: 1 / samples
    constant: f32,    // of the negative log-density: DIMS / 2 log 2 pi + log |det| of the standardisation
}

struct Frame {
    c: f32,
    s: f32,
    shift: f32,
}

fn flow_frame(tau: f32, shift: f32) -> Frame {
    let scale = 1.0 / (1.0 + tau * tau);
    return Frame((1.0 - tau * tau) * scale, 2.0 * tau * scale, shift);
}
