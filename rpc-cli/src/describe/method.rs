//! Shows one method in full.

use std::collections::HashSet;
use std::io::{self, Write};

use super::text::{definition, marks, one_line, styled, width};
use crate::document::{Document, Method, Parameter};
use crate::escape::{Printable, PrintableLines};
use crate::json::Compact;
use crate::output::{FAINT, NUMBER, TITLE};
use crate::sample::{self, Samples};
use crate::types::{self, Literal, Piece, Pieces};

pub(super) fn write(
    out: &mut impl Write,
    document: &Document,
    method: Method<'_>,
    target: &str,
) -> io::Result<()> {
    styled(out, |out| types::signature(method, out))?;
    writeln!(out, "{}", marks(&method.marks()))?;
    let mut separator = "  also ";
    for alias in method.aliases() {
        write!(out, "{FAINT}{separator}{}{FAINT:#}", Printable(alias))?;
        separator = ", ";
    }
    if separator == ", " {
        writeln!(out)?;
    }
    if let Some(docs) = method.description().or_else(|| method.summary()) {
        writeln!(out)?;
        for line in docs.trim_end().lines() {
            writeln!(out, "  {}", PrintableLines(line))?;
        }
    }
    write_types(out, method)?;
    write_errors(out, method)?;
    write_examples(out, method, target)?;
    write_mentioned(out, document, method)?;
    heading(out, "Command line")?;
    let command = Samples::of(document).command(method, target);
    writeln!(out, "  {}", Printable(command))
}

fn heading(out: &mut impl Write, heading: &str) -> io::Result<()> {
    writeln!(out, "\n{TITLE}{heading}{TITLE:#}")
}

fn write_types(out: &mut impl Write, method: Method<'_>) -> io::Result<()> {
    write_parameters(out, method)?;
    let others = [
        ("Parameters as one value", method.entire_params()),
        ("Uploaded items", method.upload()),
        ("Streamed items", method.items()),
        // A method with items shows them in place of a result.
        (
            "Result",
            method.result().filter(|_| method.items().is_none()),
        ),
    ];
    for (title, typed) in others {
        if let Some(typed) = typed {
            heading(out, title)?;
            write!(out, "  ")?;
            styled(out, |out| types::of(typed, out))?;
            writeln!(out)?;
        }
    }
    Ok(())
}

fn write_parameters(out: &mut impl Write, method: Method<'_>) -> io::Result<()> {
    let name = |parameter: Parameter<'_>| {
        width(|out: &mut Pieces<'_>| out(Piece::Property, &parameter.name()))
    };
    let typed = |parameter: Parameter<'_>| width(|out| types::of(parameter.typed(), out)).min(32);
    let (mut widest, mut widest_type) = (0, 0);
    for parameter in method.params() {
        widest = widest.max(name(parameter));
        widest_type = widest_type.max(typed(parameter));
    }
    for (index, parameter) in method.params().enumerate() {
        if index == 0 {
            heading(out, "Parameters")?;
        }
        let gap = widest - name(parameter) + 2;
        write!(out, "  {}{:gap$}", Printable(parameter.name()), "")?;
        styled(out, |out| types::of(parameter.typed(), out))?;
        write!(out, "{:1$}", "", widest_type - typed(parameter) + 2)?;
        match (parameter.typed().default(), parameter.is_required()) {
            (Some(default), _) => write!(out, "{FAINT}default{FAINT:#} {}", Literal(default))?,
            (None, true) => write!(out, "{FAINT}required{FAINT:#}")?,
            (None, false) => write!(out, "{FAINT}optional{FAINT:#}")?,
        }
        match parameter.docs() {
            Some(docs) => writeln!(out, "  {}", one_line(&docs))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

fn write_errors(out: &mut impl Write, method: Method<'_>) -> io::Result<()> {
    for (index, error) in method.errors().enumerate() {
        if index == 0 {
            heading(out, "Errors")?;
        }
        let (code, message) = (error.code(), error.message());
        write!(out, "  {NUMBER}{code}{NUMBER:#}  {}", one_line(&message))?;
        if let Some(data) = error.data() {
            write!(out, "  ")?;
            styled(out, |out| types::of_schema(data, out))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn write_examples(out: &mut impl Write, method: Method<'_>, target: &str) -> io::Result<()> {
    for (index, example) in method.examples().enumerate() {
        if index == 0 {
            heading(out, "Examples")?;
        }
        if !example.name().is_empty() {
            writeln!(out, "  {}", one_line(&example.name()))?;
        }
        if let Some(command) = sample::example(method, example, target) {
            writeln!(out, "  {FAINT}${FAINT:#} {}", Printable(command))?;
        }
        if let Some(result) = example.result() {
            writeln!(out, "  {}", Compact(result.value()))?;
        }
    }
    Ok(())
}

fn write_mentioned(
    out: &mut impl Write,
    document: &Document,
    method: Method<'_>,
) -> io::Result<()> {
    let mentioned = mentioned(document, method);
    if !mentioned.is_empty() {
        heading(out, "Types")?;
    }
    for (name, schema) in document.schemas() {
        if mentioned.contains(&schema.id()) {
            write!(out, "  ")?;
            definition(out, (name, schema), "    ")?;
        }
    }
    Ok(())
}

/// Returns the named types that a method refers to, directly or indirectly.
fn mentioned(document: &Document, method: Method<'_>) -> HashSet<u32> {
    let params = method
        .params()
        .filter_map(|parameter| parameter.typed().schema());
    let typed = [
        method.result(),
        method.entire_params(),
        method.items(),
        method.upload(),
    ];
    let typed = typed
        .into_iter()
        .flatten()
        .filter_map(|typed| typed.schema());
    let errors = method.errors().filter_map(|error| error.data());
    let mut mentioned = HashSet::new();
    // The chain of references may be long.
    let mut left: Vec<_> = params.chain(typed).chain(errors).collect();
    while let Some(schema) = left.pop() {
        let named = schema
            .containers()
            .filter_map(|part| document.referred(part));
        left.extend(named.filter(|named| mentioned.insert(named.id())));
    }
    mentioned
}
