//! Reads the options of `#[rpc(…)]` on traits, methods, parameters and error types.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Expr, ExprLit, Lit, LitInt, LitStr, Meta, Path, Token};

use crate::conditional;
use crate::diagnostics::Errors;
use crate::example::Example;
use crate::meta::{name_of, set, string, unknown};
use crate::names::Rename;

/// The `#[rpc(…)]` of a trait.
#[derive(Default)]
pub(crate) struct ServiceOptions {
    pub(crate) namespace: Option<LitStr>,
    pub(crate) rename_all: Option<Rename>,
    pub(crate) lenient: Option<Path>,
    pub(crate) openrpc: Option<Path>,
    pub(crate) krate: Option<Path>,
}

impl ServiceOptions {
    pub(crate) fn read(options: TokenStream, errors: &mut Errors) -> Self {
        let mut this = Self::default();
        let parser = syn::meta::parser(|meta| {
            this.option(&meta)
                .or_else(|error| recover(error, &meta, errors))
        });
        let parsed = parser.parse2(options);
        errors.absorb(parsed);
        this
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "namespace" => set(&mut self.namespace, meta, string(meta)?),
            "rename_all" => set(&mut self.rename_all, meta, Rename::parse(&string(meta)?)?),
            "lenient" => set(&mut self.lenient, meta, meta.path.clone()),
            "openrpc" => set(&mut self.openrpc, meta, meta.path.clone()),
            "crate" => set(&mut self.krate, meta, path(meta)?),
            _ => unknown(
                meta,
                "a trait takes `namespace`, `rename_all`, `lenient`, `openrpc` and `crate`",
            ),
        }
    }
}

/// The `#[rpc(…)]` of a method.
#[derive(Default)]
pub(crate) struct MethodOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) notification: Option<Path>,
    pub(crate) unreliable: Option<Path>,
    pub(crate) blocking: Option<Path>,
    pub(crate) idempotent: Option<Path>,
    pub(crate) examples: Vec<Example>,
}

impl MethodOptions {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option(attrs, errors, |meta| this.option(meta));
        this
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "name" => set(&mut self.name, meta, non_empty(string(meta)?)?),
            "alias" => {
                self.aliases.push(non_empty(string(meta)?)?);
                Ok(())
            }
            "notification" => set(&mut self.notification, meta, meta.path.clone()),
            "unreliable" => set(&mut self.unreliable, meta, meta.path.clone()),
            "blocking" => set(&mut self.blocking, meta, meta.path.clone()),
            "idempotent" => set(&mut self.idempotent, meta, meta.path.clone()),
            "example" => {
                self.examples.push(Example::read(meta)?);
                Ok(())
            }
            _ => unknown(
                meta,
                "a method takes `name`, `alias`, `notification`, `unreliable`, `blocking`, `idempotent` and `example`",
            ),
        }
    }
}

/// The `#[rpc(…)]` of a parameter.
#[derive(Default)]
pub(crate) struct ParameterOptions {
    pub(crate) name: Option<LitStr>,
    pub(crate) default: Option<DefaultValue>,
    pub(crate) params: Option<Path>,
}

/// The default of a missing argument.
pub(crate) struct DefaultValue {
    /// The token `default`.
    pub(crate) keyword: Path,
    /// `None` for the default of the type.
    pub(crate) expr: Option<Expr>,
}

impl DefaultValue {
    /// Returns the text, if the default is a string literal.
    pub(crate) fn text(&self) -> Option<&LitStr> {
        match self.expr.as_ref()? {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => Some(text),
            _ => None,
        }
    }
}

impl ParameterOptions {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option(attrs, errors, |meta| this.option(meta));
        this
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "name" => set(&mut self.name, meta, non_empty(string(meta)?)?),
            "default" => set(&mut self.default, meta, default(meta)?),
            "params" => set(&mut self.params, meta, meta.path.clone()),
            _ => unknown(meta, "a parameter takes `name`, `default` and `params`"),
        }
    }
}

/// The `#[rpc(…)]` of an error type.
#[derive(Default)]
pub(crate) struct ErrorOptions {
    /// `Some(None)` for a code that cannot be read.
    pub(crate) code: Option<Option<Code>>,
    pub(crate) rename_all: Option<Rename>,
    pub(crate) krate: Option<Path>,
}

impl ErrorOptions {
    /// Reads the options of an entire enum, whose variants have the codes.
    pub(crate) fn read_enum(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option(attrs, errors, |meta| match name_of(meta).as_str() {
            "code" => unknown(meta, "every variant has a code of its own"),
            _ => this.option(meta, "an enum of errors takes `rename_all` and `crate`"),
        });
        this
    }

    /// Reads the options of a struct, which has one code.
    pub(crate) fn read_struct(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option(attrs, errors, |meta| match name_of(meta).as_str() {
            "code" => set_code(&mut this.code, meta),
            _ => this.option(meta, "an error takes `code`, `rename_all` and `crate`"),
        });
        this
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>, others: &str) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "rename_all" => set(&mut self.rename_all, meta, Rename::parse(&string(meta)?)?),
            "crate" => set(&mut self.krate, meta, path(meta)?),
            _ => unknown(meta, others),
        }
    }
}

/// The `#[rpc(…)]` of one variant.
#[derive(Default)]
pub(crate) struct VariantOptions {
    /// `Some(None)` for a code that cannot be read.
    pub(crate) code: Option<Option<Code>>,
    pub(crate) transparent: Option<Path>,
}

impl VariantOptions {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option(attrs, errors, |meta| match name_of(meta).as_str() {
            "code" => set_code(&mut this.code, meta),
            "transparent" => set(&mut this.transparent, meta, meta.path.clone()),
            _ => unknown(meta, "a variant takes `code` or `transparent`"),
        });
        this
    }
}

/// Reads the wire name of one field, if there is one.
pub(crate) fn field_name(attrs: &[Attribute], errors: &mut Errors) -> Option<LitStr> {
    let mut slot = None;
    each_option(attrs, errors, |meta| match name_of(meta).as_str() {
        "name" => set(&mut slot, meta, non_empty(string(meta)?)?),
        _ => unknown(meta, "a field takes `name`"),
    });
    slot
}

/// An error code as written by the user.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) value: i64,
    pub(crate) tokens: TokenStream,
}

/// Returns `true` for `#[rpc(…)]`, which must be removed before the compiler sees it.
pub(crate) fn is_ours(attr: &Attribute) -> bool {
    attr.path().is_ident("rpc")
}

/// Returns the `#[cfg(…)]`s of an item, for every piece that is generated from it.
pub(crate) fn cfgs(attrs: &[Attribute]) -> Vec<&Attribute> {
    attrs
        .iter()
        .filter(|attr| attr.path().is_ident("cfg"))
        .collect()
}

/// Returns the note of `deprecated = "…"` or `deprecated(note = "…")`.
pub(crate) fn deprecation_note(meta: &Meta) -> Option<String> {
    if !meta.path().is_ident("deprecated") {
        return None;
    }
    let list = match meta {
        Meta::NameValue(meta) => return conditional::text(&meta.value),
        Meta::List(list) => list,
        Meta::Path(_) => return None,
    };
    let mut note = None;
    let read = list.parse_nested_meta(|meta| {
        let value: LitStr = meta.value()?.parse()?;
        if meta.path.is_ident("note") {
            note = Some(value.value());
        }
        Ok(())
    });
    read.ok().and(note)
}

/// Returns whether an item is deprecated, as an expression. `None` if it never is.
pub(crate) fn deprecation(attrs: &[Attribute]) -> Option<TokenStream> {
    let mut conditions = vec![];
    for attr in attrs {
        match conditional::condition(attr) {
            (_, meta) if !meta.path().is_ident("deprecated") => {}
            (None, _) => return Some(quote!(true)),
            (Some(condition), _) => conditions.push(condition),
        }
    }
    (!conditions.is_empty()).then(|| quote!(__rpc::cfg!(any(#(#conditions),*))))
}

/// Returns what the user allows or expects, for the code that is generated from the same tokens. An expectation becomes a
/// permission: the compiler checks it where the user wrote it.
pub(crate) fn allowed<'a>(attrs: impl IntoIterator<Item = &'a Attribute>) -> Vec<TokenStream> {
    let allowed = attrs.into_iter().filter_map(|attr| {
        let (condition, meta) = conditional::condition(attr);
        let Meta::List(list) = meta else { return None };
        let is_lint = ["allow", "expect"]
            .iter()
            .any(|name| list.path.is_ident(name));
        let lints = list.tokens;
        is_lint.then(|| match condition {
            Some(condition) => quote!(#[cfg_attr(#condition, allow(#lints))]),
            None => quote!(#[allow(#lints)]),
        })
    });
    allowed.collect()
}

/// Returns the text of thiserror's `#[error("…")]`.
pub(crate) fn message(attrs: &[Attribute]) -> Option<String> {
    let attr = attrs.iter().find(|attr| attr.path().is_ident("error"))?;
    let first = |input: ParseStream<'_>| {
        let text: LitStr = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(text.value())
    };
    attr.parse_args_with(first).ok()
}

fn each_option(
    attrs: &[Attribute],
    errors: &mut Errors,
    option: impl FnMut(&ParseNestedMeta<'_>) -> syn::Result<()>,
) {
    each_option_of("rpc", attrs, errors, option);
}

/// Reads the options of each attribute called `name`.
pub(crate) fn each_option_of(
    name: &str,
    attrs: &[Attribute],
    errors: &mut Errors,
    mut option: impl FnMut(&ParseNestedMeta<'_>) -> syn::Result<()>,
) {
    for attr in attrs.iter().filter(|attr| attr.path().is_ident(name)) {
        let parsed = attr
            .parse_nested_meta(|meta| option(&meta).or_else(|error| recover(error, &meta, errors)));
        errors.absorb(parsed);
    }
}

/// Records the error and continues with the next option.
fn recover(error: Error, meta: &ParseNestedMeta<'_>, errors: &mut Errors) -> syn::Result<()> {
    errors.push(error);
    while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<TokenTree>()?;
    }
    Ok(())
}

fn set_code(slot: &mut Option<Option<Code>>, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    let code = code(meta);
    set(slot, meta, code.as_ref().ok().cloned())?;
    code.map(drop)
}

fn non_empty(name: LitStr) -> syn::Result<LitStr> {
    match name.value().is_empty() {
        true => Err(Error::new_spanned(name, "a name cannot be empty")),
        false => Ok(name),
    }
}

fn path(meta: &ParseNestedMeta<'_>) -> syn::Result<Path> {
    meta.value()?.call(Path::parse_mod_style)
}

fn default(meta: &ParseNestedMeta<'_>) -> syn::Result<DefaultValue> {
    let keyword = meta.path.clone();
    let expr = match meta.input.peek(Token![=]) {
        true => Some(meta.value()?.parse()?),
        false => None,
    };
    Ok(DefaultValue { keyword, expr })
}

fn code(meta: &ParseNestedMeta<'_>) -> syn::Result<Code> {
    let input: ParseStream<'_> = meta.value()?;
    let minus: Option<Token![-]> = input.parse()?;
    let digits: LitInt = input.parse()?;
    let tokens = quote!(#minus #digits);
    let magnitude: i128 = digits.base10_parse()?;
    let value = if minus.is_some() {
        -magnitude
    } else {
        magnitude
    };
    match i64::try_from(value) {
        Ok(value) => Ok(Code { value, tokens }),
        Err(_) => Err(Error::new_spanned(tokens, "a code is an `i64`")),
    }
}

/// Returns the path of the runtime's module for generated code.
pub(crate) fn codegen(krate: Option<&Path>) -> TokenStream {
    match krate {
        Some(krate) => quote!(#krate::codegen),
        None => quote!(::rpc_runtime::codegen),
    }
}
