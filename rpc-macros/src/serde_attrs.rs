//! serde's attributes on an error. Those that name, skip or default a field are obeyed; all others are mistakes, since
//! an attribute without effect could send what was meant to stay.

use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, ExprPath, LitStr, Path, Token};

use crate::attr::each_option_of;
use crate::diagnostics::Errors;
use crate::meta::{name_of, set, string};
use crate::names::Rename;

/// serde's attributes of one field.
#[derive(Default)]
pub(crate) struct FieldAttrs {
    pub(crate) rename: Option<LitStr>,
    pub(crate) skip: Option<Path>,
    pub(crate) default: Option<MissingValue>,
}

/// The value of a field that is missing or skipped.
pub(crate) enum MissingValue {
    OfType,
    Function(ExprPath),
}

impl FieldAttrs {
    pub(crate) fn read(attrs: &[Attribute], errors: &mut Errors) -> Self {
        let mut this = Self::default();
        each_option_of("serde", attrs, errors, |meta| this.option(meta));
        this
    }

    fn option(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        match name_of(meta).as_str() {
            "rename" if meta.input.peek(Token![=]) => set(&mut self.rename, meta, string(meta)?),
            "rename" => Err(at(meta, ONE_NAME)),
            "skip" => set(&mut self.skip, meta, meta.path.clone()),
            "skip_serializing" | "skip_deserializing" => Err(at(meta, SKIP_BOTH)),
            "default" => set(&mut self.default, meta, missing_value(meta)?),
            "bound" => value_is_ignored(meta),
            _ => Err(in_a_struct(meta)),
        }
    }
}

fn missing_value(meta: &ParseNestedMeta<'_>) -> syn::Result<MissingValue> {
    match meta.input.peek(Token![=]) {
        true => Ok(MissingValue::Function(string(meta)?.parse()?)),
        false => Ok(MissingValue::OfType),
    }
}

/// Reads the rule for the names of a struct's fields.
pub(crate) fn of_struct(attrs: &[Attribute], errors: &mut Errors) -> Option<Rename> {
    let mut rule = None;
    each_option_of("serde", attrs, errors, |meta| {
        match name_of(meta).as_str() {
            "rename_all" => set(&mut rule, meta, rename(meta)?),
            "rename" | "crate" | "bound" | "expecting" => value_is_ignored(meta),
            _ => Err(in_a_struct(meta)),
        }
    });
    rule
}

/// Reads the rule for the names of all fields of an enum. `has_names` is `true` if a variant has named fields and
/// `#[rpc(…)]` has no rule for them.
pub(crate) fn of_enum(attrs: &[Attribute], has_names: bool, errors: &mut Errors) -> Option<Rename> {
    let mut rule = None;
    let mut of_variants = None;
    each_option_of("serde", attrs, errors, |meta| {
        match name_of(meta).as_str() {
            "rename_all_fields" => set(&mut rule, meta, rename(meta)?),
            "rename_all" => {
                of_variants = Some(meta.path.clone());
                value_is_ignored(meta)
            }
            // A code identifies a variant, so serde's form of the enum itself is never sent.
            "rename" | "tag" | "content" | "untagged" | "crate" | "bound" | "expecting" => {
                value_is_ignored(meta)
            }
            _ => Err(in_a_struct(meta)),
        }
    });
    if let Some(path) = of_variants.filter(|_| has_names && rule.is_none()) {
        errors.at(path, NAMES_OF_VARIANTS);
    }
    rule
}

/// Reads the rule for the names of a variant's fields.
pub(crate) fn of_variant(attrs: &[Attribute], errors: &mut Errors) -> Option<Rename> {
    let mut rule = None;
    each_option_of("serde", attrs, errors, |meta| {
        match name_of(meta).as_str() {
            "rename_all" => set(&mut rule, meta, rename(meta)?),
            // A code identifies a variant, so its name is never sent.
            "rename" | "alias" | "bound" => value_is_ignored(meta),
            "skip" | "skip_serializing" | "skip_deserializing" => Err(at(meta, SKIPPED_VARIANT)),
            _ => Err(in_a_struct(meta)),
        }
    });
    rule
}

fn rename(meta: &ParseNestedMeta<'_>) -> syn::Result<Rename> {
    match meta.input.peek(Token![=]) {
        true => Rename::parse(&string(meta)?),
        false => Err(at(meta, ONE_NAME)),
    }
}

fn value_is_ignored(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    while !meta.input.is_empty() && !meta.input.peek(Token![,]) {
        meta.input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

const ONE_NAME: &str = "an error has the same names on both sides: write `= \"…\"`";
const SKIP_BOTH: &str = "an error is written and read alike: write `skip`, which needs a `Default`";
const SKIPPED_VARIANT: &str =
    "every variant of an error is sent: remove the variant, or mark its fields with `skip`";
const NAMES_OF_VARIANTS: &str = "this renames the variants, which are not sent; for their fields write \
                                 `rename_all_fields` or `#[rpc(rename_all = \"…\")]`";

fn in_a_struct(meta: &ParseNestedMeta<'_>) -> Error {
    let name = name_of(meta);
    let message = format!(
        "serde's `{name}` does not apply to an error; move the fields to a struct that derives `Serialize` and \
         `Deserialize`, with this attribute, and make it the only field: `Variant(Data)`"
    );
    at(meta, message)
}

fn at(meta: &ParseNestedMeta<'_>, message: impl std::fmt::Display) -> Error {
    Error::new_spanned(&meta.path, message)
}
