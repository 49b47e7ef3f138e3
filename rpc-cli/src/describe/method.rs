//! All of one method.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::Value;

use super::text::{definition, marks, one_line, signature, styled};
use crate::document::{Document, Method};
use crate::failure::printable;
use crate::output::{FAINT, NUMBER, TITLE};
use crate::sample;
use crate::schema::reference;
use crate::types;

pub(super) fn write(
    out: &mut impl Write,
    document: &Document,
    method: &Method,
    target: &str,
) -> io::Result<()> {
    writeln!(
        out,
        "{}{}",
        signature(&types::signature(method)),
        marks(&method.marks())
    )?;
    if !method.aliases.is_empty() {
        let aliases = printable(&method.aliases.join(", "));
        writeln!(out, "  {FAINT}also {aliases}{FAINT:#}")?;
    }
    if let Some(docs) = method.description.as_ref().or(method.summary.as_ref()) {
        writeln!(out)?;
        for line in docs.trim_end().lines() {
            writeln!(out, "  {}", printable(line))?;
        }
    }
    write_types(out, method)?;
    write_errors(out, method)?;
    for (index, example) in method.examples.iter().enumerate() {
        if index == 0 {
            heading(out, "Examples")?;
        }
        if !example.name.is_empty() {
            writeln!(out, "  {}", one_line(&example.name))?;
        }
        if let Some(command) = sample::example(method, example, target) {
            writeln!(out, "  {FAINT}${FAINT:#} {}", printable(&command))?;
        }
        if let Some(result) = &example.result {
            writeln!(out, "  {}", printable(&result.value.to_string()))?;
        }
    }
    let mentioned = mentioned(document, method);
    if !mentioned.is_empty() {
        heading(out, "Types")?;
    }
    for (name, schema) in &document.components.schemas {
        if mentioned.contains(name) {
            write!(out, "  ")?;
            definition(out, name, schema, "    ")?;
        }
    }
    heading(out, "Call it")?;
    writeln!(
        out,
        "  {}",
        printable(&sample::command(document, method, target))
    )
}

fn heading(out: &mut impl Write, heading: &str) -> io::Result<()> {
    writeln!(out, "\n{TITLE}{heading}{TITLE:#}")
}

fn write_types(out: &mut impl Write, method: &Method) -> io::Result<()> {
    if !method.params.is_empty() {
        heading(out, "Parameters")?;
    }
    let widths = method
        .params
        .iter()
        .map(|parameter| parameter.name.chars().count());
    let widest = widths.max().unwrap_or_default();
    let types: Vec<_> = method
        .params
        .iter()
        .map(|one| types::of(&one.typed))
        .collect();
    let width = |pieces: &Vec<_>| types::text(pieces).chars().count();
    let widest_type = types.iter().map(width).max().unwrap_or_default().min(32);
    for (parameter, pieces) in method.params.iter().zip(&types) {
        let name = printable(&parameter.name);
        let gap = widest - parameter.name.chars().count() + 2;
        let gap_behind = widest_type.saturating_sub(width(pieces)) + 2;
        write!(
            out,
            "  {name}{:gap$}{}{:gap_behind$}",
            "",
            styled(pieces),
            ""
        )?;
        match (parameter.typed.schema.get("default"), parameter.required) {
            (Some(default), _) => write!(
                out,
                "{FAINT}default{FAINT:#} {}",
                printable(&default.to_string())
            )?,
            (None, true) => write!(out, "{FAINT}required{FAINT:#}")?,
            (None, false) => write!(out, "{FAINT}optional{FAINT:#}")?,
        }
        match parameter.docs() {
            Some(docs) => writeln!(out, "  {}", one_line(docs))?,
            None => writeln!(out)?,
        }
    }
    let others = [
        ("All parameters", &method.entire_params),
        ("Items that it takes", &method.upload),
        ("Items that it sends", &method.items),
    ];
    for (title, typed) in others {
        if let Some(typed) = typed {
            heading(out, title)?;
            writeln!(out, "  {}", styled(&types::of(typed)))?;
        }
    }
    match &method.result {
        Some(result) if method.items.is_none() => {
            heading(out, "Result")?;
            writeln!(out, "  {}", styled(&types::of(result)))
        }
        _ => Ok(()),
    }
}

fn write_errors(out: &mut impl Write, method: &Method) -> io::Result<()> {
    if !method.errors.is_empty() {
        heading(out, "Errors")?;
    }
    for error in &method.errors {
        write!(
            out,
            "  {NUMBER}{}{NUMBER:#}  {}",
            error.code,
            one_line(&error.message)
        )?;
        match &error.data {
            Some(data) => writeln!(out, "  {}", styled(&types::of_schema(data)))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// The names of all types that a method speaks of, and of those that they speak of.
fn mentioned(document: &Document, method: &Method) -> BTreeSet<String> {
    let params = method
        .params
        .iter()
        .map(|parameter| &parameter.typed.schema);
    let typed = [
        &method.result,
        &method.entire_params,
        &method.items,
        &method.upload,
    ];
    let typed = typed.into_iter().flatten().map(|typed| &typed.schema);
    let errors = method.errors.iter().filter_map(|error| error.data.as_ref());
    let mut mentioned = BTreeSet::new();
    // Types may lead to others without end.
    let mut left: Vec<_> = params.chain(typed).chain(errors).collect();
    while let Some(schema) = left.pop() {
        if let Some(name) = reference(schema)
            && let Some(named) = document.components.schemas.get(&name)
            && mentioned.insert(name)
        {
            left.push(named);
        }
        match schema {
            Value::Object(members) => left.extend(members.values()),
            Value::Array(all) => left.extend(all),
            _ => {}
        }
    }
    mentioned
}
