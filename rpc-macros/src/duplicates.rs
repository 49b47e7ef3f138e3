//! Rejects a second method, and a second parameter of a method, of the same name. The compiler would report the same mistake
//! again, so the second method is removed, and the second parameter is renamed.

use std::collections::HashSet;

use quote::format_ident;
use syn::ext::IdentExt;
use syn::{FnArg, ItemTrait, Pat, Signature, TraitItem};

use crate::attr;
use crate::diagnostics::Errors;

pub(crate) fn reject(original: &mut ItemTrait, errors: &mut Errors) {
    let mut names = HashSet::new();
    original.items.retain_mut(|item| {
        let TraitItem::Fn(method) = item else {
            return true;
        };
        parameters(&mut method.sig, errors);
        let name = &method.sig.ident;
        // Two methods of the same name may have mutually exclusive `cfg`s.
        let has_cfg = !attr::cfgs(&method.attrs).is_empty();
        let is_first = has_cfg || names.insert(name.clone());
        if !is_first {
            errors.at(name, format!("this service has another method `{name}`"));
        }
        is_first
    });
}

fn parameters(sig: &mut Signature, errors: &mut Errors) {
    let mut names = HashSet::new();
    for (place, input) in sig.inputs.iter_mut().enumerate() {
        let FnArg::Typed(typed) = input else { continue };
        let Pat::Ident(pat) = &mut *typed.pat else {
            continue;
        };
        if !names.insert(pat.ident.clone()) {
            let message = format!("this method has another parameter `{}`", pat.ident);
            errors.at(&pat.ident, message);
            pat.ident = format_ident!("{}_{place}", pat.ident.unraw());
        }
    }
}
