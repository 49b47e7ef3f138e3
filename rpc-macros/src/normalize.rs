//! Brings a trait or an error into the form that the model reads: types without the invisible groups of `macro_rules!`,
//! and each `#[cfg_attr(…)]` split into its attributes.

use proc_macro2::TokenStream;
use syn::visit_mut::{self, VisitMut};
use syn::{Attribute, DeriveInput, FnArg, ItemTrait, Meta, TraitItem, Type, parse_quote};

use crate::attr;
use crate::conditional::parts;
use crate::diagnostics::Errors;

pub(crate) fn service(original: &mut ItemTrait, errors: &mut Errors) {
    Ungroup.visit_item_trait_mut(original);
    attributes(&mut original.attrs, errors);
    for item in &mut original.items {
        let TraitItem::Fn(method) = item else {
            continue;
        };
        attributes(&mut method.attrs, errors);
        for input in &mut method.sig.inputs {
            match input {
                FnArg::Typed(typed) => attributes(&mut typed.attrs, errors),
                FnArg::Receiver(receiver) => attributes(&mut receiver.attrs, errors),
            }
        }
    }
}

/// The compiler has expanded every `cfg_attr` of an item with a derive.
pub(crate) fn error(original: &mut DeriveInput) {
    Ungroup.visit_derive_input_mut(original);
}

/// Removes the groups that `macro_rules!` puts around a fragment such as `$t:ty`.
struct Ungroup;

impl VisitMut for Ungroup {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        while let Type::Group(group) = ty
            && !needs_group(&group.elem)
        {
            *ty = (*group.elem).clone();
        }
        visit_mut::visit_type_mut(self, ty);
    }
}

/// Returns `true` for `dyn A + B`: without its group, `&$t` would end before the `+`.
fn needs_group(ty: &Type) -> bool {
    matches!(ty, Type::TraitObject(object) if object.bounds.len() > 1)
}

fn attributes(attrs: &mut Vec<Attribute>, errors: &mut Errors) {
    let given = std::mem::take(attrs);
    for attr in given {
        split(attr, None, attrs, errors);
    }
}

/// Adds the attributes of a `cfg_attr` to `attrs`, each under the condition of its own. Any other attribute is added
/// unchanged.
fn split(
    attr: Attribute,
    outer: Option<&TokenStream>,
    attrs: &mut Vec<Attribute>,
    errors: &mut Errors,
) {
    let Some((condition, inner)) = parts(&attr) else {
        attrs.extend(under(attr, outer, errors));
        return;
    };
    let condition = match outer {
        Some(outer) => parse_quote!(all(#outer, #condition)),
        None => condition,
    };
    for meta in inner {
        let attr = Attribute {
            meta,
            ..attr.clone()
        };
        split(attr, Some(&condition), attrs, errors);
    }
}

/// Returns the attribute under a condition.
fn under(
    attr: Attribute,
    condition: Option<&TokenStream>,
    errors: &mut Errors,
) -> Option<Attribute> {
    let Some(condition) = condition else {
        return Some(attr);
    };
    if attr::is_ours(&attr) {
        errors.at(attr.path(), OPTIONS);
        return None;
    }
    let meta = &attr.meta;
    let meta = match meta {
        Meta::List(cfg) if cfg.path.is_ident("cfg") => {
            let cfg = &cfg.tokens;
            parse_quote!(cfg(any(not(#condition), #cfg)))
        }
        meta => parse_quote!(cfg_attr(#condition, #meta)),
    };
    Some(Attribute { meta, ..attr })
}

const OPTIONS: &str = "`#[rpc]` reads its options before `cfg_attr` is decided: write the method twice, with \
                       `#[cfg(…)]` and `#[cfg(not(…))]`";
