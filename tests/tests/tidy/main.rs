//! Checks rules for the source code, which `ARCHITECTURE.md` explains.

mod crates;
mod imports;
mod limits;
mod logs;
mod msrv;
mod prose;
mod threats;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imports::Imports;

pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns every Rust file below `folder`.
pub(crate) fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                path if path.extension().is_some_and(|extension| extension == "rs") => {
                    found.push(path)
                }
                _ => {}
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// Returns the code of a file without comments and tests.
pub(crate) fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text
        .split("#[cfg(test)]")
        .next()
        .and_then(|code| code.split("#[cfg(all(test").next())
        .unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn assert_absent(paths: &[PathBuf], words: &[&str]) {
    for path in paths {
        for word in words {
            assert!(
                !code(path).contains(word),
                "{} names `{word}`",
                path.display()
            );
        }
    }
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for package in [
        "rpc-macros",
        "rpc-runtime",
        "rpc-layers",
        "rpc-discovery",
        "rpc-cli",
        "examples",
        "examples/observability",
        "examples/orders",
        "examples/telemetry",
        "examples/kubernetes",
        "tests",
    ] {
        let manifest = read(Path::new(package).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package}");
    }
}

const CODEC: &str = "rpc-runtime/src/codec";

#[test]
fn codec_names_no_socket_clock_or_task() {
    let words = [
        "tokio",
        "quinn",
        "std::net",
        "std::time",
        "std::thread",
        "async ",
    ];
    assert_absent(&sources(CODEC), &words);
}

#[test]
fn codec_denies_code_that_may_panic() {
    let lints = read("rpc-runtime/src/codec/mod.rs");
    for lint in [
        "unwrap_used",
        "expect_used",
        "indexing_slicing",
        "panic",
        "arithmetic_side_effects",
    ] {
        assert!(lints.contains(&format!("clippy::{lint}")), "{lint}");
    }
    let allowed = ["#[allow(clippy::indexing", "#[allow(clippy::unwrap"];
    assert_absent(&sources(CODEC), &allowed);
}

#[test]
fn codec_imports_nothing_else_of_the_crate() {
    let folders = Imports::of("rpc-runtime/src").of_folders();
    assert_eq!(folders.0["codec"].iter().collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn server_and_client_import_only_the_callback_from_each_other() {
    for (module, imports) in Imports::of("rpc-runtime/src").0 {
        let (is_server, is_client) = (module.starts_with("server"), module.starts_with("client"));
        for import in imports {
            let meets = (is_server && import.starts_with("client"))
                || (is_client && import.starts_with("server"));
            assert!(
                !meets || import == "client::callback",
                "{module} imports {import}"
            );
        }
    }
}

#[test]
fn imports_between_files_have_no_cycle() {
    for folder in [
        "rpc-runtime/src",
        "bench/src",
        "fuzz/src",
        "rpc-cli/src",
        "rpc-discovery/src",
        "rpc-layers/src",
        "rpc-macros/src",
    ] {
        let imports = Imports::of(folder);
        assert_eq!(imports.cycles(), [""; 0], "{folder}");
    }
    let folders = Imports::of("rpc-runtime/src").of_folders();
    assert_eq!(folders.cycles(), [""; 0], "folders of rpc-runtime");
}

#[test]
fn type_name_is_defined_once() {
    // Each transport defines its own streams and connections.
    let variants = ["Connection", "SendStream", "RecvStream"];
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources("rpc-runtime/src") {
        if path.ends_with("tests.rs") || path.ends_with("shuttle_tests.rs") {
            continue;
        }
        let is_transport = path.iter().any(|part| part == "transport");
        let file = path.display().to_string();
        for name in code(&path).lines().filter_map(type_name) {
            if !(is_transport && variants.contains(&name)) {
                let files = defined.entry(name.to_owned()).or_default();
                // Two definitions in one file are variants of a type for a feature.
                if !files.contains(&file) {
                    files.push(file.clone());
                }
            }
        }
    }
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "{defined:#?}");
}

/// Returns the name of the type that a line defines.
fn type_name(line: &str) -> Option<&str> {
    let mut words = line.trim_start().split(' ');
    let visibility = words.next()?;
    let word = match visibility.starts_with("pub") {
        true => words.find(|word| !word.ends_with(')') && *word != "in")?,
        false => visibility,
    };
    let name = words
        .next()
        .filter(|_| matches!(word, "struct" | "enum" | "trait"))?;
    name.split(|c: char| !c.is_alphanumeric()).next()
}

#[test]
fn quic_library_is_named_in_one_module() {
    let module = root().join("rpc-runtime/src/transport/quic");
    let mut others = sources("rpc-runtime/src");
    others.retain(|path| !path.with_extension("").starts_with(&module));
    assert_absent(&others, &["quinn"]);
}

#[test]
fn generated_code_names_one_module_and_has_no_logic() {
    // The code that replaces a trait with mistakes never runs.
    let runs = |path: &PathBuf| !path.ends_with("fallback.rs");
    for path in sources("rpc-macros/src/expansions")
        .into_iter()
        .filter(runs)
    {
        let code = code(&path);
        for word in [
            " if ", " in ", "while ", "loop ", "unwrap", "panic", "::std::", "::core::",
        ] {
            let found = code.lines().find(|line| line.contains(word));
            assert_eq!(found, None, "{}: `{word}`", path.display());
        }
    }
}

#[test]
fn readme_shows_how_to_run_the_project() {
    let readme = read("README.md");
    for command in ["cargo run --example quickstart", "cargo test --workspace"] {
        assert!(readme.contains(command), "{command}");
    }
    let program = readme.find("```rust").expect("a program");
    let before = readme[..program].lines().count();
    assert!(before <= 10, "the program starts at line {before}");
}

#[test]
fn example_has_a_line_in_the_index() {
    let index = read("examples/README.md");
    for path in fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if read("examples/Cargo.toml").contains(&format!("path = \"{name}\"")) {
            assert!(index.contains(&format!("({name})")), "{name}");
        }
    }
}

#[test]
fn private_keys_are_written_for_their_owner_only() {
    for path in sources("examples").into_iter().chain(sources("tests")) {
        let text = fs::read_to_string(&path).unwrap();
        for statement in text.split(';') {
            let is_open = statement.contains("fs::write(");
            let is_key = statement.contains("signing_key") || statement.contains("key.pem");
            assert!(!(is_open && is_key), "{}: {statement}", path.display());
        }
    }
}

#[test]
fn version_is_in_the_changelog() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap();
    assert!(read("CHANGELOG.md").contains(&format!("## [{}]", version.trim_matches('"'))));
}
