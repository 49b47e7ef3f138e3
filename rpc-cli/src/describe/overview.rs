//! Shows all methods and types as a tree.

use std::io::{self, Write};

use super::text::{definition, marks, one_line, styled};
use crate::document::{Document, Method};
use crate::escape::Printable;
use crate::output::{FAINT, TITLE};
use crate::types;

pub(super) fn write(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let info = document.info();
    writeln!(
        out,
        "{TITLE}{}{TITLE:#} {FAINT}{}{FAINT:#}",
        Printable(info.title),
        Printable(info.version)
    )?;
    if let Some(docs) = &info.description {
        writeln!(out, "{}", one_line(docs))?;
    }
    for service in document.services() {
        write!(out, "\n{TITLE}{}{TITLE:#}", Printable(&service.name))?;
        match &service.description {
            Some(docs) => writeln!(out, "  {}", one_line(docs))?,
            None => writeln!(out)?,
        }
        branches(out, service.methods(), write_method)?;
    }
    if document.schemas().next().is_some() {
        writeln!(out, "\n{TITLE}Types{TITLE:#}")?;
    }
    branches(out, document.schemas(), definition)
}

fn write_method(out: &mut impl Write, method: Method<'_>, indent: &str) -> io::Result<()> {
    styled(out, |out| types::signature(method, out))?;
    write!(out, "{}", marks(&method.marks()))?;
    for alias in method.aliases() {
        write!(out, "  {FAINT}also {}{FAINT:#}", Printable(alias))?;
    }
    writeln!(out)?;
    match method.summary().or_else(|| method.description()) {
        Some(docs) => writeln!(out, "{indent}{}", one_line(&docs)),
        None => Ok(()),
    }
}

/// Writes each element as a branch. `write` receives the prefix of its further lines.
fn branches<W: Write, T>(
    out: &mut W,
    all: impl Iterator<Item = T>,
    mut each: impl FnMut(&mut W, T, &str) -> io::Result<()>,
) -> io::Result<()> {
    let mut all = all.peekable();
    while let Some(one) = all.next() {
        let (branch, below) = match all.peek() {
            Some(_) => ("├─ ", "│    "),
            None => ("└─ ", "     "),
        };
        write!(out, "{FAINT}{branch}{FAINT:#}")?;
        each(out, one, &format!("{FAINT}{below}{FAINT:#}"))?;
    }
    Ok(())
}
