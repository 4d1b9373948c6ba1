// Fourier transforms along the middle axis of complex arrays (outer, position, inner): rows of matrices have inner = 1,
// columns have as many inner as there are columns. A complex value is a vec2, real part first.
//
// One pass of Stockham's algorithm with radix r over lines of n = r m values, of which transforms of length L are done:
//   dst(r (b - b mod L) + b mod L + u L) = scale sum_{t < r} w_r^(t u) w_(L r)^(t (b mod L)) src(b + t m),   b < m, u < r,
// with w_n = exp(-2 pi i / n), conjugated for the inverse. Passes whose radices multiply to n leave the transform in order.
// Memory is read once and written once per pass; no line has to fit in workgroup memory. Roots come from the host: f32
// sines of devices may be off by 1e-3.

struct FftParams {
    length: u32,       // n
    inner: u32,
    items: u32,        // invocations with work: outer * m * inner
    width: u32,        // invocations per row of the launch
    reach: u32,        // m = n / r
    done: u32,         // L
    direction: f32,    // 1 forward, -1 inverse
    scale: f32,
}

// Where an item's butterfly reads and writes: elements at first + t * read_step go to target + u * write_step.
struct Butterfly {
    first: u32,
    read_step: u32,
    target_first: u32,
    write_step: u32,
    root: u32,         // index of w_(L r)^(b mod L) among the n-th roots of unity
}

fn butterfly(item: u32, params: FftParams) -> Butterfly {
    let inner = item % params.inner;
    let b = (item / params.inner) % params.reach;
    let base = (item / (params.inner * params.reach)) * params.length * params.inner + inner;
    let k = b % params.done;
    let radix = params.length / params.reach;
    return Butterfly(
        base + b * params.inner,
        params.reach * params.inner,
        base + (radix * (b - k) + k) * params.inner,
        params.done * params.inner,
        k * (params.reach / params.done),
    );
}

fn complex_product(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}
