//! `rpc describe --html`: a page with the entire description of a service. It contains all of its resources and fetches
//! nothing; a policy in it makes browsers enforce that. The search works only where scripts run.
//!
//! The page is written in pieces, because a description may have any size.

mod markdown;

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::document::{Document, Example, Method, Service, Typed};
use crate::escape::PrintableLines;
use crate::json::{Compact, Value};
use crate::sample::{self, Samples};
use crate::schema::{self, Field};
use crate::types::{self, Literal, Piece, Pieces, Shape};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// The policy that a browser enforces on the page. The script is identified by its hash, so that no other script runs:
/// `openssl dgst -sha256 -binary src/page/script.js | base64`.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
                      script-src 'sha256-usV0Gh49//UvX6fW0/KExChPBQA6a52HTqOnU45NZ+o='";

/// The server in command lines to copy.
const TARGET: &str = "HOST:PORT";

pub(crate) fn write(out: &mut impl Write, document: &Document) -> io::Result<()> {
    let mut page = Page {
        document,
        samples: Samples::of(document),
        out,
    };
    page.document()
}

struct Page<'a, W> {
    document: &'a Document,
    samples: Samples<'a>,
    out: &'a mut W,
}

impl<W: Write> Page<'_, W> {
    /// Writes a part of the page. Unprintable characters are escaped, since a page may be printed on a terminal and its
    /// commands pasted.
    fn put(&mut self, markup: &Markup) -> io::Result<()> {
        write!(self.out, "{}", PrintableLines(&markup.0))
    }

    fn tag(&mut self, tag: &str) -> io::Result<()> {
        self.out.write_all(tag.as_bytes())
    }

    fn document(&mut self) -> io::Result<()> {
        let info = self.document.info();
        self.put(&html! { (DOCTYPE) })?;
        self.tag("<html lang=\"en\">")?;
        self.put(&html! {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                // Without it browsers request one.
                link rel="icon" href="data:,";
                title { (info.title) }
                style { (PreEscaped(STYLE)) }
            }
        })?;
        self.tag("<body><div class=\"frame\">")?;
        self.put(&html! {
            header {
                h1 { (info.title) " " small { (info.version) } }
                @if let Some(docs) = &info.description { (docs_of(docs)) }
            }
        })?;
        let services = self.document.services();
        self.contents(&services)?;
        self.tag("<main>")?;
        self.put(&html! { p #nothing hidden { "Nothing here has all these words." } })?;
        for service in &services {
            self.service(service)?;
        }
        self.types()?;
        self.put(&html! {
            footer { "Written by " code { "rpc describe --html" } " from the service's OpenRPC document." }
        })?;
        self.tag("</main></div>")?;
        self.put(&html! { script type="module" { (PreEscaped(SCRIPT)) } })?;
        self.tag("</body></html>")
    }

    fn contents(&mut self, services: &[Service<'_>]) -> io::Result<()> {
        self.tag("<nav aria-label=\"Contents\">")?;
        self.put(&html! {
            input #search hidden type="search" placeholder="Search ( / )" aria-label="Search";
        })?;
        self.tag("<details open><summary>Contents</summary>")?;
        for service in services {
            self.put(&html! { h2 { (service.name) } })?;
            self.tag("<ul>")?;
            for method in service.methods() {
                let (name, is_deprecated) = (method.name(), method.is_deprecated());
                self.put(&html! {
                    li { a.old[is_deprecated] href=(link("", &name)) { (name) } }
                })?;
            }
            self.tag("</ul>")?;
        }
        if self.document.schemas().next().is_some() {
            self.tag("<h2>Types</h2><ul>")?;
            for (name, _) in self.document.schemas() {
                let name = name.as_str().unwrap_or_default();
                self.put(&html! { li { a href=(link(TYPE, &name)) { (name) } } })?;
            }
            self.tag("</ul>")?;
        }
        self.tag("</details></nav>")
    }

    fn service(&mut self, service: &Service<'_>) -> io::Result<()> {
        self.tag("<section>")?;
        self.put(&html! {
            @if !service.name.is_empty() { h2 id=(anchor("service:", &service.name)) { (service.name) } }
            @if let Some(docs) = &service.description { (docs_of(docs)) }
        })?;
        for method in service.methods() {
            self.method(method)?;
        }
        self.tag("</section>")
    }

    fn method(&mut self, method: Method<'_>) -> io::Result<()> {
        let name = method.name();
        let class = match method.is_deprecated() {
            true => " class=\"deprecated\"",
            false => "",
        };
        self.tag(&format!("<article{class} id=\"{}\">", anchor("", &name)))?;
        self.put(&html! { (PreEscaped("<h3>")) a href=(link("", &name)) { (name) } })?;
        self.put(&html! {
            @for mark in method.marks() { span.badge.deprecated[mark == "deprecated"] { (mark) } }
        })?;
        for alias in method.aliases() {
            self.put(&html! { span.badge { "also " (alias) } })?;
        }
        self.tag("</h3><div class=\"signature\">")?;
        self.pieces(|out| types::signature(method, out))?;
        self.tag("</div>")?;
        if let Some(docs) = method.description().or_else(|| method.summary()) {
            self.put(&docs_of(&docs))?;
        }
        self.parameters(method)?;
        self.docs_of_type("All parameters", method.entire_params())?;
        self.docs_of_type("Items that it takes", method.upload())?;
        self.docs_of_type("Items that it sends", method.items())?;
        self.docs_of_type("Result", method.result())?;
        self.errors(method)?;
        let mut examples = method.examples().peekable();
        match examples.peek() {
            Some(_) => {
                self.tag("<h4>Examples</h4>")?;
                examples.try_for_each(|example| self.example(method, example))?;
            }
            None => {
                let command = self.samples.command(method, TARGET);
                self.put(&html! { h4 { "Call it" } pre { span.prompt { "$ " } (command) } })?;
            }
        }
        self.tag("</article>")
    }

    /// Writes the documentation of the parameters, whose types are in the signature.
    fn parameters(&mut self, method: Method<'_>) -> io::Result<()> {
        if method.params().all(|parameter| parameter.docs().is_none()) {
            return Ok(());
        }
        self.tag("<h4>Parameters</h4><dl class=\"rows\">")?;
        for parameter in method.params() {
            let typed = parameter.typed();
            let row = Row {
                name: Some(parameter.name()),
                note: note(typed.default(), parameter.is_required()),
                docs: parameter.docs(),
            };
            self.row(row, |out| types::of(typed, out))?;
        }
        self.tag("</dl>")
    }

    fn docs_of_type(&mut self, title: &str, typed: Option<Typed<'_>>) -> io::Result<()> {
        let Some((typed, docs)) = typed.and_then(|typed| Some((typed, typed.docs()?))) else {
            return Ok(());
        };
        self.put(&html! { h4 { (title) } })?;
        self.tag("<div class=\"type\">")?;
        self.pieces(|out| types::of(typed, out))?;
        self.tag("</div>")?;
        self.put(&docs_of(&docs))
    }

    fn errors(&mut self, method: Method<'_>) -> io::Result<()> {
        let mut errors = method.errors().peekable();
        if errors.peek().is_none() {
            return Ok(());
        }
        self.tag("<h4>Errors</h4><dl class=\"rows\">")?;
        for error in errors {
            self.tag("<div>")?;
            self.put(&html! { dt { code { (error.code()) } } dd { (error.message()) } })?;
            self.tag("<dd class=\"type\">")?;
            if let Some(data) = error.data() {
                self.pieces(|out| types::of_schema(data, out))?;
            }
            self.tag("</dd></div>")?;
        }
        self.tag("</dl>")
    }

    fn example(&mut self, method: Method<'_>, example: Example<'_>) -> io::Result<()> {
        self.put(&html! {
            @if !example.name().is_empty() { p { (example.name()) } }
            @if let Some(command) = sample::example(method, example, TARGET) {
                pre { span.prompt { "$ " } (command) }
            }
            @if let Some(result) = example.result() {
                pre { span.literal { (Compact(result.value()).to_string()) } }
            }
        })
    }

    fn types(&mut self) -> io::Result<()> {
        if self.document.schemas().next().is_none() {
            return Ok(());
        }
        self.tag("<section><h2 id=\"types\">Types</h2>")?;
        for (name, schema) in self.document.schemas() {
            let name = name.as_str().unwrap_or_default();
            self.tag(&format!("<article id=\"{}\">", anchor(TYPE, &name)))?;
            self.put(&html! {
                h3 { a.name href=(link(TYPE, &name)) { (name) } }
                @if let Some(docs) = schema::docs(schema) { (docs_of(&docs)) }
            })?;
            self.definition(schema)?;
            self.tag("</article>")?;
        }
        self.tag("</section>")
    }

    fn definition(&mut self, schema: Value<'_>) -> io::Result<()> {
        match types::shape(schema) {
            Shape::Line => {
                self.tag("<div class=\"signature\">")?;
                self.pieces(|out| types::of_schema(schema, out))?;
                return self.tag("</div>");
            }
            Shape::Fields => {
                self.tag("<dl class=\"rows\">")?;
                for Field {
                    name,
                    is_required,
                    schema,
                } in schema::fields(schema)
                {
                    let row = Row {
                        name: Some(name),
                        note: note(schema.get("default"), is_required),
                        docs: schema::docs(schema),
                    };
                    self.row(row, |out| types::of_schema(schema, out))?;
                }
            }
            Shape::Alternatives => {
                self.tag("<p>One of</p><dl class=\"rows\">")?;
                for schema in schema::alternatives(schema).into_iter().flatten() {
                    let row = Row {
                        name: None,
                        note: String::new(),
                        docs: schema::docs(schema),
                    };
                    self.row(row, |out| types::of_schema(schema, out))?;
                }
            }
        }
        self.tag("</dl>")
    }

    fn row(
        &mut self,
        row: Row<'_>,
        typed: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Row { name, note, docs } = row;
        self.tag("<div><dt>")?;
        let is_named = name.is_some();
        if let Some(name) = name {
            self.put(&html! { code { (name) } })?;
            self.tag("</dt><dd>")?;
        }
        self.tag("<span class=\"type\">")?;
        self.pieces(typed)?;
        self.tag("</span>")?;
        if !is_named {
            self.tag("</dt><dd>")?;
        }
        self.put(&html! {
            @if !note.is_empty() { " " span.note { (note) } }
            (PreEscaped("</dd>"))
            @match docs {
                Some(docs) => dd.docs { (markdown::render(&docs)) },
                None => dd {},
            }
        })?;
        self.tag("</div>")
    }

    /// Writes a type, in which names are links to their types.
    fn pieces(&mut self, write: impl FnOnce(&mut Pieces<'_>) -> io::Result<()>) -> io::Result<()> {
        write(&mut |piece, text| self.piece(piece, text))
    }

    fn piece(&mut self, piece: Piece, text: &dyn Display) -> io::Result<()> {
        let text = text.to_string();
        let is_known = piece == Piece::Name && self.document.schema(&text).is_some();
        self.put(&html! {
            @match piece {
                Piece::Name if is_known => a.name href=(link(TYPE, &text)) { (text) },
                Piece::Name => span.name { (text) },
                Piece::Method => strong { (text) },
                Piece::Sign => span.sign { (text) },
                Piece::Basic | Piece::Rust => span.basic { (text) },
                Piece::Literal => span.literal { (text) },
                Piece::Property => (text),
            }
        })
    }
}

/// The prefix of types' anchors.
const TYPE: &str = "type:";

/// A property, a parameter or an alternative, besides its type. If it has no name, its type takes the place of the
/// name.
struct Row<'a> {
    name: Option<Cow<'a, str>>,
    note: String,
    docs: Option<Cow<'a, str>>,
}

/// Returns the note about an optional value and its default.
fn note(default: Option<Value<'_>>, is_required: bool) -> String {
    match (default, is_required) {
        (Some(default), _) => format!("= {}", Literal(default)),
        (None, true) => String::new(),
        (None, false) => "optional".into(),
    }
}

fn docs_of(docs: &str) -> Markup {
    html! { div.docs { (markdown::render(docs)) } }
}

/// Returns the unique HTML id of a name.
fn anchor(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let mut anchor = kind.to_owned();
    for c in name.chars() {
        match is_plain(c) {
            true => anchor.push(c),
            false => anchor.push_str(&format!("~{:x}~", u32::from(c))),
        }
    }
    anchor
}

fn link(kind: &str, name: &str) -> String {
    format!("#{}", anchor(kind, name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::mutated;

    fn render(document: &Document) -> String {
        let mut page = Vec::new();
        write(&mut page, document).unwrap();
        String::from_utf8(page).unwrap()
    }

    /// Puts an attack into every text of a document.
    #[test]
    fn text_of_a_document_is_not_taken_for_html() {
        let evil = "</script><script>alert(1)</script><b onclick='x'>\"&";
        let typed = json!({"schema": {"description": evil, "enum": [evil]}, "x-rust-type": evil});
        let document = mutated::document(json!({
            "info": {"title": evil, "version": evil, "description": evil},
            "methods": [{
                "name": evil, "summary": evil, "description": evil,
                "tags": [{"name": evil, "description": evil}],
                "params": [{"name": evil, "description": evil, "schema": {"default": evil}, "x-rust-type": evil}],
                "result": typed, "x-items": typed, "x-upload": typed, "x-params": typed,
                "errors": [{"code": 1, "message": evil, "data": {"const": evil}}],
                "examples": [{"name": evil, "params": [{"name": evil, "value": evil}], "result": {"value": evil}}],
                "x-aliases": [evil],
            }, {"name": "refers", "result": {"schema": {"$ref": format!("#/x/{evil}")}}}],
            "components": {"schemas": {evil: {"description": evil, "properties": {evil: {"description": evil}}}}},
        }));
        let page = render(&document);
        assert_eq!(page.matches("<script").count(), 1, "the page's own");
        assert!(!page.contains("<b "), "no tag comes from the document");
        assert!(page.contains("&lt;script&gt;alert(1)"), "and it is shown");
    }

    #[test]
    fn each_name_has_an_anchor_of_its_own() {
        let names = ["a b", "a~20~b", "a_b", "a.b", "ä", "a\"b", "a#b", "a%20b"];
        let anchors: std::collections::BTreeSet<_> = names.map(|name| anchor("", name)).into();
        assert_eq!(anchors.len(), names.len());
        assert!(
            anchors
                .iter()
                .all(|anchor| anchor.is_ascii() && !anchor.contains(['"', '#', '%', ' ']))
        );
    }
}
