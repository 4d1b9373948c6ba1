//! `reconstruct batch --dry-run`: what would be done.

use serde_json::{Value, json};

use super::item::Item;
use super::note::{Found, SkipExisting};
use super::results::Results;
use super::{BatchArgs, Shard, Tally};
use crate::Result;
use crate::command::Console;

/// Finds out which items are done and whether the others can be done, as far as files tell.
///
/// # Errors
/// [`crate::Error::Partial`] if items would fail; [`crate::Error::Output`] if stdout cannot be written.
pub(super) fn plan(args: &BatchArgs, console: &Console, shard: Shard, items: &[Item]) -> Result<()> {
    let mut lines = Results::new(None, args.common.json)?;
    let mut tally = Tally {
        items: items.len(),
        ..Tally::default()
    };
    let (mut to_read, mut to_write, mut took) = (0, 0, Vec::new());
    for item in items {
        let mut line = json!({ "id": item.id, "input": item.input, "output": item.output });
        match find(item, args.skip_existing) {
            Ok((Found::Done(note), ..)) => {
                tally.skipped += 1;
                took.extend(note.result.get("seconds").and_then(Value::as_f64));
                line["status"] = json!("done");
                console.say(format!("done    {}", item.id));
            }
            Ok((Found::ToDo(_), read, written)) => {
                tally.done += 1;
                to_read += read;
                to_write += written;
                line["status"] = json!("to do");
                line["bytes"] = json!({ "read": read, "written": written });
                console.say(format!(
                    "to do   {}: {} ({read} bytes) -> {} ({written} bytes)",
                    item.id,
                    item.input.display(),
                    item.output.display()
                ));
            }
            Err(error) => {
                tally.fail(&item.id, &error);
                line["status"] = json!("failed");
                line["error"] = json!(error.to_string());
                line["code"] = json!(error.exit_code());
                console.say(format!("failed  {}: {error}", item.id));
            }
        }
        lines.line(&line)?;
    }
    // Items that are done tell how long those take that are not.
    let seconds = (!took.is_empty()).then(|| took.iter().sum::<f64>() / took.len() as f64 * tally.done as f64);
    let about = seconds.map_or(String::new(), |s| format!(", about {s:.0} s"));
    console.say(format!(
        "part {shard}, {} items: {} to do, {} done, {} would fail; {to_read} bytes to read, {to_write} bytes to write before compression{about}",
        items.len(),
        tally.done,
        tally.skipped,
        tally.failed
    ));
    console.result(&json!({
        "shard": shard.to_string(),
        "items": items.len(),
        "to_do": tally.done,
        "done": tally.skipped,
        "failed": tally.failed,
        "bytes": { "read": to_read, "written": to_write },
        "seconds": seconds,
    }))?;
    tally.verdict()
}

/// Whether an item is done; if not, the bytes it reads and those of its result, after its files were checked.
fn find(item: &Item, rule: SkipExisting) -> Result<(Found, u64, u64)> {
    let found = Found::new(item, rule)?;
    if matches!(found, Found::Done(_)) {
        return Ok((found, 0, 0));
    }
    let unnamed = item.job.unnamed_files();
    let named = item.files.iter().map(|(_, path)| path);
    let read = named
        .chain(unnamed.iter().map(|(_, path)| path))
        .map(|path| std::fs::metadata(path).map_or(0, |data| data.len()))
        .sum();
    Ok((found, read, item.job.result_bytes()?))
}
