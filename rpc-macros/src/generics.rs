//! The trait's generic parameters, on the types generated for it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{GenericParam, Generics, TypeParam};

/// `generics` with one more type, before its other types.
pub(crate) fn with_first(generics: &Generics, first: TypeParam) -> Generics {
    let mut generics = generics.clone();
    let after_lifetimes = generics.lifetimes().count();
    generics
        .params
        .insert(after_lifetimes, GenericParam::Type(first));
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
