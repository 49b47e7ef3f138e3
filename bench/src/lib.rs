//! Compares RPC frameworks side by side. `README.md` says what is measured and how.

use anyhow::Result;

mod binary;
mod caller;
mod callgrind;
mod chart;
mod cli;
mod codec;
mod compare;
mod compile_time;
mod contender;
mod drive;
mod encode;
mod figures;
mod growth;
mod http;
mod instructions;
mod load;
mod matrix;
mod process;
mod report;
mod serve;
mod session;
mod settings;
mod shapes;
mod table;
mod targets;
mod work;

/// Runs the command line. `allocations` returns the number of allocations of this process.
pub fn main(allocations: fn() -> u64) -> Result<()> {
    process::ALLOCATIONS.get_or_init(|| allocations);
    cli::main()
}
