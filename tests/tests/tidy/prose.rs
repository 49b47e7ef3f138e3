//! Checks two rules for prose of `CONTRIBUTING.md`: banned words, and the first sentences of public docs. In the crates that
//! users run, messages are prose as well.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{root, sources};

/// Words and phrases that name no subject, or name a thing by a picture.
const BANNED: [&str; 24] = [
    "whoever",
    "whom",
    "whomever",
    "somebody",
    "nobody",
    "everybody",
    "anybody",
    "someone",
    "anyone",
    "give up",
    "gives up",
    "given up",
    "giving up",
    "heed",
    "heeds",
    "crowd",
    "crowds",
    "lane",
    "lanes",
    "fate",
    "fates",
    "quieten",
    "in peace",
    "way back",
];

/// Words at the beginning of a first sentence that is a fragment.
const FRAGMENTS: [&str; 7] = ["Whether", "What", "How", "Where", "Why", "Which", "Who"];

const LIBRARIES: [&str; 4] = [
    "rpc-runtime/src",
    "rpc-macros/src",
    "rpc-layers/src",
    "rpc-discovery/src",
];

/// A line of a file, counted from 1, and its prose. A line without prose is empty.
type Line<'a> = (usize, &'a str);

/// Returns every Rust source and document of the repository. Skips hidden folders, and the folders of cargo and npm.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        if folder.join("CACHEDIR.TAG").exists() {
            continue;
        }
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_str().unwrap_or_default();
            if entry.file_type().unwrap().is_dir() {
                let is_ours = !name.starts_with('.') && !["target", "node_modules"].contains(&name);
                folders.extend(is_ours.then_some(path));
            } else if name.ends_with(".rs") || name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Returns `true` for a source whose strings are shown to users. Its entire text is checked.
fn has_messages(name: &str) -> bool {
    let is_in = |folder: &&str| name.starts_with(*folder);
    name.ends_with(".rs") && LIBRARIES.iter().chain(&["rpc-cli/src"]).any(is_in)
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Returns the lines of a source with their comments.
fn comments(text: &str) -> impl Iterator<Item = Line<'_>> {
    let comment = |line: &str| match line.trim_start().starts_with("//") {
        true => line.find("//"),
        false => line.find(" // "),
    };
    let comments = move |(at, line)| (at + 1, comment(line).map_or("", |start| &line[start..]));
    text.lines().enumerate().map(comments)
}

/// Returns the lines of a document. The rows of tables are left out if `is_guide`: those of the guide quote banned words.
fn prose(text: &str, is_guide: bool) -> impl Iterator<Item = Line<'_>> {
    let is_exempt = move |line: &str| is_guide && line.starts_with('|');
    let prose = move |(at, line)| (at + 1, if is_exempt(line) { "" } else { line });
    text.lines().enumerate().map(prose)
}

/// Returns the banned words and phrases, each with the line on which it begins. A phrase may continue on the next line.
fn banned<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<(usize, &'static str)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    for (at, line) in lines {
        if line.trim().is_empty() {
            // No phrase continues across a blank line.
            words.push((at, String::new()));
        }
        let found = line.split(|c: char| !(c.is_alphanumeric() || c == '_'));
        let found = found.filter(|word| !word.is_empty());
        words.extend(found.map(|word| (at, word.to_lowercase())));
    }
    let mut found = Vec::new();
    for banned in BANNED {
        let phrase: Vec<_> = banned.split(' ').collect();
        for window in words.windows(phrase.len()) {
            if window.iter().map(|(_, word)| word).eq(&phrase) {
                found.push((window[0].0, banned));
            }
        }
    }
    found.sort_unstable();
    found
}

/// Returns the first paragraphs of the docs of public items, each with the line on which it begins.
fn public_docs(text: &str) -> Vec<(usize, String)> {
    let (mut found, mut docs) = (Vec::new(), Vec::new());
    let mut attribute = 0;
    for (at, line) in text.lines().map(str::trim).enumerate() {
        if let Some(doc) = line.strip_prefix("///") {
            docs.push((at + 1, doc.trim()));
        } else if attribute > 0 || line.starts_with("#[") {
            attribute += line.matches('[').count();
            attribute -= line.matches(']').count().min(attribute);
        } else if !(line.is_empty() || line.starts_with("//")) {
            let is_public = line.starts_with("pub ") && !line.starts_with("pub use ");
            if let (true, Some((at, _))) = (is_public, docs.first()) {
                found.push((*at, first_paragraph(&docs)));
            }
            docs.clear();
        }
    }
    found
}

fn first_paragraph(docs: &[(usize, &str)]) -> String {
    let lines = docs.iter().map(|(_, line)| *line);
    let ends = |line: &&str| !(line.is_empty() || line.starts_with("```"));
    lines.take_while(ends).collect::<Vec<_>>().join(" ")
}

/// Returns the rule that the first paragraph of a doc breaks, if any.
fn mistake(paragraph: &str) -> Option<&'static str> {
    let first = paragraph.split(|c: char| !c.is_alphabetic()).next();
    if first.is_some_and(|first| FRAGMENTS.contains(&first)) {
        return Some("say what the item is or does, in the third person");
    }
    let end = paragraph.trim_end_matches(['`', ')', ']', '*', '_', '"']);
    let ends = paragraph.ends_with(':') || end.ends_with('.');
    (!ends).then_some("end the first paragraph with a full stop")
}

#[test]
fn comments_documents_and_messages_use_no_banned_words() {
    let mut mistakes = Vec::new();
    let files = files();
    let count = |end| {
        files
            .iter()
            .filter(|path| shown(path).ends_with(end))
            .count()
    };
    assert!(count(".rs") > 100 && count(".md") > 10, "{}", files.len());
    for path in &files {
        let (name, text) = (shown(path), fs::read_to_string(path).unwrap());
        let found = match name.as_str() {
            "CHANGELOG.md" => continue,
            name if has_messages(name) => banned(prose(&text, false)),
            name if name.ends_with(".rs") => banned(comments(&text)),
            name => banned(prose(&text, name == "CONTRIBUTING.md")),
        };
        let found = found.into_iter();
        mistakes.extend(found.map(|(at, word)| format!("{name}:{at}: `{word}`")));
    }
    let advice = "name the client, the server, the peer, the caller, the handler, the worker or the task, \
        and use the term of the field (CONTRIBUTING.md, \"Prose\")";
    let mistakes = mistakes.join("\n");
    assert!(mistakes.is_empty(), "{advice}:\n{mistakes}");
}

#[test]
fn public_docs_begin_with_a_sentence() {
    let (mut count, mut mistakes) = (0, Vec::new());
    for path in LIBRARIES.iter().flat_map(|folder| sources(folder)) {
        let text = fs::read_to_string(&path).unwrap();
        for (at, paragraph) in public_docs(&text) {
            count += 1;
            let mistake = mistake(&paragraph);
            let line = |mistake| format!("{}:{at}: {mistake}: {paragraph}", shown(&path));
            mistakes.extend(mistake.map(line));
        }
    }
    assert!(count > 300, "{count}");
    let mistakes = mistakes.join("\n");
    assert!(mistakes.is_empty(), "\n{mistakes}");
}

#[test]
fn banned_phrase_across_lines_is_found_and_part_of_a_word_is_not() {
    let source = "// Clients that give\n// up. Airplanes, planes.\nlet lane = 1;\u{20}// Nobody.\n\n// In\n\n// peace";
    assert_eq!(banned(comments(source)), [(1, "give up"), (3, "nobody")]);
    let document = "| whom |\nLanes: `LaneError`";
    assert_eq!(banned(prose(document, true)), [(2, "lanes")]);
    assert_eq!(banned(prose(document, false)), [(1, "whom"), (2, "lanes")]);
}

#[test]
fn first_paragraphs_are_those_of_public_items() {
    let source = "/// A\n/// b.\n///\n/// C\n#[a(\n    b[0],\n)]\npub struct D {\n    /// E.\n    pub f: u8,\n    /// G\n\
        h: u8,\n}\n/// I\npub(crate) fn i() {}\n/// J\n/// ```\n/// k\n/// ```\npub fn j() {}\n/// L\npub use l::l;\n";
    let expected = [(1, "A b."), (9, "E."), (16, "J")];
    let expected = expected.map(|(at, paragraph)| (at, paragraph.to_owned()));
    assert_eq!(public_docs(source), expected);
}

#[test]
fn first_paragraph_that_is_no_sentence_is_a_mistake() {
    for right in [
        "Sends `a`.",
        "Whatever it is.",
        "Sends (`a`.)",
        "One of:",
        "Does so. `A.`",
    ] {
        assert_eq!(mistake(right), None, "{right}");
    }
    for wrong in [
        "",
        "Sends it",
        "Whether it is sent.",
        "What: it.",
        "Sends `a`",
    ] {
        assert!(mistake(wrong).is_some(), "{wrong}");
    }
}
