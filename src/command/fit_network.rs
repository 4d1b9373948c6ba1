//! `train fit-network`: 1-D fits by 1-Lipschitz networks, uniform grids against nonuniform adaptive knots.

use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use super::{CommonArgs, Console};
use crate::gpu::Gpu;
use crate::network::targets::Target;
use crate::network::{AdaptationEvent, Experiment, Knots, Outcome, Shape};
use crate::spline::Spline;
use crate::{Error, Result};

/// Looks at the losses that are printed per training.
const LINES: u32 = 10;

/// Arguments of `train fit-network`.
#[derive(Args, Clone, Debug)]
pub struct FitNetworkArgs {
    /// Functions on [-1, 1] to fit, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Target::ALL)]
    pub function: Vec<Target>,
    /// Knots of the activations, separated by commas: uniform:N, or adaptive:N (never more than N)
    #[arg(long, value_delimiter = ',', default_value = "uniform:101,adaptive:16")]
    pub knots: Vec<Knots>,
    /// Weights of TV2, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "1e-8,1e-7,1e-6")]
    pub lambda: Vec<f32>,
    /// Networks per function and lambda, with seeds 1, 2, ...
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub seeds: u64,
    /// Training steps, each on all samples
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..))]
    pub steps: u32,
    /// Equidistant training samples; the test takes 4 times as many
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=100_000))]
    pub samples: u32,
    /// Activations before training
    #[arg(long, value_enum, default_value_t = Shape::Mixed)]
    pub shape: Shape,
    /// Learning rates of weights, slopes and scalings, separated by commas
    #[arg(long, value_delimiter = ',', num_args = 1, default_value = "2e-2,5e-2,1e-2")]
    pub rates: Vec<f32>,
    /// Part of the steps at the full learning rates, which then fall to 0
    #[arg(long, default_value_t = 0.5)]
    pub hold: f32,
    /// How often adaptive knots are adapted during the first 70 % of the steps
    #[arg(long, default_value_t = 20)]
    pub adaptations: u32,
    /// New knots per activation and adaptation, at most
    #[arg(long, default_value_t = 2)]
    pub insert: usize,
    /// Root-mean-square change of an activation that the removal of knots may cause
    #[arg(long, default_value_t = 1e-6)]
    pub max_error: f64,
    /// Messages and device
    #[command(flatten)]
    pub common: CommonArgs,
}

/// `train fit-network`.
///
/// # Errors
/// Settings out of range, diverged training, a device error.
pub fn fit_network(args: &FitNetworkArgs) -> Result<()> {
    let console = args.common.console();
    let rates = args.rates[..]
        .try_into()
        .map_err(|_| Error::Usage("--rates takes three numbers: weights, slopes, scalings".into()))?;
    let experiment = Experiment {
        functions: args.function.clone(),
        lambdas: args.lambda.clone(),
        seeds: args.seeds,
        steps: args.steps,
        samples: args.samples as usize,
        shape: args.shape,
        rates,
        hold: args.hold,
        adaptations: args.adaptations,
        insert: args.insert,
        max_error: args.max_error,
    };
    let gpu = args.common.device.open(None)?;
    let mut runs = Vec::new();
    for &knots in &args.knots {
        runs.push(run(&console, &gpu, &experiment, knots)?);
    }
    console.say(table(&runs));
    let mut result = json!({
        "adapter": gpu.adapter(),
        "experiment": experiment,
        "runs": runs.iter().map(Run::json).collect::<Vec<_>>(),
    });
    args.common.device.report(&gpu, &console, &mut result)?;
    console.result(&result)
}

/// All networks with one kind of knots.
struct Run {
    knots: Knots,
    outcomes: Vec<Outcome>,
    events: Vec<AdaptationEvent>,
    seconds: f64,
}

fn run(console: &Console, gpu: &Gpu, experiment: &Experiment, knots: Knots) -> Result<Run> {
    let start = Instant::now();
    let every = (experiment.steps / LINES).max(1) as usize;
    let mut next = every;
    let (outcomes, events) = experiment.run(gpu, knots, |progress| {
        if progress.step < next {
            return;
        }
        next += every;
        let mut losses = progress.losses.clone();
        losses.sort_by(f32::total_cmp);
        console.say(format!(
            "{knots}: step {}, mean squared error of {} networks: median {:.2e}, largest {:.2e}, {:.0} s",
            progress.step,
            losses.len(),
            median(&losses),
            losses[losses.len() - 1],
            start.elapsed().as_secs_f64()
        ));
    })?;
    Ok(Run {
        knots,
        outcomes,
        events,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// Of sorted values; the lower one of the two in the middle.
fn median(sorted: &[f32]) -> f32 {
    sorted[(sorted.len() - 1) / 2]
}

/// The test errors of one function and lambda, sorted.
struct Row {
    function: Target,
    lambda: f32,
    errors: Vec<f32>,
}

impl Run {
    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = Vec::new();
        for outcome in &self.outcomes {
            match rows.last_mut() {
                Some(row) if (row.function, row.lambda) == (outcome.function, outcome.lambda) => {
                    row.errors.push(outcome.test);
                }
                _ => rows.push(Row {
                    function: outcome.function,
                    lambda: outcome.lambda,
                    errors: vec![outcome.test],
                }),
            }
        }
        for row in &mut rows {
            row.errors.sort_by(f32::total_cmp);
        }
        rows
    }

    /// The row of each function whose median is lowest.
    fn best(&self) -> Vec<Row> {
        let mut best: Vec<Row> = Vec::new();
        for row in self.rows() {
            match best.last_mut() {
                Some(other) if other.function == row.function => {
                    if median(&row.errors) < median(&other.errors) {
                        *other = row;
                    }
                }
                _ => best.push(row),
            }
        }
        best
    }

    fn knot_counts(&self) -> (f64, usize) {
        let counts = self
            .outcomes
            .iter()
            .flat_map(|o| o.network.activations())
            .map(Spline::len);
        let activations = self
            .outcomes
            .iter()
            .map(|o| o.network.activations().len())
            .sum::<usize>();
        let (sum, most) = counts.fold((0, 0), |(sum, most), n| (sum + n, most.max(n)));
        (sum as f64 / activations as f64, most)
    }

    fn lipschitz(&self) -> f64 {
        let bounds = self.outcomes.iter().map(|o| o.network.certificate().lipschitz);
        bounds.fold(0.0, f64::max)
    }

    fn json(&self) -> Value {
        let row = |r: &Row| {
            json!({
                "function": r.function,
                "lambda": r.lambda,
                "median": median(&r.errors),
                "min": r.errors[0],
                "max": r.errors[r.errors.len() - 1],
            })
        };
        let networks = self.outcomes.iter().map(|o| {
            let activations = o.network.activations();
            json!({
                "function": o.function,
                "lambda": o.lambda,
                "seed": o.seed,
                "test_mse": o.test,
                "training_mse": o.training,
                "most_knots": o.network.most_knots(),
                "knots": activations.iter().map(Spline::len).sum::<usize>(),
                "tv2": activations.iter().map(Spline::tv2).sum::<f64>(),
                "certificate": o.network.certificate(),
            })
        });
        json!({
            "knots": self.knots.to_string(),
            "seconds": self.seconds,
            "mean_knots": self.knot_counts().0,
            "most_knots": self.knot_counts().1,
            "lipschitz_bound": self.lipschitz(),
            "best": self.best().iter().map(row).collect::<Vec<_>>(),
            "rows": self.rows().iter().map(row).collect::<Vec<_>>(),
            "networks": networks.collect::<Vec<_>>(),
            "events": self.events,
        })
    }
}

/// A Markdown table: a line per function and lambda, median and least test error per kind of knots; the lambda with the
/// lowest median of its kind is marked.
fn table(runs: &[Run]) -> String {
    let mut lines = vec![String::from("| function | lambda |"), String::from("|---|---|")];
    for run in runs {
        lines[0] += &format!(" {} median (min) |", run.knots);
        lines[1] += "---|";
    }
    let rows: Vec<Vec<Row>> = runs.iter().map(Run::rows).collect();
    let best: Vec<Vec<Row>> = runs.iter().map(Run::best).collect();
    for n in 0..rows.first().map_or(0, Vec::len) {
        let (function, lambda) = (rows[0][n].function, rows[0][n].lambda);
        let mut line = format!("| {} | {lambda:e} |", function.name());
        for (rows, best) in rows.iter().zip(&best) {
            let errors = &rows[n].errors;
            let mark = best.iter().any(|b| b.function == function && b.lambda == lambda);
            let mark = if mark { "**" } else { "" };
            line += &format!(" {mark}{:.2e} ({:.2e}){mark} |", median(errors), errors[0]);
        }
        lines.push(line);
    }
    for run in runs {
        let (mean, most) = run.knot_counts();
        lines.push(format!(
            "{}: {mean:.1} knots per activation, at most {most}; certified Lipschitz constant of every network at most {}; {:.0} s",
            run.knots,
            run.lipschitz(),
            run.seconds
        ));
    }
    lines.join("\n")
}
