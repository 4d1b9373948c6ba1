//! `reconstruct batch` stopped by whatever means and started again: nothing is lost, nothing that was finished is done again, and
//! all results are those of a run that nobody disturbed.

use crate::items::{lines, manifest, photo, read};
use crate::program::{Place, RECONSTRUCT};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Every run of the test draws other times; a failure says which.
struct Draws(u64);

impl Draws {
    fn new() -> Self {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        println!("seed {seed}");
        Self(seed | 1)
    }

    /// In [0, 1).
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn up_to(&mut self, most: usize) -> usize {
        (self.next() * (most + 1) as f64) as usize
    }
}

fn batch_of(count: usize) -> (Place, Vec<String>) {
    let place = Place::new();
    let ids: Vec<String> = (0..count).map(|n| format!("item{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        photo(&place, &format!("{id}.npy"), n as u64);
    }
    let entries: Vec<_> = ids.iter().map(|id| (id.as_str(), format!("{id}.npy"), "")).collect();
    manifest(&place, &entries);
    (place, ids)
}

fn start(place: &Place, out: &str, results: &str) -> Child {
    let template = format!("{out}/{{id}}.npy");
    Command::new(RECONSTRUCT)
        .args([
            "batch",
            "--manifest",
            "items.jsonl",
            "--out-template",
            &template,
            "--results",
            results,
        ])
        .args(["--quiet", "--", "denoise", "--sigma", "0.1"])
        .current_dir(place.path(""))
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        .env_remove("RUST_LOG")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The whole lines of a list of results that may be growing or cut short.
fn told(place: &Place, name: &str) -> Vec<Value> {
    let bytes = std::fs::read(place.path(name)).unwrap_or_default();
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
    lines(std::str::from_utf8(&bytes[..whole]).unwrap())
}

/// Waits until `count` items were told of, or the process has ended.
fn wait_for(place: &Place, name: &str, count: usize, child: &mut Child) -> bool {
    let begin = Instant::now();
    while told(place, name).len() < count {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(begin.elapsed() < Duration::from_secs(120), "no {count} items in {name}");
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// The three files of a finished item, by what changes whenever they are written: a rename brings another inode or time.
type Stamp = [(u64, i64, i64); 3];

fn finished(place: &Place, ids: &[String], out: &str) -> BTreeMap<String, Stamp> {
    let stamp = |path: String| {
        let data = std::fs::metadata(place.path(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        (data.ino(), data.mtime(), data.mtime_nsec())
    };
    ids.iter()
        .filter(|id| place.path(&format!("{out}/{id}.item.json")).exists())
        // A note comes last: where there is one, the others are there.
        .map(|id| {
            (
                id.clone(),
                ["npy", "run.json", "item.json"].map(|end| stamp(format!("{out}/{id}.{end}"))),
            )
        })
        .collect()
}

/// Runs a batch of `count` items, kills it `kills` times and lets it finish.
fn killed_and_resumed(count: usize, kills: usize) {
    let (place, ids) = batch_of(count);
    let begin = Instant::now();
    assert!(start(&place, "whole", "whole.jsonl").wait().unwrap().success());
    let per_item = begin.elapsed() / count as u32;
    let mut draws = Draws::new();
    let mut done: BTreeMap<String, Stamp> = BTreeMap::new();
    let mut computed: BTreeMap<String, usize> = BTreeMap::new();
    let mut killed = 0;
    for kill in 0..=kills {
        let name = format!("run{kill}.jsonl");
        let mut child = start(&place, "out", &name);
        if kill < kills {
            // At any time: before the device is there, or in the midst of any item.
            let most = 2 * (count - done.len()) / (kills - kill + 1);
            let target = draws.up_to(most);
            let found = target == 0 || wait_for(&place, &name, done.len() + target, &mut child);
            std::thread::sleep(per_item.mul_f64(2.0 * draws.next()));
            if found && child.try_wait().unwrap().is_none() {
                killed += 1;
            }
            child.kill().unwrap();
            child.wait().unwrap();
        } else {
            assert!(child.wait().unwrap().success());
            let statuses: Vec<_> = told(&place, &name);
            assert_eq!(statuses.len(), count, "every item is told of");
            let skipped = statuses.iter().filter(|line| line["status"] == "skipped").count();
            assert_eq!(skipped, done.len(), "what was finished is skipped");
        }
        for line in told(&place, &name).iter().filter(|line| line["status"] == "done") {
            *computed.entry(line["id"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        let now = finished(&place, &ids, "out");
        for (id, stamp) in &done {
            assert_eq!(
                now.get(id),
                Some(stamp),
                "{id} was finished before run {kill} and written again"
            );
        }
        // Whatever is there is whole, with a note or not yet.
        for id in ids.iter().filter(|id| place.path(&format!("out/{id}.npy")).exists()) {
            let same = read(&place, &format!("out/{id}.npy")) == read(&place, &format!("whole/{id}.npy"));
            assert!(same, "{id} differs after run {kill}");
        }
        println!("run {kill}: {} of {count} finished", now.len());
        done = now;
    }
    assert_eq!(done.len(), count, "none is lost");
    assert!(computed.values().all(|times| *times == 1), "{computed:?}");
    assert!(
        2 * killed >= kills,
        "only {killed} of {kills} kills met a running batch"
    );
    // Killed processes may leave temporary files, at most one each; nothing else is there.
    let files = std::fs::read_dir(place.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let (temporary, others): (Vec<_>, Vec<_>) =
        files.partition(|name| name.to_string_lossy().starts_with(".knotwork-"));
    assert_eq!(others.len(), 3 * count);
    println!(
        "{killed} kills met a running batch; {} temporary files left",
        temporary.len()
    );
    assert!(temporary.len() <= kills);
}

#[test]
fn a_killed_batch_goes_on_where_it_was() {
    killed_and_resumed(24, 3);
}

#[test]
#[ignore = "takes a minute: the same with 200 items and ten kills"]
fn a_large_batch_killed_ten_times() {
    killed_and_resumed(200, 10);
}

#[test]
fn a_signal_lets_the_item_finish() {
    let (place, ids) = batch_of(40);
    for (run, signal) in ["TERM", "INT", "USR1"].into_iter().enumerate() {
        let name = format!("run{run}.jsonl");
        let before = finished(&place, &ids, "out");
        let mut child = start(&place, "out", &name);
        assert!(wait_for(&place, &name, before.len() + 1, &mut child));
        let sent = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(75), "{signal}");
        let now = finished(&place, &ids, "out");
        assert!(
            now.len() > before.len() && now.len() < ids.len(),
            "{signal}: {} items",
            now.len()
        );
        // Nothing is left half done, and what is told is what there is.
        assert_eq!(std::fs::read_dir(place.path("out")).unwrap().count(), 3 * now.len());
        assert_eq!(told(&place, &name).len(), now.len());
    }
    assert!(start(&place, "out", "last.jsonl").wait().unwrap().success());
    assert_eq!(finished(&place, &ids, "out").len(), ids.len());
}

#[test]
fn several_processes_share_a_batch() {
    let (place, ids) = batch_of(12);
    assert!(start(&place, "whole", "whole.jsonl").wait().unwrap().success());
    let part = |index: usize| {
        let shard = format!("{index}/3");
        let results = format!("part{index}.jsonl");
        Command::new(RECONSTRUCT)
            .args([
                "batch",
                "--manifest",
                "items.jsonl",
                "--out-template",
                "out/{id}.npy",
                "--shard",
                &shard,
            ])
            .args(["--results", &results, "--quiet", "--", "denoise", "--sigma", "0.1"])
            .current_dir(place.path(""))
            .env("XDG_RUNTIME_DIR", std::env::temp_dir())
            .spawn()
            .unwrap()
    };
    let children: Vec<Child> = (0..3).map(part).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let told: Vec<Value> = (0..3).flat_map(|n| told(&place, &format!("part{n}.jsonl"))).collect();
    assert!(told.iter().all(|line| line["status"] == "done"));
    let mut seen: Vec<&str> = told.iter().map(|line| line["id"].as_str().unwrap()).collect();
    let mut want: Vec<&str> = ids.iter().map(String::as_str).collect();
    seen.sort_unstable();
    want.sort_unstable();
    assert_eq!(seen, want);
    for id in &ids {
        assert!(
            read(&place, &format!("out/{id}.npy")) == read(&place, &format!("whole/{id}.npy")),
            "{id}"
        );
    }
}
