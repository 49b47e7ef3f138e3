//! Counts the instructions that a process executes, with valgrind's callgrind.

use std::process::Command;

use anyhow::{Context, Result};

use crate::process::output;

/// Returns the number of instructions of one repetition.
///
/// It is the difference between `2 * times` and `times` repetitions, divided by `times`. So work that is done once does not
/// count. `arguments` returns the arguments with which this program repeats something a number of times.
pub(crate) fn instructions(times: u64, arguments: impl Fn(u64) -> Vec<String>) -> Result<f64> {
    let once = collected(&arguments(times))?;
    let twice = collected(&arguments(2 * times))?;
    Ok((twice as f64 - once as f64) / times as f64)
}

/// Returns a command that runs a program under callgrind.
///
/// Valgrind counts an instruction for each byte that `rep movsb` copies. The C library chooses between `rep movsb` and a
/// loop of vectors by the addresses of a copy, which differ from run to run. So it is told to always use the loop.
pub(crate) fn callgrind() -> Command {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").env(
        "GLIBC_TUNABLES",
        "glibc.cpu.x86_rep_movsb_threshold=1073741824",
    );
    valgrind
}

/// Returns the number of all instructions of this program with these arguments.
fn collected(arguments: &[String]) -> Result<u64> {
    let mut valgrind = callgrind();
    valgrind
        .arg("--callgrind-out-file=/dev/null")
        .arg(std::env::current_exe()?)
        .args(arguments);
    let stderr = output(valgrind)?.stderr;
    parse_count(&String::from_utf8_lossy(&stderr))
}

/// Reads the count in `==4711== Collected : 123456`.
pub(crate) fn parse_count(stderr: &str) -> Result<u64> {
    let count = stderr
        .lines()
        .find_map(|line| line.split_once("Collected :"));
    let (_, count) = count.with_context(|| format!("valgrind counted nothing: {stderr}"))?;
    Ok(count.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::parse_count;

    #[test]
    fn summary_of_callgrind_is_parsed_to_its_count() {
        let stderr = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(parse_count(stderr).expect("a count"), 123_456);
        assert!(parse_count("==7== Command: bench").is_err());
    }
}
