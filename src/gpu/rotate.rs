//! Loops turned so that they test at their end.
//!
//! lavapipe runs the lanes of a vector under a mask and leaves a loop only at its end, once no lane is left: a loop that tests at its
//! beginning, as `for` and `while` do, may go through its whole body once more without effect, and one of a single trip then costs
//! twice what it must. (The test cannot stand in a `continuing` block: Mesa moves that back to the beginning.) GPUs lose nothing, their
//! compilers turn loops themselves.

use super::compose::{Line, closing_brace};
use crate::{Error, Result};

/// Writes `for (A; B; C) { .. }` as `{ A; if (B) { loop { .. C; if (!(B)) { break; } } } }` and `while (B) { .. }` like a `for` without `A` and `C`,
/// which does the same as long as nothing continues early.
///
/// # Errors
/// A loop whose head does not fit one line, whose closing brace shares one, or with a `continue`. Always a defect of this program.
pub(super) fn rotate(lines: &mut [Line]) -> Result<()> {
    for at in 0..lines.len() {
        let text = lines[at].text.trim();
        let place = &lines[at];
        let malformed = |why: &str| Error::Internal(format!("{}:{}: a loop {why}", place.file, place.number));
        let parts = if let Some(head) = text.strip_prefix("for (") {
            head.strip_suffix(") {")
                .and_then(|head| head.split_once("; "))
                .and_then(|(start, rest)| {
                    rest.split_once("; ")
                        .map(|(b, c)| (format!("{start};"), b, format!("{c};")))
                })
        } else if let Some(head) = text.strip_prefix("while (") {
            head.strip_suffix(") {").map(|b| (String::new(), b, String::new()))
        } else {
            continue;
        };
        let (start, condition, step) = parts.ok_or_else(|| malformed("whose head is not one line"))?;
        let end = closing_brace(lines, at)
            .filter(|&end| lines[end].text.trim() == "}")
            .ok_or_else(|| malformed("whose closing brace does not stand alone"))?;
        let code = |line: &Line| line.text.split("//").next().unwrap_or_default().contains("continue;");
        if lines[at..end].iter().any(code) {
            return Err(malformed("with a `continue`"));
        }
        let open = format!("{{ {start} if ({condition}) {{ loop {{");
        let close = format!("{step} if (!({condition})) {{ break; }} }} }} }}");
        lines[at].text = open;
        lines[end].text = close;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::gpu::compose::compose_text;

    fn text(source: &str) -> Result<String, String> {
        compose_text("test", source, &[])
            .map(|c| c.text)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn loops_test_at_their_end() {
        let turned = text("fn f() {\n  for (var i = 2u; i < n; i += k) {\n    a[i] = b;\n  }\n}").unwrap();
        assert_eq!(
            turned,
            "fn f() {\n{ var i = 2u; if (i < n) { loop {\n    a[i] = b;\ni += k; if (!(i < n)) { break; } } } }\n}"
        );
        let turned = text("while (x > 0u && y) {\n  for (var j = x; j > 0u; j--) {\n  }\n}").unwrap();
        assert_eq!(
            turned,
            "{  if (x > 0u && y) { loop {\n{ var j = x; if (j > 0u) { loop {\nj--; if (!(j > 0u)) { break; } } } }\n if (!(x > 0u && y)) { break; } } } }"
        );
    }

    #[test]
    fn loops_that_cannot_be_turned_are_defects() {
        for (source, why) in [
            ("for (var i = 0u;\n i < n; i++) {\n}", "head"),
            ("for (var i = 0u; i < n; i++) { f(); }", "head"),
            ("while (x > 0u) {\n  f(); }", "brace"),
            ("while (x > 0u) {\n  if (y) { continue; }\n}", "continue"),
        ] {
            let error = text(source).unwrap_err();
            assert!(error.contains("test.wgsl:1") && error.contains(why), "{error}");
        }
        assert!(text("while (x > 0u) {\n  f(); // continue; later\n}").is_ok());
    }
}
