//! The server's process.

use std::io::BufRead;
use std::sync::Arc;

use anyhow::Result;

use crate::contender::{Contender, Setting};
use crate::load::RuntimeKind;
use crate::process::{Used, say};

/// Serves until the standard input ends. Answers every line of it with the resources used so far.
pub(crate) fn main(
    contender: Contender,
    runtime: RuntimeKind,
    setting: Option<Setting>,
) -> Result<()> {
    std::thread::spawn(move || {
        let served = serve(contender, runtime, setting);
        if let Err(error) = served {
            eprintln!("{}: {error:#}", contender.name());
        }
        std::process::exit(1);
    });
    for line in std::io::stdin().lock().lines() {
        line?;
        say(&Used::so_far())?;
    }
    Ok(())
}

fn serve(contender: Contender, runtime: RuntimeKind, setting: Option<Setting>) -> Result<()> {
    let runtime = Arc::new(runtime.build()?);
    runtime.block_on(contender.serve(&runtime, setting))
}
