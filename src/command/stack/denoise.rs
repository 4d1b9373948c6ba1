//! `reconstruct denoise` of a stack, as many slices at once as fit.

use std::time::Instant;

use serde_json::{Value, json};

use super::super::Interrupt;
use super::super::denoise::DenoiseArgs;
use super::super::engine::{Engine, together};
use super::super::options::{named_hash, say_unfinished, scores_text};
use super::output::{Done, Output, first_pass};
use crate::gpu::Gpu;
use crate::io::atomic::same_file;
use crate::io::image::{Image, Stack};
use crate::report::RunRecord;
use crate::solver::Stop;
use crate::{Error, Result};

/// Denoises the slices that are wanted, on a device of its own or one that is `lent`; writes them and the record and returns what there
/// is to tell.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(in super::super) fn denoise_stack(args: &DenoiseArgs, mut stack: Stack, lent: Option<&Gpu>) -> Result<Value> {
    let console = args.run.common.console();
    let begin = Instant::now();
    let interrupt = Interrupt::install()?;
    let first = stack.read(args.run.stack.range(&args.input, stack.slices())?.start)?;
    let (channels, size) = (first.channels, [first.height, first.width]);
    let output = args.place(first.format);
    let format = first.format.for_output(&output)?;
    if same_file(&args.input, &output) {
        return Err(Error::output(
            &output,
            "the result would replace the stack that is read; name another with -o",
        ));
    }
    let record_path = args.run.record_path(&output, &[&args.input])?;
    let model = args.model()?;
    let slices = stack.slices();
    let (range, clean) = first_pass(
        &args.run,
        &args.input,
        slices,
        (channels, size),
        Some(&interrupt),
        |index| stack.read(index).map(drop),
    )?;
    let reading = begin.elapsed().as_secs_f64();

    let gpu = args.run.common.device.lent_or_open(lent, Some(&record_path))?;
    let engine = Engine::new(&gpu, &model, &args.solve, size, channels * range.len())?;
    let at_once = (engine.at_once() / channels).max(1);
    let mut results = Output::new(&output, format, clean, range.clone(), interrupt, &console)?;
    let mut solve = 0.0;
    for from in range.clone().step_by(at_once) {
        results.go_on()?;
        let group: Vec<Image> = (from..range.end.min(from + at_once))
            .map(|index| stack.read(index))
            .collect::<Result<_>>()?;
        let planes: Vec<&[f32]> = group
            .iter()
            .flat_map(|image| (0..channels).map(|channel| image.plane(channel)))
            .collect();
        let solving = Instant::now();
        let mut done = engine
            .run(&planes, |iterations, _, change| {
                results.show(group.len(), iterations, change);
            })?
            .into_iter();
        solve += solving.elapsed().as_secs_f64();
        for image in group {
            let planes: Vec<_> = done.by_ref().take(channels).collect();
            let told = Done {
                iterations: planes.iter().map(|plane| plane.iterations).max().unwrap_or(0),
                stop: Stop::of_all(planes.iter().map(|plane| plane.stop)),
                energy: planes.iter().map(|plane| plane.energy).sum(),
                error_bound: together(planes.iter().map(|plane| plane.error_bound)),
            };
            let planes = planes.into_iter().flat_map(|plane| plane.image).collect();
            results.push(&Image { planes, ..image }, told)?;
        }
    }
    let total = results.finish()?;

    let mut result = json!({
        "output": output,
        "at_once": at_once,
        "adapter": gpu.adapter().name,
        "model": model.name(),
        "sigma": args.solve.sigma,
        "tiles": engine.tiles(),
        "seconds": {
            "check": reading,
            "open": gpu.timings().open,
            "compile": engine.compile(),
            "solve": solve,
            "total": begin.elapsed().as_secs_f64(),
        },
    });
    total.tell(&mut result);
    let mut record = RunRecord::new("denoise", &gpu, args.settings(&model));
    record.inputs = args.inputs()?;
    record.outputs = json!({ "image": named_hash(&output)? });
    args.run.common.device.report(&gpu, &console, &mut result)?;
    record.results = result.clone();
    record.write(&record_path)?;
    if total.stop == Stop::MaxIterations {
        say_unfinished(&console, args.solve.solver.max_iter());
    }
    console.say(format!(
        "{} -> {}: {} slices, at most {} iterations, in {solve:.2} s{}",
        args.input.display(),
        output.display(),
        range.len(),
        total.iterations,
        scores_text(total.scores)
    ));
    Ok(result)
}
