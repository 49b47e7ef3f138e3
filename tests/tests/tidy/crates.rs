//! Checks the numbers of crates in the README, by the commands that it names.

use std::collections::BTreeSet;
use std::process::Command;

use crate::{read, root};

/// Returns the lines that a command of the README prints, each once. The command is `cargo tree`, up to the pipe.
fn crates(command: &str) -> BTreeSet<String> {
    let arguments = command.strip_prefix("cargo ").unwrap().split_whitespace();
    let tree = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "{command}: {errors}");
    let printed = String::from_utf8(tree.stdout).unwrap();
    printed.lines().map(str::to_owned).collect()
}

/// Returns the commands of the README that count crates, and the number in the comment behind each.
fn counted(readme: &str) -> Vec<(&str, usize)> {
    let lines = readme.lines().filter_map(|line| {
        let (command, comment) = line.split_once(" | sort -u | wc -l")?;
        let number = comment.trim().strip_prefix("# ")?.split(' ').next()?;
        Some((command, number.parse().ok()?))
    });
    lines.collect()
}

#[test]
#[cfg(target_os = "linux")]
fn numbers_of_crates_in_the_readme_are_those_of_its_commands() {
    let readme = read("README.md");
    let counted = counted(&readme);
    assert_eq!(counted.len(), 2, "one build with and one without a server");
    for (command, number) in counted {
        assert_eq!(crates(command).len(), number, "{command}");
    }
}

#[test]
fn build_without_server_omits_what_generates_certificates() {
    let readme = read("README.md");
    let names = |command| -> BTreeSet<String> {
        let crates = crates(command);
        let names = crates.iter().filter_map(|line| line.split(' ').next());
        names.map(str::to_owned).collect()
    };
    let [(all, _), (client, _)] = counted(&readme)[..] else {
        panic!("one build with and one without a server");
    };
    let (all, client) = (names(all), names(client));
    assert!(client.is_subset(&all));
    for name in ["rcgen", "time", "yasna"] {
        assert!(all.contains(name) && !client.contains(name), "{name}");
    }
}
