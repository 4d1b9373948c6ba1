// Shared by the kernels that make an ensemble's splines and their gradients.

struct SplineParams {
    samples: u32,      // per member
    units: u32,        // per member, input and output included
    first_unit: u32,   // unit of a member's first spline
    splines: u32,      // per member
    total: u32,        // splines of all members
    slots: u32,        // room for knots per spline
    values: u32,       // where the nodal values start in `parameters`: (spline, slot)
    alphas: u32,       // where the scalings start in `parameters`: (spline)
    slope_min: f32,
    slope_max: f32,
    pad0: u32,
    pad1: u32,
}

// A slope that was put on its bound may come back this much outside of it, for values are rounded: within it, a segment
// counts as free. Without it, rounding would decide which segments of the identity can be trained.
const SLOPE_ROUNDING: f32 = 1e-4;
