//! `train fit-network`: its result, its table, and what it refuses.

use std::process::{Command, Output};

fn fit(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
    command.arg("fit-network").args(arguments).output().unwrap()
}

const SMALL: [&str; 10] = [
    "--function",
    "f1,f4",
    "--lambda",
    "1e-7,1e-6",
    "--seeds",
    "2",
    "--steps",
    "60",
    "--samples",
    "64",
];

#[test]
fn the_result_is_one_object_with_certificates_and_is_repeatable() {
    let arguments = [&SMALL[..], &["--knots", "uniform:21,adaptive:8", "--json"]].concat();
    let output = fit(&arguments);
    let messages = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{messages}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(stdout.lines().count(), 1);
    let result: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for (run, (name, most)) in runs.iter().zip([("uniform:21", 21), ("adaptive:8", 8)]) {
        assert_eq!(run["knots"], name);
        let networks = run["networks"].as_array().unwrap();
        assert_eq!(networks.len(), 8);
        for network in networks {
            let certificate = &network["certificate"];
            assert!(certificate["lipschitz"].as_f64().unwrap() <= 1.0);
            assert_eq!(certificate["norms"].as_array().unwrap().len(), 4);
            assert!(network["most_knots"].as_u64().unwrap() <= most);
            assert!(network["test_mse"].as_f64().unwrap() < 0.1);
        }
        // The row of a function and lambda is made from its networks.
        for row in run["rows"].as_array().unwrap() {
            let mut errors: Vec<f64> = networks
                .iter()
                .filter(|n| n["function"] == row["function"] && n["lambda"] == row["lambda"])
                .map(|n| n["test_mse"].as_f64().unwrap())
                .collect();
            errors.sort_by(f64::total_cmp);
            assert_eq!(
                (errors.len(), row["min"].as_f64(), row["max"].as_f64()),
                (2, Some(errors[0]), Some(errors[1]))
            );
        }
        assert_eq!(run["best"].as_array().unwrap().len(), 2);
        assert_eq!(
            run["events"].as_array().unwrap().is_empty(),
            name.starts_with("uniform")
        );
    }
    assert!(messages.contains("| function | lambda | uniform:21 median (min) | adaptive:8 median (min) |"));
    assert!(messages.contains("| f4 | 1e-7 |"), "{messages}");
    let again: serde_json::Value = serde_json::from_slice(&fit(&arguments).stdout).unwrap();
    for (a, b) in runs.iter().zip(again["runs"].as_array().unwrap()) {
        assert_eq!(a["networks"], b["networks"]);
    }
}

#[test]
fn mistakes_are_one_line_and_exit_code_2() {
    for (wrong, why) in [
        (["--knots", "adaptive:3"], "want uniform:N"),
        (["--knots", "adaptive:300"], "want uniform:N"),
        (["--knots", "spiral:9"], "want uniform:N"),
        (["--function", "f5"], "possible values"),
        (["--rates", "1e-2,1e-3"], "three numbers"),
        (["--rates", "1,1e-3,1e-3"], "learning rate"),
        (["--rates", "nan,1e-3,1e-3"], "learning rate"),
        (["--hold", "1.5"], "part of the steps"),
        (["--insert", "14"], "at most all but 3"),
        (["--samples", "1"], "not in"),
    ] {
        let output = fit(&[&SMALL[..8], &wrong, &["--quiet"]].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        // Mesa's own lines are no messages of the program.
        let own: Vec<&str> = message.lines().filter(|l| !l.contains("XDG_RUNTIME_DIR")).collect();
        assert_eq!((output.status.code(), own.len()), (Some(2), 1), "{wrong:?}: {message}");
        assert!(own[0].contains(why), "{wrong:?}: {message}");
    }
    let output = fit(&[&SMALL[..2], &["--lambda=-1", "--seeds", "1", "--quiet"]].concat());
    assert_eq!(output.status.code(), Some(3));
}
