//! `rpc describe --html`: a page with all that there is to know of a service. It has everything in it and fetches
//! nothing; a policy in it forbids browsers to. The search comes on top where scripts run.

mod markdown;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use crate::document::{Document, Method, Tag, Typed};
use crate::sample;
use crate::schema;
use crate::types::{self, Piece, Shape};

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/script.js");

/// What a browser lets the page do. The script is known by its hash, so that no other runs: `openssl dgst -sha256 -binary
/// src/page/script.js | base64`.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
                      script-src 'sha256-dQhUbEAqDnLHn9KVymF7C4wE3cAw/qbiSVbXeJFh10U='";

/// Where it is called in command lines to copy.
const TARGET: &str = "HOST:PORT";

pub(crate) fn render(document: &Document) -> String {
    let page = Page { document };
    page.document().into_string()
}

struct Page<'a> {
    document: &'a Document,
}

impl Page<'_> {
    fn document(&self) -> Markup {
        let info = &self.document.info;
        let services = self.document.services();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="referrer" content="no-referrer";
                    // Without it browsers ask for one.
                    link rel="icon" href="data:,";
                    title { (info.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    div.frame {
                        header {
                            h1 { (info.title) " " small { (info.version) } }
                            @if let Some(docs) = &info.description { (docs_of(docs)) }
                        }
                        nav aria-label="Contents" { (self.contents(&services)) }
                        main {
                            p #nothing hidden { "Nothing here has all these words." }
                            @for (tag, methods) in &services { (self.service(tag, methods)) }
                            (self.types())
                            footer { "Written by " code { "rpc describe --html" } " from the service's OpenRPC document." }
                        }
                    }
                    script type="module" { (PreEscaped(SCRIPT)) }
                }
            }
        }
    }

    fn contents(&self, services: &[(&Tag, Vec<&Method>)]) -> Markup {
        let schemas = &self.document.components.schemas;
        html! {
            input #search hidden type="search" placeholder="Search ( / )" aria-label="Search";
            details open {
                summary { "Contents" }
                @for (tag, methods) in services {
                    h2 { (tag.name) }
                    ul {
                        @for method in methods {
                            li { a.old[method.deprecated] href=(link("", &method.name)) { (method.name) } }
                        }
                    }
                }
                @if !schemas.is_empty() {
                    h2 { "Types" }
                    ul {
                        @for name in schemas.keys() { li { a href=(link(TYPE, name)) { (name) } } }
                    }
                }
            }
        }
    }

    fn service(&self, tag: &Tag, methods: &[&Method]) -> Markup {
        html! {
            section {
                @if !tag.name.is_empty() { h2 id=(anchor("service:", &tag.name)) { (tag.name) } }
                @if let Some(docs) = &tag.description { (docs_of(docs)) }
                @for method in methods { (self.method(method)) }
            }
        }
    }

    fn method(&self, method: &Method) -> Markup {
        let signature = types::signature(method);
        let docs = method.description.as_ref().or(method.summary.as_ref());
        html! {
            article.deprecated[method.deprecated] id=(anchor("", &method.name)) {
                h3 {
                    a href=(link("", &method.name)) { (method.name) }
                    @for mark in method.marks() { span.badge.deprecated[mark == "deprecated"] { (mark) } }
                    @for alias in &method.aliases { span.badge { "also " (alias) } }
                }
                div.signature {
                    @if let Some((name, rest)) = signature.split_first() { strong { (name.text()) } (self.pieces(rest)) }
                }
                @if let Some(docs) = docs { (docs_of(docs)) }
                (self.parameters(method))
                (self.docs_of_type("All parameters", method.entire_params.as_ref()))
                (self.docs_of_type("Items that it takes", method.upload.as_ref()))
                (self.docs_of_type("Items that it sends", method.items.as_ref()))
                (self.docs_of_type("Result", method.result.as_ref()))
                (self.errors(method))
                (self.examples(method))
                @if method.examples.is_empty() {
                    h4 { "Call it" }
                    pre { span.prompt { "$ " } (sample::command(self.document, method, TARGET)) }
                }
            }
        }
    }

    /// The signature has told their types, so it is for their docs.
    fn parameters(&self, method: &Method) -> Markup {
        html! {
            @if method.params.iter().any(|parameter| parameter.docs().is_some()) {
                h4 { "Parameters" }
                dl.rows {
                    @for parameter in &method.params {
                        @let schema = &parameter.typed.schema;
                        (row(
                            html! { code { (parameter.name) } },
                            html! { span.type { (self.pieces(&types::of(&parameter.typed))) } },
                            &note(schema, parameter.required),
                            parameter.docs(),
                        ))
                    }
                }
            }
        }
    }

    fn docs_of_type(&self, title: &str, typed: Option<&Typed>) -> Markup {
        let docs = typed.and_then(|typed| Some((typed, schema::docs(&typed.schema)?)));
        html! {
            @if let Some((typed, docs)) = docs {
                h4 { (title) }
                div.type { (self.pieces(&types::of(typed))) }
                (docs_of(docs))
            }
        }
    }

    fn errors(&self, method: &Method) -> Markup {
        html! {
            @if !method.errors.is_empty() {
                h4 { "Errors" }
                dl.rows {
                    @for error in &method.errors {
                        div {
                            dt { code { (error.code) } }
                            dd { (error.message) }
                            dd.type { @if let Some(data) = &error.data { (self.pieces(&types::of_schema(data))) } }
                        }
                    }
                }
            }
        }
    }

    fn examples(&self, method: &Method) -> Markup {
        html! {
            @if !method.examples.is_empty() { h4 { "Examples" } }
            @for example in &method.examples {
                @if !example.name.is_empty() { p { (example.name) } }
                @if let Some(command) = sample::example(method, example, TARGET) {
                    pre { span.prompt { "$ " } (command) }
                }
                @if let Some(result) = &example.result { pre { span.literal { (result.value) } } }
            }
        }
    }

    fn types(&self) -> Markup {
        let schemas = &self.document.components.schemas;
        html! {
            @if !schemas.is_empty() {
                section {
                    h2 id="types" { "Types" }
                    @for (name, schema) in schemas {
                        article id=(anchor(TYPE, name)) {
                            h3 { a.name href=(link(TYPE, name)) { (name) } }
                            @if let Some(docs) = schema::docs(schema) { (docs_of(docs)) }
                            (self.definition(schema))
                        }
                    }
                }
            }
        }
    }

    fn definition(&self, schema: &Value) -> Markup {
        match types::shape(schema) {
            Shape::Line => html! { div.signature { (self.pieces(&types::of_schema(schema))) } },
            Shape::Fields(fields) => html! {
                dl.rows {
                    @for field in fields {
                        (row(
                            html! { code { (field.name) } },
                            html! { span.type { (self.pieces(&types::of_schema(field.schema))) } },
                            &note(field.schema, field.required),
                            schema::docs(field.schema),
                        ))
                    }
                }
            },
            Shape::Alternatives(all) => html! {
                p { "One of" }
                dl.rows {
                    @for one in all {
                        (row(
                            html! { span.type { (self.pieces(&types::of_schema(one))) } },
                            html! {},
                            "",
                            schema::docs(one),
                        ))
                    }
                }
            },
        }
    }

    /// A type; the names in it lead to what they name.
    fn pieces(&self, pieces: &[Piece]) -> Markup {
        html! {
            @for piece in pieces {
                @match piece {
                    Piece::Name(name) if self.document.components.schemas.contains_key(name) => {
                        a.name href=(link(TYPE, name)) { (name) }
                    }
                    Piece::Name(name) => span.name { (name) },
                    Piece::Sign(sign) => span.sign { (sign) },
                    Piece::Basic(text) | Piece::Rust(text) => span.basic { (text) },
                    Piece::Literal(text) => span.literal { (text) },
                    Piece::Property(text) => (text),
                }
            }
        }
    }
}

/// What types' anchors begin with.
const TYPE: &str = "type:";

fn row(name: Markup, is: Markup, note: &str, docs: Option<&str>) -> Markup {
    html! {
        div {
            dt { (name) }
            dd { (is) @if !note.is_empty() { " " span.note { (note) } } }
            @match docs {
                Some(docs) => dd.docs { (markdown::render(docs)) },
                None => dd {},
            }
        }
    }
}

/// Whether it must be there, and what it is if it is not.
fn note(schema: &Value, required: bool) -> String {
    match (schema.get("default"), required) {
        (Some(default), _) => format!("= {default}"),
        (None, true) => String::new(),
        (None, false) => "optional".into(),
    }
}

fn docs_of(docs: &str) -> Markup {
    html! { div.docs { (markdown::render(docs)) } }
}

/// A name as an id of HTML's, each its own.
fn anchor(kind: &str, name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let escaped = name.chars().map(|c| match is_plain(c) {
        true => c.to_string(),
        false => format!("~{:x}~", u32::from(c)),
    });
    kind.chars().map(String::from).chain(escaped).collect()
}

fn link(kind: &str, name: &str) -> String {
    format!("#{}", anchor(kind, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Everything that a document can say, as an attack.
    #[test]
    fn nothing_of_the_documents_is_taken_for_html() {
        let evil = "</script><script>alert(1)</script><b onclick='x'>\"&";
        let typed = json!({"schema": {"description": evil, "enum": [evil]}, "x-rust-type": evil});
        let document = Document::new(json!({
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
        }))
        .unwrap();
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
