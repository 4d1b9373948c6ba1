//! `reconstruct info`: what there is to compute on, and whether it computes correctly.

use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{Console, DeviceArgs, kernel_styles};
use crate::filters::style_times;
use crate::gpu::ceilings::Ceilings;
use crate::gpu::{Gpu, list_adapters};
use crate::io::noise;
use crate::model::device::{Extra, Images, RidgeOnDevice, RunOptions};
use crate::model::{DENOISING, Ridge};
use crate::report::profile::ceiling_line;
use crate::{Error, Result};

/// Arguments of `reconstruct info`.
#[derive(Args, Clone, Debug)]
pub struct InfoArgs {
    /// Measure what the device does at best: bytes copied and multiply-adds per second
    #[arg(long)]
    pub measure: bool,
    /// Time every way to cut filters (--kernels) and keep the fastest for this adapter: later runs use it
    #[arg(long)]
    pub calibrate: bool,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// Which device
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// Largest relative error of the self-test's gradient that counts as sound; f32 rounding stays below 1e-5.
const SOUND: f64 = 1e-4;

/// `reconstruct info`.
///
/// # Errors
/// No adapter, or a device whose self-test fails.
pub fn info(args: &InfoArgs) -> Result<()> {
    let console = Console::new(false, args.json);
    let styles = args.calibrate.then(kernel_styles::writable_path).transpose()?;
    let adapters = list_adapters();
    for adapter in &adapters {
        let pci = if adapter.pci.is_empty() {
            String::new()
        } else {
            format!(", pci:{}", adapter.pci)
        };
        console.say(format!("{adapter}{pci}; driver {}", adapter.driver));
    }
    let gpu = args.device.open(None)?;
    let limits = limits(&gpu);
    console.say(format!("in use: {}", gpu.adapter()));
    console.say(format!("limits: {limits}"));
    console.say(format!("kernels: {}", gpu.style()));
    console.say(format!(
        "features offered, none of them needed, timestamp-query used by --profile: {}",
        gpu.adapter().features.join(", ")
    ));
    let error = self_test(&gpu)?;
    console.say(format!(
        "self-test: gradient of the default model against f64 on the host, relative error {error:.1e}"
    ));
    let ceilings = args.measure.then(|| Ceilings::measure(&gpu)).transpose()?;
    if let Some(ceilings) = &ceilings {
        console.say(ceiling_line(ceilings));
    }
    let calibration = styles.map(|path| calibrate(&gpu, &console, &path)).transpose()?;
    let mut result = json!({
        "adapters": adapters,
        "in_use": gpu.adapter(),
        "limits": limits,
        "self_test_relative_error": error,
        "seconds": gpu.timings(),
        "ceilings": ceilings,
        "kernels": gpu.style().name(),
        "calibration": calibration,
    });
    args.device.report(&gpu, &console, &mut result)?;
    console.result(&result)?;
    if error > SOUND {
        return Err(Error::DeviceLost(format!(
            "the self-test is off by {error:.1e}: this driver computes wrongly; update it or choose another adapter"
        )));
    }
    Ok(())
}

/// Times every kernel style, keeps the fastest and says so.
fn calibrate(gpu: &Gpu, console: &Console, path: &Path) -> Result<Value> {
    let mut times = style_times(gpu)?;
    times.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (style, seconds) in &times {
        console.say(format!("{:10.3} ms  {style}", 1e3 * seconds));
    }
    let (fastest, _) = times[0];
    kernel_styles::keep(path, gpu.adapter(), fastest)?;
    console.say(format!(
        "{fastest} is kept for this adapter in {}; --kernels overrides it",
        path.display()
    ));
    let seconds: Map<String, Value> = times.iter().map(|(style, s)| (style.to_string(), json!(s))).collect();
    Ok(json!({ "kept": fastest.name(), "path": path, "seconds": seconds }))
}

fn limits(gpu: &Gpu) -> Value {
    let l = gpu.limits();
    json!({
        "max_binding_bytes": l.max_storage_buffer_binding_size,
        "max_buffer_bytes": l.max_buffer_size,
        "storage_buffers": l.max_storage_buffers_per_shader_stage,
        "workgroup_bytes": l.max_compute_workgroup_storage_size,
        "invocations": l.max_compute_invocations_per_workgroup,
    })
}

/// Relative error, in l2, of the default model's gradient on a small image of fixed noise.
fn self_test(gpu: &Gpu) -> Result<f64> {
    let model = DENOISING.model()?;
    let [height, width] = [23, 37];
    let sigma = 0.1;
    let image: Vec<f32> = noise::gaussian(3, 0, height * width)
        .iter()
        .map(|v| 0.5 + 0.2 * v)
        .collect();
    let source = gpu.buffer("image", image.len())?;
    let gradient = gpu.buffer("gradient", image.len())?;
    let active = gpu.upload("active", &[0_u32])?;
    let images = Images {
        height,
        width,
        source: &source,
        active: &active,
        slots: 1,
    };
    let options = RunOptions {
        sigma,
        style: None,
        tile: None,
    };
    let prepared = RidgeOnDevice::new(gpu, &model, &options, &images, &gradient, Extra::None)?;
    gpu.write(&source, &image)?;
    let mut recorder = gpu.record();
    prepared.record_gradient(&mut recorder, 1);
    recorder.submit();
    let got: Vec<f32> = gpu.read(&gradient)?;
    let want = host_gradient(&model, sigma, &image, height, width)?;
    let error: f64 = got.iter().zip(&want).map(|(&g, w)| (f64::from(g) - w).powi(2)).sum();
    let size: f64 = want.iter().map(|w| w * w).sum();
    Ok((error / size).sqrt())
}

/// `W'[phi(alpha W x) / alpha]` of a single-layer model in f64, from the definition.
fn host_gradient(model: &Ridge, sigma: f64, image: &[f32], height: usize, width: usize) -> Result<Vec<f64>> {
    let [layer] = model.bank.layers() else {
        return Err(Error::Internal("the self-test wants a model of one layer".into()));
    };
    let reach = layer.radius() as i64;
    let inside = |row: i64, col: i64| (0..height as i64).contains(&row) && (0..width as i64).contains(&col);
    let at = |row: i64, col: i64| (row * width as i64 + col) as usize;
    let mut gradient = vec![0.0; image.len()];
    for (channel, alpha) in model.alphas(sigma)?.into_iter().enumerate() {
        let phi = &model.activations[channel.min(model.activations.len() - 1)];
        for row in 0..height as i64 {
            for col in 0..width as i64 {
                let taps = || {
                    (0..layer.size.pow(2)).filter_map(move |t| {
                        let (ky, kx) = (t / layer.size, t % layer.size);
                        let (r, q) = (row + ky as i64 - reach, col + kx as i64 - reach);
                        inside(r, q).then(|| (at(r, q), f64::from(layer.weight(channel, 0, ky, kx))))
                    })
                };
                let response: f64 = taps().map(|(pixel, w)| w * f64::from(image[pixel])).sum();
                let pull = phi.value(alpha * response) / alpha;
                taps().for_each(|(pixel, w)| gradient[pixel] += w * pull);
            }
        }
    }
    Ok(gradient)
}
