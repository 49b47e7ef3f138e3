//! The server's process.

use std::io::BufRead;

use anyhow::Result;

use crate::contender::Contender;
use crate::drive::RuntimeKind;
use crate::process::{Used, say};

/// Serves until its standard input ends. Every line that comes there is answered with what was used so far.
pub(crate) fn main(contender: Contender, runtime: RuntimeKind) -> Result<()> {
    std::thread::spawn(move || {
        let served = runtime
            .build()
            .map_err(Into::into)
            .and_then(|runtime| runtime.block_on(contender.serve()));
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
