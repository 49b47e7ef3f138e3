//! Every mistake is one error, on the user's own token.

use std::fs;
use std::path::Path;

#[test]
fn mistakes() {
    trybuild::TestCases::new().compile_fail("tests/compile-fail/*.rs");
}

#[test]
fn one_error_for_each_mistake() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile-fail");
    for file in fs::read_dir(folder).expect("the folder is there") {
        let path = file.expect("the folder can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "stderr")
        {
            let output = fs::read_to_string(&path).expect("the file can be read");
            let errors = output
                .lines()
                .filter(|line| line.starts_with("error"))
                .count();
            let mistakes = if path.ends_with("three-mistakes.stderr") {
                3
            } else {
                1
            };
            assert_eq!(errors, mistakes, "errors in {}", path.display());
            assert!(
                !output.contains("\nwarning"),
                "a warning in {}",
                path.display()
            );
        }
    }
}
