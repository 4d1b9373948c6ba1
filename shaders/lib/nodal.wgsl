// Slopes of splines given as knots and nodal values, the same expression wherever a slope is compared with its bounds.
// The importing kernel declares   var<storage, read> positions: array<f32>;   and the values that it passes.

// Slope of the segment from entry n to entry n + 1 whose ends have the values `left` and `right`.
fn nodal_slope(n: u32, left: f32, right: f32) -> f32 {
    return (right - left) / (positions[n + 1u] - positions[n]);
}
