//! The imports between the files of a crate, read from its `use` declarations and its `crate::` paths.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{code, sources};

/// The modules of a crate, each with the modules that it imports. A module is named by its path, as `server::stream`.
pub(crate) struct Imports(pub(crate) BTreeMap<String, BTreeSet<String>>);

impl Imports {
    /// Reads the crate in `folder`, without its tests.
    pub(crate) fn of(folder: &str) -> Self {
        let root = crate::root().join(folder);
        let files: BTreeMap<_, _> = sources(folder)
            .into_iter()
            .filter(|path| !is_test(path))
            .map(|path| (module(path.strip_prefix(&root).unwrap()), code(&path)))
            .collect();
        let imports = files.iter().map(|(module, code)| {
            let paths = paths(code, module);
            let found = paths.iter().filter_map(|path| defining(path, &files));
            let others = found.filter(|found| found != module);
            (module.clone(), others.collect())
        });
        Self(imports.collect())
    }

    /// Returns the modules that are in a cycle of imports, or on a path between two cycles.
    pub(crate) fn cycles(&self) -> Vec<String> {
        let mut left = self.0.clone();
        loop {
            let names: BTreeSet<String> = left.keys().cloned().collect();
            let imported: BTreeSet<String> = left.values().flatten().cloned().collect();
            let before = left.len();
            left.retain(|name, imports| {
                imports.retain(|import| names.contains(import));
                !imports.is_empty() && imported.contains(name)
            });
            if left.len() == before {
                break;
            }
        }
        let arrow = |(module, imports): (String, BTreeSet<String>)| {
            let imports: Vec<_> = imports.into_iter().collect();
            format!("{module} -> {}", imports.join(", "))
        };
        left.into_iter().map(arrow).collect()
    }

    /// Returns the imports between folders of the first level.
    pub(crate) fn of_folders(&self) -> Self {
        let folder = |module: &str| module.split("::").next().unwrap_or_default().to_owned();
        let mut folders: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (module, imports) in &self.0 {
            let from = folder(module);
            let others = imports.iter().map(|import| folder(import));
            let others = others.filter(|to| *to != from);
            folders.entry(from.clone()).or_default().extend(others);
        }
        Self(folders)
    }
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str());
    matches!(name, Some("tests" | "shuttle_tests"))
}

/// Returns the module of a file below `src`. `a/mod.rs` and `a.rs` are the module `a`.
fn module(path: &Path) -> String {
    let path = path.with_extension("");
    let mut names: Vec<_> = path.iter().filter_map(|name| name.to_str()).collect();
    if names.last() == Some(&"mod") {
        names.pop();
    }
    names.join("::")
}

/// Returns every path in `code`, from the root of the crate.
fn paths(code: &str, module: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let is_start = rest[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace);
        rest = &rest[at + 4..];
        if let (true, Some(end)) = (is_start, rest.find(';')) {
            expand("", &rest[..end], &mut found);
        }
    }
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with("(in ") {
            // This path is a visibility.
            continue;
        }
        let path = code[at..].split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        // A path that ends with `::` is a group, which was expanded above.
        let path = path.take(1).filter(|path| !path.ends_with("::"));
        found.extend(path.map(str::to_owned));
    }
    let absolute = found.into_iter().filter_map(|path| absolute(&path, module));
    absolute.collect()
}

/// Splits `a::{b, c::d}` into `a::b` and `a::c::d`.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((head, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        found.push(format!("{prefix}{path}"));
        return;
    };
    let group = group.trim_end().trim_end_matches('}');
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &group[start..at];
                if !part.trim().is_empty() {
                    expand(&format!("{prefix}{}", head.trim()), part, found);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Returns a path from the root of the crate; `None` for a path of another crate.
fn absolute(path: &str, module: &str) -> Option<String> {
    let mut names: Vec<&str> = module.split("::").collect();
    let path = path.trim();
    if let Some(path) = path.strip_prefix("crate::") {
        return Some(path.to_owned());
    }
    if let Some(path) = path.strip_prefix("self::") {
        return Some(format!("{module}::{path}"));
    }
    let mut path = path.strip_prefix("super::")?;
    names.pop();
    while let Some(rest) = path.strip_prefix("super::") {
        names.pop();
        path = rest;
    }
    names.push(path);
    Some(names.join("::"))
}

/// Returns the module that defines the item of a path: the longest part of the path that is a module.
fn defining(path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let names: Vec<_> = path.split("::").collect();
    let longest_first = (1..=names.len()).rev();
    longest_first
        .map(|length| names[..length].join("::"))
        .find(|module| modules.contains_key(module))
}
