//! The few SVG elements that figures need. Positions are pixels with two decimals, so equal figures are equal bytes.

use std::fmt::Write;

/// Where a text stands at its position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stroke {
    pub colour: &'static str,
    pub width: f64,
    pub dashed: bool,
}

impl Stroke {
    pub const fn new(colour: &'static str, width: f64) -> Self {
        Self {
            colour,
            width,
            dashed: false,
        }
    }

    fn attributes(self) -> String {
        let dashes = if self.dashed { r#" stroke-dasharray="5 3""# } else { "" };
        format!(r#"stroke="{}" stroke-width="{}"{dashes}"#, self.colour, px(self.width))
    }
}

/// An image under construction.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// A white image that tells its title to those who cannot see it.
    pub fn new(width: f64, height: f64, title: &str) -> Self {
        let (w, h) = (px(width), px(height));
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" \
             font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n",
            escaped(title)
        );
        Self { text }
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    /// Opens a group with a class, by which a reader of the file (or a test) finds its content.
    pub fn open_group(&mut self, class: &str, attributes: &str) {
        let space = if attributes.is_empty() { "" } else { " " };
        self.push(&format!(r#"<g class="{class}"{space}{attributes}>"#));
    }

    pub fn close_group(&mut self) {
        self.push("</g>");
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: Stroke) {
        self.push(&format!(
            r#"<line x1="{}" y1="{}" x2="{}" y2="{}" {}/>"#,
            px(from.0),
            px(from.1),
            px(to.0),
            px(to.1),
            stroke.attributes()
        ));
    }

    pub fn polyline(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        let mut list = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _ = write!(list, "{},{} ", px(*x), px(*y));
        }
        self.push(&format!(
            r#"<polyline points="{}" fill="none" stroke-linejoin="round" {}/>"#,
            list.trim_end(),
            stroke.attributes()
        ));
    }

    pub fn frame(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), stroke: Stroke) {
        self.push(&format!(
            r#"<rect x="{}" y="{}" width="{}" height="{}" fill="none" {}/>"#,
            px(x),
            px(y),
            px(width),
            px(height),
            stroke.attributes()
        ));
    }

    /// A disc; colours come from the group around it.
    pub fn circle(&mut self, (x, y): (f64, f64), radius: f64) {
        self.push(&format!(
            r#"<circle cx="{}" cy="{}" r="{}"/>"#,
            px(x),
            px(y),
            px(radius)
        ));
    }

    pub fn text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, colour: &str, text: &str) {
        if !text.is_empty() {
            self.raw_text((x, y), size, anchor, colour, "", &escaped(text));
        }
    }

    /// A text that reads upwards, as beside a vertical axis.
    pub fn upward_text(&mut self, (x, y): (f64, f64), size: f64, colour: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let turn = format!(r#" transform="rotate(-90 {} {})""#, px(x), px(y));
        self.raw_text((x, y), size, Anchor::Middle, colour, &turn, &escaped(text));
    }

    /// Times ten to the power `exponent`, which is raised.
    pub fn power_of_ten(&mut self, at: (f64, f64), size: f64, anchor: Anchor, colour: &str, exponent: i32) {
        let content = format!(
            r#"×10<tspan dy="{}" font-size="{}">{}</tspan>"#,
            px(-0.35 * size),
            px(0.8 * size),
            super::axis::decimal(i64::from(exponent), 0)
        );
        self.raw_text(at, size, anchor, colour, "", &content);
    }

    fn raw_text(&mut self, (x, y): (f64, f64), size: f64, anchor: Anchor, colour: &str, more: &str, content: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        self.push(&format!(
            r#"<text x="{}" y="{}" font-size="{}" fill="{colour}"{anchor}{more}>{content}</text>"#,
            px(x),
            px(y),
            px(size)
        ));
    }

    fn push(&mut self, element: &str) {
        self.text.push_str(element);
        self.text.push('\n');
    }
}

/// A length with two decimals at most and without a negative zero.
fn px(length: f64) -> String {
    let text = format!("{length:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Text as XML content. Line breaks and tabs become spaces; characters that XML 1.0 cannot hold become U+FFFD.
pub(in crate::report) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\r' | '\t' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// About how wide a text of a sans-serif font is; generous, so that what is laid out by it does not overlap.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    0.56 * size * text.chars().count() as f64
}

/// A text of at most `length` characters, the end replaced by an ellipsis if it is longer.
pub(super) fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.into();
    }
    let mut short: String = text.chars().take(length.saturating_sub(1)).collect();
    short.push('…');
    short
}
