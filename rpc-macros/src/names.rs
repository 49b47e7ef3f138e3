//! The names of methods, parameters and fields on the wire.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::{Error, LitStr};

/// A `rename_all` rule. Rust names are assumed to be in snake_case.
#[derive(Clone, Copy, Default)]
pub(crate) enum Rename {
    #[default]
    Snake,
    Camel,
    Pascal,
    Kebab,
    ScreamingSnake,
}

impl Rename {
    pub(crate) fn parse(rule: &LitStr) -> syn::Result<Self> {
        Ok(match rule.value().as_str() {
            "snake_case" => Self::Snake,
            "camelCase" => Self::Camel,
            "PascalCase" => Self::Pascal,
            "kebab-case" => Self::Kebab,
            "SCREAMING_SNAKE_CASE" => Self::ScreamingSnake,
            _ => return Err(Error::new_spanned(rule, UNKNOWN_RULE)),
        })
    }

    /// Returns the wire name of `ident`, with its span, so that errors point there.
    pub(crate) fn apply(self, ident: &Ident) -> LitStr {
        let name = ident.unraw().to_string();
        let name = match self {
            Self::Snake => name,
            Self::Camel => uncapitalized(&pascal(&name)),
            Self::Pascal => pascal(&name),
            Self::Kebab => name.replace('_', "-"),
            Self::ScreamingSnake => name.to_uppercase(),
        };
        LitStr::new(&name, ident.span())
    }
}

const UNKNOWN_RULE: &str = "unknown rule; there are `snake_case`, `camelCase`, `PascalCase`, \
                            `kebab-case` and `SCREAMING_SNAKE_CASE`";

fn pascal(name: &str) -> String {
    name.split('_').map(capitalized).collect()
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(letters)
        .collect()
}

fn uncapitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters
        .next()
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(letters)
        .collect()
}
