//! Checks that the oldest supported Rust version can be true: no dependency needs a newer one. The standard library's items
//! are checked by clippy (`incompatible_msrv`), and `.ci/run` builds with that version where it is installed.

use std::process::Command;

use serde::Deserialize;

use crate::root;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    rust_version: Option<String>,
}

/// Returns the parts of a version of Rust; missing parts are zero.
fn parts(version: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap())
        .collect();
    parts.resize(3, 0);
    parts
}

/// Returns the packages of the workspace and their dependencies on this platform.
fn metadata() -> Metadata {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc.lines().find_map(|line| line.strip_prefix("host: "));
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .args(["--filter-platform", host.unwrap()])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&metadata.stderr);
    assert!(metadata.status.success(), "{errors}");
    serde_json::from_slice(&metadata.stdout).unwrap()
}

#[test]
fn no_dependency_declares_a_newer_rust_than_the_workspace() {
    let Metadata {
        packages,
        workspace_members,
    } = metadata();
    let (own, others): (Vec<_>, Vec<_>) = packages
        .iter()
        .partition(|package| workspace_members.contains(&package.id));
    let runtime = own.iter().find(|package| package.name == "rpc-runtime");
    let supported = runtime.unwrap().rust_version.as_deref().unwrap();
    let newer = others.iter().filter_map(|package| {
        let needed = package.rust_version.as_deref()?;
        let is_newer = parts(needed) > parts(supported);
        is_newer.then(|| format!("{} {} needs Rust {needed}", package.name, package.version))
    });
    let newer: Vec<_> = newer.collect();
    assert!(
        newer.is_empty(),
        "Rust {supported} is supported, but {newer:#?}"
    );
    let declaring = others
        .iter()
        .filter(|package| package.rust_version.is_some());
    assert!(
        declaring.count() > others.len() / 2,
        "most dependencies declare a version"
    );
}

#[test]
fn every_package_of_the_workspace_declares_the_rust_version() {
    let Metadata {
        packages,
        workspace_members,
    } = metadata();
    let own = packages
        .iter()
        .filter(|package| workspace_members.contains(&package.id));
    let without = own.filter(|package| package.rust_version.is_none());
    let without: Vec<_> = without.map(|package| &package.name).collect();
    assert!(without.is_empty(), "without rust-version: {without:?}");
}
