//! Reads one option: its name and its value, and the mistakes in it.

use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Error, LitStr};

pub(crate) fn name_of(meta: &ParseNestedMeta<'_>) -> String {
    meta.path
        .get_ident()
        .map(|ident| ident.unraw().to_string())
        .unwrap_or_default()
}

pub(crate) fn set<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    value: T,
) -> syn::Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Error::new_spanned(&meta.path, "this option is given twice")),
    }
}

pub(crate) fn unknown(meta: &ParseNestedMeta<'_>, known: &str) -> syn::Result<()> {
    Err(Error::new_spanned(
        &meta.path,
        format!("unknown option; {known}"),
    ))
}

pub(crate) fn string(meta: &ParseNestedMeta<'_>) -> syn::Result<LitStr> {
    meta.value()?.parse()
}
