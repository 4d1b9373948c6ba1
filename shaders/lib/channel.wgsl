// How a channel of a filter bank uses a spline: phi(alpha u) / alpha.
struct Channel {
    first: u32,       // first entry of its spline in a table of splines
    count: u32,       // entries
    alpha: f32,
    inverse_alpha: f32,
}
