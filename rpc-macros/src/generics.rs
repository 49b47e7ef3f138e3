//! The trait's generic parameters, on the types generated for it.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{GenericParam, Generics, Ident, Lifetime, Type, TypeParam};

use crate::types;

/// The name of the type that implements the trait.
pub(crate) fn service() -> Ident {
    Ident::new("__Service", Span::mixed_site())
}

/// `<__Service, K, V>`: `generics` with the service's type before its types.
pub(crate) fn with_service(generics: &Generics, service: TypeParam) -> Generics {
    let mut generics = generics.clone();
    let after_lifetimes = generics.lifetimes().count();
    generics
        .params
        .insert(after_lifetimes, GenericParam::Type(service));
    generics
}

/// The parameters as a struct declares them: bounds are for its impls.
pub(crate) fn unbounded(generics: &Generics) -> Generics {
    let mut generics = Generics {
        where_clause: None,
        ..generics.clone()
    };
    for parameter in generics.type_params_mut() {
        parameter.colon_token = None;
        parameter.bounds.clear();
    }
    generics
}

/// The type of a field that uses every parameter and owns nothing.
pub(crate) fn phantom(generics: &Generics, door: &TokenStream) -> Option<TokenStream> {
    let lifetimes = generics.lifetimes().map(|parameter| {
        let lifetime = &parameter.lifetime;
        quote!(&#lifetime ())
    });
    let types = generics.type_params().map(|parameter| {
        let ident = &parameter.ident;
        quote!(#ident)
    });
    let used: Vec<TokenStream> = lifetimes.chain(types).collect();
    (!used.is_empty()).then(|| quote!(#door::PhantomData<fn() -> (#(#used,)*)>))
}

/// A where clause of the trait's own predicates and `more`.
pub(crate) fn where_clause(generics: &Generics, more: &[TokenStream]) -> TokenStream {
    let own = generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates);
    quote!(where #(#own,)* #(#more,)*)
}

/// `for<'de> T<'de>`, for the bounds of an argument that borrows from a request.
pub(crate) fn for_any_lifetime(ty: &Type, bound: impl Fn(&Lifetime) -> TokenStream) -> TokenStream {
    let lifetime = Lifetime::new("'__de", Span::mixed_site());
    let ty = types::with_lifetime(ty, &lifetime);
    let bound = bound(&lifetime);
    quote!(for<#lifetime> #ty: #bound)
}
