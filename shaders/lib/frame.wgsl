// An image inside a larger frame, and what the frame holds around it.
//
// Frame position p along an axis belongs to image position p - lead. Outside of the image, n pixels long, stand zeros, the
// other end of the image (circular), or the image mirrored in its first and last pixel (reflect).

const ZERO: u32 = 0u;
const CIRCULAR: u32 = 1u;
const REFLECT: u32 = 2u;

struct FrameParams {
    rows: u32,         // of the frame
    cols: u32,
    top: u32,          // rows of the frame above the image
    left: u32,
    image_rows: u32,
    image_cols: u32,
    step: u32,         // frame positions from pixel to pixel, zeros between them
    boundary: u32,
}

// The image position that frame position p holds, -1 for a zero. Less than n positions lie outside at either end.
fn frame_source(p: u32, lead: u32, n: u32, boundary: u32) -> i32 {
    let q = i32(p) - i32(lead);
    let last = i32(n) - 1;
    if (q >= 0 && q <= last) {
        return q;
    }
    switch boundary {
        case CIRCULAR: {
            return select(q - i32(n), q + i32(n), q < 0);
        }
        case REFLECT: {
            return select(2 * last - q, -q, q < 0);
        }
        default: {
            return -1;
        }
    }
}

// The frame positions, of `length`, that hold image position c: the inverse of frame_source. -1 where there is none.
fn frame_copies(c: u32, lead: u32, n: u32, length: u32, boundary: u32) -> vec3<i32> {
    let here = i32(c) + i32(lead);
    var before = -1;
    var behind = -1;
    if (boundary == CIRCULAR) {
        before = here - i32(n);
        behind = here + i32(n);
    }
    if (boundary == REFLECT) {
        // The first and the last pixel are no copies of themselves.
        before = select(-1, i32(lead) - i32(c), c > 0u);
        behind = select(-1, i32(lead) + 2 * (i32(n) - 1) - i32(c), c + 1u < n);
    }
    return vec3<i32>(max(before, -1), here, select(-1, behind, behind < i32(length)));
}
