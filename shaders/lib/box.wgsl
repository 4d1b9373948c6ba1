// The box that images are kept in.

// The part of a gradient g at x that the box [low, high] does not hold back: over all pixels, the least element of the subdifferential.
fn unheld(g: f32, x: f32, low: f32, high: f32) -> f32 {
    var v = g;
    if (x <= low) {
        v = min(v, 0.0);
    }
    if (x >= high) {
        v = max(v, 0.0);
    }
    return v;
}
