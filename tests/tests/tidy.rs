//! What must hold of the source itself. `ARCHITECTURE.md` says why.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below `folder`.
fn sources(folder: &str) -> Vec<PathBuf> {
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

/// A file's code, without its comments and its tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn assert_absent(folder: &str, words: &[&str], except: &[&str]) {
    for path in sources(folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        for word in words.iter().filter(|_| !except.contains(&name)) {
            assert!(
                !code(&path).contains(word),
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
        "examples/telemetry",
        "examples/kubernetes",
        "tests",
    ] {
        let manifest = read(Path::new(package).join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{package}");
    }
}

#[test]
fn the_wire_knows_no_socket_clock_or_task() {
    let wire = "rpc-runtime/src/wire";
    assert_absent(
        wire,
        &[
            "tokio",
            "quinn",
            "std::net",
            "std::time",
            "std::thread",
            "async ",
        ],
        &[],
    );
}

#[test]
fn bytes_of_a_peer_cannot_panic_in_the_wire() {
    let lints = read("rpc-runtime/src/wire/mod.rs");
    for lint in [
        "unwrap_used",
        "expect_used",
        "indexing_slicing",
        "panic",
        "arithmetic_side_effects",
    ] {
        assert!(lints.contains(&format!("clippy::{lint}")), "{lint}");
    }
    assert_absent(
        "rpc-runtime/src/wire",
        &["#[allow(clippy::indexing", "#[allow(clippy::unwrap"],
        &[],
    );
}

#[test]
fn only_one_file_names_the_quic_library() {
    assert_absent("rpc-runtime/src", &["quinn"], &["quic.rs"]);
}

#[test]
fn generated_code_goes_through_one_door_and_decides_nothing() {
    // What stands in for the code of a trait with mistakes never runs.
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
fn the_front_page_shows_how_to_run_it() {
    let readme = read("README.md");
    for command in ["cargo run --example quickstart", "cargo test --workspace"] {
        assert!(readme.contains(command), "{command}");
    }
    let program = readme.find("```rust").expect("a program");
    let before = readme[..program].lines().count();
    assert!(before <= 10, "the program starts at line {before}");
}

#[test]
fn every_example_has_its_line() {
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
fn the_version_is_in_the_changelog() {
    let manifest = read("Cargo.toml");
    let version = manifest
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap();
    assert!(read("CHANGELOG.md").contains(&format!("## [{}]", version.trim_matches('"'))));
}
