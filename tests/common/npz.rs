//! Arrays from `.npz` archives, as f64.
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The floating-point members of an archive: name to (shape, values).
pub fn read(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let names: Vec<String> = archive.file_names().map(|n| n.unwrap().into_owned()).collect();
    names
        .into_iter()
        .filter_map(|name| {
            let mut bytes = Vec::new();
            archive.by_name(&name).unwrap().read_to_end(&mut bytes).unwrap();
            let array = npyz::NpyFile::new(&bytes[..]).unwrap();
            let shape = array.shape().iter().map(|&n| n as usize).collect();
            let size = array.dtype().descr();
            let data = if size.contains("f8") {
                array.into_vec::<f64>().unwrap()
            } else if size.contains("f4") {
                array.into_vec::<f32>().unwrap().into_iter().map(f64::from).collect()
            } else {
                return None;
            };
            Some((name.trim_end_matches(".npy").to_owned(), (shape, data)))
        })
        .collect()
}
