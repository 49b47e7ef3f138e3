//! The seed of random tests.

/// The environment variable that sets it.
const VARIABLE: &str = "FAULTS_SEED";

/// Returns a random seed, or that of the environment. It is printed, and shown when a test fails.
///
/// # Panics
/// When the environment variable is no number.
pub fn seed() -> u64 {
    let asked = std::env::var(VARIABLE).ok();
    let seed = asked.map_or_else(
        || fastrand::u64(..),
        |seed| seed.parse().expect("a seed is a number"),
    );
    eprintln!("{VARIABLE}={seed}");
    seed
}
