//! Figures: well-formed XML whatever the data and names are, every knot where the axes say it is, the same bytes twice.

use knotwork::report::plot::{Chart, activations_figure, spline_fit_figure};
use knotwork::spline::{Samples, SlopeBounds, Spline};
use proptest::prelude::*;
use roxmltree::{Document, Node};

const HOSTILE: &str = "</title><script>alert('&')</script> \"]]>\u{0}\u{1b}[31m\n&#0; é∫\u{ffff}";

fn number(node: Node, name: &str) -> f64 {
    let text = node.attribute(name).unwrap_or_else(|| panic!("{node:?} has no {name}"));
    let value: f64 = text.parse().unwrap();
    assert!(value.is_finite(), "{node:?}: {name} is {text}");
    value
}

/// All groups of a class in the order of the file.
fn groups<'a>(document: &'a Document, class: &str) -> Vec<Node<'a, 'a>> {
    let of_class = |n: &Node| n.has_tag_name(svg("g")) && n.attribute("class") == Some(class);
    document.descendants().filter(of_class).collect()
}

/// A name of the SVG namespace.
fn svg(name: &str) -> (&'static str, &str) {
    ("http://www.w3.org/2000/svg", name)
}

/// Parses an image and checks that all its geometry is finite and on the page.
fn parsed(image: &str) -> Document<'_> {
    let document = Document::parse(image).unwrap_or_else(|error| panic!("{error}\n{image}"));
    let root = document.root_element();
    assert_eq!(root.tag_name(), roxmltree::ExpandedName::from(svg("svg")));
    let (width, height) = (number(root, "width"), number(root, "height"));
    for node in document.descendants().filter(Node::is_element) {
        for (names, limit) in [(["x", "x1", "x2", "cx"], width), (["y", "y1", "y2", "cy"], height)] {
            for name in names.into_iter().filter(|name| node.has_attribute(*name)) {
                let place = number(node, name);
                assert!((0.0..=limit).contains(&place), "{node:?}: {name} is {place}");
            }
        }
        for pair in node.attribute("points").unwrap_or("").split_whitespace() {
            let (x, y) = pair.split_once(',').unwrap();
            let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
            assert!((0.0..=width).contains(&x) && (0.0..=height).contains(&y), "{pair}");
        }
    }
    document
}

/// The centres of the knots that a panel marks, from left to right.
fn marked_knots(document: &Document, panel: usize) -> Vec<(f64, f64)> {
    let classes = ["knots", "end-knots"].map(|class| groups(document, class)[panel]);
    let circles = classes
        .iter()
        .flat_map(Node::children)
        .filter(|n| n.has_tag_name(svg("circle")));
    let mut centres: Vec<(f64, f64)> = circles.map(|c| (number(c, "cx"), number(c, "cy"))).collect();
    centres.sort_by(|a, b| a.0.total_cmp(&b.0));
    centres
}

/// What the labels of a panel's axes say: pixel and value of every tick, along x and along y. (Labels are centred under
/// their tick or end left of it; there is no power of ten or offset in the figures where this is used.)
fn ticks(document: &Document, panel: usize) -> [Vec<(f64, f64)>; 2] {
    let mut found = [vec![], vec![]];
    for text in groups(document, "axes")[panel]
        .children()
        .filter(|n| n.has_tag_name(svg("text")))
    {
        let content = text.text().unwrap().replace('−', "-");
        if let Ok(value) = content.parse::<f64>() {
            match text.attribute("text-anchor") {
                Some("middle") => found[0].push((number(text, "x"), value)),
                Some("end") => found[1].push((number(text, "y") - 0.35 * number(text, "font-size"), value)),
                _ => panic!("{text:?}"),
            }
        }
    }
    found
}

/// The value at a pixel, read off the axis as a person would, and how far two hundredths of a pixel reach.
fn read_off(ticks: &[(f64, f64)], pixel: f64) -> (f64, f64) {
    let (first, last) = (ticks[0], ticks[ticks.len() - 1]);
    let per_pixel = (last.1 - first.1) / (last.0 - first.0);
    (first.1 + per_pixel * (pixel - first.0), 0.02 * per_pixel.abs() * 2.0)
}

fn zigzag() -> Spline {
    Spline::new(vec![-2.0, -0.7, 0.1, 1.3, 3.0], vec![0.3, -1.2, 0.9, 0.4, 2.2]).unwrap()
}

fn samples(x: &[f64], y: &[f64]) -> Samples {
    Samples::new(x, y, None).unwrap()
}

#[test]
fn knots_stand_where_the_axes_say() {
    let spline = zigzag();
    let image = activations_figure(&[("first", &spline), ("second", &spline)]);
    let document = parsed(&image);
    for panel in 0..2 {
        let [x_ticks, y_ticks] = ticks(&document, panel);
        assert!(x_ticks.len() >= 2 && y_ticks.len() >= 2);
        let marked = marked_knots(&document, panel);
        assert_eq!(marked.len(), spline.len());
        for ((knot, value), centre) in spline.knots().iter().zip(spline.values()).zip(marked) {
            for (ticks, pixel, want) in [(&x_ticks, centre.0, *knot), (&y_ticks, centre.1, *value)] {
                let (got, tolerance) = read_off(ticks, pixel);
                assert!(
                    (got - want).abs() <= tolerance,
                    "{got} for {want}, tolerance {tolerance}"
                );
            }
        }
    }
    for name in ["first", "second", "5 knots"] {
        assert!(document.descendants().any(|n| n.text() == Some(name)), "no {name}");
    }
}

/// The lower panel against the slopes: heights of the steps, bounds and strokes, in pixels of the same axis.
#[test]
fn the_derivative_and_its_bounds_are_drawn_to_scale() {
    let spline = zigzag();
    let bounds = SlopeBounds::new(-2.0, 3.5).unwrap();
    let x: Vec<f64> = (0..50).map(|n| f64::from(n) / 10.0 - 2.0).collect();
    let y: Vec<f64> = x.iter().map(|&x| spline.value(x) + 0.1).collect();
    let image = spline_fit_figure(&samples(&x, &y), &spline, &bounds, "Scale");
    let document = parsed(&image);
    assert_eq!(marked_knots(&document, 0).len(), spline.len());
    let circles = groups(&document, "points")[0]
        .children()
        .filter(|n| n.has_tag_name(svg("circle")));
    assert_eq!(circles.count(), 50);

    let [x_ticks, y_ticks] = ticks(&document, 1);
    let steps = groups(&document, "line")[1].first_element_child().unwrap();
    let corners: Vec<(f64, f64)> = steps
        .attribute("points")
        .unwrap()
        .split(' ')
        .map(|pair| pair.split_once(',').unwrap())
        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
        .collect();
    assert_eq!(corners.len(), 2 * (spline.len() - 1));
    for (j, slope) in spline.slopes().into_iter().enumerate() {
        for end in 0..2 {
            let corner = corners[2 * j + end];
            for (ticks, pixel, want) in [
                (&x_ticks, corner.0, spline.knots()[j + end]),
                (&y_ticks, corner.1, slope),
            ] {
                let (got, tolerance) = read_off(ticks, pixel);
                assert!((got - want).abs() <= tolerance, "{got} for {want}");
            }
        }
    }
    let guides: Vec<Node> = groups(&document, "guides")[0]
        .children()
        .filter(Node::is_element)
        .collect();
    assert_eq!(guides.len(), 2);
    for (guide, want) in guides.into_iter().zip([-2.0, 3.5]) {
        assert!(guide.has_attribute("stroke-dasharray"));
        let (got, tolerance) = read_off(&y_ticks, number(guide, "y1"));
        assert!((got - want).abs() <= tolerance, "{got} for {want}");
    }
    let strokes: Vec<f64> = groups(&document, "rug")[0]
        .children()
        .filter(Node::is_element)
        .map(|stroke| number(stroke, "x1"))
        .collect();
    assert_eq!(strokes.len(), spline.len());
    for (stroke, want) in strokes.into_iter().zip(spline.knots()) {
        let (got, tolerance) = read_off(&x_ticks, stroke);
        assert!((got - want).abs() <= tolerance, "{got} for {want}");
    }
    assert!(
        document
            .descendants()
            .any(|n| n.text() == Some("slope bounds [−2, 3.5]"))
    );
}

#[test]
fn bounds_that_do_not_exist_or_lie_far_away_do_not_squash_the_slopes() {
    let spline = zigzag();
    let data = samples(spline.knots(), spline.values());
    for (bounds, label, lines) in [
        (SlopeBounds::none(), None, 0),
        (
            SlopeBounds::monotone(f64::INFINITY).unwrap(),
            Some("slope bounds [0, ∞)"),
            1,
        ),
        (
            SlopeBounds::new(-2.0, 1e6).unwrap(),
            Some("slope bounds [−2, 1e6], 1e6 beyond the axis"),
            1,
        ),
    ] {
        let image = spline_fit_figure(&data, &spline, &bounds, "");
        let document = parsed(&image);
        let drawn: usize = groups(&document, "guides")
            .iter()
            .map(|g| g.children().filter(Node::is_element).count())
            .sum();
        assert_eq!(drawn, lines, "{bounds}");
        let labels: Vec<&str> = document
            .descendants()
            .filter_map(|n| n.text())
            .filter(|text| text.starts_with("slope bounds"))
            .collect();
        assert_eq!(labels.first().copied(), label);
    }
}

#[test]
fn many_samples_are_thinned_evenly_and_the_legend_says_so() {
    let x: Vec<f64> = (0..50_000).map(|n| f64::from(n) / 5e4).collect();
    let y: Vec<f64> = x.iter().map(|x| x * x).collect();
    let spline = Spline::new(vec![0.0, 0.5, 1.0], vec![0.0, 0.3, 1.0]).unwrap();
    let image = spline_fit_figure(&samples(&x, &y), &spline, &SlopeBounds::none(), "Many");
    let document = parsed(&image);
    let circles = groups(&document, "points")[0]
        .children()
        .filter(|n| n.has_tag_name(svg("circle")));
    let places: Vec<f64> = circles.map(|n| number(n, "cx")).collect();
    assert_eq!(places.len(), 2000);
    // 2000 groups share some 500 pixels: neighbours are never a pixel apart.
    assert!(places.windows(2).all(|p| (0.0..1.0).contains(&(p[1] - p[0]))));
    assert!(
        document
            .descendants()
            .any(|n| n.text() == Some("samples (2000 of 50000)"))
    );
}

#[test]
fn hostile_names_stay_text() {
    let spline = zigzag();
    let data = samples(spline.knots(), spline.values());
    for image in [
        spline_fit_figure(&data, &spline, &SlopeBounds::lipschitz(), HOSTILE),
        activations_figure(&[(HOSTILE, &spline), ("&lt;", &spline)]),
        Chart::new(HOSTILE, HOSTILE)
            .titled(HOSTILE, HOSTILE)
            .line(HOSTILE, [(0.0, 1.0), (1.0, 2.0)])
            .to_svg(HOSTILE),
    ] {
        let document = parsed(&image);
        assert!(!document.descendants().any(|n| n.has_tag_name(svg("script"))));
        assert!(!document.descendants().any(|n| n.tag_name().name() == "script"));
        let texts: Vec<&str> = document.descendants().filter_map(|n| n.text()).collect();
        assert!(texts.iter().any(|text| text.starts_with("</title><scr")), "{texts:?}");
    }
    let image = spline_fit_figure(&data, &spline, &SlopeBounds::lipschitz(), HOSTILE);
    let title = Document::parse(&image).unwrap();
    let title = title.descendants().find(|n| n.has_tag_name(svg("title"))).unwrap();
    assert_eq!(
        title.text(),
        Some("</title><script>alert('&')</script> \"]]>\u{fffd}\u{fffd}[31m &#0; é∫\u{fffd}")
    );
}

#[test]
fn extreme_data_stay_on_the_page() {
    let figure = |x: &[f64], y: &[f64], spline: &Spline, bounds: &SlopeBounds| {
        let image = spline_fit_figure(&samples(x, y), spline, bounds, "Extreme");
        let document = parsed(&image);
        assert_eq!(marked_knots(&document, 0).len(), spline.len());
        let again = spline_fit_figure(&samples(x, y), spline, bounds, "Extreme");
        assert_eq!(image, again);
    };
    for scale in [1e-30, 1e-5, 1.0, 1e6, 1e30, 1.5e38] {
        for (x, y) in [
            (vec![0.0, 1.0], vec![1.0, 1.0]),
            (vec![-1.0, 1.0], vec![0.0, 0.0]),
            (vec![-1.0, 0.2, 1.0], vec![-1.0, 1.0, 0.5]),
            (vec![0.5, 0.500_001], vec![0.7, 0.700_000_1]),
        ] {
            let x: Vec<f64> = x.iter().map(|v| v * scale).collect();
            for other in [1.0, 1e-30, 1e30] {
                let y: Vec<f64> = y.iter().map(|v| v * other).collect();
                let spline = Spline::new(x.clone(), y.clone()).unwrap();
                figure(&x, &y, &spline, &SlopeBounds::lipschitz());
                figure(&x, &y, &spline, &SlopeBounds::none());
                parsed(&activations_figure(&[("f", &spline)]));
            }
        }
    }
    // Samples that are larger than a spline can be, and knots far from the samples.
    let wide = Spline::new(vec![-1e5, 0.0, 1e5], vec![1.0, 2.0, 1.0]).unwrap();
    figure(
        &[0.0, 0.5, 1.0],
        &[f64::MAX, -f64::MAX, 0.0],
        &wide,
        &SlopeBounds::new(-f64::MAX, 0.0).unwrap(),
    );
    parsed(&activations_figure(&[]));
    let nothing = Chart::new("x", "y")
        .points("none", [(f64::NAN, 1.0), (f64::INFINITY, 0.0)])
        .line("", [])
        .knots("", [])
        .steps("", &[], &[])
        .guides("", &[f64::NAN])
        .to_svg("Nothing");
    parsed(&nothing);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_spline_and_any_title_give_a_sound_image(
        // Steps that 32 bits tell apart at the last knot, which lies below 150 * 1e3.
        steps in prop::collection::vec((0.1_f64..1e3, -1e3_f64..1e3), 2..150),
        title in any::<String>(),
        exponents in (-30_i32..30, -30_i32..30),
    ) {
        let mut knot = -100.0;
        let (mut knots, mut values) = (vec![], vec![]);
        for (step, value) in steps {
            knot += step;
            knots.push(knot * 10_f64.powi(exponents.0));
            values.push(value * 10_f64.powi(exponents.1));
        }
        let spline = Spline::new(knots, values).unwrap();
        let image = activations_figure(&[(&title, &spline)]);
        let document = parsed(&image);
        prop_assert_eq!(marked_knots(&document, 0).len(), spline.len());
        parsed(&spline_fit_figure(&samples(spline.knots(), spline.values()), &spline, &SlopeBounds::firm(), &title));
    }
}
