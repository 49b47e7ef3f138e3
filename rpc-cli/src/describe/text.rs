//! Shows types and documentation in colours.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::escape::Printable;
use crate::json::Value;
use crate::output::{FAINT, NUMBER, STRING, TITLE, WARNING};
use crate::schema;
use crate::types::{self, Piece, Pieces, Shape};

const TYPE: Style = AnsiColor::Yellow.on_default();

/// The maximum width of the columns of names and types.
const WIDEST: usize = 40;

fn style(piece: Piece) -> Style {
    match piece {
        Piece::Method => TITLE,
        Piece::Sign => FAINT,
        Piece::Basic | Piece::Rust => NUMBER,
        Piece::Name => TYPE,
        Piece::Property => Style::new(),
        Piece::Literal => STRING,
    }
}

/// Writes a type, or a signature, in colours.
pub(super) fn styled(
    out: &mut impl Write,
    write: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>,
) -> io::Result<()> {
    write(&mut |piece, text| {
        let style = style(piece);
        write!(out, "{style}{}{style:#}", Printable(text))
    })
}

/// Returns the width of a type, up to the width of its column.
pub(super) fn width(write: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>) -> usize {
    types::width(WIDEST, write)
}

/// `  deprecated · idempotent`
pub(super) fn marks(marks: &[&str]) -> String {
    let styled = marks.iter().map(|mark| {
        let style = if *mark == "deprecated" {
            WARNING
        } else {
            FAINT
        };
        format!("  {style}{mark}{style:#}")
    });
    styled.collect()
}

/// Returns the first paragraph of the documentation, on one line.
pub(super) fn one_line(docs: &str) -> Printable<String> {
    let paragraph = docs.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    Printable(words.join(" "))
}

/// Writes a named type, with `indent` before each line except the first.
pub(super) fn definition(
    out: &mut impl Write,
    (name, schema): (Value<'_>, Value<'_>),
    indent: &str,
) -> io::Result<()> {
    let name = name.as_str().unwrap_or_default();
    write!(out, "{TYPE}{}{TYPE:#}", Printable(name))?;
    let shape = types::shape(schema);
    if shape == Shape::Line {
        write!(out, " = ")?;
        styled(out, |out| types::of_schema(schema, out))?;
    }
    writeln!(out)?;
    if let Some(docs) = schema::docs(schema) {
        writeln!(out, "{indent}{FAINT}{}{FAINT:#}", one_line(&docs))?;
    }
    match shape {
        Shape::Line => Ok(()),
        Shape::Fields => {
            let fields = || schema::fields(schema);
            let widths = fields().map(|field| width(|out| types::field(&field, out)));
            let widest = widths.max().unwrap_or_default();
            let mut fields = fields();
            fields.try_for_each(|field| {
                write!(out, "{indent}")?;
                row(out, field.schema, widest, |out| types::field(&field, out))
            })
        }
        Shape::Alternatives => {
            let each = || schema::alternatives(schema).into_iter().flatten();
            let widths = each().map(|one| width(|out| types::alternative(one, out)));
            let widest = widths.max().unwrap_or_default();
            let mut each = each();
            each.try_for_each(|one| {
                write!(out, "{indent}| ")?;
                row(out, one, widest, |out| types::alternative(one, out))
            })
        }
    }
}

/// Writes a type, and its documentation behind a column of this width.
fn row(
    out: &mut impl Write,
    schema: Value<'_>,
    widest: usize,
    write: impl Fn(&mut Pieces<'_>) -> io::Result<()>,
) -> io::Result<()> {
    styled(out, &write)?;
    if let Some(docs) = schema::docs(schema) {
        let gap = widest - width(&write).min(widest) + 2;
        write!(out, "{:gap$}{FAINT}{}{FAINT:#}", "", one_line(&docs))?;
    }
    writeln!(out)
}
