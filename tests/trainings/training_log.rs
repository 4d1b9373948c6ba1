//! The log of a training: whole lines, resumed at a step, and event files that an independent decoder reads back.

use knotwork::Error;
use knotwork::io::tensorboard::EventFile;
use knotwork::train::log::{FILE_NAME, Log, read_log};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn step(step: u64) -> Value {
    json!({
        "event": "step", "step": step, "loss": 0.25 + step as f64, "psnr": 29.5, "iterations": 31, "adjoint_iterations": 12,
        "gradient_norms": { "filters": 1e-3, "values": 2.0, "scalings": 0.5 }, "rate": 5e-3, "knots": 640, "tv2": 3.75,
        "seconds": 1.5,
    })
}

fn validation(step: u64) -> Value {
    json!({
        "event": "validation", "step": step, "best": true, "mean": 30.0,
        "psnr": [{ "sigma": 0.1, "psnr": 29.0 }, { "sigma": 0.02, "psnr": 31.0 }],
    })
}

fn text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(FILE_NAME)).unwrap()
}

#[test]
fn every_record_is_a_line_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path()).unwrap();
    assert_eq!(read_log(log.path()).unwrap(), Vec::<Value>::new());
    let records = [
        json!({ "event": "start", "step": 0, "note": "two\nlines \"quoted\"" }),
        step(1),
        validation(1),
    ];
    for (count, record) in records.iter().enumerate() {
        log.write(record).unwrap();
        assert_eq!(text(folder.path()).lines().count(), count + 1);
        assert!(text(folder.path()).ends_with('\n'));
    }
    assert_eq!(read_log(log.path()).unwrap(), records);
    log.write(&json!({ "event": "step", "step": 2, "loss": f64::NAN }))
        .unwrap();
    assert!(read_log(log.path()).unwrap()[3]["loss"].is_null());

    for senseless in [
        json!({ "event": "step" }),
        json!({ "step": 3 }),
        json!({ "event": 1, "step": 3 }),
        json!([1]),
    ] {
        assert!(matches!(log.write(&senseless), Err(Error::Internal(_))));
    }
    assert_eq!(text(folder.path()).lines().count(), 4);
    assert!(matches!(Log::create(folder.path()), Err(Error::Output { .. })));
    assert_eq!(text(folder.path()).lines().count(), 4, "refusing keeps the log");
}

#[test]
fn resuming_drops_later_steps_and_a_torn_line() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path()).unwrap();
    for n in 1..=5 {
        log.write(&step(n)).unwrap();
        log.write(&validation(n)).unwrap();
    }
    drop(log);
    let whole = text(folder.path());
    let torn = |cut: usize| {
        let line = step(6).to_string();
        std::fs::write(folder.path().join(FILE_NAME), format!("{whole}{}", &line[..cut])).unwrap();
        line.len()
    };
    let length = torn(0);
    for cut in [0, 1, 10, length - 1, length] {
        torn(cut);
        assert_eq!(read_log(&folder.path().join(FILE_NAME)).unwrap().len(), 10, "cut {cut}");
        let mut log = Log::resume(folder.path(), 3).unwrap();
        let kept: String = whole.lines().take(6).map(|line| format!("{line}\n")).collect();
        assert_eq!(text(folder.path()), kept, "cut {cut}");
        log.write(&step(4)).unwrap();
        let records = read_log(log.path()).unwrap();
        assert_eq!((records.len(), &records[6]), (7, &step(4)));
    }
    // A whole last line that is no record, as after a crash that wrote zeros.
    std::fs::write(folder.path().join(FILE_NAME), format!("{whole}\0\0\0\n")).unwrap();
    Log::resume(folder.path(), 9).unwrap();
    assert_eq!(text(folder.path()), whole);

    let spoilt = whole.replacen("{\"", "\"", 1);
    std::fs::write(folder.path().join(FILE_NAME), &spoilt).unwrap();
    let error = Log::resume(folder.path(), 3).unwrap_err();
    assert!(error.to_string().contains("line 1 is no log record"), "{error}");
    assert_eq!(text(folder.path()), spoilt, "refusing keeps the log");

    let other = tempfile::tempdir().unwrap();
    let mut log = Log::resume(other.path(), 3).unwrap();
    log.write(&step(4)).unwrap();
    assert_eq!(read_log(log.path()).unwrap(), [step(4)]);
    assert!(Log::create(&other.path().join("none")).is_err());
    assert!(Log::resume(&other.path().join("none"), 0).is_err());
}

/// CRC-32C from its table, eight bits at a time, unlike the writer's.
fn crc32c(data: &[u8]) -> u32 {
    let table: Vec<u32> = (0..256_u32)
        .map(|byte| (0..8).fold(byte, |c, _| if c % 2 == 1 { 0x82f6_3b78 ^ (c / 2) } else { c / 2 }))
        .collect();
    let crc = data
        .iter()
        .fold(!0_u32, |c, &b| table[((c ^ u32::from(b)) % 256) as usize] ^ (c / 256));
    !crc
}

fn masked(data: &[u8]) -> u32 {
    // Two copies side by side, of which the middle is the checksum turned by 15 bits.
    let twice = u64::from(crc32c(data)) * ((1 << 32) + 1);
    ((twice >> 15) as u32).wrapping_add(0xa282_ead8)
}

#[derive(Debug)]
enum Field {
    Integer(u64),
    Eight([u8; 8]),
    Bytes(Vec<u8>),
    Four([u8; 4]),
}

fn varint(data: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = data[0];
        *data = &data[1..];
        value |= u64::from(byte % 128) << shift;
        if byte < 128 {
            return value;
        }
    }
    panic!("an endless number");
}

fn take<const N: usize>(data: &mut &[u8]) -> [u8; N] {
    let (head, tail) = data.split_at(N);
    *data = tail;
    head.try_into().unwrap()
}

/// The fields of a message, by number.
fn fields(mut data: &[u8]) -> Vec<(u64, Field)> {
    let mut found = Vec::new();
    while !data.is_empty() {
        let key = varint(&mut data);
        let field = match key % 8 {
            0 => Field::Integer(varint(&mut data)),
            1 => Field::Eight(take(&mut data)),
            2 => {
                let length = varint(&mut data) as usize;
                let (head, tail) = data.split_at(length);
                data = tail;
                Field::Bytes(head.to_vec())
            }
            5 => Field::Four(take(&mut data)),
            other => panic!("wire type {other}"),
        };
        found.push((key / 8, field));
    }
    found
}

/// What an event says, decoded.
#[derive(Debug, Default, PartialEq)]
struct Event {
    wall_time: f64,
    step: u64,
    version: Option<String>,
    scalars: BTreeMap<String, f32>,
    restart: bool,
}

fn events(path: &Path) -> Vec<Event> {
    let file = std::fs::read(path).unwrap();
    let mut data = file.as_slice();
    let mut found = Vec::new();
    while !data.is_empty() {
        let length: [u8; 8] = take(&mut data);
        assert_eq!(u32::from_le_bytes(take(&mut data)), masked(&length));
        let (content, rest) = data.split_at(u64::from_le_bytes(length) as usize);
        data = rest;
        assert_eq!(u32::from_le_bytes(take(&mut data)), masked(content));
        let mut event = Event::default();
        for field in fields(content) {
            match field {
                (1, Field::Eight(bytes)) => event.wall_time = f64::from_le_bytes(bytes),
                (2, Field::Integer(step)) => event.step = step,
                (3, Field::Bytes(bytes)) => event.version = Some(String::from_utf8(bytes).unwrap()),
                (5, Field::Bytes(summary)) => {
                    for (number, value) in fields(&summary) {
                        let (1, Field::Bytes(value)) = (number, value) else {
                            panic!("field {number}")
                        };
                        let [(1, Field::Bytes(tag)), (2, Field::Four(bytes))] = &fields(&value)[..] else {
                            panic!("{value:?}")
                        };
                        let tag = String::from_utf8(tag.clone()).unwrap();
                        assert_eq!(event.scalars.insert(tag, f32::from_le_bytes(*bytes)), None);
                    }
                }
                (7, Field::Bytes(session)) => {
                    assert!(matches!(fields(&session)[..], [(1, Field::Integer(1))]));
                    event.restart = true;
                }
                other => panic!("{other:?}"),
            }
        }
        found.push(event);
    }
    found
}

fn event_files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("events.out.tfevents.")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn event_files_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = EventFile::create(folder.path(), 0).unwrap();
    let long = "x".repeat(300);
    file.scalars(0, [("loss", 0.5)]).unwrap();
    file.scalars(1 << 40, [(long.as_str(), -1e30), ("psnr/é", f64::INFINITY)])
        .unwrap();
    let read = events(file.path());
    assert_eq!(read.len(), 3);
    assert_eq!(read[0].version.as_deref(), Some("brain.Event:2"));
    assert!(read[0].scalars.is_empty() && !read[0].restart);
    assert_eq!((read[1].step, read[1].scalars["loss"]), (0, 0.5));
    assert_eq!((read[2].step, read[2].scalars[&long]), (1 << 40, -1e30));
    assert_eq!(read[2].scalars["psnr/é"], f32::INFINITY);
    // This century, and never backwards by more than a clock is set.
    assert!(
        read.iter()
            .all(|event| event.wall_time > 1.7e9 && event.wall_time < 4.1e9)
    );
    let second = EventFile::create(folder.path(), 7).unwrap();
    assert_ne!(second.path(), file.path());
    let read = events(second.path());
    assert_eq!((read.len(), read[1].step, read[1].restart), (2, 7, true));
}

#[test]
fn a_log_writes_its_numbers_as_scalars() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Log::create(folder.path()).unwrap().with_tensorboard().unwrap();
    log.write(&json!({ "event": "start", "step": 0, "why": "no number" }))
        .unwrap();
    log.write(&step(3)).unwrap();
    log.write(&validation(3)).unwrap();
    drop(log);
    let files = event_files(folder.path());
    let read = events(&files[0]);
    assert_eq!(read.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 3, 3]);
    let scalars = |event: &Event| {
        event
            .scalars
            .iter()
            .map(|(tag, v)| (tag.clone(), *v))
            .collect::<Vec<_>>()
    };
    let want: Vec<(String, f32)> = [
        ("step/adjoint_iterations", 12.0),
        ("step/gradient_norms/filters", 1e-3),
        ("step/gradient_norms/scalings", 0.5),
        ("step/gradient_norms/values", 2.0),
        ("step/iterations", 31.0),
        ("step/knots", 640.0),
        ("step/loss", 3.25),
        ("step/psnr", 29.5),
        ("step/rate", 5e-3),
        ("step/seconds", 1.5),
        ("step/tv2", 3.75),
    ]
    .map(|(tag, value)| (tag.to_owned(), value))
    .to_vec();
    assert_eq!(scalars(&read[1]), want);
    let want = [
        ("validation/mean", 30.0),
        ("validation/psnr/sigma_0.02", 31.0),
        ("validation/psnr/sigma_0.1", 29.0),
    ];
    assert_eq!(scalars(&read[2]), want.map(|(tag, value)| (tag.to_owned(), value)));

    let mut log = Log::resume(folder.path(), 2).unwrap().with_tensorboard().unwrap();
    log.write(&step(3)).unwrap();
    let files = event_files(folder.path());
    assert_eq!(files.len(), 2);
    let read = files
        .iter()
        .map(|file| events(file))
        .find(|events| events[1].restart)
        .unwrap();
    assert_eq!((read.len(), read[1].step, read[2].scalars["step/loss"]), (3, 3, 3.25));
}
