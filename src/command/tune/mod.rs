//! `reconstruct tune`: the best strength of the regularizer for a kind of measurement, from some whose true images are known.

mod scores;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::batch::{Item, Items, Shard, Template};
use super::inverse::Inverse;
use super::options::{named_hash, parse_positive, quality};
use super::problem::{Chosen, Method, Problem, Strength};
use super::{CommonArgs, Interrupt};
use crate::gpu::Gpu;
use crate::io::atomic::{check_writable, same_file};
use crate::io::image::Image;
use crate::io::{manifest, toml_file};
use crate::operator::OperatorNorm;
use crate::report::RunRecord;
use crate::solver::{Point, Search};
use crate::{Error, Result};
use scores::{Row, Scores};

/// Arguments of `reconstruct tune`.
#[derive(Args, Clone, Debug)]
pub struct TuneArgs {
    /// JSON lines as for `reconstruct batch`; every item names its true image as "clean". Five to ten items are enough
    #[arg(long, value_name = "FILE.jsonl")]
    pub manifest: PathBuf,
    /// Where the best settings go; the other commands take them with --settings
    #[arg(short, long, value_name = "FILE.toml")]
    pub output: PathBuf,
    /// Table of all scores, which is added to: what it has is not computed again [default: OUTPUT with .scores.csv]
    #[arg(long, value_name = "FILE.csv")]
    pub scores: Option<PathBuf>,
    /// First ratio of neighbouring values of lambda and sigma; of plug-and-play averaging and strength, with ADMM step and strength
    #[arg(long, value_name = "G", default_value = "3", value_parser = parse_ratio)]
    pub gamma: f64,
    /// End when the ratio falls below this
    #[arg(long, value_name = "G", default_value = "1.1", value_parser = parse_ratio)]
    pub until: f64,
    /// Compute only every N-th score, from I, into a table of this part beside the others'. Ends with 75 when scores of other
    /// parts are missing: run again
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Begin no reconstruction after so many seconds, and end with exit code 75
    #[arg(long, value_name = "SECONDS", value_parser = parse_positive)]
    pub time_budget: Option<f64>,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
    /// The reconstruction and the options that all items share; lambda and sigma, if given, are where the search starts
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn parse_ratio(text: &str) -> std::result::Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (1.01..=100.0).contains(&value) => Ok(value),
        _ => Err("want a ratio from 1.01 to 100".into()),
    }
}

/// Grids at most: a search that moves away for so long has no end.
const ROUNDS: usize = 60;

/// A measurement whose true image is known.
struct Candidate {
    item: Item,
    key: String,
    problem: Problem,
    clean: Image,
    strength: Strength,
    /// `|H|^2`, once known.
    norm: Option<OperatorNorm>,
}

/// `reconstruct tune`.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Input`] for what is wrong with the command line or an item; [`Error::Interrupted`] after a signal,
/// at the end of the time budget or while other parts have not come so far, with all scores saved.
pub fn tune(args: &TuneArgs) -> Result<()> {
    let console = args.common.console();
    let scores_path = args
        .scores
        .clone()
        .unwrap_or_else(|| args.output.with_extension("scores.csv"));
    let record_path = args.output.with_extension("run.json");
    let outputs = [&args.output, &scores_path, &record_path];
    for (n, path) in outputs.iter().enumerate() {
        check_writable(path)?;
        if outputs[..n]
            .iter()
            .chain([&&args.manifest])
            .any(|other| same_file(other, path))
        {
            return Err(Error::output(path, "it would replace another file; name another"));
        }
    }
    let mut candidates = candidates(args)?;
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let first = candidates
        .first()
        .ok_or_else(|| Error::input(&args.manifest, "has no items"))?;
    let names = first.strength.searched();
    let mut scores = Scores::open(&scores_path, shard, names)?;
    let interrupt = Interrupt::install()?;
    let gpu = args.common.device.open(Some(&record_path))?;
    let chosen = first.problem.choose(&gpu, &first.strength)?;
    let begun = chosen.point();
    let search = Search {
        gamma: args.gamma,
        until: args.until,
        ranges: chosen.ranges(),
        rounds: ROUNDS,
    };
    let begin = Instant::now();
    let mut computed = 0;
    let (best, psnr) = search.run(begun, |points| {
        let count = candidates.len();
        let pairs = points
            .iter()
            .flat_map(|point| (0..count).map(move |index| (*point, index)));
        for (position, (point, index)) in pairs.enumerate() {
            let candidate = &mut candidates[index];
            if scores.get(&candidate.key, point).is_some() || !shard.contains(position) {
                continue;
            }
            if let Some(why) = stop(&interrupt, args.time_budget, begin) {
                return Err(Error::Interrupted(format!(
                    "{why} after {computed} new scores; run again to continue"
                )));
            }
            let row = score(&gpu, candidate, &chosen, point)?;
            console.say(format!(
                "{} {} {:.4} {} {:.5}: {:.3} dB, {} iterations",
                row.id, names[0], point[0], names[1], point[1], row.psnr, row.iterations
            ));
            scores.add(row)?;
            computed += 1;
        }
        scores.read_others()?;
        let mean = |point: &Point| -> Option<f64> {
            let all: Option<Vec<f64>> = candidates.iter().map(|c| scores.get(&c.key, *point)).collect();
            all.map(|all| all.iter().sum::<f64>() / all.len() as f64)
        };
        points.iter().map(mean).collect::<Option<Vec<f64>>>().ok_or_else(|| {
            Error::Interrupted("scores of other parts are missing; run again when they are there".into())
        })
    })?;
    if !psnr.is_finite() {
        return Err(Error::Diverged(
            "no setting gave a finite image; start elsewhere with --lambda and --sigma, or --step, --averaging and --strength"
                .into(),
        ));
    }
    let found = settings(&chosen, &candidates[0].strength, best);
    toml_file::write(&args.output, &found)?;
    let mut result = json!({
        "output": args.output,
        "scores": scores.path(),
        "settings": found,
        "psnr": psnr,
        "items": candidates.len(),
        "computed": computed,
        "adapter": gpu.adapter().name,
        "seconds": begin.elapsed().as_secs_f64(),
    });
    args.common.device.report(&gpu, &console, &mut result)?;
    let mut record = RunRecord::new(
        "tune",
        &gpu,
        json!({ "gamma": args.gamma, "until": args.until, "start": begun,
            "model_provenance": chosen.model.as_ref().map(|m| &m.provenance) }),
    );
    record.inputs = json!({ "manifest": named_hash(&args.manifest)? });
    record.outputs = json!({ "settings": named_hash(&args.output)? });
    record.results = result.clone();
    record.write(&record_path)?;
    console.say(format!(
        "{}: {} {:.5}, {} {:.5}: {psnr:.3} dB on average; {computed} new scores",
        args.output.display(),
        names[0],
        best[0],
        names[1],
        best[1]
    ));
    console.result(&result)
}

/// What is written for a point, from what the search began with. The model has its name, for which one is the default depends on the
/// strength.
fn settings(chosen: &Chosen, given: &Strength, point: Point) -> Strength {
    let there = chosen.at(point).pnp;
    let regularized = there.is_none();
    Strength {
        method: Some(chosen.method),
        model: given
            .model
            .clone()
            .or(chosen.model.as_ref().map(|m| m.name.clone().into())),
        lambda: regularized.then_some(point[0]),
        sigma: regularized.then_some(point[1]),
        noise: given.noise.filter(|noise| *noise > 0.0),
        denoiser: given.denoiser.clone(),
        algorithm: there.as_ref().map(|pnp| pnp.algorithm),
        step: there.as_ref().map(|pnp| pnp.step),
        averaging: there.as_ref().map(|pnp| pnp.averaging),
        strength: there.as_ref().map(|pnp| pnp.strength),
    }
}

fn stop(interrupt: &Interrupt, budget: Option<f64>, begin: Instant) -> Option<String> {
    if let Some(signal) = interrupt.requested() {
        return Some(format!("stopped by {signal}"));
    }
    let budget = budget.filter(|budget| begin.elapsed().as_secs_f64() >= *budget)?;
    Some(format!("the time budget of {budget} s is spent"))
}

/// Reads everything.
fn candidates(args: &TuneArgs) -> Result<Vec<Candidate>> {
    // Nothing is written there, but every item is parsed as a whole command.
    let template: Template = "{id}.npy".parse().map_err(Error::Internal)?;
    let mut parser = Items::new(&args.manifest, &template, &args.command)?;
    let mut candidates = Vec::new();
    for entry in &manifest::read(&args.manifest)? {
        let item = parser.item(entry)?;
        candidates.push(candidate(&args.manifest, item)?);
    }
    let differ = |c: &&Candidate| {
        let kind = |s: &Strength| (s.method, s.model.clone(), s.denoiser.clone(), s.algorithm, s.averaging);
        kind(&c.strength) != kind(&candidates[0].strength)
    };
    if let Some(other) = candidates.iter().find(differ) {
        return Err(Error::input(
            &args.manifest,
            format!(
                "item '{}' has another method, model or denoiser than the first; give them after --",
                other.item.id
            ),
        ));
    }
    Ok(candidates)
}

fn candidate(manifest: &Path, item: Item) -> Result<Candidate> {
    let refuse = |why: &str| Error::input(manifest, format!("item '{}' {why}", item.id));
    let command: &dyn Inverse = item.job.inverse().ok_or_else(|| {
        Error::Usage("denoise needs no tuning: its lambda is 1 and its sigma that of the noise".into())
    })?;
    let strength = command.common().strength()?;
    if strength.method.is_some_and(Method::is_direct) {
        return Err(Error::Usage(
            "this method has no strength to tune; use model, pnp or tv".into(),
        ));
    }
    let problem = command.problem()?;
    let clean = command
        .common()
        .run
        .read_clean(problem.measured.len(), problem.operator.domain())?
        .ok_or_else(|| refuse("names no \"clean\" image to compare with"))?;
    Ok(Candidate {
        key: item.key()?,
        strength,
        problem,
        clean,
        item,
        norm: None,
    })
}

/// Reconstructs at a point, as whoever is given these settings will. A reconstruction that diverges scores NaN, for the search goes on elsewhere.
fn score(gpu: &Gpu, candidate: &mut Candidate, chosen: &Chosen, point: Point) -> Result<Row> {
    let norm = match candidate.norm {
        Some(norm) => norm,
        None => *candidate.norm.insert(candidate.problem.operator.norm_squared(gpu)?),
    };
    let here = match chosen.pnp {
        Some(_) => chosen.at(point),
        None => candidate
            .problem
            .choose(gpu, &settings(chosen, &candidate.strength, point))?,
    };
    let command = candidate.item.job.inverse();
    let solver = &command
        .ok_or_else(|| Error::Internal("no problem".into()))?
        .common()
        .solver;
    let begin = Instant::now();
    let (psnr, ssim, iterations) = match candidate.problem.solve(gpu, &here, solver, Some(norm), |_, _| {}) {
        Ok(solution) => {
            let (psnr, ssim) = quality(&solution.planes, &candidate.clean)?;
            (psnr, ssim.unwrap_or(f64::NAN), solution.iterations)
        }
        Err(Error::Diverged(_)) => (f64::NAN, f64::NAN, 0),
        Err(other) => return Err(other),
    };
    Ok(Row {
        key: candidate.key.clone(),
        id: candidate.item.id.clone(),
        point,
        psnr,
        ssim,
        iterations,
        seconds: begin.elapsed().as_secs_f64(),
    })
}
