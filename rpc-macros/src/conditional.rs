//! Reads attributes that may be under a `#[cfg_attr(…)]`.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, Lit, Meta, Token};

/// Returns the condition and the attributes of a `cfg_attr`.
pub(crate) fn parts(attr: &Attribute) -> Option<(TokenStream, Vec<Meta>)> {
    let Meta::List(list) = &attr.meta else {
        return None;
    };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(list.tokens.clone());
    let mut metas = metas.ok()?.into_iter();
    let condition = metas.next()?.into_token_stream();
    Some((condition, metas.collect()))
}

/// Returns the attribute without its `cfg_attr`, and the condition of that.
pub(crate) fn condition(attr: &Attribute) -> (Option<TokenStream>, Meta) {
    match parts(attr) {
        Some((condition, mut metas)) if metas.len() == 1 => (Some(condition), metas.remove(0)),
        _ => (None, attr.meta.clone()),
    }
}

/// Returns the text of a string literal.
pub(crate) fn text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        Expr::Group(group) => text(&group.expr),
        _ => None,
    }
}
