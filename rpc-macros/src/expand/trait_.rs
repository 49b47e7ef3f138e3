//! Generates the trait for its implementors: the user's own, with futures that can be sent between threads.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote_spanned};
use syn::punctuated::Punctuated;
use syn::token::RArrow;
use syn::{
    Attribute, Expr, FnArg, Pat, PatWild, ReturnType, Stmt, Token, TraitItem, TraitItemFn, Type,
    TypeImplTrait, TypeParamBound,
};

use super::generated;
use crate::model::Service;
use crate::{attr, generics, types};

pub(crate) fn expand(service: &Service<'_>) -> TokenStream {
    let codegen = &service.codegen;
    let mut item = service.original.clone();
    item.generics = generics::owned(&item.generics);
    item.colon_token.get_or_insert_default();
    for bound in [
        generated!(#codegen::Send),
        generated!(#codegen::Sync),
        generated!('static),
    ] {
        item.supertraits.push(TypeParamBound::Verbatim(bound));
    }
    for item in &mut item.items {
        if let TraitItem::Fn(method) = item {
            strip(method);
            complete_streams(method, codegen);
            desugar(method, codegen);
        }
    }
    let advice = advice(service);
    generated!(#advice #item)
}

/// Returns what the compiler says about a type that is no handler, unless the user says it.
fn advice(service: &Service<'_>) -> Option<TokenStream> {
    let attrs = &service.original.attrs;
    let is_given = |attr: &Attribute| {
        let last = attr.path().segments.last();
        last.is_some_and(|segment| segment.ident == "on_unimplemented")
    };
    // In a module without a prelude, where the crate is given by its path, there is no `diagnostic`.
    if service.has_path || attrs.iter().any(is_given) {
        return None;
    }
    let ident = &service.original.ident;
    let note = format!(
        "`{ident}Server::new` takes a type that implements `{ident}`; to share it, pass an `Arc` of it to \
         `{ident}Server::from_arc`"
    );
    Some(generated!(#[diagnostic::on_unimplemented(note = #note)]))
}

/// Removes the macro's own attributes, and patterns, which are reported as errors.
fn strip(method: &mut TraitItemFn) {
    method.attrs.retain(|attr| !attr::is_ours(attr));
    for input in &mut method.sig.inputs {
        let FnArg::Typed(typed) = input else { continue };
        typed.attrs.retain(|attr| !attr::is_ours(attr));
        if method.default.is_none() && !matches!(*typed.pat, Pat::Ident(_)) {
            *typed.pat = Pat::Wild(PatWild {
                attrs: vec![],
                underscore_token: <Token![_]>::default(),
            });
        }
    }
}

/// Adds `Send` to returned streams, and `Send` and `Unpin` to streams that are arguments.
fn complete_streams(method: &mut TraitItemFn, codegen: &TokenStream) {
    let bound = |name| TypeParamBound::Verbatim(generated!(#codegen::#name));
    let (send, unpin) = (generated!(Send), generated!(Unpin));
    if let ReturnType::Type(_, ty) = &mut method.sig.output
        && let Some(bounds) = stream_bounds(ty)
    {
        bounds.push(bound(send.clone()));
    }
    for input in &mut method.sig.inputs {
        if let FnArg::Typed(typed) = input
            && let Some(bounds) = stream_bounds(&mut typed.ty)
        {
            bounds.extend([bound(send.clone()), bound(unpin.clone())]);
        }
    }
}

fn stream_bounds(ty: &mut Type) -> Option<&mut Punctuated<TypeParamBound, Token![+]>> {
    types::stream_item(ty)?;
    match ty {
        Type::ImplTrait(TypeImplTrait { bounds, .. }) => Some(bounds),
        _ => None,
    }
}

/// Changes `async fn f() -> T` to `fn f() -> impl Future<Output = T> + Send`.
fn desugar(method: &mut TraitItemFn, codegen: &TokenStream) {
    let Some(asyncness) = method.sig.asyncness.take() else {
        return;
    };
    let output = match &method.sig.output {
        ReturnType::Default => generated!(()),
        ReturnType::Type(_, ty) => ty.to_token_stream(),
    };
    let span = asyncness.span.resolved_at(Span::mixed_site());
    let future = quote_spanned!(span=> impl #codegen::Future<Output = #output> + #codegen::Send);
    method.sig.output = ReturnType::Type(RArrow(span), Box::new(Type::Verbatim(future)));
    if let Some(body) = &mut method.default {
        let future = Expr::Verbatim(generated!(async move #body));
        body.stmts = vec![Stmt::Expr(future, None)];
    }
}
