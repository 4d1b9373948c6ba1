//! The report of a training: well-formed, complete, self-contained, and in one piece whatever the log holds.

use knotwork::io::image::Image;
use knotwork::model::Ridge;
use knotwork::model::dct::{DctSettings, dct};
use knotwork::report::{filters_picture, training_report};
use knotwork::spline::Spline;
use roxmltree::{Document, Node, ParsingOptions};
use serde_json::{Value, json};

const HOSTILE: &str = "</pre><script>alert('&')</script> \"]]>\u{0}\u{1b} <svg onload=x>";

/// The built-in model with an activation and a scaling of its own for every channel.
fn model() -> Ridge {
    let mut model = dct(&DctSettings::default()).unwrap();
    let channels = model.bank.channels();
    let knee = 0.01;
    model.activations = (0..channels)
        .map(|c| {
            let height = 0.1 + 0.005 * c as f64;
            let mut knots = vec![-3.0 * knee, -knee, knee, 3.0 * knee];
            let mut values = vec![-height, -height, height, height];
            if c % 2 == 1 {
                knots.push(5.0 * knee);
                values.push(height);
            }
            Spline::new(knots, values).unwrap()
        })
        .collect();
    model.scaling.log = (0..channels)
        .map(|c| Spline::new(vec![0.0, 0.5, 1.0], vec![0.1 * c as f64, 0.3, 0.2]).unwrap())
        .collect();
    model.scaling.epsilon = 1e-5;
    model.check().unwrap();
    model
}

/// A log as a training writes it, with a trend and scatter.
fn log(steps: u64) -> Vec<Value> {
    let mut records = vec![json!({ "event": "start", "step": 0, "seed": 1 })];
    for step in 1..=steps {
        let t = step as f64;
        let scatter = (t * 12.9898).sin();
        records.push(json!({
            "event": "step", "step": step, "loss": 30.0 / t.sqrt() * (1.0 + 0.3 * scatter), "psnr": 29.0 + t.ln() + 0.5 * scatter,
            "iterations": 30 + step % 5, "adjoint_iterations": 12,
            "gradient_norms": { "filters": 1e-2 / t, "values": 3.0 / t, "scalings": 1e-4 }, "rate": 5e-3 * 0.75_f64.powf(t / 50.0),
            "knots": 640_u64.saturating_sub(step / 10), "tv2": 4.0 - 1e-3 * t, "seconds": 1.5,
        }));
        if step % 50 == 0 {
            let mean = 31.0 - (t - 250.0).powi(2) * 1e-5;
            records.push(json!({
                "event": "validation", "step": step, "mean": mean, "best": step <= 250,
                "psnr": [{ "sigma": 5.0 / 255.0, "psnr": mean + 6.0 }, { "sigma": 25.0 / 255.0, "psnr": mean - 2.0 },
                         { "sigma": 0.06, "psnr": mean }],
            }));
            records.push(json!({
                "event": "knots", "step": step, "removed": 7, "inserted": 3, "knots": 640, "largest": 16, "rms_error": 1e-4,
            }));
        }
    }
    records.push(json!({ "event": "refused", "step": steps, "why": "a gradient was not finite" }));
    records.push(json!({ "event": "stop", "step": steps }));
    records
}

/// Parses the page and checks that it needs nothing else: no script, no reference but pictures inside it.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}\n{page}"));
    assert_eq!(document.root_element().tag_name().name(), "html");
    for node in document.descendants().filter(Node::is_element) {
        let name = node.tag_name().name();
        assert!(
            !["script", "link", "iframe", "object", "image", "use"].contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            assert_ne!(attribute.name(), "href");
            assert!(attribute.name() != "src" || attribute.value().starts_with("data:image/png;base64,"));
        }
        // Every position in a figure is a number.
        for place in ["x", "y", "x1", "y1", "x2", "y2", "cx", "cy"]
            .iter()
            .filter_map(|n| node.attribute(*n))
        {
            assert!(place.parse::<f64>().unwrap().is_finite());
        }
        for pair in node.attribute("points").unwrap_or("").split_whitespace() {
            assert!(pair.split(',').all(|n| n.parse::<f64>().unwrap().is_finite()), "{pair}");
        }
    }
    document
}

fn texts<'d>(document: &'d Document, element: &str) -> Vec<&'d str> {
    let named = document.descendants().filter(|n| n.tag_name().name() == element);
    named.map(|n| n.text().unwrap_or("")).collect()
}

/// The cells of the row that starts with `name`.
fn row<'d>(document: &'d Document, name: &str) -> Vec<&'d str> {
    let rows: Vec<Vec<&str>> = document
        .descendants()
        .filter(|n| n.tag_name().name() == "tr")
        .map(|row| row.children().map(|cell| cell.text().unwrap_or("")).collect())
        .filter(|cells: &Vec<&str>| cells[0] == name)
        .collect();
    assert_eq!(rows.len(), 1, "rows named {name}");
    rows[0].clone()
}

/// The labels of vertical axes, which stand upright in the figures.
fn panels<'d>(document: &'d Document) -> Vec<&'d str> {
    let upright = |n: &Node| n.tag_name().name() == "text" && n.attribute("transform").is_some();
    document
        .descendants()
        .filter(upright)
        .map(|n| n.text().unwrap_or(""))
        .collect()
}

fn groups(document: &Document, class: &str) -> usize {
    document
        .descendants()
        .filter(|n| n.attribute("class") == Some(class))
        .count()
}

#[test]
fn the_page_says_what_the_log_and_the_model_hold() {
    let (model, records) = (model(), log(400));
    let settings = json!({ "steps": 400, "data": { "patch": 40 } });
    let page = training_report(&model, &records, &settings).unwrap();
    assert_eq!(page, training_report(&model, &records, &settings).unwrap());
    let document = parsed(&page);
    assert_eq!(texts(&document, "h1"), ["Training of dct5"]);
    assert_eq!(row(&document, "steps")[1], "400");
    // Step 250 is the best; the mean there is 31.
    assert_eq!(row(&document, "best validation PSNR, mean")[1], "31.000 dB at step 250");
    assert_eq!(row(&document, "at σ = 5/255")[1], "37.000 dB");
    assert_eq!(row(&document, "at σ = 25/255")[1], "29.000 dB");
    assert_eq!(row(&document, "at σ = 0.0600")[1], "31.000 dB");
    // 24 filters of 5 x 5; 12 activations of 4 knots and 12 of 5; 24 scalings of 3.
    assert_eq!(
        row(&document, "parameters")[1],
        "780 (600 filter taps, 108 nodal values, 72 of the scalings)"
    );
    assert_eq!(row(&document, "knots")[1..], ["108 in 24 activations, 4 to 5 each"][..]);
    assert_eq!(row(&document, "energy_convex")[1], "true");
    assert_eq!(row(&document, "norm_kind")[1], "bound");
    let largest: f64 = row(&document, "gradient_lipschitz")[1].parse().unwrap();
    assert_eq!(largest, model.gradient_lipschitz());

    assert_eq!(
        panels(&document),
        [
            "loss",
            "PSNR of batches [dB]",
            "validation PSNR [dB]",
            "learning rate",
            "gradient norm, mean",
            "iterations, mean",
            "knots",
            "TV2 of all activations",
            "α",
            "α (σ + ε)",
        ]
    );
    let labels = texts(&document, "text");
    for label in [
        "σ 5/255",
        "σ 0.0600",
        "σ 25/255",
        "filters",
        "values",
        "scalings",
        "adapted",
        "φ 23",
        "ψ 0",
        "5 knots",
    ] {
        assert!(labels.contains(&label), "no {label}");
    }
    assert_eq!(groups(&document, "knots"), 24);
    // Lines of 8 + 2 panels and of 48 small ones: 1, 1, 3, 1, 3, 2, 1, 1 and twice 24 curves.
    assert_eq!(groups(&document, "line"), 13 + 48 + 48);
    let moments = document
        .descendants()
        .filter(|n| n.attribute("class") == Some("moments"));
    let drawn: Vec<usize> = moments.map(|g| g.children().filter(Node::is_element).count()).collect();
    assert_eq!(drawn, [8, 8]);

    let events = document.descendants().filter(|n| n.tag_name().name() == "td");
    let cells: Vec<&str> = events.map(|n| n.text().unwrap_or("")).collect();
    assert!(cells.contains(&"why: a gradient was not finite"));
    assert_eq!(
        cells.iter().filter(|cell| **cell == "knots").count(),
        1 + 8,
        "a row of the summary and 8 events"
    );
    let shown: Value = serde_json::from_str(texts(&document, "pre")[0]).unwrap();
    assert_eq!(shown, settings);

    // The picture is the one of the filters, pixel by pixel.
    let image = document.descendants().find(|n| n.tag_name().name() == "img").unwrap();
    let data = image.attribute("src").unwrap().split_once("base64,").unwrap().1;
    let want = filters_picture(&model.bank).unwrap();
    let got = Image::from_bytes(&decoded(data)).unwrap();
    assert_eq!((got.height, got.width), (want.height, want.width));
    for (got, want) in got.planes.iter().zip(&want.planes) {
        assert!((got - want).abs() <= 0.5 / 255.0 + 1e-6, "{got} for {want}");
    }
}

/// Base64, four letters at a time, by searching the alphabet.
fn decoded(text: &str) -> Vec<u8> {
    let alphabet: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .chain(['+', '/'])
        .collect();
    let mut bytes = Vec::new();
    for four in text.as_bytes().chunks(4) {
        let digits: Vec<u32> = four
            .iter()
            .filter_map(|&c| alphabet.iter().position(|&a| a == char::from(c)))
            .map(|digit| digit as u32)
            .collect();
        let word = digits
            .iter()
            .enumerate()
            .map(|(n, digit)| digit << (18 - 6 * n))
            .sum::<u32>();
        bytes.extend_from_slice(&word.to_be_bytes()[1..digits.len()]);
    }
    bytes
}

#[test]
fn logs_of_any_kind_give_a_page() {
    let shared = dct(&DctSettings::default()).unwrap();
    let one = |record: Value| vec![record];
    let mut partial = log(3);
    for record in &mut partial {
        record.as_object_mut().unwrap().remove("psnr");
    }
    let logs = [
        vec![],
        one(json!({ "event": "start", "step": 0 })),
        one(log(1)[1].clone()),
        one(
            json!({ "event": "step", "step": 1, "loss": null, "psnr": 1e300, "gradient_norms": 3, "knots": -1, "rate": 0.0 }),
        ),
        one(json!({ "event": "step" })),
        one(json!({ "event": "validation", "step": 5, "psnr": [], "mean": null, "best": false })),
        one(
            json!({ "event": "validation", "step": 5, "psnr": [{ "sigma": 0.1 }, 3, { "sigma": 0.0, "psnr": 20.0 }], "mean": 20.0 }),
        ),
        vec![
            json!(null),
            json!([1, 2]),
            json!("text"),
            json!({ "step": -3, "event": 7 }),
        ],
        partial,
        log(1000),
    ];
    for records in &logs {
        let page = training_report(&shared, records, &json!({})).unwrap();
        let document = parsed(&page);
        assert!(texts(&document, "h2").contains(&"Certificate"));
        let drawn = groups(&document, "line") > 4;
        let measured = records
            .iter()
            .any(|r| r["loss"].is_number() || r["psnr"].is_number() || r["mean"] == 20.0);
        assert_eq!(drawn, measured, "{:?}", records.first());
        let none = texts(&document, "p").contains(&"The log holds no step and no validation yet.");
        assert_eq!(none, !measured, "{:?}", records.first());
        let validated = records.iter().any(|r| r["event"] == "validation");
        assert_eq!(page.contains("none yet"), !validated);
    }
    let many = (0..500).map(|n| json!({ "event": "refused", "step": n, "why": format!("reason {n}") }));
    let page = training_report(&shared, &many.collect::<Vec<_>>(), &json!({})).unwrap();
    let document = parsed(&page);
    let cells = texts(&document, "td");
    assert!(cells.contains(&"why: reason 499") && !cells.contains(&"why: reason 100"));
    assert!(cells.contains(&"460 earlier ones are in the log only"));
    // 10000 steps draw no more than a page can show.
    let large = training_report(&shared, &log(10_000), &json!({})).unwrap();
    assert!(large.len() < 400_000, "{} bytes", large.len());
}

#[test]
fn names_stay_text() {
    let mut hostile = model();
    hostile.name = HOSTILE.into();
    let records = [
        json!({ "event": HOSTILE, "step": 1, HOSTILE: HOSTILE }),
        json!({ "event": "refused", "step": 1, "why": HOSTILE }),
    ];
    let page = training_report(&hostile, &records, &json!({ HOSTILE: HOSTILE })).unwrap();
    let document = parsed(&page);
    assert!(texts(&document, "h1")[0].starts_with("Training of </pre><script>alert('&')</script>"));
    assert!(
        texts(&document, "td")
            .iter()
            .any(|cell| cell.starts_with("why: </pre><script>"))
    );
    let settings = texts(&document, "pre")[0];
    assert!(settings.contains("</pre><script>"), "{settings}");
}
