// Shared by the kernels of an ensemble: `members` networks of one shape that are trained side by side.
//
//   u_0 = input,  u_l = W_l a_{l-1} + b_l,  a_0 = u_0,  a_l = phi_l(alpha_l u_l) / alpha_l  for the hidden layers
//
// A member's units are numbered layer by layer, input and output included; its splines are its hidden units in the same
// order. Arrays over units are (member, unit, sample). `parameters` is (member, dense), then (member, spline, slot), then
// (member, spline): weights row by row and biases of all layers, nodal values, scalings alpha.

struct LayerParams {
    samples: u32,      // per member
    units: u32,        // per member, input and output included
    dense: u32,        // weights and biases per member
    splines: u32,      // per member
    slots: u32,        // room for knots per spline
    alphas: u32,       // where the scalings start in `parameters`
    from_unit: u32,    // first unit of the layer's input
    to_unit: u32,      // first unit of its output
    from_spline: u32,  // spline of its first input
    weights: u32,      // where its weights start among a member's dense parameters
    biases: u32,       // where its biases start there
    pad0: u32,
}

// An invocation works on four samples, a workgroup of 64 on 256: those from `first` on, 64 apart.
const QUAD: u32 = 4u;

struct Quad {
    sample: vec4<u32>, // the last sample takes the place of those that do not exist
    exists: vec4<bool>,
}

fn network_quad(samples: u32, first: u32) -> Quad {
    let sample = vec4<u32>(first) + vec4<u32>(0u, 64u, 128u, 192u);
    return Quad(min(sample, vec4<u32>(samples - 1u)), sample < vec4<u32>(samples));
}
