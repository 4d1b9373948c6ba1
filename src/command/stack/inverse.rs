//! Stacks of measurements with one operator, as many slices at once as fit.

use std::time::Instant;

use serde_json::{Value, json};

use super::super::Interrupt;
use super::super::inverse::{Inverse, Report};
use super::super::options::{say_unfinished, scores_text};
use super::super::prepared::Measured;
use super::super::problem::Problem;
use super::Measurements;
use super::output::{Done, Output, first_pass};
use crate::Result;
use crate::gpu::Gpu;
use crate::io::image::Image;
use crate::solver::Stop;

/// Reconstructs the slices that are wanted of `stack`, whose first one `problem` is, as `reconstruct` does with one. Where the noise is
/// estimated, the median over the slices counts for all, so that one operator, one strength and one set of kernels do.
///
/// # Errors
/// Everything a user can get wrong, as one line; nothing is written unless the whole run succeeded.
pub(in super::super) fn reconstruct_stack(
    command: &dyn Inverse,
    mut problem: Problem,
    mut stack: Box<dyn Measurements>,
    lent: Option<&Gpu>,
) -> Result<Value> {
    let args = command.common();
    let console = args.run.common.console();
    let begin = Instant::now();
    let interrupt = Interrupt::install()?;
    let strength = args.strength()?;
    let (channels, size) = (problem.measured.len(), problem.operator.domain());
    let format = problem.format.for_output(&args.output)?;
    let record_path = args.record_path(&problem, &strength)?;
    let mut noise = Vec::new();
    let slices = stack.slices();
    let each = |index| -> Result<()> {
        let measured = stack.read(index)?;
        if let Some(estimate) = &problem.estimate {
            noise.extend(measured.iter().filter_map(|plane| estimate(plane)));
        }
        Ok(())
    };
    let (range, clean) = first_pass(&args.run, &args.input, slices, (channels, size), Some(&interrupt), each)?;
    problem.noise = median(&mut noise).or(problem.noise);
    let checking = begin.elapsed().as_secs_f64();

    let gpu = args.run.common.device.lent_or_open(lent, Some(&record_path))?;
    let chosen = problem.choose(&gpu, &strength)?;
    let prepared = problem.prepare(&gpu, &chosen, &args.solver, None, channels * range.len())?;
    let at_once = (prepared.at_once() / channels).max(1);
    let mut results = Output::new(&args.output, format, clean, range.clone(), interrupt, &console)?;
    let mut solve = 0.0;
    for from in range.clone().step_by(at_once) {
        results.go_on()?;
        let group = (from..range.end.min(from + at_once)).map(|index| {
            Ok(Measured {
                planes: stack.read(index)?,
                label: format!("slice {index}: "),
            })
        });
        let group = group.collect::<Result<Vec<_>>>()?;
        let solving = Instant::now();
        let count = group.len();
        let solutions = prepared.run(group, |iterations, change| results.show(count, iterations, change))?;
        solve += solving.elapsed().as_secs_f64();
        for solution in solutions {
            let done = Done {
                iterations: solution.iterations,
                stop: solution.stop,
                energy: solution.energy,
                error_bound: solution.error_bound,
            };
            let image = Image::new(channels, size[0], size[1], solution.planes, problem.format)?;
            results.push(&image, done)?;
        }
    }
    let total = results.finish()?;

    let report = Report {
        args,
        problem: &problem,
        strength: &strength,
        chosen: &chosen,
        constants: prepared.constants()?,
    };
    let mut result = report.result(&gpu);
    result["at_once"] = json!(at_once);
    result["seconds"] = json!({ "check": checking, "solve": solve, "total": begin.elapsed().as_secs_f64() });
    total.tell(&mut result);
    result["no_error_bound"] = json!(prepared.no_error_bound());
    args.run.common.device.report(&gpu, &console, &mut result)?;
    report.record(&gpu, &result)?.write(&record_path)?;
    if total.stop != Stop::Converged {
        say_unfinished(&console, args.solver.max_iter());
    }
    console.say(format!(
        "{} -> {}: {} slices, at most {} iterations, in {solve:.2} s{}",
        args.input.display(),
        args.output.display(),
        range.len(),
        total.iterations,
        scores_text(total.scores)
    ));
    Ok(result)
}

/// The middle of some values, the lower one of two.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}
