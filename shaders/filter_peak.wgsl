// Where the symbol of W'W is largest, and the factor that brings the bound of |W| to 1:
//   peak = argmax over rows of maxima,  scale = sqrt(factor / largest); 1 where nothing is above 0.
// One workgroup of 256. maxima: (row) of (largest, column as bits); of equal values the first row counts.
#import filter_norm

@group(0) @binding(0) var<uniform> params: FilterNormParams;
@group(0) @binding(1) var<storage, read> maxima: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> peak: FilterPeak;

var<workgroup> sh_value: array<f32, 256>;
var<workgroup> sh_row: array<u32, 256>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) local: u32) {
    var value = -1.0;
    var row = 0u;
    for (var n = local; n <= params.grid / 2u; n += 256u) {
        if (maxima[n].x > value) {
            value = maxima[n].x;
            row = n;
        }
    }
    sh_value[local] = value;
    sh_row[local] = row;
    workgroupBarrier();
    for (var width = 128u; width > 0u; width = width >> 1u) {
        if (local < width) {
            let other = local + width;
            if (sh_value[other] > sh_value[local] || (sh_value[other] == sh_value[local] && sh_row[other] < sh_row[local])) {
                sh_value[local] = sh_value[other];
                sh_row[local] = sh_row[other];
            }
        }
        workgroupBarrier();
    }
    if (local == 0u) {
        let largest = sh_value[0];
        var scale = 1.0;
        if (largest > 0.0) {
            scale = sqrt(params.factor / largest);
        }
        peak = FilterPeak(largest, scale, sh_row[0], bitcast<u32>(maxima[sh_row[0]].y));
    }
}
