//! Removes from a documentation what rustdoc hides.

use std::borrow::Cow;

/// Returns the documentation without the hidden lines of its examples.
pub(super) fn visible(docs: &'static str) -> Cow<'static, str> {
    if !docs.lines().any(|line| line.trim_start().starts_with('#')) {
        return docs.into();
    }
    let mut block = None;
    let lines = docs.lines().filter_map(|line| shown(line, &mut block));
    lines.collect::<Vec<_>>().join("\n").into()
}

/// A block of code.
struct Block {
    /// The characters that end it: three or more backticks or tildes.
    fence: &'static str,
    is_rust: bool,
}

impl Block {
    fn begun_by(line: &'static str) -> Option<Self> {
        let line = line.trim_start();
        let mark = line
            .chars()
            .next()
            .filter(|mark| matches!(mark, '`' | '~'))?;
        let language = line.trim_start_matches(mark);
        let fence = &line[..line.len() - language.len()];
        (fence.len() >= 3).then(|| Self {
            fence,
            is_rust: is_rust(language),
        })
    }

    fn is_ended_by(&self, line: &str) -> bool {
        let rest = line.trim().strip_prefix(self.fence);
        let mut rest = rest.map(str::chars);
        rest.as_mut()
            .is_some_and(|rest| rest.all(|mark| self.fence.starts_with(mark)))
    }
}

/// Returns `true` for the names of a block that rustdoc tests.
fn is_rust(language: &str) -> bool {
    let words = language.split([',', ' ', '\t']).map(str::trim);
    let mut words = words.filter(|word| !word.is_empty());
    words.all(|word| {
        matches!(
            word,
            "rust" | "ignore" | "no_run" | "should_panic" | "compile_fail" | "standalone_crate"
        ) || word.starts_with("edition")
            || word.starts_with("ignore-")
    })
}

/// Returns the line as it is shown; `None` for a hidden line.
fn shown(line: &'static str, block: &mut Option<Block>) -> Option<Cow<'static, str>> {
    match block {
        Some(inside) if inside.is_ended_by(line) => *block = None,
        Some(Block { is_rust: true, .. }) => return line_of_code(line),
        Some(_) => {}
        None => *block = Block::begun_by(line),
    }
    Some(line.into())
}

fn line_of_code(line: &'static str) -> Option<Cow<'static, str>> {
    let code = line.trim_start();
    match code.strip_prefix('#') {
        Some("") => None,
        Some(rest) if rest.starts_with([' ', '\t']) => None,
        // `##` shows one `#`.
        Some(rest) if rest.starts_with('#') => {
            let indentation = &line[..line.len() - code.len()];
            Some(format!("{indentation}{rest}").into())
        }
        _ => Some(line.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn hidden_lines_of_rust_examples_are_removed() {
        let docs =
            "# Title\n\n```\n# use a::B;\n#\n#[derive(Debug)]\n  ## shown\nb();\n```\n# Another";
        let expected = "# Title\n\n```\n#[derive(Debug)]\n  # shown\nb();\n```\n# Another";
        assert_eq!(visible(docs), expected);
        let tested = "~~~~rust,no_run\n# hidden\n~~~\n~~~~\n";
        assert_eq!(visible(tested), "~~~~rust,no_run\n~~~\n~~~~");
    }

    #[test]
    fn lines_of_other_languages_are_shown() {
        let docs = "```sh\n# a comment\nls\n```\n``` text\n# shown\n```";
        assert_eq!(visible(docs), docs);
        assert_eq!(visible("# Heading"), "# Heading");
        assert_eq!(visible("`# no block`"), "`# no block`");
    }
}
