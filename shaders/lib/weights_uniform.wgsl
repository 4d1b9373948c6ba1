// Weights that are loaded from the uniform `weights` where they are used; the importing kernel declares it.

var<private> first_quad: u32;

fn hold_weights(first: u32) {
    first_quad = first;
}

// @inline
fn weight(i: u32) -> vec4<f32> {
    return weights[first_quad + i];
}
