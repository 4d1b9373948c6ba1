//! `reconstruct batch`: many items through one device, in any number of processes, stopped and started at will.
//!
//! Every item has three files, written whole and in this order: the result, the record of its run, a note that says under which
//! key it was done. Work that is stopped anywhere, by whatever means, leaves items that are done and items that are not.

mod item;
mod note;
mod places;
mod plan;
mod results;
mod shard;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use serde_json::{Map, Value, json};

use super::options::parse_positive;
use super::{CommonArgs, Interrupt};
use crate::gpu::Gpu;
use crate::io::manifest;
use crate::{Error, Result};
pub use item::Template;
pub(super) use item::{Item, Items};
pub use note::SkipExisting;
use note::{Found, Note};
use places::Places;
use results::Results;
pub use shard::Shard;

/// Arguments of `reconstruct batch`.
#[derive(Args, Clone, Debug)]
pub struct BatchArgs {
    /// JSON lines, one object per item: "id", "input" and any option of the command by its long name, with true for those without
    /// a value. Paths are meant from the manifest's folder
    #[arg(long, value_name = "FILE.jsonl")]
    pub manifest: PathBuf,
    /// Where results go: a path with {id} in it. Folders are made
    #[arg(long, value_name = "PATH")]
    pub out_template: Template,
    /// Do only the items I, I+N, I+2N ... of the manifest, from 0 [default: the part of this task of a Slurm array, else all]
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Which items count as done already
    #[arg(long, value_enum, value_name = "RULE", default_value_t = SkipExisting::Verify)]
    pub skip_existing: SkipExisting,
    /// One JSON object per item, done now or before, as they come; the file is begun anew
    #[arg(long, value_name = "FILE.jsonl")]
    pub results: Option<PathBuf>,
    /// Begin no item after so many seconds, and end with exit code 75
    #[arg(long, value_name = "SECONDS", value_parser = parse_positive)]
    pub time_budget: Option<f64>,
    /// Go on after an item failed, and end with exit code 4: the default
    #[arg(long, overrides_with = "fail_fast")]
    pub keep_going: bool,
    /// End after the first item that failed
    #[arg(long, overrides_with = "keep_going")]
    pub fail_fast: bool,
    /// Read and check all files, say what is to be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Messages and device; JSON on stdout is one object per item, unless --results has them, and one that sums up at the end
    #[command(flatten)]
    pub common: CommonArgs,
    /// The reconstruction and the options that all items share; an item's own come first
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// What came of the items of a part so far.
#[derive(Debug, Default)]
struct Tally {
    items: usize,
    done: usize,
    skipped: usize,
    failed: usize,
    /// The first failure.
    first: Option<String>,
}

impl Tally {
    fn seen(&self) -> usize {
        self.done + self.skipped + self.failed
    }

    fn fail(&mut self, id: &str, error: &Error) {
        self.failed += 1;
        self.first.get_or_insert_with(|| format!("'{id}': {error}"));
    }

    /// [`Error::Partial`] if an item failed.
    fn verdict(self) -> Result<()> {
        match self.first {
            None => Ok(()),
            Some(first) => Err(Error::Partial(format!(
                "{} of {} items failed, the first: {first}; mend them and run again, what is done is not done again",
                self.failed, self.items
            ))),
        }
    }
}

/// The items of the part, after all lines were checked, those of other parts too.
fn items(args: &BatchArgs, shard: Shard) -> Result<Vec<Item>> {
    let entries = manifest::read(&args.manifest)?;
    let mut parser = Items::new(&args.manifest, &args.out_template, &args.command)?;
    let mut places = Places::default();
    places.reads(&args.manifest, "the manifest");
    let mut items = Vec::new();
    for (position, entry) in entries.iter().enumerate() {
        let item = parser.item(entry)?;
        places.reads_and_writes(&item);
        if shard.contains(position) {
            items.push(item);
        }
    }
    if let Some(results) = &args.results {
        places.writes(results, "--results");
    }
    if let Some(Some(trace)) = &args.common.device.profile {
        places.writes(trace, "--profile");
    }
    places.check()?;
    Ok(items)
}

/// `reconstruct batch`.
///
/// # Errors
/// [`Error::Usage`], [`Error::Input`] and [`Error::Output`] before anything is written, for what is wrong with the command line or
/// the manifest; [`Error::Partial`] if items failed; [`Error::Interrupted`] after a signal or at the end of the time budget, with
/// everything saved; [`Error::NoAdapter`], [`Error::DeviceLost`].
pub fn batch(args: &BatchArgs) -> Result<()> {
    let console = args.common.console();
    let shard = match args.shard {
        Some(shard) => shard,
        None => match Shard::of_slurm(|name| std::env::var(name).ok())? {
            Some(shard) => {
                console.say(format!("part {shard}, as the task of a Slurm array"));
                shard
            }
            None => Shard::WHOLE,
        },
    };
    let items = items(args, shard)?;
    if args.dry_run {
        return plan::plan(args, &console, shard, &items);
    }
    let mut results = Results::new(args.results.as_deref(), args.common.json)?;
    let interrupt = Interrupt::install()?;
    let mut work = Work {
        args,
        gpu: None,
        tally: Tally {
            items: items.len(),
            ..Tally::default()
        },
    };
    let begin = Instant::now();
    let bar = console.progress(items.len());
    let mut stopped = None;
    for item in &items {
        let spent = |budget: f64| begin.elapsed().as_secs_f64() >= budget;
        stopped = match (interrupt.requested(), args.time_budget) {
            (Some(signal), _) => Some(format!("stopped by {signal}")),
            (None, Some(budget)) if spent(budget) => Some(format!("the time budget of {budget} s is spent")),
            _ => None,
        };
        if stopped.is_some() {
            break;
        }
        let failure = work.item(item, &mut results)?;
        bar.inc(1);
        if let Some(Error::Interrupted(why)) = failure {
            stopped = Some(
                interrupt
                    .requested()
                    .map_or(why, |signal| format!("stopped by {signal}")),
            );
            break;
        }
        if let Some(error) = failure {
            bar.suspend(|| console.say(format!("failed: '{}': {error}", item.id)));
            if matches!(error, Error::DeviceLost(_)) {
                // Nothing more can be done with this device, and a new process gets a new one.
                return Err(Error::DeviceLost(format!("{error}; run again to continue")));
            }
            if args.fail_fast {
                break;
            }
        }
    }
    bar.finish_and_clear();
    results.finish()?;
    let Work { gpu, tally, .. } = work;
    let mut result = json!({
        "shard": shard.to_string(),
        "items": tally.items,
        "done": tally.done,
        "skipped": tally.skipped,
        "failed": tally.failed,
        "left": tally.items - tally.seen(),
        "adapter": gpu.as_ref().map(|gpu| &gpu.adapter().name),
        "seconds": begin.elapsed().as_secs_f64(),
    });
    if let Some(gpu) = &gpu {
        args.common.device.report(gpu, &console, &mut result)?;
    }
    console.say(format!(
        "{} items: {} done, {} done before, {} failed, {} left, in {:.1} s",
        tally.items,
        tally.done,
        tally.skipped,
        tally.failed,
        tally.items - tally.seen(),
        begin.elapsed().as_secs_f64()
    ));
    console.result(&result)?;
    if let Some(why) = stopped {
        return Err(Error::Interrupted(format!(
            "{why} after {} of {} items, {} of them failed; run again to continue",
            tally.seen(),
            tally.items,
            tally.failed
        )));
    }
    tally.verdict()
}

/// The batch at work.
struct Work<'a> {
    args: &'a BatchArgs,
    /// Opened for the first item that needs it.
    gpu: Option<Gpu>,
    tally: Tally,
}

impl Work<'_> {
    /// Does an item unless it is done, and returns why it could not be done.
    ///
    /// # Errors
    /// What stops all work: no device, results that cannot be written.
    fn item(&mut self, item: &Item, results: &mut Results) -> Result<Option<Error>> {
        let begin = Instant::now();
        let outcome = match Found::new(item, self.args.skip_existing) {
            Ok(Found::Done(note)) => Ok(("skipped", note.result)),
            Ok(Found::ToDo(key)) => {
                let gpu = match self.gpu.take() {
                    Some(gpu) => gpu,
                    None => self.args.common.device.open(None)?,
                };
                perform(item, key, self.gpu.insert(gpu), begin).map(|result| ("done", result))
            }
            Err(error) => Err(error),
        };
        // A stack that was stopped between two slices is still to be done.
        if let Err(error @ Error::Interrupted(_)) = outcome {
            return Ok(Some(error));
        }
        let (status, mut line, failure) = match outcome {
            Ok((status, result)) => (status, result, None),
            Err(error) => ("failed", Map::new(), Some(error)),
        };
        match &failure {
            None if status == "done" => self.tally.done += 1,
            None => self.tally.skipped += 1,
            Some(error) => {
                self.tally.fail(&item.id, error);
                line.insert("error".into(), error.to_string().into());
                line.insert("code".into(), error.exit_code().into());
                line.insert("seconds".into(), begin.elapsed().as_secs_f64().into());
            }
        }
        line.insert("id".into(), item.id.as_str().into());
        line.insert("status".into(), status.into());
        line.insert("output".into(), json!(item.output));
        results.line(&line.into())?;
        Ok(failure)
    }
}

/// Does an item, begun at `begin`, and returns what is to be told of it.
fn perform(item: &Item, key: String, gpu: &Gpu, begin: Instant) -> Result<Map<String, Value>> {
    if let Some(folder) = item.output.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| Error::output(folder, format!("{e}; choose another place for the results")))?;
    }
    let result = results::summary(&item.job.run(Some(gpu))?, begin.elapsed().as_secs_f64());
    Note::new(item, key, result.clone())?.write(item)?;
    Ok(result)
}
