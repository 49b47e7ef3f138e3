//! What the server and the client have in common: a struct around one field,
//! with a constructor, `Clone` and `Debug`.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Generics, Visibility};

use super::generated;
use crate::generics;
use crate::model::Service;

pub(crate) struct Handle<'a> {
    pub(crate) service: &'a Service<'a>,
    pub(crate) ident: &'a Ident,
    pub(crate) docs: String,
    /// The parameters of the struct, which are more than the trait's.
    pub(crate) generics: &'a Generics,
    pub(crate) field: Ident,
    pub(crate) ty: TokenStream,
}

impl Handle<'_> {
    /// `new` has one parameter, named like the field, from which it makes `value`.
    pub(crate) fn expand(&self, parameter: TokenStream, value: TokenStream) -> TokenStream {
        let Self {
            service,
            ident,
            docs,
            field,
            ty,
            ..
        } = self;
        let door = &service.door;
        let vis: &Visibility = &service.original.vis;
        let declared = generics::unbounded(self.generics);
        let (params, args, _) = declared.split_for_impl();
        let (types, no_types) = match generics::phantom(&service.original.generics, door) {
            Some(phantom) => (quote!(types: #phantom), quote!(types: #door::PhantomData)),
            None => (quote!(), quote!()),
        };
        let name = ident.to_string();
        generated! {
            #[doc = #docs]
            #vis struct #ident #declared { #field: #ty, #types }
            impl #params #ident #args {
                #[doc = "A new one."]
                #vis fn new(#field: #parameter) -> Self {
                    Self { #field: #value, #no_types }
                }
            }
            impl #params #door::Clone for #ident #args {
                fn clone(&self) -> Self {
                    Self { #field: #door::Clone::clone(&self.#field), #no_types }
                }
            }
            impl #params #door::Debug for #ident #args {
                fn fmt(&self, f: &mut #door::Formatter<'_>) -> #door::FmtResult {
                    f.debug_struct(#name).finish_non_exhaustive()
                }
            }
        }
    }
}
