//! Where the randomness of a run begins.

/// The environment variable that sets it.
const VARIABLE: &str = "FAULTS_SEED";

/// A new seed, or the one that the environment asks for. It is printed, which tests show when they fail.
///
/// # Panics
/// When the environment asks for what is no number.
pub fn seed() -> u64 {
    let asked = std::env::var(VARIABLE).ok();
    let seed = asked.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("a seed is a number"),
    );
    eprintln!("{VARIABLE}={seed}");
    seed
}
