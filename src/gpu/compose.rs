//! From shader files to one WGSL text: include-once imports, specialisation constants, loop unrolling, inlining, constant indices and loops
//! that test at their end (`rotate.rs`).
//!
//! Shader files are WGSL but for one line form, `#import name`, which stands for `shaders/lib/name.wgsl` (once, however
//! often it is named). A kernel is specialised by `const` values: a `const NAME: u32 = 1u;` at module scope of any file
//! is a default that the caller may replace. A `for` loop behind a comment line `// @unroll N` is written out when its
//! trip count, which must be a literal or such a constant, is at most `N`: software drivers neither unroll long bodies
//! nor load a uniform at a varying index cheaply, while with the loop written out every index is a literal. Where WGSL itself wants
//! a constant, a function cannot pass one on: behind a comment line `// @inline`, a function of one parameter that does nothing but
//! return an expression gives way to that expression wherever it is called.

use std::collections::{BTreeMap, BTreeSet};

use super::rotate::rotate;
use super::shaders;
use crate::{Error, Result};

/// A composed shader and where each of its lines came from.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The kernel's name.
    pub name: String,
    /// The constants that it was specialised with.
    pub constants: Vec<(String, u32)>,
    /// WGSL without any extension.
    pub text: String,
    /// For each line of `text`: file and 1-based line.
    pub origin: Vec<(String, usize)>,
}

impl Composed {
    /// `file:line` of a 1-based line of the composed text.
    pub fn locate(&self, line: usize) -> String {
        match self.origin.get(line.wrapping_sub(1)) {
            Some((file, line)) => format!("{file}:{line}"),
            None => self.name.clone(),
        }
    }
}

/// A line on its way to the text, and where it came from.
#[derive(Clone)]
pub(super) struct Line {
    pub text: String,
    pub file: String,
    pub number: usize,
}

/// Composes the kernel `name` with the constants `consts` replacing the defaults in its files.
///
/// # Errors
/// Unknown kernel, import or constant; a malformed `@unroll` loop. Always a defect of this program.
pub fn compose(name: &str, consts: &[(&str, u32)]) -> Result<Composed> {
    let source = shaders::kernel(name).ok_or_else(|| Error::Internal(format!("no shader called '{name}'")))?;
    compose_text(name, source.text, consts)
}

pub(crate) fn compose_text(name: &str, text: &str, consts: &[(&str, u32)]) -> Result<Composed> {
    let mut lines = Vec::new();
    import(name, text, &mut BTreeSet::new(), &mut lines)?;
    let values = specialise(name, &mut lines, consts)?;
    let mut lines = inline(unroll(lines, &values)?, &values)?;
    rotate(&mut lines)?;
    for line in &mut lines {
        line.text = fold_indices(&line.text, &values);
    }
    let text = lines.iter().map(|l| l.text.as_str()).collect::<Vec<_>>().join("\n");
    let origin = lines.into_iter().map(|l| (l.file, l.number)).collect();
    Ok(Composed {
        name: name.to_owned(),
        constants: consts.iter().map(|(n, v)| ((*n).to_owned(), *v)).collect(),
        text,
        origin,
    })
}

fn import(file: &str, text: &str, seen: &mut BTreeSet<String>, out: &mut Vec<Line>) -> Result<()> {
    for (index, line) in text.lines().enumerate() {
        if let Some(fragment) = line.strip_prefix("#import ") {
            let fragment = fragment.trim();
            let source = shaders::library(fragment).ok_or_else(|| {
                Error::Internal(format!(
                    "shaders/{file}.wgsl:{}: no shaders/lib/{fragment}.wgsl",
                    index + 1
                ))
            })?;
            if seen.insert(fragment.to_owned()) {
                import(source.name, source.text, seen, out)?;
            }
        } else {
            out.push(Line {
                text: line.to_owned(),
                file: format!("shaders/{file}.wgsl"),
                number: index + 1,
            });
        }
    }
    Ok(())
}

/// Replaces the defaults of module-scope `const NAME: u32 = ..;` lines and returns the value of every such constant.
fn specialise(name: &str, lines: &mut [Line], consts: &[(&str, u32)]) -> Result<BTreeMap<String, u32>> {
    let mut values = BTreeMap::new();
    for line in lines.iter_mut() {
        let Some((constant, default)) = parse_const(&line.text, &values) else {
            continue;
        };
        let value = match consts.iter().find(|(n, _)| *n == constant) {
            Some(&(_, value)) => value,
            None => default,
        };
        line.text = format!("const {constant}: u32 = {value}u;");
        values.insert(constant, value);
    }
    match consts.iter().find(|(n, _)| !values.contains_key(*n)) {
        Some((unknown, _)) => Err(Error::Internal(format!("shader '{name}' has no constant '{unknown}'"))),
        None => Ok(values),
    }
}

/// `const NAME: u32 = A + 12u - 1u;` as (NAME, value): sums and differences of literals and constants above it.
fn parse_const(line: &str, values: &BTreeMap<String, u32>) -> Option<(String, u32)> {
    let rest = line.strip_prefix("const ")?;
    let (name, expression) = rest.split_once(": u32 = ")?;
    let mut total = 0_u32;
    let mut minus = false;
    for word in expression.split_once(';')?.0.split_whitespace() {
        match word {
            "+" => minus = false,
            "-" => minus = true,
            term if minus => total = total.checked_sub(value_of(term, values)?)?,
            term => total = total.checked_add(value_of(term, values)?)?,
        }
    }
    Some((name.to_owned(), total))
}

fn unroll(lines: Vec<Line>, values: &BTreeMap<String, u32>) -> Result<Vec<Line>> {
    let mut out = Vec::with_capacity(lines.len());
    let mut at = 0;
    while at < lines.len() {
        let Some(limit) = lines[at].text.trim().strip_prefix("// @unroll ") else {
            out.push(lines[at].clone());
            at += 1;
            continue;
        };
        let place = &lines[at];
        let malformed = |why: &str| Error::Internal(format!("{}:{}: @unroll: {why}", place.file, place.number));
        let limit = value_of(limit, values).ok_or_else(|| malformed("the limit is no number or constant"))?;
        let head = lines.get(at + 1).ok_or_else(|| malformed("no loop behind it"))?;
        let (variable, count) = parse_for(&head.text, values)
            .ok_or_else(|| malformed("want `for (var i = 0u; i < COUNT; i++) {` on the next line"))?;
        let end = closing_brace(&lines, at + 1).ok_or_else(|| malformed("the loop's brace is not closed"))?;
        let body = unroll(lines[at + 2..end].to_vec(), values)?;
        if count <= limit {
            // A body that declares nothing needs no scope, and naga is slow with many of them.
            let scoped = body
                .iter()
                .any(|l| l.text.trim_start().starts_with("let ") || l.text.trim_start().starts_with("var "));
            for trip in 0..count {
                if scoped {
                    out.push(Line {
                        text: "{".into(),
                        ..head.clone()
                    });
                }
                out.extend(body.iter().map(|l| Line {
                    text: replace_identifier(&l.text, variable, &format!("{trip}u")),
                    ..l.clone()
                }));
                if scoped {
                    out.push(Line {
                        text: "}".into(),
                        ..lines[end].clone()
                    });
                }
            }
        } else {
            out.push(head.clone());
            out.extend(body);
            out.push(lines[end].clone());
        }
        at = end + 1;
    }
    Ok(out)
}

fn value_of(text: &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let text = text.trim();
    values
        .get(text)
        .copied()
        .or_else(|| text.trim_end_matches('u').parse().ok())
}

/// `for (var i = 0u; i < N; i++) {` as (i, value of N).
fn parse_for<'a>(line: &'a str, values: &BTreeMap<String, u32>) -> Option<(&'a str, u32)> {
    let rest = line.trim().strip_prefix("for (var ")?;
    let (variable, rest) = rest.split_once(" = 0u; ")?;
    let rest = rest.strip_prefix(variable)?.strip_prefix(" < ")?;
    let (count, rest) = rest.split_once("; ")?;
    let rest = rest.strip_prefix(variable)?;
    (rest == "++) {").then_some(())?;
    Some((variable, value_of(count, values)?))
}

/// Replaces the calls of every function behind `// @inline` by what it returns.
fn inline(lines: Vec<Line>, values: &BTreeMap<String, u32>) -> Result<Vec<Line>> {
    let mut kept = Vec::with_capacity(lines.len());
    let mut functions = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].text.trim() != "// @inline" {
            kept.push(lines[at].clone());
            at += 1;
            continue;
        }
        let text = |offset: usize| lines.get(at + offset).map_or("", |l| l.text.trim());
        functions.push(parse_inline([text(1), text(2), text(3)]).ok_or_else(|| {
            let Line { file, number, .. } = &lines[at];
            Error::Internal(format!(
                "{file}:{number}: @inline: want `fn name(parameter: type) -> type {{`, `return expression;` and `}}` on the next lines"
            ))
        })?);
        at += 4;
    }
    for line in &mut kept {
        for function in &functions {
            line.text = replace_calls(&line.text, function, values);
        }
    }
    Ok(kept)
}

/// A function that gives way to its expression.
struct Inline<'l> {
    name: &'l str,
    parameter: &'l str,
    expression: &'l str,
}

fn parse_inline<'l>([head, body, end]: [&'l str; 3]) -> Option<Inline<'l>> {
    let (name, rest) = head.strip_prefix("fn ")?.split_once('(')?;
    let (parameter, rest) = rest.split_once(": ")?;
    let expression = body.strip_prefix("return ")?.strip_suffix(';')?;
    (rest.ends_with('{') && !rest.contains(',') && end == "}").then_some(Inline {
        name,
        parameter,
        expression,
    })
}

fn replace_calls(text: &str, function: &Inline<'_>, values: &BTreeMap<String, u32>) -> String {
    let call = format!("{}(", function.name);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(&call) {
        let (before, argument) = (&rest[..start], &rest[start + call.len()..]);
        let mut depth = 1_i32;
        let end = argument.find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        out.push_str(before);
        let whole = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        match end.filter(|_| whole) {
            Some(end) => {
                let value = match constant(&argument[..end], values) {
                    Some(value) => format!("{value}u"),
                    None => format!("({})", &argument[..end]),
                };
                let expression = replace_identifier(function.expression, function.parameter, &value);
                out.push_str(&format!("({expression})"));
                rest = &argument[end + 1..];
            }
            None => {
                out.push_str(&call);
                rest = argument;
            }
        }
    }
    out + rest
}

/// Replaces indices that are constant by their values: naga's time to read a function grows with the square of the number of
/// its expressions.
fn fold_indices(text: &str, values: &BTreeMap<String, u32>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, inside) = rest.split_at(open + 1);
        out.push_str(before);
        let close = inside.find([']', '[']).filter(|&at| inside[at..].starts_with(']'));
        match close.and_then(|at| Some((at, constant(&inside[..at], values)?))) {
            Some((at, value)) => {
                out.push_str(&format!("{value}u"));
                rest = &inside[at..];
            }
            None => rest = inside,
        }
    }
    out + rest
}

/// The value of an expression of literals and constants with `+ - * / %` and parentheses in u32; `None` for any other, and for one
/// that WGSL would refuse.
fn constant(text: &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut rest = text.trim_start();
    let value = constant_sum(&mut rest, values)?;
    rest.is_empty().then_some(value)
}

fn constant_sum(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut value = constant_product(rest, values)?;
    loop {
        value = match take(rest, &['+', '-']) {
            Some('+') => value.checked_add(constant_product(rest, values)?)?,
            Some(_) => value.checked_sub(constant_product(rest, values)?)?,
            None => return Some(value),
        };
    }
}

fn constant_product(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    let mut value = constant_atom(rest, values)?;
    loop {
        value = match take(rest, &['*', '/', '%']) {
            Some('*') => value.checked_mul(constant_atom(rest, values)?)?,
            Some('/') => value.checked_div(constant_atom(rest, values)?)?,
            Some(_) => value.checked_rem(constant_atom(rest, values)?)?,
            None => return Some(value),
        };
    }
}

fn constant_atom(rest: &mut &str, values: &BTreeMap<String, u32>) -> Option<u32> {
    if take(rest, &['(']).is_some() {
        let value = constant_sum(rest, values)?;
        return take(rest, &[')']).map(|_| value);
    }
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(rest.len());
    let value = value_of(&rest[..end], values)?;
    *rest = rest[end..].trim_start();
    Some(value)
}

/// Takes one of the characters from the front, and the space behind it.
fn take(rest: &mut &str, wanted: &[char]) -> Option<char> {
    let found = rest.chars().next().filter(|c| wanted.contains(c))?;
    *rest = rest[1..].trim_start();
    Some(found)
}

/// Index of the line that closes the block opened at the end of line `start`.
pub(super) fn closing_brace(lines: &[Line], start: usize) -> Option<usize> {
    let mut depth = 0_i64;
    for (index, line) in lines.iter().enumerate().skip(start) {
        let code = line.text.split("//").next().unwrap_or_default();
        depth += code.matches('{').count() as i64 - code.matches('}').count() as i64;
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Replaces whole-word occurrences of `name`, leaving member accesses `.name` alone.
fn replace_identifier(text: &str, name: &str, by: &str) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (at, _) in text.match_indices(name) {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        if !before.is_some_and(|c| word(c) || c == '.') && !after.is_some_and(word) {
            out.push_str(&text[copied..at]);
            out.push_str(by);
            copied = at + name.len();
        }
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str, consts: &[(&str, u32)]) -> Result<String> {
        compose_text("test", source, consts).map(|c| c.text)
    }

    #[test]
    fn loops_are_written_out_up_to_the_limit_with_whole_words_replaced() {
        let source =
            "const N: u32 = 9u;\n// @unroll 2\nfor (var i = 0u; i < N; i++) {\n  let a = x[i] + id.i + idx + ii;\n}";
        let unrolled = text(source, &[("N", 2)]).unwrap();
        assert_eq!(
            unrolled,
            "const N: u32 = 2u;\n{\n  let a = x[0u] + id.i + idx + ii;\n}\n{\n  let a = x[1u] + id.i + idx + ii;\n}"
        );
        let kept = text(source, &[]).unwrap();
        assert!(kept.contains("{ var i = 0u; if (i < N) { loop {"), "{kept}");
        assert!(!kept.contains("@unroll"));
    }

    #[test]
    fn nested_loops_unroll_inside_out() {
        let source = "// @unroll 8\nfor (var i = 0u; i < 2u; i++) {\n// @unroll 8\nfor (var j = 0u; j < 2u; j++) {\na[i][j];\n}\n}";
        let flat: Vec<_> = text(source, &[])
            .unwrap()
            .lines()
            .filter(|l| l.starts_with('a'))
            .map(str::to_owned)
            .collect();
        assert_eq!(flat, ["a[0u][0u];", "a[0u][1u];", "a[1u][0u];", "a[1u][1u];"]);
    }

    #[test]
    fn calls_give_way_to_the_expression_of_an_inline_function() {
        let source = "a = f(2u * (b + 1u)) + g(f(1u), of(3u));\n// @inline\nfn f(i: u32) -> f32 {\n    return x[i % N].i;\n}\nlast";
        assert_eq!(
            text(source, &[]).unwrap(),
            "a = (x[(2u * (b + 1u)) % N].i) + g((x[1u % N].i), of(3u));\nlast"
        );
    }

    #[test]
    fn constant_indices_become_literals_and_no_others() {
        let source = "const N: u32 = 3u;\na[(N * 2u + 7u) / 2u % 4u] + b[c[N - 1u]] + d[i + N] + e[N - 4u] + f[1u / (N - 3u)] + g[ 0 ]";
        assert_eq!(
            text(source, &[]).unwrap(),
            "const N: u32 = 3u;\na[2u] + b[c[2u]] + d[i + N] + e[N - 4u] + f[1u / (N - 3u)] + g[0u]"
        );
    }

    #[test]
    fn mistakes_name_the_file_and_line() {
        let unknown = text("const N: u32 = 1u;", &[("M", 1)]).unwrap_err().to_string();
        assert!(unknown.contains("no constant 'M'"), "{unknown}");
        let import = text("fn f() {}\n#import nothing", &[]).unwrap_err().to_string();
        assert!(import.contains("shaders/test.wgsl:2"), "{import}");
        let shape = text("// @unroll 8\nfor (var i = 1u; i < 2u; i++) {\n}", &[])
            .unwrap_err()
            .to_string();
        assert!(shape.contains("shaders/test.wgsl:1: @unroll"), "{shape}");
        for body in ["    let j = i;", "    return i; return i"] {
            let function = format!("let a = 1;\n// @inline\nfn f(i: u32) -> u32 {{\n{body}\n}}");
            let complaint = text(&function, &[]).unwrap_err().to_string();
            assert!(complaint.contains("shaders/test.wgsl:2: @inline"), "{complaint}");
        }
    }

    #[test]
    fn imports_come_once_and_lines_keep_their_origin() {
        let composed = compose("spline_hessian", &[]).unwrap();
        assert_eq!(composed.text.matches("fn spline_pieces(").count(), 1);
        let line = composed
            .text
            .lines()
            .position(|l| l.contains("fn spline_pieces("))
            .unwrap()
            + 1;
        assert!(
            composed.locate(line).starts_with("shaders/lib/spline.wgsl:"),
            "{}",
            composed.locate(line)
        );
    }
}
