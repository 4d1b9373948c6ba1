//! `reconstruct batch` as a user meets it: what is done, what is done again, what is refused.

use crate::items::{SIZE, lines, manifest, photo, read, statuses};
use crate::program::{Ended, Place, RECONSTRUCT};
use knotwork::io::image::{Format, Image};
use serde_json::Value;
use std::collections::BTreeMap;

const DENOISE: &str = "batch --manifest items.jsonl --out-template out/{id}.npy --json";

/// Runs the items of a manifest; the parameters of the denoising come last.
fn denoise(place: &Place, options: &str) -> Ended {
    place.run(&format!("{DENOISE}{options} -- denoise --sigma 0.1"))
}

/// Three noisy images and the manifest of their denoising.
fn three() -> Place {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        photo(&place, &format!("{name}.npy"), u64::from(name.as_bytes()[0]));
    }
    manifest(&place, &["a", "b", "c"].map(|name| (name, format!("{name}.npy"), "")));
    place
}

fn all(status: &str) -> BTreeMap<String, String> {
    ["a", "b", "c"].map(|id| (id.to_owned(), status.to_owned())).into()
}

fn only(id: &str) -> BTreeMap<String, String> {
    let mut statuses = all("skipped");
    statuses.insert(id.into(), "done".into());
    statuses
}

#[test]
fn items_are_what_the_command_makes_of_them_alone() {
    let place = three();
    let ended = denoise(&place, "").success("batch");
    assert_eq!(statuses(&ended.stdout), all("done"));
    let summary: Value = serde_json::from_str(ended.stdout.lines().next_back().unwrap()).unwrap();
    assert_eq!((&summary["items"], &summary["done"]), (&3.into(), &3.into()));
    for id in ["a", "b", "c"] {
        let note: Value = serde_json::from_slice(&read(&place, &format!("out/{id}.item.json"))).unwrap();
        let done = read(&place, &format!("out/{id}.npy"));
        std::fs::remove_file(place.path(&format!("out/{id}.npy"))).unwrap();
        let arguments: Vec<&str> = note["arguments"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap())
            .collect();
        place.run_with(RECONSTRUCT, &[], &arguments).success("the item alone");
        assert!(
            done == read(&place, &format!("out/{id}.npy")),
            "{id} differs from the command run alone"
        );
    }
}

#[test]
fn an_item_is_done_again_only_when_something_that_matters_changed() {
    let place = three();
    let statuses_of = |options: &str| statuses(&denoise(&place, options).success(options).stdout);
    assert_eq!(statuses_of(""), all("done"));
    let first = denoise(&place, "").success("the second run");
    assert_eq!(statuses(&first.stdout), all("skipped"));
    // Lines of items that were done before say the same of them.
    assert!(
        lines(&first.stdout)
            .iter()
            .all(|line| line["iterations"].as_u64() > Some(1))
    );
    let again = |what: &str, id: &str| {
        assert_eq!(statuses_of(""), only(id), "{what}");
        assert_eq!(statuses_of(""), all("skipped"), "{what}, twice");
    };

    // An input of another content; one of the same content, written anew.
    photo(&place, "b.npy", 77);
    again("input", "b");
    photo(&place, "b.npy", 77);
    assert_eq!(statuses_of(""), all("skipped"), "the same bytes written again");
    // The result, its record or the note are not what they were.
    let mut bytes = read(&place, "out/c.npy");
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(place.path("out/c.npy"), bytes).unwrap();
    again("result", "c");
    std::fs::remove_file(place.path("out/a.run.json")).unwrap();
    again("record", "a");
    std::fs::write(place.path("out/b.item.json"), &read(&place, "out/b.item.json")[..40]).unwrap();
    again("note", "b");
    std::fs::write(
        place.path("out/b.item.json"),
        String::from_utf8(read(&place, "out/b.item.json"))
            .unwrap()
            .replace("\"schema\":1", "\"schema\":2"),
    )
    .unwrap();
    again("schema of the note", "b");
    // An option of one item, then of all; a default written out is the same.
    let with = |options: [&str; 3]| {
        let items: Vec<_> = ["a", "b", "c"].into_iter().zip(options).collect();
        manifest(
            &place,
            &items
                .iter()
                .map(|(id, o)| (*id, format!("{id}.npy"), *o))
                .collect::<Vec<_>>(),
        );
    };
    with(["", "", ",\"sigma\":0.2"]);
    again("sigma of c", "c");
    with(["", ",\"lambda\":1", ",\"sigma\":\"0.2\""]);
    assert_eq!(statuses_of(""), all("skipped"), "the default, written out");
    let other = place
        .run(&format!("{DENOISE} -- denoise --sigma 0.1 --tol 1e-3"))
        .success("tol");
    assert_eq!(statuses(&other.stdout), all("done"));
    // Rules.
    let other = denoise(&place, " --skip-existing exists").success("exists");
    assert_eq!(statuses(&other.stdout), all("skipped"), "whatever they hold");
    assert_eq!(statuses_of(" --skip-existing never"), all("done"));
}

#[test]
fn files_beside_the_input_count_too() {
    let place = Place::new();
    std::fs::create_dir(place.path("scans")).unwrap();
    place
        .run("simulate phantom -o scans/true.npy --size 16 --quiet")
        .success("phantom");
    let scan = "simulate ct scans/true.npy -o scans/scan.npy --angles 12 --detectors 23 --noise 0.1 --quiet";
    place.run(scan).success("scan");
    place
        .run("simulate inpaint scans/true.npy -o scans/holes.npy --keep 0.5 --quiet")
        .success("holes");
    // From the manifest's folder; a shipped model is none of its files.
    let line = r#"{"id":"scan","input":"scan.npy","clean":"true.npy","model":"crr-32","settings":"set.toml"}"#;
    std::fs::write(place.path("scans/items.jsonl"), line).unwrap();
    std::fs::write(place.path("scans/set.toml"), "lambda = 2.0\nsigma = 0.02\n").unwrap();
    let run = || {
        let line = "batch --manifest scans/items.jsonl --out-template made/here/{id}.npy --json -- ct --max-iter 30";
        let ended = place.run(line).success("ct");
        let line = &lines(&ended.stdout)[0];
        assert!(line["psnr"].as_f64() > Some(10.0));
        assert_eq!(line["model"], "crr-32");
        line["status"].as_str().unwrap().to_owned()
    };
    assert_eq!([run(), run()], ["done", "skipped"]);
    assert!(place.path("made/here/scan.npy").is_file());
    std::fs::write(place.path("scans/set.toml"), "lambda = 3.0\nsigma = 0.02\n").unwrap();
    assert_eq!([run(), run()], ["done", "skipped"], "settings");
    let geometry = String::from_utf8(read(&place, "scans/scan.geometry.toml")).unwrap();
    std::fs::write(place.path("scans/scan.geometry.toml"), format!("# seen\n{geometry}")).unwrap();
    assert_eq!([run(), run()], ["done", "skipped"], "geometry");
    // The model that settings name is a file that is read.
    std::fs::copy("assets/models/crr-32.safetensors", place.path("own.safetensors")).unwrap();
    let settings = "lambda = 3.0\nsigma = 0.02\nmodel = \"own.safetensors\"\n";
    std::fs::write(place.path("scans/set.toml"), settings).unwrap();
    std::fs::write(
        place.path("scans/items.jsonl"),
        line.replace(r#""model":"crr-32","#, ""),
    )
    .unwrap();
    assert_eq!([run(), run()], ["done", "skipped"], "model in settings");
    let item =
        "batch --manifest scans/items.jsonl --out-template made/here/{id}.npy --dry-run --json -- ct --max-iter 30";
    let status = || lines(&place.run(item).stdout)[0]["status"].as_str().unwrap().to_owned();
    assert_eq!(status(), "done");
    std::fs::copy("assets/models/dct5.safetensors", place.path("own.safetensors")).unwrap();
    assert_eq!(status(), "to do", "another model under the name in the settings");
}

#[test]
fn parts_cover_every_item_once() {
    let place = Place::new();
    photo(&place, "x.npy", 1);
    let ids: Vec<String> = (0..7).map(|n| format!("i{n}")).collect();
    let items: Vec<_> = ids.iter().map(|id| (id.as_str(), "x.npy".to_owned(), "")).collect();
    manifest(&place, &items);
    let plan = |variables: &[(&str, &str)], shard: Option<&str>| -> Vec<String> {
        let mut arguments: Vec<&str> = DENOISE.split(' ').collect();
        arguments.push("--dry-run");
        arguments.extend(shard.into_iter().flat_map(|shard| ["--shard", shard]));
        arguments.extend(["--", "denoise", "--sigma", "0.1"]);
        let ended = place.run_with(RECONSTRUCT, variables, &arguments).success("plan");
        statuses(&ended.stdout).into_keys().collect()
    };
    for count in [1, 2, 3, 7, 9] {
        let mut seen = Vec::new();
        for index in 0..count {
            let part = plan(&[], Some(&format!("{index}/{count}")));
            assert!(part.len() >= 7 / count && part.len() <= 7_usize.div_ceil(count));
            // The tasks of an array from 5 on, in steps of 2.
            let (id, count) = ((5 + 2 * index).to_string(), count.to_string());
            let slurm = [
                ("SLURM_ARRAY_TASK_ID", id.as_str()),
                ("SLURM_ARRAY_TASK_MIN", "5"),
                ("SLURM_ARRAY_TASK_STEP", "2"),
                ("SLURM_ARRAY_TASK_COUNT", count.as_str()),
            ];
            assert_eq!(plan(&slurm, None), part);
            assert_eq!(plan(&slurm, Some("0/1")).len(), 7, "what is asked for comes first");
            seen.extend(part);
        }
        seen.sort();
        assert_eq!(seen, ids, "{count} parts");
    }
    place.refuses(
        RECONSTRUCT,
        &[
            ("SLURM_ARRAY_TASK_ID", "9"),
            ("SLURM_ARRAY_TASK_MIN", "1"),
            ("SLURM_ARRAY_TASK_COUNT", "3"),
        ],
        &format!("{DENOISE} -- denoise --sigma 0.1")
            .split(' ')
            .collect::<Vec<_>>(),
        2,
        &["9", "--shard"],
    );
}

#[test]
fn a_failed_item_is_told_and_done_once_it_can_be() {
    let place = three();
    std::fs::rename(place.path("b.npy"), place.path("gone.npy")).unwrap();
    let ended = denoise(&place, " --results r.jsonl --quiet");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let message = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(
        message.contains("1 of 3") && message.contains("'b'") && message.contains("b.npy"),
        "{message}"
    );
    assert_eq!(ended.json()["failed"], 1);
    let told = lines(&String::from_utf8(read(&place, "r.jsonl")).unwrap());
    assert_eq!((&told[1]["status"], &told[1]["code"]), (&"failed".into(), &3.into()));
    assert!(told[1]["error"].as_str().unwrap().contains("b.npy"));
    assert_eq!(
        (&told[0]["status"], &told[2]["status"]),
        (&"done".into(), &"done".into())
    );

    std::fs::remove_dir_all(place.path("out")).unwrap();
    let ended = denoise(&place, " --fail-fast");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let summary: Value = serde_json::from_str(ended.stdout.lines().next_back().unwrap()).unwrap();
    assert_eq!(
        [&summary["done"], &summary["failed"], &summary["left"]],
        [&1, &1, &1].map(|n: &i32| n)
    );
    // A dry run foresees it.
    let dry = denoise(&place, " --dry-run");
    assert_eq!(dry.code, Some(4));
    assert_eq!(statuses(&dry.stdout)["b"], "failed");

    std::fs::rename(place.path("gone.npy"), place.path("b.npy")).unwrap();
    let ended = denoise(&place, "").success("mended");
    let want = [("a", "skipped"), ("b", "done"), ("c", "done")];
    assert_eq!(
        statuses(&ended.stdout),
        want.map(|(id, s)| (id.to_owned(), s.to_owned())).into()
    );
    // Write errors are failures as well.
    std::fs::remove_dir_all(place.path("out")).unwrap();
    std::fs::write(place.path("out"), "a file where a folder should be").unwrap();
    let ended = denoise(&place, " --results r.jsonl --quiet");
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    let told = lines(&String::from_utf8(read(&place, "r.jsonl")).unwrap());
    assert!(told.iter().all(|line| line["code"] == 2), "{told:?}");
}

#[test]
fn a_dry_run_needs_no_device_and_writes_nothing() {
    let place = three();
    let before = place.files();
    let nowhere = [("WGPU_ADAPTER_NAME", "no such adapter")];
    let arguments: Vec<String> = format!("{DENOISE} --dry-run --results r.jsonl -- denoise --sigma 0.1")
        .split(' ')
        .map(str::to_owned)
        .collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let dry = place.run_with(RECONSTRUCT, &nowhere, &arguments).success("dry run");
    assert_eq!(statuses(&dry.stdout), all("to do"));
    let summary: Value = serde_json::from_str(dry.stdout.lines().next_back().unwrap()).unwrap();
    let input = std::fs::metadata(place.path("a.npy")).unwrap().len();
    assert_eq!(summary["bytes"]["read"], 3 * input);
    assert_eq!(summary["bytes"]["written"], 3 * 4 * SIZE[0] * SIZE[1]);
    assert_eq!(summary["seconds"], Value::Null);
    assert_eq!(place.files(), before);
    denoise(&place, " --shard 0/2").success("two of them");
    let dry = denoise(&place, " --dry-run").success("dry run");
    let summary: Value = serde_json::from_str(dry.stdout.lines().next_back().unwrap()).unwrap();
    assert_eq!((&summary["done"], &summary["to_do"]), (&2.into(), &1.into()));
    assert!(summary["seconds"].as_f64() > Some(0.0));
    // Neither does a batch of which everything is done.
    denoise(&place, "").success("the third");
    let arguments: Vec<&str> = arguments.into_iter().filter(|a| *a != "--dry-run").collect();
    place
        .run_with(RECONSTRUCT, &nowhere, &arguments)
        .success("nothing to do");
    // No device: an error at once, and no list of results that says nothing.
    std::fs::remove_dir_all(place.path("out")).unwrap();
    std::fs::remove_file(place.path("r.jsonl")).unwrap();
    place.refuses(RECONSTRUCT, &nowhere, &arguments, 5, &["no such adapter"]);
}

#[test]
fn the_time_budget_ends_between_items() {
    let place = three();
    let ended = denoise(&place, " --time-budget 0.01");
    assert_eq!(ended.code, Some(75), "{}", ended.stderr);
    assert!(ended.stderr.contains("run again"), "{}", ended.stderr);
    // Opening the device takes longer than that: exactly the first was done.
    assert_eq!(statuses(&ended.stdout), [("a".to_owned(), "done".to_owned())].into());
    let ended = denoise(&place, " --time-budget 1000").success("the rest");
    assert_eq!(statuses(&ended.stdout)["a"], "skipped");
    assert_eq!(statuses(&ended.stdout)["c"], "done");
}

#[test]
fn mistakes_are_one_line_and_nothing_is_written() {
    let place = three();
    let refuses_manifest = |text: &str, expected: &[&str]| {
        std::fs::write(place.path("bad.jsonl"), text).unwrap();
        let line = "batch --manifest bad.jsonl --out-template out/{id}.npy --results r.jsonl -- denoise --sigma 0.1";
        place.refuses_line(line, 3, expected);
    };
    let good = r#"{"id":"a","input":"a.npy"}"#;
    let second = |text: &str| format!("{good}\n\n{text}\n");
    refuses_manifest("", &["bad.jsonl", "empty"]);
    refuses_manifest("\n \n", &["no item"]);
    refuses_manifest(&second("[1]"), &["line 3", "object"]);
    refuses_manifest(&second(r#"{"id":"b","input":"b.npy""#), &["line 3"]);
    refuses_manifest(&second(r#"{"id":"b"}"#), &["line 3", "\"input\" is missing"]);
    refuses_manifest(&second(r#"{"input":"b.npy"}"#), &["line 3", "\"id\" is missing"]);
    refuses_manifest(&second(r#"{"id":"A","input":"b.npy"}"#), &["line 3", "'A'", "line 1"]);
    refuses_manifest(
        &second(r#"{"id":"b","id":"c","input":"b.npy"}"#),
        &["line 3", "\"id\" is given twice"],
    );
    for id in ["", "..", "-x", "a/b", "a b", "ä", &"x".repeat(129)] {
        refuses_manifest(
            &second(&format!(r#"{{"id":"{id}","input":"b.npy"}}"#)),
            &["line 3", "id "],
        );
    }
    let option = |text: &str| second(&format!(r#"{{"id":"b","input":"b.npy",{text}}}"#));
    refuses_manifest(&option(r#""sigm":0.1"#), &["line 3", "\"sigm\"", "sigma"]);
    refuses_manifest(&option(r#""sigma":12"#), &["line 3", "12"]);
    refuses_manifest(&option(r#""sigma":[1]"#), &["line 3", "\"sigma\""]);
    refuses_manifest(&option(r#""solver":false"#), &["line 3", "\"solver\""]);
    refuses_manifest(&option(r#""solver":"quick""#), &["line 3", "--solver"]);
    refuses_manifest(&option(r#""sigma":true"#), &["line 3", "--sigma"]);
    refuses_manifest(&option(r#""mask":"b.npy""#), &["line 3", "\"mask\""]);
    refuses_manifest(&option(r#""adapter":"x""#), &["line 3", "before --"]);
    refuses_manifest(&option(r#""output":"x.npy""#), &["line 3", "--out-template"]);
    std::fs::remove_file(place.path("bad.jsonl")).unwrap();

    let refuses = |line: &str, code: i32, expected: &[&str]| place.refuses_line(line, code, expected);
    let tail = "-- denoise --sigma 0.1";
    let head = "batch --manifest items.jsonl";
    refuses(
        &format!("batch --manifest no.jsonl --out-template {{id}}.npy {tail}"),
        3,
        &["no.jsonl"],
    );
    refuses(&format!("{head} --out-template out.npy {tail}"), 2, &["{id}"]);
    refuses(&format!("{head} --out-template {{id}}.jpg {tail}"), 2, &[".jpg"]);
    refuses(&format!("{head} --out-template {{id}} {tail}"), 2, &["{id}"]);
    refuses(
        &format!("{head} --out-template {{id}}.npy {tail}"),
        2,
        &["a.npy", "--out-template"],
    );
    refuses(
        &format!("{head} --out-template ./x/../{{id}}.npy {tail}"),
        2,
        &["a.npy"],
    );
    let head = format!("{head} --out-template out/{{id}}.npy");
    refuses(&format!("{head} --results a.npy {tail}"), 2, &["a.npy", "--results"]);
    refuses(&format!("{head} --results items.jsonl {tail}"), 2, &["items.jsonl"]);
    refuses(&format!("{head} --results no/r.jsonl {tail}"), 2, &["no/r.jsonl"]);
    refuses(&format!("{head} --shard 2/2 {tail}"), 2, &["from 0"]);
    refuses(&format!("{head} --time-budget 0 {tail}"), 2, &["time-budget"]);
    refuses(&head, 2, &["COMMAND"]);
    refuses(&format!("{head} -- simulate"), 2, &["simulate"]);
    refuses(&format!("{head} -- --sigma 0.1 denoise"), 2, &["--sigma"]);
    refuses(&format!("{head} -- denoise --help"), 2, &["--help"]);
    refuses(&format!("{head} -- denoise"), 3, &["line 1", "--sigma"]);
    refuses(&format!("{head} -- denoise x.npy"), 2, &["x.npy"]);
    refuses(&format!("{head} -- denoise --sigma 0.1 --sigma 0.2"), 2, &["--sigma"]);
    refuses(&format!("{head} -- denoise --sigma 0.1 -o x.npy"), 2, &["--output"]);
    refuses(
        &format!("{head} -- denoise --sigma 0.1 --record x.json"),
        2,
        &["--record", "--out-template"],
    );
    refuses(
        &format!("{head} -- denoise --sigma 0.1 --timeout 5"),
        2,
        &["--timeout", "before --"],
    );
}

#[test]
fn an_output_keeps_its_kind_and_an_option_of_an_item_comes_first() {
    let place = three();
    let items = [
        (
            "a",
            "a.npy".to_owned(),
            ",\"max-iter\":7,\"solver\":\"plain\",\"tol\":1e-9",
        ),
        ("b", "b.npy".into(), ""),
    ];
    manifest(&place, &items);
    let line = "batch --manifest items.jsonl --out-template {id}-out.tif --json -- denoise --sigma 0.1 --max-iter 200";
    let ended = place.run(line).success("tif");
    let told = lines(&ended.stdout);
    assert_eq!(
        (&told[0]["iterations"], &told[0]["stop"]),
        (&7.into(), &"max-iterations".into())
    );
    assert_eq!(told[1]["stop"], "converged");
    let image = Image::read(place.path("a-out.tif")).unwrap();
    assert_eq!((image.format, [image.height, image.width]), (Format::TiffF32, SIZE));
}
