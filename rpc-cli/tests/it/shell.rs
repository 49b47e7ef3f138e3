//! Help, completions and manual pages.

use crate::program::{Demo, rpc};

const COMMANDS: [&str; 10] = [
    "call",
    "describe",
    "stream",
    "ping",
    "health",
    "bench",
    "check",
    "serve-demo",
    "completions",
    "man",
];

#[test]
fn help_lists_every_command_and_exit_status() {
    let help = rpc(&["--help"]).assert_ok();
    for command in COMMANDS {
        assert!(help.contains(&format!("  {command} ")), "{command}: {help}");
        let own = rpc(&[command, "--help"]).assert_ok();
        assert!(own.contains("Usage: rpc "), "{own}");
    }
    // The README has the same text.
    let readme = include_str!("../../README.md");
    let statuses = help.split("Exit status:\n").nth(1).unwrap();
    let statuses = statuses
        .lines()
        .map_while(|line| line.trim().split_once(' '));
    let numbers = statuses.map(|(status, meaning)| {
        let row = format!("| {status} | {} |", meaning.trim());
        assert!(readme.contains(&row), "{row}");
        status.parse().unwrap()
    });
    assert_eq!(numbers.collect::<Vec<u8>>(), [0, 1, 2, 3, 4, 5, 6, 130]);
}

#[test]
fn readme_lists_every_command() {
    let readme = include_str!("../../README.md");
    for command in COMMANDS {
        assert!(readme.contains(&format!("rpc {command}")), "{command}");
    }
}

#[test]
fn completions_are_generated_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = rpc(&["completions", shell]).assert_ok();
        assert!(
            script.contains("describe") && script.contains("in-flight"),
            "{shell}"
        );
    }
    rpc(&["completions", "abacus"]).assert_failed(2);
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_has_its_own_status() {
    let lines: [&[&str]; 6] = [
        &["--help"],
        &["--version"],
        &["call", "--help"],
        &["describe", crate::describe::SHOP],
        &["describe", crate::describe::SHOP, "--json"],
        &["completions", "bash"],
    ];
    for line in lines {
        let full = std::fs::File::create("/dev/full").unwrap();
        let output = crate::program::command(line).stdout(full).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(6), "{line:?}: {told}");
        assert!(told.contains("cannot write to standard output"), "{told}");
    }
    assert!(rpc(&["--help"]).assert_ok().contains("\n  6  "));
}

#[test]
fn manual_pages_are_generated() {
    assert!(rpc(&["man"]).assert_ok().contains(".TH rpc 1"));
    let folder = format!("{}/man-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(rpc(&["man", "--output", &folder]).assert_ok(), "");
    for command in COMMANDS {
        let page = std::fs::read_to_string(format!("{folder}/rpc-{command}.1")).unwrap();
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The commands that `serve-demo` suggests run unchanged.
#[test]
fn commands_suggested_by_the_demo_server_run() {
    let demo = Demo::start();
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_rpc"))
        .parent()
        .unwrap();
    let path = std::env::var("PATH").unwrap();
    for line in &demo.advice {
        let ran = std::process::Command::new("sh")
            .args(["-c", line])
            .env("PATH", format!("{}:{path}", folder.display()))
            .output()
            .unwrap();
        // One of them fails on purpose.
        let expected = if line.contains("melon") && line.contains("buy") {
            1
        } else {
            0
        };
        assert_eq!(ran.status.code(), Some(expected), "{line}: {ran:?}");
    }
}
