//! `#[derive(RpcError)]`: the writing and reading of an error's code and data.

use std::collections::HashMap;

use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, Error, Fields, LitStr, Member, Path, Type};

use crate::attr::{self, Code, ErrorOptions, VariantOptions};
use crate::check::MOST_ARGUMENTS;
use crate::diagnostics::Errors;
use crate::docs::Docs;
use crate::expand::generated::{generated, inside};
use crate::expand::wire;
use crate::model::LONG_ARRAY;
use crate::names::Rename;
use crate::serde_attrs::{self, FieldAttrs, MissingValue};
use crate::{generics, normalize, types};

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    match syn::parse2::<DeriveInput>(item) {
        Ok(mut original) => {
            normalize::error(&mut original);
            expand(&original)
        }
        Err(error) => error.to_compile_error(),
    }
}

fn expand(original: &DeriveInput) -> TokenStream {
    let mut errors = Errors::default();
    let model = RpcError::read(original, &mut errors);
    for lifetime in original.generics.lifetimes() {
        errors.at(
            lifetime,
            "the client reads an error from a reply, from which it cannot borrow: remove the lifetime, and write \
             `String` or `Cow<'static, str>` in fields",
        );
    }
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
    code: VariantCode,
    shape: Shape,
    fields: Vec<Field<'a>>,
}

enum VariantCode {
    Own(Code),
    /// Code, message and data are those of the only field, an error itself.
    Transparent(Path),
}

impl Variant<'_> {
    /// Returns the code, except for a transparent variant.
    fn own_code(&self) -> Option<Literal> {
        match &self.code {
            VariantCode::Own(code) => Some(Literal::i64_unsuffixed(code.value)),
            VariantCode::Transparent(_) => None,
        }
    }

    /// Returns the error that a transparent variant holds.
    fn held(&self) -> Option<&Field<'_>> {
        match &self.code {
            VariantCode::Own(_) => None,
            VariantCode::Transparent(_) => self.fields.first(),
        }
    }

    fn sent(&self) -> impl Iterator<Item = &Field<'_>> {
        self.fields.iter().filter(|field| field.skipped.is_none())
    }
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
    fn of(declared: &Fields, fields: &[Field<'_>]) -> Self {
        match (declared, fields) {
            (_, []) => Self::Nothing,
            (Fields::Unnamed(_), [only]) if only.skipped.is_some() => Self::Nothing,
            (Fields::Unnamed(_), [_]) => Self::Value,
            (Fields::Unnamed(_), _) => Self::Array,
            _ => Self::Object,
        }
    }
}

struct Field<'a> {
    member: Member,
    /// The variable of the field.
    binding: Ident,
    ty: &'a Type,
    wire_name: LitStr,
    /// The value of a field that is not sent.
    skipped: Option<MissingValue>,
    /// The value of a field that was not received.
    default: Option<MissingValue>,
}

impl<'a> RpcError<'a> {
    fn read(original: &'a DeriveInput, errors: &mut Errors) -> Self {
        let (options, variants) = match &original.data {
            Data::Enum(data) => {
                let options = ErrorOptions::read_enum(&original.attrs, errors);
                let has_names = data
                    .variants
                    .iter()
                    .any(|variant| matches!(variant.fields, Fields::Named(_)));
                let has_names = has_names && options.rename_all.is_none();
                let rename = serde_attrs::of_enum(&original.attrs, has_names, errors);
                let rename = options.rename_all.or(rename);
                let variants = data.variants.iter();
                let variants = variants.filter_map(|it| Variant::read(it, rename, errors));
                let variants = variants.collect();
                (options, variants)
            }
            Data::Struct(data) => {
                let options = ErrorOptions::read_struct(&original.attrs, errors);
                let rename = serde_attrs::of_struct(&original.attrs, errors);
                let rename = options.rename_all.or(rename).unwrap_or_default();
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
    fn read(
        original: &'a syn::Variant,
        rename: Option<Rename>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let syn::Variant { ident, attrs, .. } = original;
        let of_variant = serde_attrs::of_variant(attrs, errors);
        let rename = of_variant.or(rename).unwrap_or_default();
        let fields = Field::read_all(&original.fields, ident, rename, errors);
        let options = VariantOptions::read(attrs, errors);
        let code = match options.transparent {
            Some(transparent) => {
                check_transparent(&transparent, &options.code, &fields, errors);
                VariantCode::Transparent(transparent)
            }
            None => VariantCode::Own(required(options.code.as_ref(), ident, errors)?),
        };
        Some(Self {
            path: generated!(Self::#ident),
            name: ident.to_string(),
            attrs,
            cfgs: attr::cfgs(attrs),
            code,
            shape: Shape::of(&original.fields, &fields),
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
            code: VariantCode::Own(code),
            shape: Shape::of(declared, &fields),
            fields,
        }
    }
}

impl Variant<'_> {
    /// Returns a pattern that binds the variables of the fields that are sent.
    fn pattern(&self) -> TokenStream {
        self.with_fields(|field| match &field.skipped {
            Some(_) => generated!(_),
            None => field.binding.to_token_stream(),
        })
    }

    /// Returns the variant of the variables of its fields.
    fn value(&self) -> TokenStream {
        self.with_fields(|field| match &field.skipped {
            Some(value) => field.missing(value),
            None => field.binding.to_token_stream(),
        })
    }

    fn with_fields(&self, of_field: impl Fn(&Field<'_>) -> TokenStream) -> TokenStream {
        let path = &self.path;
        let fields = self.fields.iter().map(|field| {
            let value = of_field(field);
            match &field.member {
                Member::Named(name) => generated!(#name: #value),
                Member::Unnamed(_) => value,
            }
        });
        match self.fields.first().map(|first| &first.member) {
            Some(Member::Unnamed(_)) => generated!(#path(#(#fields),*)),
            _ => generated!(#path { #(#fields),* }),
        }
    }
}

fn check_transparent(
    transparent: &Path,
    code: &Option<Option<Code>>,
    fields: &[Field<'_>],
    errors: &mut Errors,
) {
    if code.is_some() {
        errors.at(
            transparent,
            "a transparent variant has the codes of the error that it holds; remove `code`",
        );
    }
    let [Field { skipped: None, .. }] = fields else {
        errors.at(
            transparent,
            "a transparent variant has one field, an error: `Variant(OtherError)`",
        );
        return;
    };
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
        let FieldAttrs {
            rename: renamed,
            skip,
            default,
        } = FieldAttrs::read(&original.attrs, errors);
        let given = given.or(renamed);
        let binding = format_ident!("field{at}", span = Span::mixed_site());
        let (member, name) = match &original.ident {
            Some(ident) => (Member::from(ident.clone()), rename.apply(ident)),
            None => {
                if let Some(name) = &given {
                    errors.at(
                        name,
                        "a tuple's field has no name on the wire; use a variant with named fields",
                    );
                }
                let name = LitStr::new(&at.to_string(), binding.span());
                (Member::from(at), name)
            }
        };
        if skip.is_none() {
            check_owned(&original.ty, errors);
        }
        let (skipped, default) = match skip {
            Some(_) => (Some(default.unwrap_or(MissingValue::OfType)), None),
            None => (None, default),
        };
        Self {
            member,
            binding,
            ty: &original.ty,
            wire_name: given.unwrap_or(name),
            skipped,
            default,
        }
    }

    /// Returns the parameter of the field, for writing and for reading.
    fn argument(&self) -> TokenStream {
        let Self { ty, wire_name, .. } = self;
        wire::at(ty, "arg", quote!(#ty), quote!(#wire_name))
    }

    /// Returns a method of the field's type, which is an error.
    fn method(&self, name: &str) -> TokenStream {
        let here = Span::mixed_site().located_at(self.ty.span());
        let (ty, name) = (self.ty, Ident::new(name, here));
        quote_spanned!(here=> <#ty as __rpc::RpcError>::#name)
    }

    /// Returns the expression of a value that was not received.
    fn missing(&self, value: &MissingValue) -> TokenStream {
        match value {
            MissingValue::OfType => {
                let ty = self.ty;
                wire::at(ty, "default", quote!(#ty), quote!())
            }
            MissingValue::Function(path) => quote!(#path()),
        }
    }
}

fn check_owned(ty: &Type, errors: &mut Errors) {
    if let Some(reference) = types::reference(ty) {
        errors.at(
            reference,
            "the client reads this field from a reply, from which it cannot borrow: write `String` or \
             `Cow<'static, str>`",
        );
    }
    if let Some(len) = types::long_array(ty) {
        errors.at(len, LONG_ARRAY);
    }
}

fn check_codes(variants: &[Variant<'_>], errors: &mut Errors) {
    let mut seen = HashMap::new();
    for Variant {
        path, code, cfgs, ..
    } in variants
    {
        let VariantCode::Own(Code { value, tokens }) = code else {
            continue;
        };
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
    let codes = variants.iter().map(code);
    let errors = errors(variants);
    let writes = variants.iter().map(write);
    let reads = variants.iter().filter_map(read);
    let unknown = unknown(variants);
    // A reference always has a value, even to an enum without variants.
    let variant = match variants.is_empty() {
        true => generated!(*self),
        false => generated!(self),
    };
    let message = match variants.iter().any(|it| it.held().is_some()) {
        true => generated!(message),
        false => generated!(_),
    };
    let schemas = schemas(model);
    let write_message = write_message(variants);
    let travels = implementation(
        model,
        generated! {
            const ERRORS: &'static [__rpc::ErrorDescription] = #errors;
            fn code(&self) -> __rpc::i64 {
                match #variant { #(#codes)* }
            }
            #write_message
            fn write_data(&self, data: __rpc::DataWriter<'_>) {
                match #variant { #(#writes)* }
            }
            fn read(code: __rpc::i64, #message: &__rpc::str, data: __rpc::ErrorData<'_, '_>) -> __rpc::Option<Self> {
                match code {
                    #(#reads)*
                    _ => #unknown,
                }
            }
        },
    );
    let unique = unique_codes(model);
    inside(
        &model.codegen,
        &allowed(model),
        quote!(#travels #schemas #unique),
    )
}

fn code(variant: &Variant<'_>) -> TokenStream {
    let Variant { path, cfgs, .. } = variant;
    match (variant.own_code(), variant.held()) {
        (Some(code), _) => generated!(#(#cfgs)* #path { .. } => #code,),
        (None, held) => {
            let (pattern, held) = (variant.pattern(), held.map(|it| &it.binding));
            let code = variant.held().map(|it| it.method("code"));
            generated!(#(#cfgs)* #pattern => #code(#held),)
        }
    }
}

/// Returns the descriptions of the errors: those of the variants, then those of the errors that variants hold.
fn errors(variants: &[Variant<'_>]) -> TokenStream {
    let own = variants.iter().filter_map(describe);
    let own = generated!(&[#(#own),*]);
    let held = held(variants);
    match held.is_empty() {
        true => own,
        false => joined(
            &own,
            &held,
            |held| generated!(<#held as __rpc::RpcError>::ERRORS),
        ),
    }
}

/// Returns the types of the errors that variants hold, with the `cfg`s of the variants.
fn held<'a>(variants: &'a [Variant<'a>]) -> Vec<(&'a [&'a Attribute], &'a Type)> {
    let held = |variant: &'a Variant<'a>| Some((&variant.cfgs[..], variant.held()?.ty));
    variants.iter().filter_map(held).collect()
}

/// Returns one slice of `own` and of a slice for each of the `held` errors.
fn joined(
    own: &TokenStream,
    held: &[(&[&Attribute], &Type)],
    slice: impl Fn(&Type) -> TokenStream,
) -> TokenStream {
    let lengths = held
        .iter()
        .map(|(cfgs, ty)| generated!(#(#cfgs)* <#ty as __rpc::RpcError>::ERRORS.len()));
    let slices = held.iter().map(|(cfgs, ty)| {
        let slice = slice(ty);
        generated!(#(#cfgs)* #slice)
    });
    generated! {
        &__rpc::join::<_, { __rpc::sum(&[__OWN, #(#lengths),*]) }>(&[#own, #(#slices),*])
    }
}

/// Returns the number of variants with codes of their own, as a constant.
fn own_count(variants: &[Variant<'_>]) -> Option<TokenStream> {
    if held(variants).is_empty() {
        return None;
    }
    let own = variants.iter().filter(|it| it.held().is_none());
    let own = own.map(|Variant { cfgs, .. }| generated!(#(#cfgs)* ()));
    Some(generated!(const __OWN: __rpc::usize = <[()]>::len(&[#(#own),*]);))
}

/// Returns the check that the errors that variants hold have other codes than the variants.
fn unique_codes(model: &RpcError<'_>) -> Option<TokenStream> {
    let own = own_count(&model.variants)?;
    let check = model
        .variants
        .iter()
        .find_map(|variant| match &variant.code {
            VariantCode::Transparent(transparent) => {
                let place = transparent.span().resolved_at(Span::mixed_site());
                let ident = &model.original.ident;
                let generics = &model.original.generics;
                generics
                    .params
                    .is_empty()
                    .then(|| quote_spanned!(place=> const _: () = __rpc::check_codes::<#ident>();))
            }
            VariantCode::Own(_) => None,
        });
    Some(generated!(#own #check))
}

/// Returns the description of a variant, unless it is transparent.
fn describe(variant: &Variant<'_>) -> Option<TokenStream> {
    let Variant {
        name, attrs, cfgs, ..
    } = variant;
    let code = variant.own_code()?;
    let docs = Docs::read(attrs);
    let message = attr::message(attrs).filter(|it| !it.is_empty());
    let message = message.map(|it| it.to_token_stream());
    let message = message.or((!docs.is_empty()).then(|| docs.to_token_stream()));
    let message = message.unwrap_or_else(|| name.to_token_stream());
    Some(generated! {
        #(#cfgs)*
        __rpc::ErrorDescription { name: #name, code: #code, message: #message, docs: #docs }
    })
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
    let schemas = variants.iter().filter(|it| it.held().is_none());
    let schemas = schemas.map(|variant| schema(variant, &knows));
    let schemas = generated!(&[#(#schemas),*]);
    let held = held(variants);
    let schemas = match held.is_empty() {
        true => schemas,
        false => joined(
            &schemas,
            &held,
            |held| generated!(<#held as __rpc::ErrorSchemas<#knows>>::SCHEMAS),
        ),
    };
    let bounds: Vec<_> = variants
        .iter()
        .flat_map(|it| schema_bounds(it, &knows))
        .collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    generated! {
        impl #params __rpc::ErrorSchemas<#knows> for #ident #args #clause {
            const SCHEMAS: &'static [__rpc::DataSchema] = #schemas;
        }
    }
}

fn schema_bounds(variant: &Variant<'_>, knows: &Ident) -> Vec<TokenStream> {
    match variant.held() {
        // A `cfg` cannot be put on a bound.
        Some(_) if !variant.cfgs.is_empty() => vec![],
        Some(Field { ty, .. }) => vec![generated!(#ty: __rpc::ErrorSchemas<#knows>)],
        None => variant
            .sent()
            .map(|Field { ty, .. }| generated!(#knows: __rpc::Knows<#ty>))
            .collect(),
    }
}

fn schema(variant: &Variant<'_>, knows: &Ident) -> TokenStream {
    let cfgs = &variant.cfgs;
    let known = variant
        .sent()
        .map(|Field { ty, .. }| generated!(<#knows as __rpc::Knows<#ty>>::SCHEMA));
    let schema = match variant.shape {
        Shape::Nothing => generated!(Nothing),
        Shape::Value => generated!(Value(#(#known)*)),
        Shape::Array => generated!(Array(&[#(#known),*])),
        Shape::Object => {
            let names = variant.sent().map(|field| &field.wire_name);
            generated!(Object(&[#((#names, #known)),*]))
        }
    };
    generated!(#(#cfgs)* __rpc::DataSchema::#schema)
}

/// Returns `true` if the variant displays the error that it holds.
fn displays_held(variant: &Variant<'_>) -> bool {
    variant.attrs.iter().any(|attribute| {
        let is_transparent = |path: Path| path.is_ident("transparent");
        attribute.path().is_ident("error") && attribute.parse_args().is_ok_and(is_transparent)
    })
}

/// Generates the method that writes the message, for an error with a transparent variant that displays the error that it
/// holds: the message of that error is sent as it is.
fn write_message(variants: &[Variant<'_>]) -> Option<TokenStream> {
    let mut variants_of_others = variants.iter().filter(|it| it.held().is_some());
    variants_of_others.find(|variant| displays_held(variant))?;
    let messages = variants.iter().map(|variant| {
        let Variant { path, cfgs, .. } = variant;
        match variant.held() {
            Some(held) if displays_held(variant) => {
                let (pattern, binding) = (variant.pattern(), &held.binding);
                let write = held.method("write_message");
                generated!(#(#cfgs)* #pattern => #write(#binding, f),)
            }
            _ => generated!(#(#cfgs)* #path { .. } => __rpc::Display::fmt(self, f),),
        }
    });
    Some(generated! {
        fn write_message(&self, f: &mut __rpc::Formatter<'_>) -> __rpc::FmtResult {
            match self { #(#messages)* }
        }
    })
}

fn write(variant: &Variant<'_>) -> TokenStream {
    let (cfgs, pattern) = (&variant.cfgs, variant.pattern());
    if let Some(held) = variant.held() {
        let (write, binding) = (held.method("write_data"), &held.binding);
        return generated!(#(#cfgs)* #pattern => #write(#binding, data),);
    }
    let sent = variant.sent().map(|field| {
        let (argument, binding) = (field.argument(), &field.binding);
        generated!(#argument.send(#binding))
    });
    let data = match variant.shape {
        Shape::Nothing => generated!(data.none()),
        Shape::Value => generated!(data.value(#(#sent)*)),
        Shape::Array => generated!(data.array((#(#sent,)*))),
        Shape::Object => generated!(data.object()#(.field(#sent))*.end()),
    };
    generated!(#(#cfgs)* #pattern => #data,)
}

/// Returns how a variant with a code of its own is read.
fn read(variant: &Variant<'_>) -> Option<TokenStream> {
    let code = variant.own_code()?;
    let cfgs = &variant.cfgs;
    let bindings = variant.sent().map(|field| &field.binding);
    let arguments = variant.sent().map(|field| {
        let argument = field.argument();
        let default = field.default.as_ref().map(|default| {
            let default = field.missing(default);
            generated!(.or(|| #default))
        });
        generated!(#argument #default)
    });
    let decode = match variant.shape {
        Shape::Nothing => None,
        Shape::Value => Some(generated!(let #(#bindings)* = data.entire(#(#arguments)*)?;)),
        Shape::Array | Shape::Object => {
            Some(generated!(let (#(#bindings,)*) = data.arguments((#(#arguments,)*))?;))
        }
    };
    let value = variant.value();
    Some(generated! {
        #(#cfgs)* #code => {
            #decode
            __rpc::Some(#value)
        }
    })
}

/// Returns how the code of no variant is read: as one of the errors that variants hold.
fn unknown(variants: &[Variant<'_>]) -> TokenStream {
    let held = variants.iter().filter_map(|variant| {
        let held = variant.held()?;
        let (read, binding) = (held.method("read"), &held.binding);
        let (cfgs, value) = (&variant.cfgs, variant.value());
        Some(generated! {
            #(#cfgs)*
            let error = error.or_else(|| {
                #read(code, message, data).map(|#binding| #value)
            });
        })
    });
    let held: Vec<_> = held.collect();
    match held.is_empty() {
        true => generated!(__rpc::None),
        false => generated!({ let error = __rpc::None; #(#held)* error }),
    }
}

/// Generates the impl with the given methods, and the conversion for methods whose error is an `ErrorObject`.
fn implementation(model: &RpcError<'_>, methods: TokenStream) -> TokenStream {
    let RpcError {
        original, variants, ..
    } = model;
    let ident = &original.ident;
    let (params, args, _) = original.generics.split_for_impl();
    let is_generic = |ty: &Type| types::mentions(ty, &original.generics);
    let bounds: Vec<_> = variants
        .iter()
        .flat_map(|variant| bounds(variant, is_generic))
        .collect();
    let clause = generics::where_clause(&original.generics, &bounds);
    generated! {
        impl #params __rpc::RpcError for #ident #args #clause { #methods }
        impl #params __rpc::From<#ident #args> for __rpc::ErrorObject #clause {
            fn from(error: #ident #args) -> Self { Self::sent(&error) }
        }
    }
}

fn bounds(variant: &Variant<'_>, is_generic: impl Fn(&Type) -> bool) -> Vec<TokenStream> {
    let generic = variant.fields.iter().filter(|field| is_generic(field.ty));
    let bounds = generic.filter_map(|field| match (variant.held(), &field.skipped) {
        (Some(Field { ty, .. }), _) => Some(generated!(#ty: __rpc::RpcError)),
        (None, None) => Some(wire::argument_bound(field.ty)),
        (None, Some(MissingValue::OfType)) => {
            let ty = field.ty;
            Some(generated!(#ty: __rpc::Default))
        }
        (None, Some(MissingValue::Function(_))) => None,
    });
    bounds.collect()
}

/// Returns the lints that the user allows for the error, its variants and its fields. The compiler itself allows the code of
/// a derive to use what is deprecated.
fn allowed(model: &RpcError<'_>) -> Vec<TokenStream> {
    let attrs = &model.original.attrs;
    let variants = match &model.original.data {
        Data::Enum(data) => data.variants.iter().collect(),
        _ => vec![],
    };
    let variants = variants.into_iter().flat_map(|variant| {
        let fields = variant.fields.iter().flat_map(|field| &field.attrs);
        variant.attrs.iter().chain(fields)
    });
    attr::allowed(attrs.iter().chain(variants))
}

/// Generates the compile errors, and an impl for code that requires one.
fn fallback(model: &RpcError<'_>, error: &Error) -> TokenStream {
    let error = error.to_compile_error();
    let implementation = implementation(
        model,
        generated! {
            fn code(&self) -> __rpc::i64 { loop {} }
            fn write_data(&self, _: __rpc::DataWriter<'_>) { loop {} }
            fn read(_: __rpc::i64, _: &__rpc::str, _: __rpc::ErrorData<'_, '_>) -> __rpc::Option<Self> { loop {} }
        },
    );
    let schemas = schemas(&RpcError {
        original: model.original,
        codegen: model.codegen.clone(),
        variants: vec![],
    });
    let implementation = inside(
        &model.codegen,
        &allowed(model),
        quote!(#implementation #schemas),
    );
    quote!(#error #implementation)
}
