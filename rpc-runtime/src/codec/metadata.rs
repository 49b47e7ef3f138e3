//! Checks the metadata of a request.

use std::hash::Hasher;

use rustc_hash::FxHasher;

use crate::codec::de::Value;
use crate::codec::steps;

/// The maximum number of names in a request's metadata.
pub(crate) const MAX_NAMES: usize = 64;

/// Checks that the metadata is an object of strings in which no name is repeated. Readers disagree on which of two
/// values counts, so an intermediary could check one value while the server uses the other.
///
/// Compares each name with all names before it, by their hashes first. For at most [`MAX_NAMES`] names this costs less
/// than reading them, and does not allocate.
pub(super) fn check(meta: Value<'_, '_>) -> Result<(), &'static str> {
    const NO_STRINGS: &str = "`meta` is not an object of strings";
    let members = meta.members().ok_or(NO_STRINGS)?;
    let mut names = [(0, ""); MAX_NAMES];
    for (index, (name, value)) in members.enumerate() {
        steps::step();
        value.as_str().ok_or(NO_STRINGS)?;
        let Some((earlier, [place, ..])) = names.split_at_mut_checked(index) else {
            return Err("`meta` has more than 64 names");
        };
        let name = (hash(name), name);
        if earlier.contains(&name) {
            return Err("a name in `meta` stands twice");
        }
        *place = name;
    }
    Ok(())
}

fn hash(name: &str) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(name.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::parser::Parser;

    fn check_text(meta: &str) -> Result<(), &'static str> {
        let mut message = meta.as_bytes().to_vec();
        let mut parser = Parser::new(64);
        check(parser.parse(&mut message).unwrap().root())
    }

    fn object<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
        let members = names
            .into_iter()
            .map(|name| format!("{}:\"\"", serde_json::Value::from(name)));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }

    #[test]
    fn name_that_stands_twice_is_rejected() {
        let twice = Err("a name in `meta` stands twice");
        assert_eq!(check_text(r#"{"user":"a","user":"b"}"#), twice);
        assert_eq!(check_text(r#"{"user":"a","other":"","user":"a"}"#), twice);
        // The same name in another notation.
        assert_eq!(check_text(r#"{"user":"a","\u0075ser":"b"}"#), twice);
        assert_eq!(check_text(r#"{"":"a","":"b"}"#), twice);
        assert_eq!(check_text(r#"{"user":"a","User":"b"}"#), Ok(()));
    }

    #[test]
    fn names_past_the_limit_are_rejected() {
        let names: Vec<_> = (0..=MAX_NAMES).map(|number| number.to_string()).collect();
        let all = names.iter().map(String::as_str);
        assert_eq!(check_text(&object(all.clone().take(MAX_NAMES))), Ok(()));
        let too_many = Err("`meta` has more than 64 names");
        assert_eq!(check_text(&object(all)), too_many);
    }

    #[test]
    fn value_that_is_no_string_is_rejected() {
        let no_strings = Err("`meta` is not an object of strings");
        for meta in ["[]", "null", r#""a""#, r#"{"a":1}"#, r#"{"a":"","b":null}"#] {
            assert_eq!(check_text(meta), no_strings, "{meta}");
        }
    }

    proptest! {
        #[test]
        fn only_equal_names_are_rejected(names in prop::collection::vec("[a-c]{0,3}|.*", 0..MAX_NAMES)) {
            let mut different = names.clone();
            different.sort();
            different.dedup();
            let checked = check_text(&object(names.iter().map(String::as_str)));
            prop_assert_eq!(checked.is_ok(), different.len() == names.len());
        }
    }
}
