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
    ScreamingKebab,
}

impl Rename {
    pub(crate) fn parse(rule: &LitStr) -> syn::Result<Self> {
        Ok(match rule.value().as_str() {
            // As with serde, a name in snake_case is in lowercase already.
            "snake_case" | "lowercase" => Self::Snake,
            "camelCase" => Self::Camel,
            "PascalCase" => Self::Pascal,
            "kebab-case" => Self::Kebab,
            "SCREAMING_SNAKE_CASE" | "UPPERCASE" => Self::ScreamingSnake,
            "SCREAMING-KEBAB-CASE" => Self::ScreamingKebab,
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
            Self::ScreamingSnake => name.to_ascii_uppercase(),
            Self::ScreamingKebab => name.to_ascii_uppercase().replace('_', "-"),
        };
        LitStr::new(&name, ident.span())
    }
}

const UNKNOWN_RULE: &str = "unknown rule; there are `lowercase`, `UPPERCASE`, `snake_case`, `camelCase`, `PascalCase`, \
                            `kebab-case`, `SCREAMING_SNAKE_CASE` and `SCREAMING-KEBAB-CASE`";

fn pascal(name: &str) -> String {
    name.split('_')
        .map(|word| first_letter(word, |letter| letter.to_ascii_uppercase()))
        .collect()
}

fn uncapitalized(word: &str) -> String {
    first_letter(word, |letter| letter.to_ascii_lowercase())
}

/// Changes the first letter. Only ASCII letters have another case, as with serde.
fn first_letter(word: &str, change: fn(&char) -> char) -> String {
    let mut letters = word.chars();
    let first = letters.next().as_ref().map(change);
    first.into_iter().chain(letters).collect()
}
