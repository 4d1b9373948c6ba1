//! `train fit` as a user meets it.

use crate::program::{Place, TRAIN};
use knotwork::model::SplineModel;
use serde_json::Value;

/// A noisy zigzag, as `s.csv`.
fn place() -> Place {
    let place = Place::new();
    let mut text = "x,y\n".to_owned();
    for n in 0..120 {
        let x = f64::from(n) / 40.0 - 1.5;
        let noise = f64::from((n * 7919) % 13 - 6) / 150.0;
        text += &format!("{x},{}\n", (2.0 * (x - x.round())).abs() + noise);
    }
    std::fs::write(place.path("s.csv"), text).unwrap();
    place
}

fn fit(place: &Place, options: &str) -> Value {
    let line = format!("fit s.csv -o m.safetensors --json {options}");
    let words: Vec<&str> = line.split_whitespace().collect();
    place.run_with(TRAIN, &[], &words).success(options).json()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name]
        .as_f64()
        .unwrap_or_else(|| panic!("no number {name} in {value}"))
}

#[test]
fn a_fit_leaves_a_model_a_figure_and_a_record() {
    let place = place();
    let result = fit(&place, "--lambda 0.01 --bounds lipschitz");
    assert!(number(&result, "relative_gap").abs() <= 1e-5, "{result}");
    assert_eq!(result["gap_kind"], "exact");
    assert!(number(&result, "slope_min") >= -1.0 && number(&result, "slope_max") <= 1.0);
    assert!(number(&result, "iterations") >= number(&result, "knots"));
    for name in ["objective", "exact_objective", "tv2", "seconds"] {
        assert!(number(&result, name) > 0.0, "{name}: {result}");
    }
    let model = SplineModel::read(&place.path("m.safetensors")).unwrap();
    assert_eq!(model.bounds.to_string(), "-1,1");
    // The numbers are those of the model: recomputed from it alone.
    let text = std::fs::read_to_string(place.path("s.csv")).unwrap();
    let loss: f64 = text
        .lines()
        .skip(1)
        .map(|line| {
            let (x, y) = line.split_once(',').unwrap();
            let x = f64::from(x.parse::<f64>().unwrap() as f32);
            0.5 * (model.spline.value(x) - y.parse::<f64>().unwrap()).powi(2)
        })
        .sum();
    let objective = loss + 0.01 * model.spline.tv2();
    assert!((objective - number(&result, "objective")).abs() <= 1e-9 * objective);
    assert_eq!(number(&result, "knots") as usize, model.spline.len() - 2);

    let figure = std::fs::read_to_string(place.path("m.svg")).unwrap();
    assert!(figure.contains("<svg"));
    let record: Value = serde_json::from_slice(&std::fs::read(place.path("m.run.json")).unwrap()).unwrap();
    assert_eq!(record["command"], "fit");
    assert_eq!(record["settings"]["bounds"], "-1,1");
    assert_eq!(
        record["results"]["spline"]["knots"].as_array().unwrap().len(),
        model.spline.len()
    );
    assert!(record["outputs"]["model"]["blake3"].is_string());
}

#[test]
fn options_reach_the_fit() {
    let place = place();
    let few = fit(&place, "--lambda 1e-6 --max-knots 4");
    assert!(number(&few, "knots") <= 4.0, "{few}");
    assert!(number(&few, "lambda") > number(&few, "lambda_asked"));

    let path = fit(&place, "--lambda-path 1,0.1,0.01 --loss huber:0.05");
    let knots: Vec<f64> = path["path"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| number(f, "knots"))
        .collect();
    assert_eq!(knots.len(), 3);
    assert!(knots[0] < knots[2], "{knots:?}");
    assert_eq!(number(&path, "lambda"), 0.01);

    let uniform = fit(&place, "--lambda 0.01 --knots uniform:9");
    assert_eq!(number(&uniform, "nodes"), 9.0);
    assert!(
        number(&uniform, "relative_gap") > 1e-3,
        "nine even knots cannot reach the optimum"
    );

    let absolute = fit(&place, "--lambda 0.1 --loss l1 --bounds=-3,3");
    assert!(number(&absolute, "relative_gap").abs() <= 1e-4, "{absolute}");
}

#[test]
fn duplicates_and_impossible_trends_are_said() {
    let place = Place::new();
    std::fs::write(place.path("s.csv"), "0,0\n1,3\n1,1\n2,4\n3,6\n").unwrap();
    let words: Vec<&str> = "fit s.csv -o m.safetensors --lambda 0.1 --bounds lipschitz --json"
        .split(' ')
        .collect();
    let ended = place.run_with(TRAIN, &[], &words).success("fit");
    assert!(ended.stderr.contains("1 samples share their x"), "{}", ended.stderr);
    assert!(ended.stderr.contains("differing by up to 2.000e0"), "{}", ended.stderr);
    assert!(ended.stderr.contains("the bounds -1,1 exclude"), "{}", ended.stderr);
    let result = ended.json();
    assert_eq!(result["merged"], 1);
    assert_eq!(result["warnings"].as_array().unwrap().len(), 2);
    // Slope 1 everywhere is the best admissible function, and the objective counts all five samples.
    let best = |offset: f64| -> f64 {
        let data = [(0.0, 0.0), (1.0, 3.0), (1.0, 1.0), (2.0, 4.0), (3.0, 6.0)];
        data.iter().map(|(x, y)| 0.5 * (x + offset - y as &f64).powi(2)).sum()
    };
    let want = best(1.4);
    assert!(
        (number(&result, "objective") - want).abs() <= 1e-6 * want,
        "{result} {want}"
    );
}

#[test]
fn mistakes_are_one_line() {
    let place = place();
    std::fs::write(place.path("one.csv"), "1,2\n1,3\n").unwrap();
    std::fs::write(place.path("nan.csv"), "1,2\n2,nan\n3,1\n").unwrap();
    let refuses = |line: &str, code: i32, expected: &[&str]| {
        let words: Vec<&str> = line.split(' ').collect();
        place.refuses(TRAIN, &[], &words, code, expected);
    };
    refuses("fit s.csv -o m.safetensors", 2, &["--lambda"]);
    refuses("fit s.csv -o m.safetensors --lambda -1", 2, &["not negative"]);
    refuses("fit s.csv -o m.safetensors --lambda nan", 2, &["not negative"]);
    refuses(
        "fit s.csv -o m.safetensors --lambda 1 --lambda-path 1,2",
        2,
        &["--lambda-path"],
    );
    refuses(
        "fit s.csv -o m.safetensors --lambda 1 --bounds 2,1",
        2,
        &["s_min is 2 and s_max is 1"],
    );
    refuses(
        "fit s.csv -o m.safetensors --lambda 1 --bounds steep",
        2,
        &["unknown slope bounds", "lipschitz"],
    );
    refuses("fit s.csv -o m.safetensors --lambda 1 --loss huber:0", 2, &["above 0"]);
    refuses("fit s.csv -o m.safetensors --lambda 1 --loss l2", 2, &["huber:DELTA"]);
    refuses(
        "fit s.csv -o m.safetensors --lambda 1 --knots uniform:1",
        2,
        &["2 points"],
    );
    refuses(
        "fit s.csv -o m.safetensors --lambda 1 --knots uniform:99999",
        2,
        &["uniform grid"],
    );
    refuses(
        "fit none.csv -o m.safetensors --lambda 1",
        3,
        &["none.csv", "no such file"],
    );
    refuses(
        "fit one.csv -o m.safetensors --lambda 1",
        3,
        &["one.csv", "2 or more distinct x"],
    );
    refuses("fit nan.csv -o m.safetensors --lambda 1", 3, &["nan.csv", "line 2"]);
    refuses("fit s.csv -o s.csv --lambda 1", 2, &["s.csv", "replace another file"]);
    refuses("fit s.csv -o m.svg --lambda 1", 2, &["m.svg", "replace another file"]);
    refuses("fit s.csv -o no/m.safetensors --lambda 1", 2, &["does not exist"]);
}
