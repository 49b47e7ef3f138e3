//! `#[derive(RpcError)]`: an error's code and data, there and back.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Field, Fields, LitStr, Type};

use crate::attr::{self, Code, ErrorOptions};
use crate::check::MOST_ARGUMENTS;
use crate::errors::Errors;
use crate::expand::generated;
use crate::names::Rename;
use crate::{generics, types};

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    match syn::parse2::<DeriveInput>(item) {
        Ok(original) => expand(&original),
        Err(error) => error.to_compile_error(),
    }
}

fn expand(original: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let model = RpcError::read(original, &mut errors);
    check_codes(&model.variants, &mut errors);
    match errors.finish() {
        Ok(()) => emit(&model),
        Err(error) => fallback(&model, &error),
    }
}

struct RpcError<'a> {
    original: &'a DeriveInput,
    door: TokenStream,
    /// A struct is its own only variant.
    variants: Vec<Variant<'a>>,
}

struct Variant<'a> {
    /// `Self` or `Self::Name`.
    path: TokenStream,
    code: Code,
    shape: Shape<'a>,
}

enum Shape<'a> {
    Unit,
    /// `data` is the fields' value: alone, or an array of them.
    Tuple(Vec<&'a Type>),
    /// `data` is an object.
    Named(Vec<NamedField<'a>>),
}

struct NamedField<'a> {
    ident: &'a Ident,
    ty: &'a Type,
    wire_name: LitStr,
}

impl<'a> RpcError<'a> {
    fn read(original: &'a DeriveInput, errors: &mut Errors) -> Self {
        let (options, variants) = match &original.data {
            Data::Enum(data) => {
                let options = ErrorOptions::read_enum(&original.attrs, errors);
                let rename = options.rename_all.unwrap_or_default();
                let variants = data.variants.iter();
                let variants = variants.filter_map(|it| Variant::read(it, rename, errors));
                let variants = variants.collect();
                (options, variants)
            }
            Data::Struct(data) => {
                let options = ErrorOptions::read_struct(&original.attrs, errors);
                let rename = options.rename_all.unwrap_or_default();
                let code = required(options.code.clone(), &original.ident, errors);
                let shape = Shape::read(&data.fields, &original.ident, rename, errors);
                let only = code.map(|code| Variant {
                    path: generated!(Self),
                    code,
                    shape,
                });
                (options, only.into_iter().collect())
            }
            Data::Union(data) => {
                errors.at(data.union_token, "an error is an enum or a struct");
                (ErrorOptions::default(), vec![])
            }
        };
        Self {
            original,
            door: attr::door(options.krate.as_ref()),
            variants,
        }
    }
}

impl<'a> Variant<'a> {
    fn read(original: &'a syn::Variant, rename: Rename, errors: &mut Errors) -> Option<Self> {
        let ident = &original.ident;
        let shape = Shape::read(&original.fields, ident, rename, errors);
        let code = required(attr::variant_code(&original.attrs, errors), ident, errors)?;
        Some(Self {
            path: generated!(Self::#ident),
            code,
            shape,
        })
    }
}

fn required(code: Option<Code>, owner: &Ident, errors: &mut Errors) -> Option<Code> {
    if code.is_none() {
        errors.at(owner, "an error needs a code: `#[rpc(code = 1001)]`");
    }
    code
}

impl<'a> Shape<'a> {
    fn read(fields: &'a Fields, owner: &Ident, rename: Rename, errors: &mut Errors) -> Self {
        if fields.len() > MOST_ARGUMENTS {
            errors.at(owner, "at most 16 fields; put them in a struct");
        }
        match fields {
            Fields::Unit => Self::Unit,
            Fields::Unnamed(fields) => {
                Self::Tuple(fields.unnamed.iter().map(|it| &it.ty).collect())
            }
            Fields::Named(fields) => {
                let named = fields.named.iter();
                Self::Named(
                    named
                        .filter_map(|it| NamedField::read(it, rename, errors))
                        .collect(),
                )
            }
        }
    }
}

impl<'a> NamedField<'a> {
    fn read(original: &'a Field, rename: Rename, errors: &mut Errors) -> Option<Self> {
        let ident = original.ident.as_ref()?;
        let given = attr::field_name(&original.attrs, errors);
        let wire_name = given.unwrap_or_else(|| rename.apply(ident));
        Some(Self {
            ident,
            ty: &original.ty,
            wire_name,
        })
    }
}

fn check_codes(variants: &[Variant<'_>], errors: &mut Errors) {
    let mut seen = HashMap::new();
    for Variant { path, code, .. } in variants {
        let Code { value, tokens } = code;
        if (-32768..=-32000).contains(value) {
            errors.at(
                tokens,
                "reserved by JSON-RPC 2.0; use one outside -32768..=-32000",
            );
        } else if let Some(first) = seen.insert(value, path.to_string().replace(' ', "")) {
            errors.at(tokens, format!("`{first}` has this code"));
        }
    }
}

fn emit(model: &RpcError<'_>) -> TokenStream {
    let door = &model.door;
    let variants = &model.variants;
    let codes = variants.iter().map(|Variant { path, code, .. }| {
        let code = literal(code);
        generated!(#path { .. } => #code,)
    });
    let writes = variants.iter().map(|variant| write(variant));
    let reads = variants.iter().map(|variant| read(variant, door));
    implementation(
        model,
        generated! {
            fn code(&self) -> i64 {
                match *self { #(#codes)* }
            }
            fn write_data(&self, data: #door::DataWriter<'_>) {
                match self { #(#writes)* }
            }
            fn read(code: i64, _: &str, data: #door::ErrorData<'_, '_>) -> #door::Option<Self> {
                match code {
                    #(#reads)*
                    _ => #door::None,
                }
            }
        },
    )
}

fn literal(code: &Code) -> Literal {
    Literal::i64_unsuffixed(code.value)
}

fn write(variant: &Variant<'_>) -> TokenStream {
    let path = &variant.path;
    match &variant.shape {
        Shape::Unit => generated!(#path => data.none(),),
        Shape::Tuple(types) => {
            let names = positions(types);
            let value = match &names[..] {
                [only] => quote!(#only),
                names => generated!(&(#(#names,)*)),
            };
            generated!(#path(#(#names),*) => data.value(#value),)
        }
        Shape::Named(fields) => {
            let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
            let names = fields.iter().map(|field| &field.wire_name);
            generated! {
                #path { #(#idents),* } => data.object()#(.field(#names, #idents))*.end(),
            }
        }
    }
}

fn read(variant: &Variant<'_>, door: &TokenStream) -> TokenStream {
    let path = &variant.path;
    let code = literal(&variant.code);
    match &variant.shape {
        Shape::Unit => generated!(#code => #door::Some(#path),),
        Shape::Tuple(types) => {
            let names = positions(types);
            let (pattern, ty) = match (&names[..], &types[..]) {
                ([name], [ty]) => (quote!(#name), quote!(#ty)),
                _ => (quote!((#(#names,)*)), quote!((#(#types,)*))),
            };
            generated! {
                #code => {
                    let #pattern = data.whole::<#ty>()?;
                    #door::Some(#path(#(#names),*))
                }
            }
        }
        Shape::Named(fields) => {
            let idents: Vec<_> = fields.iter().map(|field| field.ident).collect();
            let decoders = fields
                .iter()
                .map(|NamedField { ty, wire_name, .. }| generated!(#door::arg::<#ty>(#wire_name)));
            generated! {
                #code => {
                    let (#(#idents,)*) = data.arguments((#(#decoders,)*))?;
                    #door::Some(#path { #(#idents),* })
                }
            }
        }
    }
}

fn positions(types: &[&Type]) -> Vec<Ident> {
    (0..types.len())
        .map(|at| format_ident!("field{at}"))
        .collect()
}

/// The impl, whatever its methods do.
fn implementation(model: &RpcError<'_>, methods: TokenStream) -> TokenStream {
    let RpcError {
        original,
        door,
        variants,
    } = model;
    let ident = &original.ident;
    let (params, args, _) = original.generics.split_for_impl();
    let generic = |ty: &&Type| types::mentions(ty, &original.generics);
    let types = variants.iter().flat_map(|variant| variant.shape.types());
    let bounds: Vec<_> = types
        .filter(generic)
        .map(|ty| quote!(#ty: #door::Serialize + #door::DeserializeOwned))
        .collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    generated! {
        #[allow(deprecated)]
        impl #params #door::RpcError for #ident #args #clause {
            #methods
        }
    }
}

impl<'a> Shape<'a> {
    fn types(&self) -> Vec<&'a Type> {
        match self {
            Self::Unit => vec![],
            Self::Tuple(types) => types.clone(),
            Self::Named(fields) => fields.iter().map(|field| field.ty).collect(),
        }
    }
}

/// The mistakes, and an impl for those who need one.
fn fallback(model: &RpcError<'_>, error: &Error) -> TokenStream {
    let door = &model.door;
    let error = error.to_compile_error();
    let implementation = implementation(
        model,
        generated! {
            fn code(&self) -> i64 { loop {} }
            fn write_data(&self, _: #door::DataWriter<'_>) { loop {} }
            fn read(_: i64, _: &str, _: #door::ErrorData<'_, '_>) -> #door::Option<Self> { loop {} }
        },
    );
    quote!(#error #implementation)
}
