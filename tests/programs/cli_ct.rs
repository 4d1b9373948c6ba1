//! `reconstruct simulate phantom|ct` and `reconstruct ct` as a user meets them.

use crate::common::{gpu, turn};
use crate::program::{Place, RECONSTRUCT};
use knotwork::io::image::{Format, Image};
use knotwork::operator::{Geometry, Radon, apply, filtered_back_projection};

const SIZE: usize = 48;

fn read(place: &Place, name: &str) -> Vec<f32> {
    Image::read(place.path(name)).unwrap().planes
}

/// A phantom `t.npy` and its sinogram `s.npy` with noise of 0.5.
fn place() -> Place {
    let place = Place::new();
    place
        .run(&format!("simulate phantom -o t.npy --size {SIZE} --seed 4 -q"))
        .success("phantom");
    simulate(&place, "s.npy", "--noise 0.5 --seed 7");
    place
}

fn simulate(place: &Place, name: &str, more: &str) {
    place
        .run(&format!(
            "simulate ct t.npy -o {name} --angles 31 --detectors 73 -q {more}"
        ))
        .success("simulate ct");
}

fn geometry(place: &Place) -> Geometry {
    toml::from_str(&std::fs::read_to_string(place.path("s.geometry.toml")).unwrap()).unwrap()
}

#[test]
fn simulations_are_the_operator_plus_the_noise_that_was_asked_for() {
    let place = place();
    let geometry = geometry(&place);
    assert_eq!(
        [geometry.angles.len(), geometry.detectors, geometry.rows],
        [31, 73, SIZE]
    );
    let _turn = turn();
    let exact = apply(gpu(), &Radon::new(geometry).unwrap(), &read(&place, "t.npy"), false).unwrap();
    let noisy = read(&place, "s.npy");
    let noise: Vec<f64> = noisy.iter().zip(&exact).map(|(y, x)| f64::from(y - x)).collect();
    let sd = (noise.iter().map(|n| n * n).sum::<f64>() / noise.len() as f64).sqrt();
    // 2263 values: four standard errors are 6 %.
    assert!((sd / 0.5 - 1.0).abs() < 0.06, "{sd}");
    simulate(&place, "again.npy", "--noise 0.5 --seed 7");
    simulate(&place, "other.npy", "--noise 0.5 --seed 8");
    let bytes = |name: &str| std::fs::read(place.path(name)).unwrap();
    assert!(bytes("s.npy") == bytes("again.npy") && bytes("s.npy") != bytes("other.npy"));
    // A geometry of one's own gives the same data.
    place
        .run("simulate ct t.npy -o mine.npy --geometry s.geometry.toml --noise 0.5 --seed 7 -q")
        .success("own geometry");
    assert_eq!(bytes("s.npy"), bytes("mine.npy"));
}

#[test]
fn methods_reconstruct_and_the_model_does_best() {
    let place = place();
    let run = |line: &str| {
        let line = format!("ct s.npy -o x.npy --clean t.npy --json -q {line}");
        let line = line.trim();
        let result = place.run(line).success(line).json();
        assert_eq!(result["stop"], "converged", "{line}");
        result
    };
    let psnr = |line: &str| run(line)["psnr"].as_f64().unwrap();

    let fbp = psnr("--method fbp");
    let want: Vec<f32> = {
        let _turn = turn();
        filtered_back_projection(gpu(), &geometry(&place), &read(&place, "s.npy")).unwrap()
    };
    let want: Vec<f32> = want.iter().map(|v| v.max(0.0)).collect();
    assert_eq!(read(&place, "x.npy"), want, "filtered back projection within the box");

    let model = run("");
    let number = |name: &str| model[name].as_f64().unwrap();
    // The noise is estimated from 2263 values beneath which an object lies.
    assert!((number("noise") / 0.5 - 1.0).abs() < 0.25, "{}", number("noise"));
    let rule = (number("noise") / number("sigma")).powi(2);
    assert!((number("lambda") / rule - 1.0).abs() < 1e-9);
    assert_eq!(model["constants"]["step_certified"], true);
    let tv = psnr("--method tv");
    let model = number("psnr");
    assert!(
        model > tv + 2.0 && model > fbp + 4.0 && tv > fbp + 0.5,
        "{model} {tv} {fbp}"
    );

    // Settings from a file count, and options come before them.
    std::fs::write(place.path("set.toml"), "method = \"tv\"\nlambda = 3.5\n").unwrap();
    let result = run("--settings set.toml");
    assert_eq!(
        (&result["method"], result["lambda"].as_f64()),
        (&"tv".into(), Some(3.5))
    );
    assert_eq!(run("--settings set.toml --lambda 2")["lambda"], 2.0);
}

/// A fan whose source is 400 from the centre of an image that is 256 wide.
const FAN: &str = "--source-distance 400 --detector-distance 700";

#[test]
fn fans_and_short_scans_of_them_are_reconstructed_by_every_method() {
    let place = place();
    for (name, more) in [("fan.npy", "--angles 62"), ("short.npy", "--angles 44 --arc 250")] {
        place
            .run(&format!(
                "simulate ct t.npy -o {name} {FAN} {more} --detectors 73 --noise 0.5 --seed 7 -q"
            ))
            .success(name);
        let psnr = |line: &str| {
            let line = format!("ct {name} -o x.npy --clean t.npy --json -q {line}");
            let result = place.run(line.trim()).success(&line).json();
            assert_eq!(result["stop"], "converged", "{line}");
            result["psnr"].as_f64().unwrap()
        };
        let (fbp, tv, model) = (psnr("--method fbp"), psnr("--method tv"), psnr(""));
        println!("{name}: model {model:.2} dB, total variation {tv:.2} dB, filtered back projection {fbp:.2} dB");
        assert!(
            model > tv + 2.0 && model > fbp + 4.0 && tv > fbp + 0.5,
            "{name}: {model} {tv} {fbp}"
        );
    }
    let parse =
        |name: &str| -> Geometry { toml::from_str(&std::fs::read_to_string(place.path(name)).unwrap()).unwrap() };
    let (whole, short) = (parse("fan.geometry.toml"), parse("short.geometry.toml"));
    let fan = whole.fan.unwrap();
    assert_eq!((fan.source_distance, fan.detector_distance), (400.0, 700.0));
    assert_eq!((short.fan, short.angles.len()), (Some(fan), 44));
    assert!((whole.angles[31] - std::f64::consts::PI).abs() < 1e-12);
    assert!((short.angles[22].to_degrees() - 125.0).abs() < 1e-9);
    // The outer rays touch the circle around the image, up to half a detector.
    let (_, outermost) = whole.line(0.0, 72);
    let radius = 128.0 * std::f64::consts::SQRT_2;
    assert!(
        outermost < radius && outermost > radius * (1.0 - 1.5 / 73.0),
        "{outermost}"
    );
    // Files of parallel scans have no fan, as ever.
    let text = std::fs::read_to_string(place.path("s.geometry.toml")).unwrap();
    assert!(!text.contains("fan"), "{text}");
}

#[test]
fn mistakes_are_one_line_each() {
    let place = place();
    let refuse = |line: &str, code: i32, expected: &[&str]| place.refuses_line(line, code, expected);
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    std::fs::copy(place.path("s.npy"), place.path("alone.npy")).unwrap();
    refuse("ct alone.npy -o x.npy", 3, &["alone.geometry.toml", "--geometry"]);
    refuse(
        "ct t.npy -o x.npy --geometry s.geometry.toml",
        3,
        &["t.npy", "48", "31 angles x 73"],
    );
    refuse("ct s.npy -o x.npy --method zero-filled", 2, &["model, pnp, tv or fbp"]);
    refuse("ct s.npy -o s.npy", 2, &["-o"]);
    refuse("ct s.npy -o x.npy --clean s.npy", 3, &["s.npy", "48"]);
    refuse("ct s.npy -o x.npy --noise -1", 2, &["above 0"]);
    refuse("simulate ct t.npy -o t.npy", 2, &["t.npy", "-o"]);
    refuse("simulate ct t.npy -o y.npy --angles 0", 3, &["0 angles"]);
    refuse("simulate phantom -o p.npy --spread 0", 2, &["0.1 to 10"]);
    let text = std::fs::read_to_string(place.path("s.geometry.toml")).unwrap();
    for (from, to, expected) in [
        ("detectors = 73", "detectors = 0", "0 detectors"),
        ("detectors = 73", "detectors = 73\nsource = 3", "source"),
        ("detector_offset = 0.0", "detector_offset = nan", "finite"),
        ("rows = 48", "rows = -1", "line"),
    ] {
        assert!(text.contains(from));
        write("bad.toml", &text.replace(from, to));
        refuse("ct s.npy -o x.npy --geometry bad.toml", 3, &["bad.toml", expected]);
    }
    let fan = |table: &str| write("bad.toml", &format!("{text}\n[fan]\n{table}\n"));
    for (table, expected) in [
        (
            "source_distance = 150.0\ndetector_distance = 700.0",
            "through the image",
        ),
        (
            "source_distance = -400.0\ndetector_distance = 700.0",
            "source_distance is -400",
        ),
        (
            "source_distance = nan\ndetector_distance = 700.0",
            "source_distance is NaN",
        ),
        (
            "source_distance = 400.0\ndetector_distance = 300.0",
            "count from the source",
        ),
        ("source_distance = 400.0", "detector_distance"),
        (
            "source_distance = 400.0\ndetector_distance = 700.0\nangle = 3",
            "unknown field `angle`",
        ),
    ] {
        fan(table);
        refuse("ct s.npy -o x.npy --geometry bad.toml", 3, &["bad.toml", expected]);
        refuse(
            "simulate ct t.npy -o y.npy --geometry bad.toml",
            3,
            &["bad.toml", expected],
        );
    }
    write(
        "bad.toml",
        &text.replace("detector_offset = 0.0", "detector_offset = 900.0"),
    );
    refuse(
        "ct s.npy -o x.npy --geometry bad.toml --method fbp",
        3,
        &["bad.toml", "no ray meets the image"],
    );
    let simulate = "simulate ct t.npy -o y.npy";
    refuse(
        &format!("{simulate} --source-distance 400"),
        2,
        &["--detector-distance"],
    );
    refuse(
        &format!("{simulate} --detector-distance 400"),
        2,
        &["--source-distance"],
    );
    refuse(
        &format!("{simulate} --source-distance -4 --detector-distance 400"),
        2,
        &["--source-distance", "above 0"],
    );
    refuse(
        &format!("{simulate} --source-distance 100 --detector-distance 400"),
        3,
        &["through the image"],
    );
    refuse(
        &format!("{simulate} {FAN} --geometry s.geometry.toml"),
        2,
        &["--geometry"],
    );
    refuse(&format!("{simulate} --arc 0"), 2, &["--arc", "above 0"]);
    write("set.toml", "lambda = 1\ngamma = 2\n");
    refuse("ct s.npy -o x.npy --settings set.toml", 3, &["set.toml", "gamma"]);
    write("set.toml", "lambda = -1.0\n");
    refuse("ct s.npy -o x.npy --settings set.toml", 3, &["set.toml", "above 0"]);
    let bytes = std::fs::read(place.path("s.npy")).unwrap();
    std::fs::write(place.path("cut.npy"), &bytes[..bytes.len() - 5]).unwrap();
    refuse(
        "ct cut.npy -o x.npy --geometry s.geometry.toml",
        3,
        &["cut.npy", "truncated"],
    );
    let mut values = read(&place, "s.npy");
    values[75] = f32::NAN;
    let array = knotwork::io::npy::Array::new(vec![31, 73], knotwork::io::npy::Values::F32(values)).unwrap();
    array.write(place.path("nan.npy")).unwrap();
    refuse(
        "ct nan.npy -o x.npy --geometry s.geometry.toml",
        3,
        &["nan.npy", "row 1, column 2"],
    );
    place.refuses(
        RECONSTRUCT,
        &[],
        &["ct", "s.npy", "-o", "x.npy", "--model", "no.safetensors"],
        3,
        &["no.safetensors"],
    );
    let colour = Image::new(3, 4, 4, vec![0.5; 48], Format::Png8).unwrap();
    colour.write(place.path("c.png"), Format::Png8).unwrap();
    refuse("simulate ct c.png -o y.npy", 3, &["c.png", "channels"]);
}
