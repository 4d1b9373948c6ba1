//! Charts as SVG, written by hand: axes with round ticks, plain or logarithmic, lines, steps, points, marked knots, dashed
//! guides, a legend.
//!
//! A [`Chart`] is what one panel of a figure shows. Ranges follow from the data; values that are not
//! finite, or beyond 1e290, are left out. Equal content gives equal bytes. Colours are told apart by readers with any
//! colour vision, and in print.

mod axis;
mod figures;
mod svg;

pub use figures::{
    activations_figure, panels_figure, penalties_figure, small_panels_figure, spline_fit_figure, square_panels_figure,
};

use axis::{Axis, drawable};
pub(super) use figures::subsample;
pub(super) use svg::escaped;
use svg::{Anchor, Stroke, Svg, shortened, text_width};

const INK: &str = "#222222";
const PALE_INK: &str = "#666666";
const GRID: &str = "#e4e4e4";
const AXIS: Stroke = Stroke::new("#444444", 1.0);
const BLUE: &str = "#0072b2";
const VERMILION: &str = "#d55e00";
const GREY: &str = "#8c939c";
const LINE: Stroke = Stroke::new(BLUE, 1.6);
const GUIDE: Stroke = Stroke {
    colour: VERMILION,
    width: 1.1,
    dashed: true,
};

/// Strokes of curves that share a panel, in turn; later ones repeat the colours, dashed.
const CURVES: [&str; 6] = [BLUE, VERMILION, "#009e73", "#aa3377", "#e69f00", "#555555"];
const MOMENT: Stroke = Stroke::new("#aab2ba", 0.8);

/// Room for labels on either side of a panel as wide as the page, in pixels.
const LEFT: f64 = 68.0;
const RIGHT: f64 = 18.0;

/// What a series of points becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Points,
    Line,
    /// One of several lines, with its number among them.
    Curve(usize),
    Knots,
    Guides,
    Rug,
    Moments,
}

impl Shape {
    /// How its line is drawn, if it is one.
    fn stroke(self) -> Stroke {
        match self {
            Self::Curve(index) => Stroke {
                colour: CURVES[index % CURVES.len()],
                width: 1.5,
                dashed: index / CURVES.len() % 2 == 1,
            },
            Self::Guides => GUIDE,
            Self::Moments => MOMENT,
            _ => LINE,
        }
    }

    /// Whether its points stand at heights of their own.
    fn has_heights(self) -> bool {
        !matches!(self, Self::Rug | Self::Moments)
    }
}

#[derive(Clone, Debug)]
struct Series {
    shape: Shape,
    label: String,
    points: Vec<(f64, f64)>,
}

/// The content of one panel. Series are drawn in the order in which they were added; an empty label keeps a series out of
/// the legend.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    title: String,
    remark: String,
    x_label: String,
    y_label: String,
    x_values: Vec<f64>,
    y_values: Vec<f64>,
    logarithmic: bool,
    series: Vec<Series>,
}

impl Chart {
    /// An empty chart with the names of its axes, which may be empty.
    pub fn new(x_label: &str, y_label: &str) -> Self {
        Self {
            x_label: x_label.into(),
            y_label: y_label.into(),
            ..Self::default()
        }
    }

    /// A title over the panel's left corner and a paler remark over the right one.
    pub fn titled(mut self, title: &str, remark: &str) -> Self {
        (self.title, self.remark) = (title.into(), remark.into());
        self
    }

    /// Makes the horizontal axis reach these values even where no series does.
    pub fn including_x(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.x_values.extend(values);
        self
    }

    /// Makes the vertical axis reach these values even where no series does.
    pub fn including_y(mut self, values: impl IntoIterator<Item = f64>) -> Self {
        self.y_values.extend(values);
        self
    }

    /// Makes the vertical axis logarithmic; what is not above 0 is left out.
    pub fn logarithmic_y(mut self) -> Self {
        self.logarithmic = true;
        self
    }

    /// Grey dots.
    pub fn points(self, label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(Shape::Points, label, points)
    }

    /// A line through the points.
    pub fn line(self, label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(Shape::Line, label, points)
    }

    /// A line of its own colour among others.
    pub fn curve(self, label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let before = self
            .series
            .iter()
            .filter(|s| matches!(s.shape, Shape::Curve(_)))
            .count();
        self.with(Shape::Curve(before), label, points)
    }

    /// Pale vertical lines.
    pub fn moments(self, label: &str, places: impl IntoIterator<Item = f64>) -> Self {
        self.with(Shape::Moments, label, places.into_iter().map(|x| (x, 0.0)))
    }

    /// A step function: `values[j]` from `edges[j]` to `edges[j + 1]`; surplus entries are ignored.
    pub fn steps(self, label: &str, edges: &[f64], values: &[f64]) -> Self {
        let corners = edges.windows(2).zip(values).flat_map(|(e, &v)| [(e[0], v), (e[1], v)]);
        self.with(Shape::Line, label, corners)
    }

    /// Marked points, the first and the last hollow: the knots of a spline, whose slope changes at those between.
    pub fn knots(self, label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.with(Shape::Knots, label, points)
    }

    /// Dashed horizontal lines. They do not widen the axis: lines outside it are left out.
    pub fn guides(self, label: &str, heights: &[f64]) -> Self {
        self.with(Shape::Guides, label, heights.iter().map(|&y| (0.0, y)))
    }

    /// Short strokes on the horizontal axis.
    pub fn rug(self, label: &str, places: &[f64]) -> Self {
        self.with(Shape::Rug, label, places.iter().map(|&x| (x, 0.0)))
    }

    fn with(mut self, shape: Shape, label: &str, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let visible = |p: &(f64, f64)| drawable(p.0) && drawable(p.1);
        self.series.push(Series {
            shape,
            label: label.into(),
            points: points.into_iter().filter(visible).collect(),
        });
        self
    }

    /// The chart alone as an SVG image of 640 x 360 pixels under `title`, which may be any text.
    pub fn to_svg(&self, title: &str) -> String {
        let (width, height) = (640.0, 360.0);
        let mut figure = Figure::titled(width, height, title);
        figure.draw(
            self,
            Panel {
                at: (LEFT, 58.0),
                size: (width - LEFT - RIGHT, height - 58.0 - 52.0),
                font: 11.0,
                ticks: (7, 5),
                x_labels: true,
            },
        );
        figure.finish()
    }

    fn x_axis(&self, count: usize) -> Axis {
        let of_series = self
            .series
            .iter()
            .filter(|series| series.shape != Shape::Guides)
            .flat_map(|series| series.points.iter().map(|p| p.0));
        Axis::over(of_series.chain(self.x_values.iter().copied()), count)
    }

    fn y_axis(&self, count: usize) -> Axis {
        let series = self
            .series
            .iter()
            .filter(|series| series.shape.has_heights() && series.shape != Shape::Guides);
        let of_series = series.flat_map(|series| series.points.iter().map(|p| p.1));
        let values = of_series.chain(self.y_values.iter().copied());
        if self.logarithmic {
            Axis::logarithmic(values, count)
        } else {
            Axis::over(values, count)
        }
    }
}

/// Where a panel lies and how much it says.
#[derive(Clone, Copy, Debug)]
struct Panel {
    /// Upper left corner of the plot area, in pixels.
    at: (f64, f64),
    /// Width and height of the plot area, in pixels.
    size: (f64, f64),
    font: f64,
    /// About how many ticks the two axes get.
    ticks: (usize, usize),
    x_labels: bool,
}

/// Panels on one white page.
struct Figure {
    svg: Svg,
}

impl Figure {
    fn new(width: f64, height: f64, title: &str) -> Self {
        Self {
            svg: Svg::new(width, height, title),
        }
    }

    /// A page with its title written over the panels.
    fn titled(width: f64, height: f64, title: &str) -> Self {
        let mut figure = Self::new(width, height, title);
        let (size, room) = (14.0, width - LEFT - RIGHT);
        let title = shortened(title, (room / text_width("x", size)) as usize);
        figure.svg.text((LEFT, 24.0), size, Anchor::Start, INK, &title);
        figure
    }

    fn finish(self) -> String {
        self.svg.finish()
    }

    fn draw(&mut self, chart: &Chart, panel: Panel) {
        let (x_axis, y_axis) = (chart.x_axis(panel.ticks.0), chart.y_axis(panel.ticks.1));
        let ((left, top), (width, height)) = (panel.at, panel.size);
        let bottom = top + height;
        let across = |x: f64| left + width * x_axis.place(x);
        let up = |y: f64| bottom - height * y_axis.place(y);

        self.draw_axes(chart, panel, &x_axis, &y_axis);
        for series in &chart.series {
            let shown = |p: &(f64, f64)| !chart.logarithmic || !series.shape.has_heights() || p.1 > 0.0;
            let points: Vec<(f64, f64)> = series.points.iter().copied().filter(shown).collect();
            let places: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (across(x), up(y))).collect();
            match series.shape {
                Shape::Points => self.draw_points(&places, panel),
                Shape::Knots => self.draw_knots(&places, panel),
                Shape::Line | Shape::Curve(_) => {
                    self.svg.open_group("line", "");
                    self.svg.polyline(&places, series.shape.stroke());
                    self.svg.close_group();
                }
                Shape::Moments => {
                    self.svg.open_group("moments", "");
                    for place in &places {
                        self.svg.line((place.0, top), (place.0, bottom), MOMENT);
                    }
                    self.svg.close_group();
                }
                Shape::Guides => {
                    self.svg.open_group("guides", "");
                    for (point, place) in points.iter().zip(&places) {
                        if y_axis.contains(point.1) {
                            self.svg.line((left, place.1), (left + width, place.1), GUIDE);
                        }
                    }
                    self.svg.close_group();
                }
                Shape::Rug => {
                    self.svg.open_group("rug", "");
                    for place in &places {
                        let stroke = Stroke::new(VERMILION, 1.2);
                        self.svg.line((place.0, bottom), (place.0, bottom - 7.0), stroke);
                    }
                    self.svg.close_group();
                }
            }
        }
        self.draw_legend(chart, panel);
    }

    fn draw_axes(&mut self, chart: &Chart, panel: Panel, x_axis: &Axis, y_axis: &Axis) {
        let ((left, top), (width, height), font) = (panel.at, panel.size, panel.font);
        let (right, bottom) = (left + width, top + height);
        let svg = &mut self.svg;
        svg.open_group("axes", "");
        for (value, label) in &x_axis.ticks {
            let x = left + width * x_axis.place(*value);
            svg.line((x, top), (x, bottom), Stroke::new(GRID, 0.8));
            svg.line((x, bottom), (x, bottom + 4.0), AXIS);
            if panel.x_labels {
                svg.text((x, bottom + 6.0 + font), font, Anchor::Middle, INK, label);
            }
        }
        for (value, label) in &y_axis.ticks {
            let y = bottom - height * y_axis.place(*value);
            svg.line((left, y), (right, y), Stroke::new(GRID, 0.8));
            svg.line((left - 4.0, y), (left, y), AXIS);
            svg.text((left - 7.0, y + 0.35 * font), font, Anchor::End, INK, label);
        }
        svg.frame((left, top), (width, height), AXIS);
        if panel.x_labels {
            let below = bottom + 8.0 + 2.2 * font;
            svg.text((left + 0.5 * width, below), font, Anchor::Middle, INK, &chart.x_label);
            note(svg, (right, below), Anchor::End, font, x_axis);
        }
        let indent = note(svg, (left, top - 0.5 * font), Anchor::Start, font, y_axis);
        let widest = y_axis.ticks.iter().map(|t| text_width(&t.1, font)).fold(0.0, f64::max);
        let beside = (left - 12.0 - widest, top + 0.5 * height);
        svg.upward_text(beside, font, INK, &chart.y_label);
        // What the labels of the vertical axis leave out stands where a title would: the title gives way.
        if !chart.title.is_empty() {
            let room = (width - indent - text_width(&chart.remark, font)) / text_width("x", font);
            let title = shortened(&chart.title, room.max(1.0) as usize);
            svg.text((left + indent, top - 0.5 * font), font, Anchor::Start, INK, &title);
        }
        svg.text((right, top - 0.5 * font), font, Anchor::End, PALE_INK, &chart.remark);
        svg.close_group();
    }

    fn draw_points(&mut self, places: &[(f64, f64)], panel: Panel) {
        let opacity = if places.len() > 300 { 0.5 } else { 0.8 };
        let attributes = format!(r#"fill="{GREY}" fill-opacity="{opacity}""#);
        self.svg.open_group("points", &attributes);
        for &place in places {
            self.svg.circle(place, 0.17 * panel.font);
        }
        self.svg.close_group();
    }

    fn draw_knots(&mut self, places: &[(f64, f64)], panel: Panel) {
        // Many knots in little room get smaller marks.
        let room = panel.size.0 / places.len().max(1) as f64;
        let radius = (0.45 * room).clamp(0.1 * panel.font, 0.3 * panel.font);
        let inner = 1..places.len().saturating_sub(1);
        let attributes = format!(r##"fill="{VERMILION}" stroke="#ffffff" stroke-width="0.6""##);
        self.svg.open_group("knots", &attributes);
        for &place in places.get(inner).unwrap_or_default() {
            self.svg.circle(place, radius);
        }
        self.svg.close_group();
        let attributes = format!(r##"fill="#ffffff" stroke="{VERMILION}" stroke-width="1.2""##);
        self.svg.open_group("end-knots", &attributes);
        let ends = [places.first(), places.get(1..).and_then(<[_]>::last)];
        for &place in ends.into_iter().flatten() {
            self.svg.circle(place, radius);
        }
        self.svg.close_group();
    }

    /// Keys and labels in one row over the panel, from the right.
    fn draw_legend(&mut self, chart: &Chart, panel: Panel) {
        const KEY: f64 = 18.0;
        let font = panel.font;
        let y = panel.at.1 - 0.5 * font;
        let mut right = panel.at.0 + panel.size.0;
        for series in chart.series.iter().rev().filter(|series| !series.label.is_empty()) {
            right -= text_width(&series.label, font);
            if right - KEY - 6.0 < panel.at.0 {
                // No room is left: better none than one over another.
                return;
            }
            let middle = (right - 6.0 - 0.5 * KEY, y - 0.35 * font);
            let (from, to) = ((middle.0 - 0.5 * KEY, middle.1), (middle.0 + 0.5 * KEY, middle.1));
            self.svg.open_group("legend", "");
            self.svg.text((right, y), font, Anchor::Start, INK, &series.label);
            match series.shape {
                Shape::Line | Shape::Curve(_) | Shape::Guides => self.svg.line(from, to, series.shape.stroke()),
                Shape::Moments => {
                    let height = font - 2.0;
                    self.svg.line((middle.0, y), (middle.0, y - height), MOMENT);
                }
                Shape::Rug => {
                    let stroke = Stroke::new(VERMILION, 1.2);
                    self.svg.line((middle.0, y), (middle.0, y - 7.0), stroke);
                }
                Shape::Points | Shape::Knots => {
                    let colour = if series.shape == Shape::Knots { VERMILION } else { GREY };
                    self.svg.open_group("key", &format!(r#"fill="{colour}""#));
                    self.svg.circle(middle, 0.3 * font);
                    self.svg.close_group();
                }
            }
            self.svg.close_group();
            right -= KEY + 18.0;
        }
    }
}

/// The offset and the power of ten that the labels of an axis leave out; how much room they took.
fn note(svg: &mut Svg, (x, y): (f64, f64), anchor: Anchor, font: f64, axis: &Axis) -> f64 {
    let size = 0.9 * font;
    let place = |used: f64| if anchor == Anchor::End { x - used } else { x + used };
    let mut used = 0.0;
    if let Some(offset) = &axis.offset {
        svg.text((place(used), y), size, anchor, PALE_INK, offset);
        used += text_width(offset, size) + size;
    }
    if axis.exponent != 0 {
        svg.power_of_ten((place(used), y), size, anchor, PALE_INK, axis.exponent);
        used += text_width("×10−100", size);
    }
    used
}
