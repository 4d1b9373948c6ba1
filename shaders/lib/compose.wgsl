// Shared by the kernels of filters that are made of several layers: layer l, w, behind the filters e of the layers before it.

struct ComposeParams {
    outputs: u32,      // of the layer
    inputs: u32,
    size: u32,         // side of the layer's filters
    before: u32,       // side of e
    first: u32,        // where the layer's weights begin
    pad0: u32,
    pad1: u32,
    pad2: u32,
}
