//! Recognizes the macros of other crates that do not go together with `#[rpc]`, or only in one order.

use syn::{Attribute, Error, Item, ItemTrait, TraitItem};

use crate::diagnostics::Errors;

/// Returns the error of `#[rpc]` on something else than a trait.
pub(crate) fn not_a_trait(item: &Item) -> Error {
    let message = match is_mock(item) {
        true => MOCK,
        false => "`#[rpc]` goes on a trait",
    };
    Error::new_spanned(item, message)
}

const MOCK: &str =
    "`#[automock]` has copied `#[rpc]` to the mock: write `#[rpc]` above `#[automock]`";
const ASYNC_TRAIT: &str = "remove `#[async_trait]`, also from the implementations: the methods of an `#[rpc]` trait are \
                           plain `async fn`s";

/// Returns `true` for what `#[automock]` generates from a trait.
fn is_mock(item: &Item) -> bool {
    let name = match item {
        Item::Struct(item) => Some(&item.ident),
        Item::Mod(item) => Some(&item.ident),
        Item::Impl(item) => match &*item.self_ty {
            syn::Type::Path(ty) => ty.path.segments.last().map(|last| &last.ident),
            _ => None,
        },
        _ => None,
    };
    name.is_some_and(|name| {
        let name = name.to_string();
        name.starts_with("Mock") || name.starts_with("__mock")
    })
}

/// Reports and removes `#[async_trait]`. Returns `true` if it stood above `#[rpc]`, so that it has rewritten the methods.
pub(crate) fn reject_async_trait(original: &mut ItemTrait, errors: &mut Errors) -> bool {
    let below = original.attrs.iter().position(is_async_trait);
    if let Some(at) = below {
        errors.at(original.attrs.remove(at), ASYNC_TRAIT);
        return false;
    }
    let is_desugared = original.items.iter().any(|item| match item {
        TraitItem::Fn(method) => {
            let mut lifetimes = method.sig.generics.lifetimes();
            lifetimes.any(|it| it.lifetime.ident == "async_trait")
        }
        _ => false,
    });
    if is_desugared {
        errors.at(&original.ident, ASYNC_TRAIT);
    }
    is_desugared
}

fn is_async_trait(attr: &Attribute) -> bool {
    is_called(attr, "async_trait")
}

fn is_called(attr: &Attribute, name: &str) -> bool {
    let last = attr.path().segments.last();
    last.is_some_and(|segment| segment.ident == name)
}

/// Rejects a second `#[rpc]` on a trait, and removes it: it would read the trait that the first one has changed.
pub(crate) fn reject_second_rpc(original: &mut ItemTrait, errors: &mut Errors) {
    original.attrs.retain(|attr| {
        let is_rpc = is_called(attr, "rpc");
        if is_rpc {
            errors.at(attr, "one `#[rpc]` takes all options of a trait");
        }
        !is_rpc
    });
}
