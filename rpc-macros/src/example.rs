//! `#[rpc(example(params = {"a": 1}, result = 3))]`: JSON in the user's own tokens.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Lit, LitStr, Token};

use crate::attr;

/// A call and its answer.
pub(crate) struct Example {
    pub(crate) name: Option<LitStr>,
    pub(crate) params: Option<TokenStream>,
    pub(crate) result: Option<TokenStream>,
}

impl Example {
    pub(crate) fn read(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut this = Self {
            name: None,
            params: None,
            result: None,
        };
        let parser = syn::meta::parser(|meta| match attr::name_of(&meta).as_str() {
            "name" => attr::set(&mut this.name, &meta, attr::string(&meta)?),
            "params" => attr::set(&mut this.params, &meta, params(meta.value()?)?),
            "result" => attr::set(&mut this.result, &meta, json(meta.value()?)?),
            _ => attr::unknown(&meta, "an example takes `name`, `params` and `result`"),
        });
        // All of it is taken before any of it is read: a mistake leaves nothing behind.
        let group: Group = meta.input.parse()?;
        parser.parse2(group.stream())?;
        Ok(this)
    }
}

fn params(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let tokens = json(input)?;
    match tokens.clone().into_iter().next() {
        Some(TokenTree::Group(_)) => Ok(tokens),
        _ => Err(Error::new_spanned(
            tokens,
            "parameters are an object `{…}` or an array `[…]`",
        )),
    }
}

/// One JSON value.
fn json(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    let ahead = input.fork();
    if let Ok(TokenTree::Group(group)) = ahead.parse::<TokenTree>() {
        input.parse::<TokenTree>()?;
        let elements = |input: ParseStream<'_>| match group.delimiter() {
            Delimiter::Brace => input.parse_terminated(member, Token![,]).map(drop),
            Delimiter::Bracket => input.parse_terminated(json, Token![,]).map(drop),
            _ => Err(no_json(&group)),
        };
        elements.parse2(group.stream())?;
        return Ok(group.into_token_stream());
    }
    if input.peek(syn::Ident) {
        let word: syn::Ident = input.parse()?;
        return match word == "null" {
            true => Ok(word.into_token_stream()),
            false => Err(no_json(&word)),
        };
    }
    let minus: Option<Token![-]> = input.parse()?;
    let literal: Lit = input.parse()?;
    match (&literal, &minus) {
        (Lit::Int(_) | Lit::Float(_), _) => {
            let mut tokens = minus.into_token_stream();
            literal.to_tokens(&mut tokens);
            Ok(tokens)
        }
        (Lit::Str(_) | Lit::Bool(_), None) => Ok(literal.into_token_stream()),
        _ => Err(no_json(&literal)),
    }
}

/// `"name": value`.
fn member(input: ParseStream<'_>) -> syn::Result<TokenStream> {
    input.parse::<LitStr>()?;
    input.parse::<Token![:]>()?;
    json(input)
}

fn no_json(tokens: &impl ToTokens) -> Error {
    Error::new_spanned(tokens, "an example is JSON")
}
