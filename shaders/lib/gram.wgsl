// Convolution layers of norm at most 1 by the row sums of their Gram operator.
//
// A layer v with channels a on one side and b on the other has the Gram operator with the correlations
//   c[b, b'](tau) = sum_a sum_k v[a, b, k] v[a, b', k + tau],
// and w[a, b, k] = v[a, b, k] / sqrt(d[b]) with d[b] = sum_b' sum_tau |c[b, b'](tau)| has |w| <= 1 on images of any size with
// zero padding: the operator diag(d) - C is diagonally dominant (Prach and Lampert, 2022).

struct GramParams {
    first: u32,        // index of the layer's first weight
    others: u32,       // channels a, summed over
    channels: u32,     // channels b, the side of the Gram operator
    size: u32,         // side K of the filters
    outputs: u32,      // 1: b counts outputs, a inputs; 0: the other way round
    first_lag: u32,    // index of the layer's first correlation
    first_channel: u32, // index of the layer's first channel b
    margin: f32,       // a little less than 1, so that |w| <= 1 survives rounding
}

// Index of v[a, b, tap].
fn gram_weight(p: GramParams, a: u32, b: u32, tap: u32) -> u32 {
    let plane = select(a * p.channels + b, b * p.others + a, p.outputs == 1u);
    return p.first + plane * p.size * p.size + tap;
}

fn gram_lags(p: GramParams) -> u32 {
    return (2u * p.size - 1u) * (2u * p.size - 1u);
}
