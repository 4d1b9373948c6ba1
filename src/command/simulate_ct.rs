//! `reconstruct simulate ct`: a sinogram of an image, with its geometry.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::ct::{geometry_beside, read_geometry};
use super::options::parse_positive;
use super::simulate::{Beside, SimulateCommon, measure};
use crate::io::image::Image;
use crate::io::toml_file;
use crate::operator::{Fan, Geometry, Radon, spread};
use crate::{Error, Result};

/// Arguments of `reconstruct simulate ct`.
#[derive(Args, Clone, Debug)]
pub struct SimulateCtArgs {
    /// Angles, equally spaced
    #[arg(long, value_name = "N", default_value_t = 200, conflicts_with = "geometry")]
    pub angles: usize,
    /// The arc over which they are spaced, in degrees [default: 180, for a fan 360]
    #[arg(long, value_name = "DEGREES", value_parser = parse_positive, allow_hyphen_values = true, conflicts_with = "geometry")]
    pub arc: Option<f64>,
    /// Detectors, which cover the diagonal of the image
    #[arg(long, value_name = "N", default_value_t = 400, conflicts_with = "geometry")]
    pub detectors: usize,
    /// Makes the rays a fan: distance from the source to the centre of the image, whose longer side is 256
    #[arg(
        long,
        value_name = "LENGTH",
        value_parser = parse_positive,
        allow_hyphen_values = true,
        requires = "detector_distance",
        conflicts_with = "geometry"
    )]
    pub source_distance: Option<f64>,
    /// Distance from the source to the flat detector behind the image
    #[arg(long, value_name = "LENGTH", value_parser = parse_positive, allow_hyphen_values = true, requires = "source_distance")]
    pub detector_distance: Option<f64>,
    /// A geometry of your own (TOML), instead
    #[arg(long, value_name = "FILE")]
    pub geometry: Option<PathBuf>,
    /// Common options
    #[command(flatten)]
    pub common: SimulateCommon,
}

impl SimulateCtArgs {
    /// The geometry that the options describe, for an image.
    fn described(&self, image: &Image) -> Geometry {
        let size = image.height.max(image.width);
        let fan = self.source_distance.zip(self.detector_distance);
        let mut geometry = match fan {
            Some((source_distance, detector_distance)) => {
                let fan = Fan {
                    source_distance,
                    detector_distance,
                };
                Geometry::fan_equispaced(size, self.angles, self.detectors, fan)
            }
            None => Geometry::equispaced(size, self.angles, self.detectors),
        };
        (geometry.rows, geometry.cols) = (image.height, image.width);
        if let Some(arc) = self.arc {
            geometry.angles = spread(self.angles, arc.to_radians());
        }
        geometry
    }
}

/// Projects the image, adds noise, and writes sinogram, geometry and record.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(super) fn simulate_ct(args: &SimulateCtArgs) -> Result<()> {
    let image = Image::read(&args.common.input)?;
    if image.channels != 1 {
        return Err(Error::input(
            &args.common.input,
            "has several channels; a slice has one",
        ));
    }
    let geometry = match &args.geometry {
        Some(path) => {
            let geometry = read_geometry(path)?;
            if [geometry.rows, geometry.cols] != [image.height, image.width] {
                return Err(Error::input(
                    path,
                    format!(
                        "is for images of {} x {} pixels, {} has {} x {}",
                        geometry.rows,
                        geometry.cols,
                        args.common.input.display(),
                        image.height,
                        image.width
                    ),
                ));
            }
            geometry
        }
        None => args.described(&image),
    };
    let operator = Radon::new(geometry.clone())?;
    let beside = geometry_beside(&args.common.output);
    let write = || toml_file::write(&beside, &geometry);
    let about = json!({
        "angles": geometry.angles.len(),
        "detectors": geometry.detectors,
        "fan": geometry.fan,
    });
    let read: Vec<&Path> = args.geometry.as_deref().into_iter().collect();
    let beside = Beside {
        path: &beside,
        write: &write,
    };
    measure(
        "simulate ct",
        &args.common,
        &image,
        &operator,
        &read,
        Some(beside),
        about,
    )
}
