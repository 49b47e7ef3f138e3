//! Types and docs in colours.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::failure::printable;
use crate::output::{FAINT, NUMBER, STRING, TITLE, WARNING};
use crate::schema;
use crate::types::{self, Piece, Shape};

const TYPE: Style = AnsiColor::Yellow.on_default();

fn style(piece: &Piece) -> Style {
    match piece {
        Piece::Sign(_) => FAINT,
        Piece::Basic(_) | Piece::Rust(_) => NUMBER,
        Piece::Name(_) => TYPE,
        Piece::Property(_) => Style::new(),
        Piece::Literal(_) => STRING,
    }
}

/// A type, or a signature, in colours.
pub(super) fn styled(pieces: &[Piece]) -> String {
    let styled = pieces.iter().map(|piece| {
        let style = style(piece);
        format!("{style}{}{style:#}", printable(piece.text()))
    });
    styled.collect()
}

/// A method on one line: its name stands out.
pub(super) fn signature(pieces: &[Piece]) -> String {
    match pieces.split_first() {
        Some((name, rest)) => {
            format!("{TITLE}{}{TITLE:#}{}", printable(name.text()), styled(rest))
        }
        None => String::new(),
    }
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

/// Docs on one line.
pub(super) fn one_line(docs: &str) -> String {
    let paragraph = docs.split("\n\n").next().unwrap_or_default();
    let words: Vec<_> = paragraph.split_whitespace().collect();
    printable(&words.join(" "))
}

/// A type with a name: behind the first line `indent` stands before each.
pub(super) fn definition(
    out: &mut impl Write,
    name: &str,
    schema: &Value,
    indent: &str,
) -> io::Result<()> {
    write!(out, "{TYPE}{}{TYPE:#}", printable(name))?;
    let shape = types::shape(schema);
    if let Shape::Line = shape {
        write!(out, " = {}", styled(&types::of_schema(schema)))?;
    }
    writeln!(out)?;
    if let Some(docs) = schema::docs(schema) {
        writeln!(out, "{indent}{FAINT}{}{FAINT:#}", one_line(docs))?;
    }
    let rows: Vec<_> = match shape {
        Shape::Line => return Ok(()),
        Shape::Fields(fields) => {
            let mark = |required| if required { "" } else { "?" };
            let start = |name, required| format!("{name}{}: ", mark(required));
            let rows = fields
                .iter()
                .map(|field| (start(field.name, field.required), field.schema));
            rows.collect()
        }
        Shape::Alternatives(all) => all.iter().map(|one| ("| ".to_owned(), one)).collect(),
    };
    let rows = rows.into_iter().map(|(start, schema)| {
        let mut pieces = types::of_schema(schema);
        if let Some(default) = schema.get("default") {
            pieces.extend([Piece::Sign(" = "), Piece::Literal(default.to_string())]);
        }
        (start, pieces, schema::docs(schema))
    });
    let rows: Vec<_> = rows.collect();
    let width =
        |start: &str, pieces: &[Piece]| start.chars().count() + types::text(pieces).chars().count();
    let widths = rows.iter().map(|(start, pieces, _)| width(start, pieces));
    let widest = widths.max().unwrap_or_default().min(40);
    for (start, pieces, docs) in rows {
        write!(out, "{indent}{}{}", printable(&start), styled(&pieces))?;
        if let Some(docs) = docs {
            let gap = widest.saturating_sub(width(&start, &pieces)) + 2;
            write!(out, "{:gap$}{FAINT}{}{FAINT:#}", "", one_line(docs))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
