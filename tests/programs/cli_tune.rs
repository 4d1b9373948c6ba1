//! `reconstruct tune` as a user meets it: the best of its table, stopped and resumed, in parts.

use crate::program::{Ended, Place};
use std::fs::read_to_string;

/// Three small scans, two of them for tuning.
fn place() -> Place {
    let place = Place::new();
    let mut manifest = String::new();
    for seed in 1..=3 {
        let run = |line: String| place.run(&line).success(&line);
        run(format!("simulate phantom -o t{seed}.npy --size 32 --seed {seed} -q"));
        run(format!(
            "simulate ct t{seed}.npy -o s{seed}.npy --angles 20 --detectors 48 --noise 0.8 --seed {seed} -q"
        ));
        if seed < 3 {
            manifest += &format!("{{\"id\":\"i{seed}\",\"input\":\"s{seed}.npy\",\"clean\":\"t{seed}.npy\"}}\n");
        }
    }
    std::fs::write(place.path("m.jsonl"), manifest).unwrap();
    place
}

fn tune(place: &Place, more: &str) -> Ended {
    place.run(&format!(
        "tune --manifest m.jsonl --until 1.7 --json -q {more} -- ct --tol 1e-3 --max-iter 60"
    ))
}

/// Points and their mean PSNR over the two items.
fn means(table: &str) -> Vec<([String; 2], f64)> {
    let mut points: std::collections::BTreeMap<[String; 2], Vec<f64>> = std::collections::BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 8, "{line}");
        let point = [fields[2], fields[3]].map(str::to_owned);
        points.entry(point).or_default().push(fields[4].parse().unwrap());
    }
    points
        .into_iter()
        .map(|(point, all)| {
            assert_eq!(all.len(), 2, "{point:?} was scored {} times", all.len());
            (point, all.iter().sum::<f64>() / 2.0)
        })
        .collect()
}

#[test]
fn finds_the_best_of_what_it_tried_and_goes_on_where_it_was_stopped() {
    let place = place();
    let result = tune(&place, "-o best.toml").success("tune").json();
    let table = read_to_string(place.path("best.scores.csv")).unwrap();
    let means = means(&table);
    assert!(means.len() >= 9);
    assert_eq!(result["computed"], 2 * means.len());
    let best = means.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    assert!((result["psnr"].as_f64().unwrap() - best.1).abs() < 1e-12);
    let settings: toml::Table = toml::from_str(&read_to_string(place.path("best.toml")).unwrap()).unwrap();
    for (name, text) in ["lambda", "sigma"].iter().zip(&best.0) {
        assert_eq!(settings[*name].as_float().unwrap(), text.parse::<f64>().unwrap());
    }
    // The settings serve where they were not tuned.
    let psnr = |more: &str| {
        let line = format!("ct s3.npy -o x.npy --clean t3.npy --json -q --tol 1e-3 --max-iter 60 {more}");
        place.run(&line).success(&line).json()["psnr"].as_f64().unwrap()
    };
    assert!(psnr("--settings best.toml") > psnr("--method fbp") + 1.0);

    // Nothing is computed twice; what a kill cut off is.
    assert_eq!(tune(&place, "-o best.toml").success("again").json()["computed"], 0);
    std::fs::write(place.path("best.scores.csv"), &table[..table.len() - 9]).unwrap();
    let again = tune(&place, "-o best.toml").success("cut").json();
    assert_eq!(
        (&again["computed"], &again["settings"]),
        (&1.into(), &result["settings"])
    );
    // Another measurement has other scores.
    std::fs::copy(place.path("s3.npy"), place.path("s2.npy")).unwrap();
    std::fs::copy(place.path("t3.npy"), place.path("t2.npy")).unwrap();
    let other = tune(&place, "-o best.toml").success("changed").json();
    assert!(other["computed"].as_u64().unwrap() >= 9);
}

/// The settings say everything that the scores rest on, also where it was left open: which model, and when pixels are done.
#[test]
fn settings_reconstruct_what_was_scored() {
    let place = Place::new();
    std::fs::write(place.path("k.pgm"), "P2\n3 3\n9\n1 2 1\n2 4 2\n1 2 1\n").unwrap();
    let run = |line: String| place.run(&line).success(&line);
    run("simulate phantom -o t.npy --size 32 --seed 4 -q".into());
    run("simulate deblur t.npy --kernel k.pgm -o b.npy --noise 0.01 --seed 2 -q".into());
    std::fs::write(
        place.path("m.jsonl"),
        "{\"id\":\"a\",\"input\":\"b.npy\",\"clean\":\"t.npy\"}\n",
    )
    .unwrap();
    for (given, model) in [
        ("", "wcrr-64"),
        (" --noise 0.01", "wcrr-64"),
        (" --sigma 0.02", "crr-48"),
        (" --noise 0.01 --model wcrr-small", "wcrr-small"),
    ] {
        let common = format!("--kernel k.pgm --max-iter 60{given}");
        let tuned = run(format!(
            "tune --manifest m.jsonl -o b.toml --until 2.5 --json -q -- deblur {common}"
        ))
        .json();
        let line = "deblur b.npy --kernel k.pgm --max-iter 60 --settings b.toml -o x.npy --clean t.npy --json -q";
        let again = run(line.into()).json();
        assert_eq!(again["psnr"], tuned["psnr"], "{given}");
        // Which one is the default depends on the strength.
        assert_eq!(
            (&tuned["settings"]["model"], &again["model"]),
            (&model.into(), &model.into()),
            "{given}"
        );
        std::fs::remove_file(place.path("b.scores.csv")).unwrap();
    }
}

#[test]
fn parts_find_the_same_together() {
    let place = place();
    let whole = tune(&place, "-o whole.toml").success("whole").json();
    let mut computed = 0;
    let mut ends = 0;
    for _ in 0..20 {
        ends = 0;
        for shard in 0..2 {
            let ended = tune(&place, &format!("-o part.toml --shard {shard}/2"));
            assert!(matches!(ended.code, Some(0 | 75)), "{}", ended.stderr);
            if ended.code == Some(0) {
                ends += 1;
                assert_eq!(ended.json()["settings"], whole["settings"]);
            } else {
                assert!(ended.stderr.contains("run again"), "{}", ended.stderr);
            }
        }
        if ends == 2 {
            break;
        }
    }
    assert_eq!(ends, 2, "the parts never met");
    for shard in 0..2 {
        computed += read_to_string(place.path(&format!("part.scores.{shard}-of-2.csv")))
            .unwrap()
            .lines()
            .count()
            - 1;
    }
    assert_eq!(whole["computed"], computed, "scores were computed twice or not at all");
    // A search without parts takes what they found, and so do other parts; and parts what one without found.
    for shard in ["part.toml", "part.toml --shard 1/3", "whole.toml --shard 0/2"] {
        let again = tune(&place, &format!("-o {shard}")).success(shard).json();
        assert_eq!(
            (&again["computed"], &again["settings"]),
            (&0.into(), &whole["settings"]),
            "{shard}"
        );
    }
    assert_eq!(tune(&place, "-o late.toml --time-budget 0.0001").code, Some(75));
}

#[test]
fn mistakes_are_one_line_each() {
    let place = place();
    let refuse = |line: &str, code: i32, expected: &[&str]| place.refuses_line(line, code, expected);
    refuse(
        "tune --manifest m.jsonl -o b.toml -- ct --method fbp",
        2,
        &["no strength"],
    );
    refuse(
        "tune --manifest m.jsonl -o b.toml -- denoise --sigma 0.1",
        2,
        &["denoise"],
    );
    refuse("tune --manifest m.jsonl -o m.jsonl -- ct", 2, &["m.jsonl"]);
    refuse("tune --manifest no.jsonl -o b.toml -- ct", 3, &["no.jsonl"]);
    refuse("tune --manifest m.jsonl -o b.toml --gamma 1 -- ct", 2, &["ratio"]);
    std::fs::write(place.path("n.jsonl"), "{\"id\":\"a\",\"input\":\"s1.npy\"}\n").unwrap();
    refuse("tune --manifest n.jsonl -o b.toml -- ct", 3, &["'a'", "clean"]);
    std::fs::write(place.path("mine.csv"), "my,notes\n1,2\n").unwrap();
    refuse(
        "tune --manifest m.jsonl -o b.toml --scores mine.csv -- ct",
        3,
        &["mine.csv", "--scores"],
    );
    assert_eq!(read_to_string(place.path("mine.csv")).unwrap(), "my,notes\n1,2\n");
}
