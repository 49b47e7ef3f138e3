//! Documentation: the text of doc comments, and expressions for the text that only the compiler knows.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{Attribute, Meta};

use crate::attr;
use crate::conditional::{condition, text};
use crate::expand::generated::generated;

/// The parts of a documentation. Each begins a line.
#[derive(Clone, Default)]
pub(crate) struct Docs(Vec<Part>);

#[derive(Clone)]
struct Part {
    /// The condition of a `cfg_attr`.
    condition: Option<TokenStream>,
    text: Text,
}

#[derive(Clone)]
enum Text {
    Known(String),
    /// A macro, such as `include_str!`.
    Macro(TokenStream),
}

impl Docs {
    /// Reads the documentation of an item.
    pub(crate) fn read(attrs: &[Attribute]) -> Self {
        Self(attrs.iter().filter_map(Part::read).collect())
    }

    /// Adds why the item is deprecated.
    pub(crate) fn with_deprecation(mut self, attrs: &[Attribute]) -> Self {
        for attr in attrs {
            let (condition, meta) = condition(attr);
            if let Some(note) = attr::deprecation_note(&meta) {
                let paragraph = match self.0.is_empty() {
                    true => "",
                    false => "\n",
                };
                let text = Text::Known(format!("{paragraph}Deprecated: {note}"));
                self.0.push(Part { condition, text });
            }
        }
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ToTokens for Docs {
    /// Appends the text as a constant expression.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let known = self.0.iter().map(|part| match part {
            Part {
                condition: None,
                text: Text::Known(text),
            } => Some(text.as_str()),
            _ => None,
        });
        if let Some(lines) = known.collect::<Option<Vec<_>>>() {
            lines.join("\n").trim().to_tokens(tokens);
            return;
        }
        let parts = self.0.iter().map(|Part { condition, text }| {
            let condition = condition.iter();
            generated!(#(#[cfg(#condition)])* #text)
        });
        tokens.extend(generated! {{
            const __PARTS: &[&str] = &[#(#parts),*];
            const __TEXT: [u8; __rpc::docs_bytes(__PARTS)] = __rpc::join_docs(__PARTS);
            __rpc::docs(&__TEXT)
        }});
    }
}

impl Part {
    fn read(attr: &Attribute) -> Option<Self> {
        let (condition, meta) = condition(attr);
        let Meta::NameValue(meta) = meta else {
            return None;
        };
        let text = meta.path.is_ident("doc").then(|| match text(&meta.value) {
            Some(text) => Text::Known(cleaned(&text)),
            None => Text::Macro(meta.value.into_token_stream()),
        });
        Some(Self {
            condition,
            text: text?,
        })
    }
}

impl ToTokens for Text {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Known(text) => text.to_tokens(tokens),
            Self::Macro(expr) => expr.to_tokens(tokens),
        }
    }
}

/// Returns the text of one doc comment, as rustdoc shows it: a line without its first space, and a block without the
/// stars and the common indentation of its lines.
fn cleaned(text: &str) -> String {
    if !text.contains('\n') {
        return text.strip_prefix(' ').unwrap_or(text).to_owned();
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let has_stars = rest
        .lines()
        .filter(|line| !line.trim().is_empty())
        .all(|line| line.trim_start().starts_with('*'));
    let rest: Vec<&str> = rest
        .lines()
        .map(|line| match has_stars {
            true => line.trim_start().strip_prefix('*').unwrap_or(line),
            false => line,
        })
        .collect();
    let indentation = |line: &&str| line.len() - line.trim_start().len();
    let written = rest.iter().filter(|line| !line.trim().is_empty());
    let common = written.map(indentation).min().unwrap_or_default();
    let rest = rest
        .iter()
        .map(|line| line.get(common..).unwrap_or_default());
    let lines: Vec<&str> = [first.trim_start()].into_iter().chain(rest).collect();
    lines.join("\n").trim().to_owned()
}

/// Returns `true` for `#[doc(hidden)]`.
pub(crate) fn is_hidden(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        Meta::List(list) if list.path.is_ident("doc") => list
            .tokens
            .clone()
            .into_iter()
            .any(|token| matches!(token, TokenTree::Ident(ident) if ident == "hidden")),
        _ => false,
    })
}
