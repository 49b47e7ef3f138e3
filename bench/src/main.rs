//! The timed program.

fn main() -> anyhow::Result<()> {
    bench::main(|| 0)
}
