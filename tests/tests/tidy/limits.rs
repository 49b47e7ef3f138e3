//! Checks that `docs/limits.md` lists every limit and every code.

use std::collections::BTreeSet;

use crate::{code, read, root, sources};

/// Returns the names of the public fields of `Limits`.
fn fields() -> Vec<String> {
    let source = code(&root().join("rpc-runtime/src/limits.rs"));
    let (_, fields) = source.split_once("pub struct Limits {").unwrap();
    let fields = fields.split("\n}").next().unwrap();
    let fields = fields.lines().filter_map(|line| {
        let (name, _) = line.trim().strip_prefix("pub ")?.split_once(':')?;
        Some(name.to_owned())
    });
    fields.collect()
}

/// Returns the first cell of each row of a table.
fn first_cells(page: &str) -> Vec<&str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| row.split(" |").next()).collect()
}

#[test]
fn field_of_limits_has_one_row_on_the_page_of_limits() {
    let page = read("docs/limits.md");
    let cells = first_cells(&page);
    let fields = fields();
    assert!(fields.len() > 20, "{}", fields.len());
    for field in &fields {
        let cell = format!("`{field}`");
        let rows = cells.iter().filter(|found| **found == cell).count();
        assert_eq!(rows, 1, "docs/limits.md: rows of {cell}");
    }
    for cell in cells {
        let name = cell
            .strip_prefix('`')
            .and_then(|name| name.strip_suffix('`'));
        let is_field = name.is_some_and(|name| fields.iter().any(|field| field == name));
        let is_of_client = [
            "`max_dedicated_streams`",
            "`initial_max_streams_bidi`",
            "`shared_stream_bytes`",
        ]
        .contains(&cell);
        assert!(
            is_field || is_of_client || name.is_none_or(|name| name.contains("::")),
            "docs/limits.md: {cell} is no field of `Limits`"
        );
    }
}

#[test]
fn close_code_has_one_row_on_the_page_of_limits() {
    let source = code(&root().join("rpc-runtime/src/transport/error.rs"));
    let codes = source.lines().filter_map(|line| {
        let (_, value) = line
            .trim()
            .strip_prefix("pub(crate) const ")?
            .split_once(": u32 = ")?;
        value.strip_suffix(';')
    });
    let codes: Vec<_> = codes.collect();
    assert!(codes.len() >= 6, "{codes:?}");
    let page = read("docs/limits.md");
    for code in codes {
        let rows = first_cells(&page)
            .iter()
            .filter(|cell| **cell == code)
            .count();
        assert_eq!(rows, 1, "docs/limits.md: rows of {code}");
    }
}

#[test]
fn limit_that_is_reported_stands_on_the_page_of_limits() {
    let page = read("docs/limits.md");
    let mut names = BTreeSet::new();
    for path in sources("rpc-runtime/src") {
        let code = code(&path);
        for constructor in ["Setting::new(", "Limit::new("] {
            for (at, _) in code.match_indices(constructor) {
                let argument = code[at + constructor.len()..].trim_start();
                let quoted = argument
                    .strip_prefix('"')
                    .and_then(|rest| rest.split('"').next());
                names.extend(quoted.map(str::to_owned));
            }
        }
    }
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "docs/limits.md has no `{name}`"
        );
    }
}
