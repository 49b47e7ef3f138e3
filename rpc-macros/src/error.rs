//! `#[derive(RpcError)]`: the writing and reading of an error's code and data.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Type};

use crate::attr::{self, Code, ErrorOptions};
use crate::check::MOST_ARGUMENTS;
use crate::errors::Errors;
use crate::expand::generated::{generated, inside};
use crate::expand::wire;
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
    codegen: TokenStream,
    /// A struct has one variant, itself.
    variants: Vec<Variant<'a>>,
}

struct Variant<'a> {
    /// `Self` or `Self::Name`.
    path: TokenStream,
    name: String,
    attrs: &'a [Attribute],
    cfgs: Vec<&'a Attribute>,
    code: Code,
    shape: Shape,
    fields: Vec<Field<'a>>,
}

/// The form of the fields in `error.data`.
#[derive(Clone, Copy)]
enum Shape {
    /// No fields, and no data.
    Nothing,
    /// The value of the only field.
    Value,
    /// An array of the fields.
    Array,
    /// An object of the fields.
    Object,
}

impl Shape {
    fn of(fields: &Fields) -> Self {
        match (fields, fields.len()) {
            (_, 0) => Self::Nothing,
            (Fields::Unnamed(_), 1) => Self::Value,
            (Fields::Unnamed(_), _) => Self::Array,
            _ => Self::Object,
        }
    }
}

struct Field<'a> {
    /// The variable of the field, with the field's name if it has one.
    binding: Ident,
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
                let fields = Field::read_all(&data.fields, &original.ident, rename, errors);
                let variant = required(options.code.as_ref(), &original.ident, errors)
                    .map(|code| Variant::of_struct(original, code, &data.fields, fields));
                (options, variant.into_iter().collect())
            }
            Data::Union(data) => {
                errors.at(data.union_token, "an error is an enum or a struct");
                (ErrorOptions::default(), vec![])
            }
        };
        Self {
            original,
            codegen: attr::codegen(options.krate.as_ref()),
            variants,
        }
    }
}

impl<'a> Variant<'a> {
    fn read(original: &'a syn::Variant, rename: Rename, errors: &mut Errors) -> Option<Self> {
        let syn::Variant { ident, attrs, .. } = original;
        let fields = Field::read_all(&original.fields, ident, rename, errors);
        let code = attr::variant_code(attrs, errors);
        let code = required(code.as_ref(), ident, errors)?;
        Some(Self {
            path: generated!(Self::#ident),
            name: ident.to_string(),
            attrs,
            cfgs: attr::cfgs(attrs),
            code,
            shape: Shape::of(&original.fields),
            fields,
        })
    }

    fn of_struct(
        original: &'a DeriveInput,
        code: Code,
        declared: &Fields,
        fields: Vec<Field<'a>>,
    ) -> Self {
        Self {
            path: generated!(Self),
            name: original.ident.to_string(),
            attrs: &original.attrs,
            // The `cfg`s of a struct apply to the derive as well.
            cfgs: vec![],
            code,
            shape: Shape::of(declared),
            fields,
        }
    }
}

impl Variant<'_> {
    /// Returns the variant with its fields' variables, which is both a pattern and an expression.
    fn of_bindings(&self) -> TokenStream {
        let path = &self.path;
        let bindings = self.fields.iter().map(|field| &field.binding);
        match self.shape {
            Shape::Nothing => generated!(#path {}),
            Shape::Value | Shape::Array => generated!(#path(#(#bindings),*)),
            Shape::Object => generated!(#path { #(#bindings),* }),
        }
    }
}

fn required(code: Option<&Option<Code>>, owner: &Ident, errors: &mut Errors) -> Option<Code> {
    if code.is_none() {
        errors.at(owner, "an error needs a code: `#[rpc(code = 1001)]`");
    }
    code?.clone()
}

impl<'a> Field<'a> {
    fn read_all(
        fields: &'a Fields,
        owner: &Ident,
        rename: Rename,
        errors: &mut Errors,
    ) -> Vec<Self> {
        if fields.len() > MOST_ARGUMENTS {
            errors.at(owner, "at most 16 fields; put them in a struct");
        }
        let fields = fields.iter().enumerate();
        fields
            .map(|(at, field)| Self::read(at, field, rename, errors))
            .collect()
    }

    fn read(at: usize, original: &'a syn::Field, rename: Rename, errors: &mut Errors) -> Self {
        let given = attr::field_name(&original.attrs, errors);
        let (binding, name) = match &original.ident {
            Some(ident) => (ident.clone(), rename.apply(ident)),
            None => {
                if let Some(name) = &given {
                    errors.at(
                        name,
                        "a tuple's field has no name on the wire; use a variant with named fields",
                    );
                }
                let binding = format_ident!("field{at}");
                let name = LitStr::new(&at.to_string(), binding.span());
                (binding, name)
            }
        };
        Self {
            binding,
            ty: &original.ty,
            wire_name: given.unwrap_or(name),
        }
    }

    /// Returns the parameter of the field, for writing and for reading.
    fn argument(&self) -> TokenStream {
        let Self { ty, wire_name, .. } = self;
        generated!(__rpc::arg::<#ty>(#wire_name))
    }
}

fn check_codes(variants: &[Variant<'_>], errors: &mut Errors) {
    let mut seen = HashMap::new();
    for Variant {
        path, code, cfgs, ..
    } in variants
    {
        let Code { value, tokens } = code;
        if (-32768..=-32000).contains(value) {
            errors.at(
                tokens,
                "JSON-RPC 2.0 reserves this code; use one outside -32768..=-32000",
            );
        } else if !cfgs.is_empty() {
            // Two variants of the same code may have mutually exclusive `cfg`s.
        } else if let Some(first) = seen.insert(value, path.to_string().replace(' ', "")) {
            errors.at(tokens, format!("`{first}` has this code already"));
        }
    }
}

fn emit(model: &RpcError<'_>) -> TokenStream {
    let variants = &model.variants;
    let codes = variants.iter().map(
        |Variant {
             path, code, cfgs, ..
         }| {
            let code = Literal::i64_unsuffixed(code.value);
            generated!(#(#cfgs)* #path { .. } => #code,)
        },
    );
    let described = variants.iter().map(|variant| describe(variant));
    let writes = variants.iter().map(|variant| write(variant));
    let reads = variants.iter().map(|variant| read(variant));
    // A reference always has a value, even to an enum without variants.
    let variant = match variants.is_empty() {
        true => generated!(*self),
        false => generated!(self),
    };
    let schemas = schemas(model);
    let travels = implementation(
        model,
        generated! {
            const ERRORS: &'static [__rpc::ErrorDescription] = &[#(#described),*];
            fn code(&self) -> i64 {
                match *self { #(#codes)* }
            }
            fn write_data(&self, data: __rpc::DataWriter<'_>) {
                match #variant { #(#writes)* }
            }
            fn read(code: i64, _: &str, data: __rpc::ErrorData<'_, '_>) -> __rpc::Option<Self> {
                match code {
                    #(#reads)*
                    _ => __rpc::None,
                }
            }
        },
    );
    inside(&model.codegen, quote!(#travels #schemas))
}

fn describe(variant: &Variant<'_>) -> TokenStream {
    let Variant {
        name, attrs, cfgs, ..
    } = variant;
    let code = Literal::i64_unsuffixed(variant.code.value);
    let docs = attr::docs(attrs);
    let message = attr::message(attrs).filter(|it| !it.is_empty());
    let message = message.or((!docs.is_empty()).then(|| docs.clone()));
    let message = message.as_ref().unwrap_or(name);
    generated! {
        #(#cfgs)*
        __rpc::ErrorDescription { name: #name, code: #code, message: #message, docs: #docs }
    }
}

/// Generates the schemas of the data, given the schemas of the fields' types.
fn schemas(model: &RpcError<'_>) -> TokenStream {
    let RpcError {
        original, variants, ..
    } = model;
    let ident = &original.ident;
    let (_, args, _) = original.generics.split_for_impl();
    let knows = Ident::new("__Schemas", Span::mixed_site());
    let generics = generics::with_first(original.generics.clone(), knows.clone().into());
    let (params, _, _) = generics.split_for_impl();
    let schemas = variants.iter().map(|variant| schema(variant, &knows));
    let types = variants.iter().flat_map(|variant| &variant.fields);
    let types = types.map(|field| field.ty);
    let bounds: Vec<_> = types
        .map(|ty| generated!(#knows: __rpc::Knows<#ty>))
        .collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    // The types of the fields may be deprecated.
    generated! {
        #[allow(deprecated)]
        impl #params __rpc::ErrorSchemas<#knows> for #ident #args #clause {
            const SCHEMAS: &'static [__rpc::DataSchema] = &[#(#schemas),*];
        }
    }
}

fn schema(variant: &Variant<'_>, knows: &Ident) -> TokenStream {
    let cfgs = &variant.cfgs;
    let known = variant
        .fields
        .iter()
        .map(|Field { ty, .. }| generated!(<#knows as __rpc::Knows<#ty>>::SCHEMA));
    let schema = match variant.shape {
        Shape::Nothing => generated!(Nothing),
        Shape::Value => generated!(Value(#(#known)*)),
        Shape::Array => generated!(Array(&[#(#known),*])),
        Shape::Object => {
            let names = variant.fields.iter().map(|field| &field.wire_name);
            generated!(Object(&[#((#names, #known)),*]))
        }
    };
    generated!(#(#cfgs)* __rpc::DataSchema::#schema)
}

fn write(variant: &Variant<'_>) -> TokenStream {
    let Variant {
        cfgs,
        shape,
        fields,
        ..
    } = variant;
    let pattern = variant.of_bindings();
    let sent = fields.iter().map(|field| {
        let (argument, binding) = (field.argument(), &field.binding);
        generated!(#argument.send(#binding))
    });
    let data = match shape {
        Shape::Nothing => generated!(data.none()),
        Shape::Value => generated!(data.value(#(#sent)*)),
        Shape::Array => generated!(data.array((#(#sent),*))),
        Shape::Object => generated!(data.object()#(.field(#sent))*.end()),
    };
    generated!(#(#cfgs)* #pattern => #data,)
}

fn read(variant: &Variant<'_>) -> TokenStream {
    let Variant {
        cfgs,
        shape,
        fields,
        ..
    } = variant;
    let code = Literal::i64_unsuffixed(variant.code.value);
    let bindings = fields.iter().map(|field| &field.binding);
    let arguments = fields.iter().map(Field::argument);
    let decode = match shape {
        Shape::Nothing => None,
        Shape::Value => Some(generated!(let #(#bindings)* = data.entire(#(#arguments)*)?;)),
        Shape::Array | Shape::Object => {
            Some(generated!(let (#(#bindings,)*) = data.arguments((#(#arguments,)*))?;))
        }
    };
    let value = variant.of_bindings();
    generated! {
        #(#cfgs)* #code => {
            #decode
            __rpc::Some(#value)
        }
    }
}

/// Generates the impl with the given methods.
fn implementation(model: &RpcError<'_>, methods: TokenStream) -> TokenStream {
    let RpcError {
        original, variants, ..
    } = model;
    let ident = &original.ident;
    let (params, args, _) = original.generics.split_for_impl();
    let types = variants
        .iter()
        .flat_map(|variant| &variant.fields)
        .map(|field| field.ty);
    let generic = types.filter(|ty| types::mentions(ty, &original.generics));
    let bounds: Vec<_> = generic.map(wire::argument_bound).collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    // A deprecated variant or field is still sent.
    generated! {
        #[allow(deprecated)]
        impl #params __rpc::RpcError for #ident #args #clause { #methods }
    }
}

/// Generates the compile errors, and an impl for code that requires one.
fn fallback(model: &RpcError<'_>, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let implementation = implementation(
        model,
        generated! {
            fn code(&self) -> i64 { loop {} }
            fn write_data(&self, _: __rpc::DataWriter<'_>) { loop {} }
            fn read(_: i64, _: &str, _: __rpc::ErrorData<'_, '_>) -> __rpc::Option<Self> { loop {} }
        },
    );
    let schemas = schemas(&RpcError {
        original: model.original,
        codegen: model.codegen.clone(),
        variants: vec![],
    });
    let implementation = inside(&model.codegen, quote!(#implementation #schemas));
    quote!(#error #implementation)
}
