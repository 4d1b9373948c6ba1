//! The few HTML elements that a report needs, written so that the page is well-formed XML, too.

use super::super::plot::escaped;

/// Dark on white, figures and tables whole on a printed page.
const STYLE: &str = "\
body { max-width: 960px; margin: 2em auto; padding: 0 1em; color: #222; background: #fff;
       font: 15px/1.45 Helvetica, Arial, sans-serif; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; } th, td { text-align: left; vertical-align: top; padding: .2em 1.2em .2em 0; }
tr { border-bottom: 1px solid #eee; } th { color: #666; font-weight: normal; }
td { font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
figure { margin: 1em 0; } figcaption { color: #666; font-size: .9em; }
svg, img { max-width: 100%; height: auto; } img { image-rendering: pixelated; }
pre { background: #f6f6f6; padding: 1em; white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85em; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } h2 { break-after: avoid; }
       figure, tr { break-inside: avoid; } pre { background: none; padding: 0; } }
";

/// A page under construction. Texts are escaped; figures are trusted.
pub(in crate::report) struct Page {
    text: String,
}

impl Page {
    pub fn new(title: &str) -> Self {
        let title = escaped(title);
        let text = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
             </head>\n<body>\n<h1>{title}</h1>\n"
        );
        Self { text }
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("</body>\n</html>\n");
        self.text
    }

    pub fn heading(&mut self, text: &str) {
        self.push(&format!("<h2>{}</h2>", escaped(text)));
    }

    pub fn paragraph(&mut self, text: &str) {
        self.push(&format!("<p>{}</p>", escaped(text)));
    }

    /// Rows of as many cells as there are columns. A head that says nothing is left out.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let row = |element: &str, cells: &mut dyn Iterator<Item = &str>| {
            let cells: String = cells
                .map(|c| format!("<{element}>{}</{element}>", escaped(c)))
                .collect();
            format!("<tr>{cells}</tr>")
        };
        self.push("<table>");
        if head.iter().any(|name| !name.is_empty()) {
            let head = row("th", &mut head.iter().copied());
            self.push(&format!("<thead>{head}</thead>"));
        }
        self.push("<tbody>");
        for cells in rows {
            let row = row("td", &mut cells.iter().map(String::as_str));
            self.push(&row);
        }
        self.push("</tbody></table>");
    }

    /// An SVG image of this crate, under which stands a caption.
    pub fn figure(&mut self, svg: &str, caption: &str) {
        self.push(&format!(
            "<figure>\n{svg}<figcaption>{}</figcaption></figure>",
            escaped(caption)
        ));
    }

    /// A PNG image inside the page.
    pub fn picture(&mut self, png: &[u8], alternative: &str, caption: &str) {
        let (alternative, caption) = (escaped(alternative), escaped(caption));
        let data = base64(png);
        self.push(&format!(
            "<figure><img alt=\"{alternative}\" src=\"data:image/png;base64,{data}\"/>\n\
             <figcaption>{caption}</figcaption></figure>"
        ));
    }

    /// Lines as they are.
    pub fn preformatted(&mut self, text: &str) {
        let lines: Vec<String> = text.lines().map(escaped).collect();
        self.push(&format!("<pre>{}</pre>", lines.join("\n")));
    }

    fn push(&mut self, element: &str) {
        self.text.push_str(element);
        self.text.push('\n');
    }
}

/// Three bytes as four letters of 6 bits each (RFC 4648), with `=` for letters without bits.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            let bits = word >> (18 - 6 * letter) & 63;
            text.push(if letter <= chunk.len() {
                LETTERS[bits as usize].into()
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648.
    #[test]
    fn base64_gives_the_published_answers() {
        let answers = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, want) in answers.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), want);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }
}
