//! Reports mistakes that the compiler would report as well, and removes them, so that each is one error.

use quote::ToTokens;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Attribute, FnArg, ItemTrait, Meta, Path, TraitItem, TraitItemFn, Type, TypePath, parse_quote,
};

use crate::conditional;
use crate::diagnostics::Errors;

pub(crate) fn service(original: &mut ItemTrait, errors: &mut Errors) {
    reject_serde(&mut original.attrs, Place::Trait, errors);
    let mut types = Types {
        knows_self: !original.supertraits.is_empty() || has_types(original),
        errors,
    };
    for item in &mut original.items {
        if let TraitItem::Fn(method) = item {
            types.visit_signature_mut(&mut method.sig);
            self::method(method, types.errors);
        }
    }
}

fn has_types(original: &ItemTrait) -> bool {
    let mut items = original.items.iter();
    items.any(|item| matches!(item, TraitItem::Type(_)))
}

fn method(method: &mut TraitItemFn, errors: &mut Errors) {
    reject_serde(&mut method.attrs, Place::Method, errors);
    for input in &mut method.sig.inputs {
        if let FnArg::Typed(typed) = input {
            reject_serde(&mut typed.attrs, Place::Parameter, errors);
        }
    }
}

/// Replaces types that no signature may have.
struct Types<'e> {
    /// `true` if `Self` may have associated types.
    knows_self: bool,
    errors: &'e mut Errors,
}

impl VisitMut for Types<'_> {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        let mistake = match ty {
            Type::Infer(_) => "a method names its types: they go over the wire",
            Type::Path(TypePath {
                qself: None, path, ..
            }) if !self.knows_self && is_member_of_self(path) => {
                "a caller does not know `Self`; name the type"
            }
            _ => return visit_mut::visit_type_mut(self, ty),
        };
        self.errors.at(&*ty, mistake);
        *ty = parse_quote!(());
    }
}

fn is_member_of_self(path: &Path) -> bool {
    let mut segments = path.segments.iter();
    segments.next().is_some_and(|first| first.ident == "Self") && segments.next().is_some()
}

/// An item with an attribute.
#[derive(Clone, Copy)]
enum Place {
    Trait,
    Method,
    Parameter,
}

/// Reports and removes `#[serde(…)]`, which the compiler knows only beside a derive.
fn reject_serde(attrs: &mut Vec<Attribute>, place: Place, errors: &mut Errors) {
    attrs.retain(|attr| {
        let (_, meta) = conditional::condition(attr);
        let is_serde = meta.path().is_ident("serde");
        if is_serde {
            errors.at(attr, serde_hint(place, &meta));
        }
        !is_serde
    });
}

/// Returns what to write instead of an attribute of serde.
fn serde_hint(place: Place, meta: &Meta) -> String {
    let option = first_option(meta).unwrap_or_default();
    let instead = match (place, option.as_str()) {
        (Place::Parameter, "default") => {
            "#[rpc(default)]`, or `#[rpc(default = …)]` with the value itself"
        }
        (Place::Parameter | Place::Method, "rename") => "#[rpc(name = \"…\")]`",
        (Place::Method, "alias") => "#[rpc(alias = \"…\")]`",
        (Place::Trait, "rename_all") => {
            "#[rpc(rename_all = \"…\")]` for the names of methods and parameters"
        }
        (Place::Trait, "crate") => "#[rpc(crate = …)]`",
        _ => {
            return "serde's attributes belong to types: put the value into a struct or a newtype that has the \
                    attribute"
                .to_owned();
        }
    };
    format!("serde's attributes belong to types: write `{instead}")
}

/// Returns the name of the first option in an attribute.
fn first_option(meta: &Meta) -> Option<String> {
    let Meta::List(list) = meta else { return None };
    let first = list.tokens.clone().into_iter().next()?;
    Some(first.into_token_stream().to_string())
}
