// A rectangle of pixels inside a stack of planes, and which part of it lies inside the image.
//
// Planes are row-major; element (image, plane, row, column) of the rectangle has the index
// first + image * image_stride + plane * plane_stride + row * row_stride + column.

struct Region {
    rows: u32,         // size of the rectangle
    cols: u32,
    first: u32,        // index of its first element in image 0, plane 0
    row_stride: u32,
    plane_stride: u32,
    image_stride: u32,
    inside_top: u32,   // the image covers rows inside_top .. inside_top + inside_rows of the rectangle
    inside_left: u32,
    inside_rows: u32,
    inside_cols: u32,
    pad0: u32,
    pad1: u32,
}

fn region_index(r: Region, image: u32, plane: u32, row: u32, col: u32) -> u32 {
    return r.first + image * r.image_stride + plane * r.plane_stride + row * r.row_stride + col;
}

fn region_holds(r: Region, row: u32, col: u32) -> bool {
    return row < r.rows && col < r.cols;
}

// Unsigned wrap-around makes one comparison do for both ends.
fn region_inside(r: Region, row: u32, col: u32) -> bool {
    return row - r.inside_top < r.inside_rows && col - r.inside_left < r.inside_cols;
}
