//! Programs in other languages that share no code with this project.

#[path = "../macros/bank.rs"]
#[allow(dead_code)] // the service is only described
mod bank;

mod python;
mod typescript;
