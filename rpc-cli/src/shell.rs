//! `rpc completions` and `rpc man`: generates completions and manual pages; and quotes words for a shell.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::failure::{Failure, Stop};
use crate::output::Output;

/// Prints a completion script for a shell: `source <(rpc completions bash)`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The name of the shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, output: &mut Output, mut command: Command) -> Result<(), Stop> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "rpc", &mut script);
        Ok(output.write_all(&script)?)
    }
}

/// Prints the manual page: `rpc man | man -l -`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Writes the pages of all commands to this folder
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, output: &mut Output, command: Command) -> Result<(), Stop> {
        match self.output {
            Some(folder) => {
                let written = clap_mangen::generate_to(command, &folder);
                let unwritable = |error| Failure::usage(format!("{}: {error}", folder.display()));
                Ok(written.map_err(unwritable)?)
            }
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(command).render(&mut page)?;
                Ok(output.write_all(&page)?)
            }
        }
    }
}

/// Returns a command line to paste. `options` are quoted already.
pub(crate) fn command_line(name: &str, target: &str, options: &str, words: &[String]) -> String {
    // An option behind the first word would be read as such.
    let are_options = words
        .iter()
        .any(|word| word.starts_with('-') && word != "-");
    let separator = if are_options { " --" } else { "" };
    let words: String = words
        .iter()
        .map(|word| format!(" {}", quoted(word)))
        .collect();
    format!("rpc {name} {target}{options}{separator}{words}")
}

/// Quotes a word for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=./:,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}
