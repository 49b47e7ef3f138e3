//! Recognizes types by their tokens, and converts them.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::visit::{self, Visit};
use syn::visit_mut::{self, VisitMut};
use syn::{
    Expr, GenericArgument, Generics, Ident, Lifetime, Lit, LitStr, Path, PathArguments,
    PathSegment, Token, Type, TypeFnPtr, TypeImplTrait, TypeParamBound, TypeReference,
};

/// Returns `true` for `&Context`, under any path.
pub(crate) fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference)
        if last_segment(&reference.elem).is_some_and(|segment| segment.ident == "Context"))
}

/// Returns `true` for a type called `Context`, by value.
pub(crate) fn is_called_context(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Context")
}

/// Returns `true` for `&str`.
pub(crate) fn is_str(ty: &Type) -> bool {
    matches!(ty, Type::Reference(reference) if is_ident(&reference.elem, "str"))
}

/// Returns `true` for `&[u8]`: bytes that are sent as a string.
pub(crate) fn is_bytes(ty: &Type) -> bool {
    let Type::Reference(TypeReference {
        mutability: None,
        elem,
        ..
    }) = ty
    else {
        return false;
    };
    matches!(&**elem, Type::Slice(slice) if is_ident(&slice.elem, "u8"))
}

/// Returns `true` for `Cow<'_, str>`, which can borrow any string.
pub(crate) fn is_borrowed_cow(ty: &Type) -> bool {
    let Some((lifetimes, types)) = arguments(ty, "Cow") else {
        return false;
    };
    matches!(types[..], [inner] if is_ident(inner, "str"))
        && lifetimes.iter().all(|lifetime| lifetime.ident != "static")
}

/// Returns the expression of a type of text that has the value of a string literal, if the type is not that of the literal.
pub(crate) fn owned_text(ty: &Type, literal: &LitStr) -> Option<String> {
    let literal_text = literal.to_token_stream();
    if let Some(inner) = option(ty) {
        let inner = match is_str(inner) {
            true => literal_text.to_string(),
            false => owned_text(inner, literal)?,
        };
        return Some(format!("Some({inner})"));
    }
    let is_of_text = |name: &&str| {
        let found = arguments(ty, name);
        found.is_some_and(|(_, types)| matches!(types[..], [inner] if is_ident(inner, "str")))
    };
    let is_text = is_ident(ty, "String") || ["Cow", "Box", "Arc", "Rc"].iter().any(is_of_text);
    is_text.then(|| format!("{literal_text}.into()"))
}

/// Returns the `T` of `Option<T>`.
pub(crate) fn option(ty: &Type) -> Option<&Type> {
    match arguments(ty, "Option")?.1[..] {
        [inner] => Some(inner),
        _ => None,
    }
}

/// Returns the `T` and `E` of `Result<T, E>`.
pub(crate) fn result(ty: &Type) -> Option<(&Type, &Type)> {
    match arguments(ty, "Result")?.1[..] {
        [ok, error] => Some((ok, error)),
        _ => None,
    }
}

/// Returns `true` for any other `Result`: an alias that hides the error.
pub(crate) fn is_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Result")
}

/// Returns the `T` of `impl Stream<Item = T>`, under any path.
pub(crate) fn stream_item(ty: &Type) -> Option<&Type> {
    let Type::ImplTrait(ty) = ty else {
        return None;
    };
    let PathArguments::AngleBracketed(arguments) = &stream(ty)?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

/// Returns the `Stream<…>` of `impl Stream<…>`.
fn stream(ty: &TypeImplTrait) -> Option<&PathSegment> {
    ty.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            bound.path.segments.last().filter(|it| it.ident == "Stream")
        }
        _ => None,
    })
}

/// Returns a reference in an argument that can never be borrowed from a request, and the type to write instead. Within
/// other types than those of the standard library, only the compiler knows.
pub(crate) fn unborrowable(ty: &Type) -> Option<(&Type, String)> {
    if let Some((_, inner)) = arguments(ty, "Base64") {
        let reference = inner
            .into_iter()
            .find(|inner| matches!(inner, Type::Reference(_)))?;
        return Some((reference, "Cow<'_, [u8]>".to_owned()));
    }
    let Type::Reference(reference) = ty else {
        return parts(ty).into_iter().find_map(unborrowable);
    };
    let instead = match &*reference.elem {
        _ if is_bytes(ty) => return None,
        Type::Slice(slice) => format!("Vec<{}>", display(&slice.elem)),
        elem if is_ident(elem, "String") => "&str".to_owned(),
        elem @ (Type::Array(_) | Type::Tuple(_) | Type::Reference(_)) => display(elem),
        elem if CONTAINERS
            .iter()
            .any(|name| arguments(elem, name).is_some()) =>
        {
            display(elem)
        }
        elem if PRIMITIVES.iter().any(|name| is_ident(elem, name)) => display(elem),
        _ => return None,
    };
    Some((ty, instead))
}

/// Returns the length of an array that serde cannot send.
pub(crate) fn long_array(ty: &Type) -> Option<&Expr> {
    if let Type::Array(array) = ty
        && let Expr::Lit(literal) = &array.len
        && let Lit::Int(len) = &literal.lit
        && len.base10_parse::<u64>().is_ok_and(|len| len > 32)
    {
        return Some(&array.len);
    }
    parts(ty).into_iter().find_map(long_array)
}

const CONTAINERS: [&str; 9] = [
    "Option", "Vec", "Box", "VecDeque", "HashMap", "BTreeMap", "HashSet", "BTreeSet", "Result",
];
const PRIMITIVES: [&str; 16] = [
    "bool", "char", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
    "isize", "f32", "f64",
];

/// Returns the types that are sent as parts of a type of the standard library.
fn parts(ty: &Type) -> Vec<&Type> {
    match ty {
        Type::Tuple(tuple) => tuple.elems.iter().collect(),
        Type::Array(array) => vec![&array.elem],
        Type::Slice(slice) => vec![&slice.elem],
        Type::Reference(reference) => vec![&reference.elem],
        Type::Paren(paren) => vec![&paren.elem],
        ty => {
            let found = CONTAINERS.iter().find_map(|name| arguments(ty, name));
            found.map_or(vec![], |(_, types)| types)
        }
    }
}

/// Returns the `&Context` of `Option<&Context>`.
pub(crate) fn optional_context(ty: &Type) -> Option<&Type> {
    option(ty).filter(|inner| is_context(inner))
}

/// Returns `true` if a type contains `impl Stream`.
pub(crate) fn mentions_stream(ty: &Type) -> bool {
    struct Search(bool);
    impl<'ast> Visit<'ast> for Search {
        fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
            self.0 |= stream(ty).is_some();
            visit::visit_type_impl_trait(self, ty);
        }
    }
    let mut search = Search(false);
    search.visit_type(ty);
    search.0
}

/// Returns `true` if a type contains a lifetime other than `'static`, or a reference without a lifetime.
pub(crate) fn is_borrowed(ty: &Type) -> bool {
    struct Search(bool);
    impl<'ast> Visit<'ast> for Search {
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            self.0 |= reference.lifetime.is_none();
            visit::visit_type_reference(self, reference);
        }
        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            self.0 |= lifetime.ident != "static";
        }
        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    }
    let mut search = Search(false);
    search.visit_type(ty);
    search.0
}

/// Returns the first reference in a type.
pub(crate) fn reference(ty: &Type) -> Option<&TypeReference> {
    struct Search<'ast>(Option<&'ast TypeReference>);
    impl<'ast> Visit<'ast> for Search<'ast> {
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            self.0.get_or_insert(reference);
        }
        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    }
    let mut search = Search(None);
    search.visit_type(ty);
    search.0
}

/// Returns `true` if a type contains `impl Trait`.
pub(crate) fn is_opaque(ty: &Type) -> bool {
    struct Search(bool);
    impl<'ast> Visit<'ast> for Search {
        fn visit_type_impl_trait(&mut self, _: &'ast TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut search = Search(false);
    search.visit_type(ty);
    search.0
}

/// Returns `true` for an explicit `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(ty, Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// Returns `true` for `&'static …`, which cannot borrow from a request.
pub(crate) fn is_static(ty: &Type) -> bool {
    matches!(ty, Type::Reference(TypeReference { lifetime: Some(lifetime), .. })
        if lifetime.ident == "static")
}

/// Returns the generic arguments of `name<…>`, under any path.
fn arguments<'a>(ty: &'a Type, name: &str) -> Option<(Vec<&'a Lifetime>, Vec<&'a Type>)> {
    let segment = last_segment(ty).filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else {
        return None;
    };
    let (mut lifetimes, mut types) = (Vec::new(), Vec::new());
    for argument in &arguments.args {
        match argument {
            GenericArgument::Lifetime(lifetime) => lifetimes.push(lifetime),
            GenericArgument::Type(ty) => types.push(ty),
            _ => return None,
        }
    }
    Some((lifetimes, types))
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(ty) => ty.path.segments.last(),
        Type::Paren(ty) => last_segment(&ty.elem),
        Type::Group(ty) => last_segment(&ty.elem),
        _ => None,
    }
}

fn is_ident(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(ty) if ty.qself.is_none() && ty.path.is_ident(name))
}

/// Returns `true` if a type depends on the trait's type or const parameters.
pub(crate) fn mentions(ty: &Type, generics: &Generics) -> bool {
    let types = generics.type_params().map(|parameter| &parameter.ident);
    let consts = generics.const_params().map(|parameter| &parameter.ident);
    names_any(ty, types.chain(consts).collect())
}

/// Returns `true` if a type contains `Self`, which has no meaning for a client.
pub(crate) fn mentions_self(ty: &Type) -> bool {
    names_any(ty, vec![&Ident::from(<Token![Self]>::default())])
}

fn names_any(ty: &Type, idents: Vec<&Ident>) -> bool {
    struct Search<'a> {
        idents: Vec<&'a Ident>,
        found: bool,
    }
    impl<'ast> Visit<'ast> for Search<'_> {
        fn visit_path(&mut self, path: &'ast Path) {
            let first = path
                .segments
                .first()
                .filter(|_| path.leading_colon.is_none());
            self.found |= first.is_some_and(|first| self.idents.contains(&&first.ident));
            visit::visit_path(self, path);
        }
    }
    let mut search = Search {
        idents,
        found: false,
    };
    search.visit_type(ty);
    search.found
}

/// Returns the type with its lifetimes left to inference.
pub(crate) fn erased(ty: &Type) -> Type {
    struct Erase;
    impl VisitMut for Erase {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            reference
                .lifetime
                .take_if(|lifetime| lifetime.ident != "static");
            self.visit_type_mut(&mut reference.elem);
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            if lifetime.ident != "static" {
                lifetime.ident = Ident::from(Token![_](lifetime.span()));
            }
        }
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    }
    edited(ty, Erase)
}

/// Returns the type with every lifetime replaced by `lifetime`.
pub(crate) fn with_lifetime(ty: &Type, lifetime: &Lifetime) -> Type {
    struct Replace<'a>(&'a Lifetime);
    impl VisitMut for Replace<'_> {
        fn visit_type_reference_mut(&mut self, reference: &mut TypeReference) {
            reference.lifetime = Some(self.0.clone());
            self.visit_type_mut(&mut reference.elem);
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            lifetime.clone_from(self.0);
        }
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    }
    edited(ty, Replace(lifetime))
}

/// Returns the type that the caller receives for a borrowed result: `String` for `&str`.
pub(crate) fn owned(ty: &Type) -> Type {
    struct Own;
    impl VisitMut for Own {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            visit_mut::visit_type_mut(self, ty);
            if let Type::Reference(reference) = ty {
                *ty = owned_referent(&reference.elem);
            }
        }
        fn visit_lifetime_mut(&mut self, lifetime: &mut Lifetime) {
            lifetime.ident = Ident::new("static", lifetime.ident.span());
        }
        fn visit_type_fn_ptr_mut(&mut self, _: &mut TypeFnPtr) {}
    }
    edited(ty, Own)
}

fn owned_referent(ty: &Type) -> Type {
    match ty {
        Type::Slice(slice) => {
            let item = &slice.elem;
            Type::Verbatim(quote!(__rpc::Vec<#item>))
        }
        ty if is_ident(ty, "str") => Type::Verbatim(quote!(__rpc::String)),
        ty if is_unsized(ty) => Type::Verbatim(quote!(<#ty as __rpc::ToOwned>::Owned)),
        ty => ty.clone(),
    }
}

/// The types that exist only behind references, besides slices and `str`. `Bytes` is that of serde_bytes.
const UNSIZED: [&str; 5] = ["Path", "OsStr", "CStr", "RawValue", "Bytes"];

/// Returns `true` for a type whose owned form is another type.
fn is_unsized(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| {
        segment.arguments.is_empty() && UNSIZED.iter().any(|name| segment.ident == name)
    })
}

fn edited(ty: &Type, mut edit: impl VisitMut) -> Type {
    let mut ty = ty.clone();
    edit.visit_type_mut(&mut ty);
    ty
}

/// Returns the text of the type as its author would write it.
pub(crate) fn display(ty: &Type) -> String {
    let mut text = String::new();
    write(&mut text, ty.to_token_stream());
    text
}

fn write(text: &mut String, tokens: TokenStream) {
    for token in tokens {
        if is_apart(text, &token) {
            text.push(' ');
        }
        match token {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(group.delimiter());
                text.push_str(open);
                write(text, group.stream());
                text.push_str(close);
            }
            token => text.push_str(&token.to_string()),
        }
    }
}

fn is_apart(text: &str, next: &TokenTree) -> bool {
    match next {
        _ if text.ends_with([',', ';']) => true,
        TokenTree::Group(group) if group.delimiter() != Delimiter::Bracket => false,
        TokenTree::Punct(_) => false,
        _ => text.ends_with(|last: char| last.is_alphanumeric() || last == '_'),
    }
}

fn delimiters(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::None => ("", ""),
    }
}
