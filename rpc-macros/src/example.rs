//! Reads `#[rpc(example(params = {"a": 1}, result = 3))]`: the JSON is checked and kept as text.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Error, Lit, LitStr, Token, token};

use crate::meta;

/// A call and its reply.
pub(crate) struct Example {
    pub(crate) name: Option<LitStr>,
    /// The parameters as JSON text.
    pub(crate) params: Option<String>,
    /// The result as JSON text.
    pub(crate) result: Option<String>,
}

impl Example {
    pub(crate) fn read(meta: &ParseNestedMeta<'_>) -> syn::Result<Self> {
        let mut this = Self {
            name: None,
            params: None,
            result: None,
        };
        let parser = syn::meta::parser(|meta| match meta::name_of(&meta).as_str() {
            "name" => meta::set(&mut this.name, &meta, meta::string(&meta)?),
            "params" => meta::set(&mut this.params, &meta, params(meta.value()?)?),
            "result" => meta::set(&mut this.result, &meta, json(meta.value()?)?),
            _ => meta::unknown(&meta, "an example takes `name`, `params` and `result`"),
        });
        // All tokens are taken before they are parsed, so that none are left over after a mistake.
        let group: Group = meta.input.parse()?;
        parser.parse2(group.stream())?;
        Ok(this)
    }
}

fn params(input: ParseStream<'_>) -> syn::Result<String> {
    let is_structured = input.peek(token::Brace) || input.peek(token::Bracket);
    let start = input.span();
    let params = json(input)?;
    match is_structured {
        true => Ok(params),
        false => Err(Error::new(
            start,
            "parameters are an object `{…}` or an array `[…]`",
        )),
    }
}

/// Returns the text of one JSON value.
fn json(input: ParseStream<'_>) -> syn::Result<String> {
    let ahead = input.fork();
    if let Ok(TokenTree::Group(group)) = ahead.parse::<TokenTree>() {
        input.parse::<TokenTree>()?;
        let inside = group.stream();
        return match group.delimiter() {
            Delimiter::Brace => Ok(format!("{{{}}}", list(inside, member)?)),
            Delimiter::Bracket => Ok(format!("[{}]", list(inside, json)?)),
            _ => Err(no_json(&group)),
        };
    }
    if input.peek(syn::Ident) {
        let word: syn::Ident = input.parse()?;
        return match word == "null" {
            true => Ok(word.to_string()),
            false => Err(no_json(&word)),
        };
    }
    let minus: Option<Token![-]> = input.parse()?;
    let sign = minus.map_or("", |_| "-");
    let literal: Lit = input.parse()?;
    match (&literal, minus) {
        (Lit::Int(digits), _) => Ok(format!("{sign}{}", digits.base10_digits())),
        (Lit::Float(digits), _) => match digits.base10_parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(format!("{sign}{number:?}")),
            _ => Err(no_json(digits)),
        },
        (Lit::Str(text), None) => Ok(string(text)),
        (Lit::Bool(is), None) => Ok(is.value.to_string()),
        _ => Err(no_json(&literal)),
    }
}

/// Returns the text of several values with their commas.
fn list(
    elements: TokenStream,
    element: fn(ParseStream<'_>) -> syn::Result<String>,
) -> syn::Result<String> {
    let parser = Punctuated::<_, Token![,]>::parse_terminated_with;
    let elements = (|input: ParseStream<'_>| parser(input, element)).parse2(elements)?;
    let elements: Vec<String> = elements.into_iter().collect();
    Ok(elements.join(","))
}

/// Returns the text of a member, `"name": value`.
fn member(input: ParseStream<'_>) -> syn::Result<String> {
    let name: LitStr = input.parse()?;
    input.parse::<Token![:]>()?;
    Ok(format!("{}:{}", string(&name), json(input)?))
}

fn string(text: &LitStr) -> String {
    let mut json = String::from('"');
    for letter in text.value().chars() {
        match letter {
            '"' | '\\' => json.extend(['\\', letter]),
            letter if letter.is_control() => json += &format!("\\u{:04x}", u32::from(letter)),
            letter => json.push(letter),
        }
    }
    json + "\""
}

fn no_json(tokens: &impl ToTokens) -> Error {
    Error::new_spanned(tokens, "an example is JSON")
}
