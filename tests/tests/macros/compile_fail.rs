//! Mistakes in the use of the macros. Each mistake is one error at the token of the user.

use std::fs;
use std::path::Path;

#[test]
fn mistake_is_reported_as_recorded() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}

#[test]
fn mistake_is_one_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail");
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("the folder can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "stderr")
        {
            let output = fs::read_to_string(&path).expect("the file can be read");
            let starting = |word| output.lines().filter(|line| line.starts_with(word)).count();
            let found = (starting("error"), starting("warning"));
            assert_eq!(
                found,
                (mistakes_in(&path), 0),
                "errors and warnings in {}",
                path.display()
            );
        }
    }
}

fn mistakes_in(path: &Path) -> usize {
    match path.file_stem().and_then(|name| name.to_str()) {
        Some("three-mistakes") => 3,
        Some("nine-mistakes") => 9,
        Some("rpc-error-serde-attributes") => 7,
        Some("rpc-error-transparent" | "rpc-error-unknown-option") => 2,
        Some("cfg-attr-option" | "method-of-every-type") => 2,
        Some("type-of-self" | "type-left-out" | "base64-of-a-reference") => 2,
        Some("default-of-text") => 2,
        Some("serde-attribute") => 6,
        Some("argument-long-array" | "errors-of-others") => 3,
        Some("argument-reference") => 6,
        // The other errors are those of the compiler and of mockall: the macro cannot join them.
        Some("automock-above" | "handler-with-lifetime") => 4,
        _ => 1,
    }
}
