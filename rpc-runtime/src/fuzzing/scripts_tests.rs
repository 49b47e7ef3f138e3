//! Tests with scripts of hostile peers: the scripts of the fuzzer's corpus, and random scripts.

use std::path::Path;

use tokio::runtime::{Builder, Runtime};

use crate::fuzzing::{Allocated, hostile_client, hostile_server};

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn measure(run: &mut dyn FnMut()) -> Allocated {
    let counted = allocation_counter::measure(run);
    Allocated {
        kept: counted.bytes_current,
        most: counted.bytes_max,
    }
}

/// Runs every script of a corpus.
fn replay(target: &str, drive: impl Fn(&[u8])) {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus")).join(target);
    let mut scripts = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Printed when a test fails, and so names its script.
        println!("{}", path.display());
        drive(&std::fs::read(path).unwrap());
        scripts += 1;
    }
    assert!(scripts > 0, "no scripts in {}", folder.display());
}

/// Returns a script that depends only on its number.
fn random(number: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(number);
    let length = random.usize(0..300);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

#[test]
fn server_under_scripts_of_the_corpus_holds_its_budgets() {
    replay("hostile_client", |script| {
        hostile_client::drive(script, runtime(), measure);
    });
}

#[test]
fn server_under_random_scripts_holds_its_budgets() {
    for number in 0..300 {
        println!("script {number}");
        hostile_client::drive(&random(number), runtime(), measure);
    }
}

#[test]
fn client_under_scripts_of_the_corpus_ends_each_call_and_holds_little() {
    replay("hostile_server", |script| {
        hostile_server::drive(script, runtime(), measure);
    });
}

#[test]
fn client_under_random_scripts_ends_each_call_and_holds_little() {
    for number in 0..300 {
        println!("script {number}");
        hostile_server::drive(&random(number), runtime(), measure);
    }
}
