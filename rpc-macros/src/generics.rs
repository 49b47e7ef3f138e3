//! Places the trait's generic parameters on the types generated for it.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{GenericParam, Generics, Lifetime, TypeParam, TypeParamBound, WherePredicate};

use crate::types;

/// Returns the parameters of the trait and the server, with `'static` bounds: values of their types are sent, so they
/// must not borrow.
pub(crate) fn owned(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.colon_token.get_or_insert_default();
        let lifetime = Lifetime::new("'static", Span::mixed_site());
        parameter.bounds.push(TypeParamBound::Lifetime(lifetime));
    }
    generics
}

/// Returns `generics` with one more type, before its other types.
pub(crate) fn with_first(mut generics: Generics, first: TypeParam) -> Generics {
    let after_lifetimes = generics.lifetimes().count();
    generics
        .params
        .insert(after_lifetimes, GenericParam::Type(first));
    generics
}

/// Returns the parameters of a struct's declaration, without bounds, which belong to its impls.
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

/// Returns the types as a tuple, if there are any: a field must mention them.
pub(crate) fn types(generics: &Generics) -> Option<TokenStream> {
    let types: Vec<_> = generics
        .type_params()
        .map(|parameter| &parameter.ident)
        .collect();
    (!types.is_empty()).then(|| quote!((#(#types,)*)))
}

/// Returns a where clause of the item's own predicates and `more`, each once.
pub(crate) fn where_clause(generics: &Generics, more: &[TokenStream]) -> TokenStream {
    let own = generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates)
        .filter(|predicate| !is_of_self(predicate));
    let mut seen = HashSet::new();
    let more = more
        .iter()
        .filter(|predicate| seen.insert(predicate.to_string()));
    quote!(where #(#own,)* #(#more,)*)
}

/// Returns `true` for a bound on `Self`. It applies to the trait only, since `Self` is another type in the impls.
fn is_of_self(predicate: &WherePredicate) -> bool {
    matches!(predicate, WherePredicate::Type(bound) if types::mentions_self(&bound.bounded_ty))
}
