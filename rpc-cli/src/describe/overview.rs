//! All methods and types, as a tree.

use std::io::{self, Write};

use super::text::{definition, marks, one_line, signature};
use crate::document::{Document, Method};
use crate::failure::printable;
use crate::output::{FAINT, TITLE};
use crate::types;

pub(super) fn write(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let info = &document.info;
    writeln!(
        out,
        "{TITLE}{}{TITLE:#} {FAINT}{}{FAINT:#}",
        printable(&info.title),
        printable(&info.version)
    )?;
    if let Some(docs) = &info.description {
        writeln!(out, "{}", one_line(docs))?;
    }
    for (tag, methods) in document.services() {
        write!(out, "\n{TITLE}{}{TITLE:#}", printable(&tag.name))?;
        match &tag.description {
            Some(docs) => writeln!(out, "  {}", one_line(docs))?,
            None => writeln!(out)?,
        }
        branches(out, &methods, |out, method, indent| {
            write_method(out, method, indent)
        })?;
    }
    let schemas: Vec<_> = document.components.schemas.iter().collect();
    if !schemas.is_empty() {
        writeln!(out, "\n{TITLE}Types{TITLE:#}")?;
    }
    branches(out, &schemas, |out, (name, schema), indent| {
        definition(out, name, schema, indent)
    })
}

fn write_method(out: &mut impl Write, method: &Method, indent: &str) -> io::Result<()> {
    let also: String = method
        .aliases
        .iter()
        .map(|alias| format!("  {FAINT}also {}{FAINT:#}", printable(alias)))
        .collect();
    let signature = signature(&types::signature(method));
    writeln!(out, "{signature}{}{also}", marks(&method.marks()))?;
    match method.summary.as_ref().or(method.description.as_ref()) {
        Some(docs) => writeln!(out, "{indent}{}", one_line(docs)),
        None => Ok(()),
    }
}

/// Writes each as a branch; it gets what stands before its further lines.
fn branches<W: Write, T>(
    out: &mut W,
    all: &[T],
    mut each: impl FnMut(&mut W, &T, &str) -> io::Result<()>,
) -> io::Result<()> {
    for (index, one) in all.iter().enumerate() {
        let is_last = index + 1 == all.len();
        let (branch, below) = if is_last {
            ("└─ ", "     ")
        } else {
            ("├─ ", "│    ")
        };
        write!(out, "{FAINT}{branch}{FAINT:#}")?;
        each(out, one, &format!("{FAINT}{below}{FAINT:#}"))?;
    }
    Ok(())
}
