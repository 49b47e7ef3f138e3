//! Checks that the tests that `SECURITY.md` cites exist.

use std::fs;
use std::path::Path;

use crate::{read, root, sources};

/// Returns the folders of the tests of a test binary or of a crate.
fn folders(place: &str) -> Vec<String> {
    let binary = format!("tests/tests/{place}");
    match root().join(&binary).is_dir() {
        true => vec![binary],
        false => ["src", "tests"]
            .map(|folder| format!("{place}/{folder}"))
            .into_iter()
            .filter(|folder| root().join(folder).is_dir())
            .collect(),
    }
}

/// Returns the text of all sources of a test binary or crate.
fn text(place: &str) -> String {
    let folders = folders(place);
    assert!(!folders.is_empty(), "there is no `{place}`");
    let paths = folders.iter().flat_map(|folder| sources(folder));
    paths
        .map(|path| fs::read_to_string(path).unwrap())
        .collect()
}

/// Returns the texts between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Returns the last cells of the rows of the table in this section.
fn last_cells<'a>(document: &'a str, section: &str) -> Vec<&'a str> {
    let (_, rest) = document.split_once(section).expect("the section");
    let section = rest.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    cells.skip(2).collect()
}

#[test]
fn tests_of_the_threat_model_exist() {
    let document = read("SECURITY.md");
    let cells = last_cells(&document, "\n## Threat model\n");
    assert!(cells.len() > 20, "{}", cells.len());
    for cell in cells {
        for group in cell.split("; ") {
            let mut names = quoted(group);
            let place = names.next().unwrap_or_else(|| panic!("no test: {cell}"));
            let text = text(place);
            let mut count = 0;
            for name in names {
                count += 1;
                assert!(text.contains(&format!("fn {name}(")), "`{place}`: `{name}`");
            }
            assert!(count > 0, "no test in `{place}`: {cell}");
        }
    }
}

#[test]
fn tests_and_modules_cited_for_promises_exist() {
    let places = ["tests/tests", "rpc-runtime/src", "rpc-layers", "rpc-cli"].map(sources);
    let texts = places.iter().flatten().map(fs::read_to_string);
    let text: String = texts.map(Result::unwrap).collect();
    let document = read("SECURITY.md");
    for cell in last_cells(&document, "\n## What is promised\n") {
        for name in quoted(cell).filter(|name| !name.contains([' ', '/', '.'])) {
            let last = name.rsplit("::").next().unwrap_or(name);
            let is_place = !folders(name).is_empty();
            let is_code = ["fn", "mod"].iter().any(|keyword| {
                ["(", ";", " {"]
                    .iter()
                    .any(|end| text.contains(&format!("{keyword} {last}{end}")))
            });
            let transcript = format!("tests/transcripts/{last}.txt");
            let is_transcript = Path::new(&root().join(transcript)).exists();
            assert!(is_place || is_code || is_transcript, "`{name}`");
        }
    }
}
