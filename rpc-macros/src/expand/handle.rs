//! Generates the common parts of the server and the client: a struct with one field, a constructor, `Clone` and
//! `Debug`.

use proc_macro2::{Ident, TokenStream};
use syn::Generics;

use super::generated;
use crate::model::Service;
use crate::{attr, generics};

pub(crate) struct Handle<'a> {
    pub(crate) service: &'a Service<'a>,
    pub(crate) ident: Ident,
    pub(crate) docs: String,
    /// The generic parameters of the struct, which may include more than the trait's.
    pub(crate) generics: Generics,
    pub(crate) field: Ident,
    pub(crate) ty: TokenStream,
}

impl Handle<'_> {
    pub(crate) fn item(&self) -> TokenStream {
        let Self {
            service,
            ident,
            docs,
            field,
            ty,
            ..
        } = self;
        let Service { vis, codegen, .. } = service;
        let declared = generics::unbounded(&self.generics);
        let types = generics::types(&service.original.generics);
        let types = types.map(|types| generated!(types: #codegen::PhantomData<fn() -> #types>));
        let allowed = attr::allowed(&service.original.attrs);
        generated! {
            #(#allowed)*
            #[doc = #docs]
            #vis struct #ident #declared { #field: #ty, #types }
        }
    }

    /// Generates the impls. `new` has one parameter, named like the field, from which it creates `value`. `more`
    /// constructors follow it.
    pub(crate) fn impls(
        &self,
        parameter: TokenStream,
        value: TokenStream,
        more: Option<TokenStream>,
    ) -> TokenStream {
        let Self {
            service,
            ident,
            field,
            ..
        } = self;
        let vis = &service.vis;
        let declared = generics::unbounded(&self.generics);
        let (params, args, _) = declared.split_for_impl();
        let types = generics::types(&service.original.generics);
        let types = types.map(|_| generated!(types: __rpc::PhantomData));
        let docs = format!(" Wraps `{field}`.");
        let name = ident.to_string();
        generated! {
            impl #params #ident #args {
                #[doc = #docs]
                #vis fn new(#field: #parameter) -> Self {
                    Self { #value, #types }
                }
                #more
            }
            impl #params __rpc::Clone for #ident #args {
                fn clone(&self) -> Self {
                    Self { #field: __rpc::Clone::clone(&self.#field), #types }
                }
            }
            impl #params __rpc::Debug for #ident #args {
                fn fmt(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
                    f.debug_struct(#name).finish_non_exhaustive()
                }
            }
        }
    }
}

/// Returns the permission to use deprecated methods, if there are any. A crate that forbids the lint can then have a
/// service without.
pub(crate) fn allow_deprecated(service: &Service<'_>) -> Option<TokenStream> {
    let mut methods = service.methods.iter();
    methods
        .any(|method| method.deprecation.is_some())
        .then(|| generated!(#[allow(deprecated)]))
}
