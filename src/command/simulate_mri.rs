//! `reconstruct simulate mri`: Cartesian k-space of an image, with its mask and its coil maps.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::mri::{maps_beside, mask_beside};
use super::options::named_hash;
use super::pixels::blame;
use super::simulate::{SimulateCommon, check_outputs, finish};
use crate::io::image::Image;
use crate::io::noise;
use crate::io::npy::{Array, Values};
use crate::operator::{Cartesian, Mri, Pattern, apply, coil_maps};
use crate::{Error, Result};

/// Arguments of `reconstruct simulate mri`.
#[derive(Args, Clone, Debug)]
pub struct SimulateMriArgs {
    /// Columns there are for each that is measured, on average
    #[arg(long, value_name = "A", default_value_t = 4.0)]
    pub acceleration: f64,
    /// The part of the columns in the middle that are always measured
    #[arg(long, value_name = "F", default_value_t = 0.08)]
    pub centre_fraction: f64,
    /// How the other columns are chosen
    #[arg(long, value_enum, default_value = "random")]
    pub pattern: Pattern,
    /// Coils around the image; 1 sees it as it is
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub coils: usize,
    /// Common options; k-space goes to a complex NPY file; noise is that of real and of imaginary parts
    #[command(flatten)]
    pub common: SimulateCommon,
}

/// Measures the image, adds noise where k-space was sampled, and writes k-space, mask, maps and record.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(super) fn simulate_mri(args: &SimulateMriArgs) -> Result<()> {
    let SimulateCommon {
        input,
        output,
        noise: sd,
        seed,
        run,
    } = &args.common;
    let console = run.console();
    if output.extension().is_none_or(|e| !e.eq_ignore_ascii_case("npy")) {
        return Err(Error::output(
            output,
            "k-space is complex; name a file that ends in .npy",
        ));
    }
    let image = Image::read(input)?;
    if image.channels != 1 {
        return Err(Error::input(input, "has several channels; a slice has one"));
    }
    let size = [image.height, image.width];
    let sampling = Cartesian {
        acceleration: args.acceleration,
        centre_fraction: args.centre_fraction,
        pattern: args.pattern,
        seed: *seed,
    };
    let mask = sampling.mask(size)?;
    let maps = match args.coils {
        1 => None,
        coils => Some(coil_maps(coils, size)?),
    };
    let mri = blame(input, Mri::new(size, mask, maps.clone()))?;
    let record = output.with_extension("run.json");
    let mut beside: Vec<PathBuf> = vec![mask_beside(output)];
    beside.extend(maps.is_some().then(|| maps_beside(output)));
    let beside: Vec<&Path> = beside.iter().map(PathBuf::as_path).collect();
    check_outputs(&[&[output.as_path(), &record], beside.as_slice()].concat(), &[input])?;
    let gpu = run.device.open(Some(&record))?;

    let mut kspace = apply(&gpu, &mri, &image.planes, false)?;
    if let Some(sd) = sd {
        let random = noise::gaussian(*seed, 0, kspace.len());
        for (at, (value, random)) in kspace.iter_mut().zip(random).enumerate() {
            *value += mri.mask()[at / 2 % mri.mask().len()] * *sd as f32 * random;
        }
    }
    let (samples, _) = kspace.as_chunks::<2>();
    let shape = match &maps {
        Some(_) => vec![args.coils, size[0], size[1]],
        None => size.to_vec(),
    };
    Array::new(shape.clone(), Values::C64(samples.to_vec()))?.write(output)?;
    Array::new(size.to_vec(), Values::F32(mri.mask().to_vec()))?.write(beside[0])?;
    if let (Some(maps), Some(path)) = (maps, beside.get(1)) {
        Array::new(shape, Values::C64(maps))?.write(path)?;
    }
    let settings = json!({ "operator": sampling, "coils": args.coils, "noise": sd.unwrap_or(0.0), "seed": seed });
    finish(
        "simulate mri",
        &gpu,
        (&console, run),
        (&record, output),
        &beside,
        settings,
        json!({ "image": named_hash(input)? }),
    )
}
