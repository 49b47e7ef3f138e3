//! The model of a service, which `#[rpc]` reads from a trait.
//!
//! Reading does not stop at a mistake. It records the mistake and continues with the most likely meaning. One build
//! thus reports every mistake, and the fallback has names and types to use.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident};
use syn::{
    Attribute, FnArg, GenericParam, ItemTrait, LitStr, Pat, PatType, Path, Receiver, ReceiverKind,
    ReturnType, Safety, Signature, TraitItem, TraitItemFn, Type, WherePredicate,
};

use crate::attr::{self, DefaultValue, MethodOptions, ParameterOptions, ServiceOptions};
use crate::diagnostics::Errors;
use crate::docs::{self, Docs};
use crate::example::Example;
use crate::names::Rename;
use crate::types;

pub(crate) struct Service<'a> {
    pub(crate) original: &'a ItemTrait,
    /// The path to the runtime's module for generated code.
    pub(crate) codegen: TokenStream,
    /// `true` if the user gives the path to the runtime.
    pub(crate) has_path: bool,
    /// The trait's visibility, for the generated items.
    pub(crate) vis: TokenStream,
    pub(crate) namespace: Option<LitStr>,
    pub(crate) lenient: bool,
    /// `true` if the types have schemas.
    pub(crate) has_schemas: bool,
    pub(crate) docs: Docs,
    pub(crate) methods: Vec<Method<'a>>,
}

pub(crate) struct Method<'a> {
    pub(crate) original: &'a TraitItemFn,
    pub(crate) ident: &'a Ident,
    pub(crate) cfgs: Vec<&'a Attribute>,
    pub(crate) docs: Docs,
    /// `true` if rustdoc and the description leave the method out.
    pub(crate) is_hidden: bool,
    /// The name on the wire, including the namespace.
    pub(crate) wire_name: LitStr,
    pub(crate) aliases: Vec<LitStr>,
    pub(crate) is_notification: bool,
    pub(crate) is_unreliable: bool,
    pub(crate) is_blocking: bool,
    pub(crate) is_idempotent: bool,
    /// Whether the method is deprecated, as an expression. `None` if it never is.
    pub(crate) deprecation: Option<TokenStream>,
    pub(crate) examples: Vec<Example>,
    pub(crate) parameters: Vec<Parameter<'a>>,
    /// `true` if the reply is a stream. The output is then that of each item.
    pub(crate) is_stream: bool,
    pub(crate) output: Output<'a>,
}

pub(crate) struct Parameter<'a> {
    pub(crate) ident: Ident,
    /// The type; for a stream, the type of an item.
    pub(crate) ty: &'a Type,
    pub(crate) wire_name: LitStr,
    pub(crate) role: Role,
    pub(crate) default: Option<DefaultValue>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// `cx: &Context`, which is not sent on the wire.
    Context,
    /// The entire `params` value.
    Entire,
    /// One member of `params`.
    Argument,
    /// `impl Stream<Item = T>`: the items that follow the request.
    Items,
}

pub(crate) enum Output<'a> {
    Unit,
    Value(&'a Type),
    Result {
        ok: &'a Type,
        error: &'a Type,
    },
    /// A `Result` under an alias, which only the compiler can resolve.
    Alias(&'a Type),
}

impl<'a> Service<'a> {
    pub(crate) fn read(options: TokenStream, original: &'a ItemTrait, errors: &mut Errors) -> Self {
        let options = ServiceOptions::read(options, errors);
        check_trait(original, errors);
        let methods = original.items.iter().filter_map(|item| match item {
            TraitItem::Fn(method) => Some(Method::read(method, &options, errors)),
            other => {
                errors.at(name_of(other), "a service has methods and nothing else");
                None
            }
        });
        Self {
            original,
            codegen: attr::codegen(options.krate.as_ref()),
            has_path: options.krate.is_some(),
            vis: generated(original.vis.to_token_stream()),
            methods: methods.collect(),
            docs: Docs::read(&original.attrs),
            lenient: options.lenient.is_some(),
            has_schemas: options.openrpc.is_some(),
            namespace: options.namespace,
        }
    }
    /// Returns what the user allows or expects for the trait, its methods and their parameters.
    pub(crate) fn allowed(&self) -> Vec<TokenStream> {
        let items = self.original.items.iter();
        let methods = items.filter_map(|item| match item {
            TraitItem::Fn(method) => Some(method),
            _ => None,
        });
        let attrs = methods.flat_map(|method| {
            let inputs = method.sig.inputs.iter().flat_map(|input| match input {
                FnArg::Typed(typed) => &typed.attrs,
                FnArg::Receiver(receiver) => &receiver.attrs,
            });
            method.attrs.iter().chain(inputs)
        });
        let mut allowed = attr::allowed(self.original.attrs.iter().chain(attrs));
        let mut seen = HashSet::new();
        allowed.retain(|lint| seen.insert(lint.to_string()));
        allowed
    }
}

/// Returns the user's tokens with the macro's hygiene, so that lints ignore them.
fn generated(tokens: TokenStream) -> TokenStream {
    let resolve = |mut token: TokenTree| {
        token.set_span(token.span().resolved_at(Span::mixed_site()));
        token
    };
    tokens.into_iter().map(resolve).collect()
}

fn check_trait(original: &ItemTrait, errors: &mut Errors) {
    if let Some(unsafety) = original.unsafety {
        errors.at(unsafety, "a service is a safe trait");
    }
    for parameter in original.generics.lifetimes() {
        errors.at(
            parameter,
            "a service has no lifetime parameters; a method may have",
        );
    }
}

fn name_of(item: &TraitItem) -> TokenStream {
    match item {
        TraitItem::Type(item) => item.ident.to_token_stream(),
        TraitItem::Const(item) => item.ident.to_token_stream(),
        other => other.to_token_stream(),
    }
}

impl<'a> Method<'a> {
    fn read(original: &'a TraitItemFn, service: &ServiceOptions, errors: &mut Errors) -> Self {
        let options = MethodOptions::read(&original.attrs, errors);
        let rename = service.rename_all.unwrap_or_default();
        let sig = &original.sig;
        check_signature(sig, &options, errors);
        if let (Some(_), Some(idempotent)) = (&options.notification, &options.idempotent) {
            errors.at(idempotent, "a notification is sent once at most");
        }
        if let (None, Some(unreliable)) = (&options.notification, &options.unreliable) {
            errors.at(unreliable, "only a `notification` can be lost unnoticed");
        }
        let parameters = parameters(sig, rename, errors);
        check_items(&parameters, &options, errors);
        Self {
            original,
            ident: &sig.ident,
            cfgs: attr::cfgs(&original.attrs),
            docs: Docs::read(&original.attrs).with_deprecation(&original.attrs),
            is_hidden: docs::is_hidden(&original.attrs),
            wire_name: wire_name(&sig.ident, &options, service),
            parameters,
            is_stream: returned_item(sig).is_some(),
            output: Output::read(&sig.output, options.notification.as_ref(), errors),
            aliases: options.aliases,
            is_notification: options.notification.is_some(),
            is_unreliable: options.unreliable.is_some(),
            is_blocking: options.blocking.is_some(),
            is_idempotent: options.idempotent.is_some(),
            examples: options.examples,
            deprecation: attr::deprecation(&original.attrs),
        }
    }

    pub(crate) fn context(&self) -> Option<&Parameter<'a>> {
        self.parameters
            .iter()
            .find(|parameter| parameter.role == Role::Context)
    }

    pub(crate) fn entire_params(&self) -> Option<&Parameter<'a>> {
        self.parameters
            .iter()
            .find(|parameter| parameter.role == Role::Entire)
    }

    /// Returns the parameter of the items that the caller sends.
    pub(crate) fn items(&self) -> Option<&Parameter<'a>> {
        self.parameters
            .iter()
            .find(|parameter| parameter.role == Role::Items)
    }

    /// Returns the parameters that are sent in `params`.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &Parameter<'a>> {
        self.parameters
            .iter()
            .filter(|parameter| matches!(parameter.role, Role::Entire | Role::Argument))
    }

    /// Returns the parameters that the caller passes: all except the context.
    pub(crate) fn passed(&self) -> impl Iterator<Item = &Parameter<'a>> {
        self.parameters
            .iter()
            .filter(|parameter| parameter.role != Role::Context)
    }
}

fn wire_name(ident: &Ident, options: &MethodOptions, service: &ServiceOptions) -> LitStr {
    let rename = service.rename_all.unwrap_or_default();
    let name = options.name.clone().unwrap_or_else(|| rename.apply(ident));
    match &service.namespace {
        Some(namespace) => LitStr::new(
            &format!("{}.{}", namespace.value(), name.value()),
            name.span(),
        ),
        None => name,
    }
}

/// Returns the `T` of `-> impl Stream<Item = T>`.
fn returned_item(sig: &Signature) -> Option<&Type> {
    match &sig.output {
        ReturnType::Type(_, ty) => types::stream_item(ty),
        ReturnType::Default => None,
    }
}

/// Returns `true` if the method is meant to return a stream, even if it is written incorrectly.
fn says_stream(sig: &Signature) -> bool {
    matches!(&sig.output, ReturnType::Type(_, ty) if types::mentions_stream(ty))
}

fn check_items(parameters: &[Parameter<'_>], options: &MethodOptions, errors: &mut Errors) {
    let mut items = parameters.iter().filter(|it| it.role == Role::Items);
    let Some(first) = items.next() else { return };
    for second in items {
        errors.at(&second.ident, "a call has one stream of items each way");
    }
    if options.notification.is_some() {
        errors.at(&first.ident, "a notification has no items behind it");
    }
    if let Some(blocking) = &options.blocking {
        errors.at(blocking, "a method that takes a stream is an `async fn`");
    }
    if let Some(idempotent) = &options.idempotent {
        errors.at(idempotent, "a call with items is sent once at most");
    }
}

fn check_signature(sig: &Signature, options: &MethodOptions, errors: &mut Errors) {
    let is_stream = returned_item(sig).is_some();
    match (&sig.asyncness, &options.blocking) {
        (Some(asyncness), _) if is_stream => errors.at(
            asyncness,
            "a method that returns a stream is a plain `fn`: what it awaits, the stream does",
        ),
        (None, Some(blocking)) if is_stream => {
            errors.at(blocking, "a stream cannot block: let it await");
        }
        (None, None) if says_stream(sig) => {}
        (None, None) => errors.at(
            sig.fn_token,
            "a method is an `async fn`, `#[rpc(blocking)]`, or returns `impl Stream<Item = T>`",
        ),
        (Some(asyncness), Some(_)) => errors.at(asyncness, "a blocking method is a plain `fn`"),
        _ => {}
    }
    if let Safety::Unsafe(unsafety) = sig.safety {
        errors.at(unsafety, "a method is safe to call");
    }
    check_generics(sig, errors);
    match sig.receiver() {
        Some(receiver) if is_shared(receiver) => {}
        Some(receiver) => errors.at(receiver, "a method takes `&self`: calls run side by side"),
        None => errors.at(&sig.ident, "a method takes `&self`"),
    }
}

fn check_generics(sig: &Signature, errors: &mut Errors) {
    for parameter in &sig.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            errors.at(
                parameter,
                "a method has no type parameters; the trait may have",
            );
        }
    }
    for predicate in sig
        .generics
        .where_clause
        .iter()
        .flat_map(|clause| &clause.predicates)
    {
        if matches!(predicate, WherePredicate::Type(_)) {
            errors.at(predicate, "this bound belongs to the trait");
        }
    }
}

fn is_shared(receiver: &Receiver) -> bool {
    matches!(receiver.kind, ReceiverKind::Reference(_, _, None))
}

fn parameters<'a>(sig: &'a Signature, rename: Rename, errors: &mut Errors) -> Vec<Parameter<'a>> {
    let typed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    typed
        .enumerate()
        .map(|(at, typed)| Parameter::read(at, typed, rename, errors))
        .collect()
}

impl<'a> Parameter<'a> {
    fn read(at: usize, original: &'a PatType, rename: Rename, errors: &mut Errors) -> Self {
        let options = ParameterOptions::read(&original.attrs, errors);
        for cfg in attr::cfgs(&original.attrs) {
            errors.at(cfg, "`cfg` belongs to the whole method");
        }
        let ident = name_of_pattern(&original.pat).unwrap_or_else(|| {
            errors.at(&original.pat, "a parameter is a plain name: callers use it");
            format_ident!("argument{at}")
        });
        let ty = &*original.ty;
        if let Some(text) = options.default.as_ref().and_then(DefaultValue::text)
            && let Some(instead) = types::owned_text(ty, text)
        {
            let ty = types::display(ty);
            let article = if ty.starts_with('O') { "an" } else { "a" };
            let mistake = format!("the default is {article} `{ty}`: write `{instead}`");
            errors.at(text, mistake);
        }
        let item = types::stream_item(ty);
        match item {
            Some(item) if types::is_borrowed(item) => {
                errors.at(
                    item,
                    "an item is owned: its line is gone when the next is read",
                );
            }
            Some(item) => check_type(item, errors),
            None => check_argument(ty, errors),
        }
        let (role, ty) = match item {
            Some(item) => (Role::of_items(&options, errors), item),
            None => (Role::read(ty, &options, errors), ty),
        };
        Self {
            role,
            wire_name: options.name.unwrap_or_else(|| rename.apply(&ident)),
            default: options.default,
            ident,
            ty,
        }
    }
}

impl Role {
    fn read(ty: &Type, options: &ParameterOptions, errors: &mut Errors) -> Self {
        let ParameterOptions {
            name,
            default,
            params,
        } = options;
        let name = name.as_ref().map(ToTokens::to_token_stream);
        let default = default
            .as_ref()
            .map(|default| default.keyword.to_token_stream());
        match params {
            _ if types::is_context(ty) => {
                let params = params.as_ref().map(ToTokens::to_token_stream);
                if let Some(option) = name.or(default).or(params) {
                    errors.at(option, "the context is not on the wire");
                }
                Self::Context
            }
            Some(_) => {
                if let Some(option) = name.or(default) {
                    errors.at(
                        option,
                        "`params` is the whole value, with no name and no default",
                    );
                }
                Self::Entire
            }
            None => Self::Argument,
        }
    }

    fn of_items(options: &ParameterOptions, errors: &mut Errors) -> Self {
        let ParameterOptions {
            name,
            default,
            params,
        } = options;
        let name = name.as_ref().map(ToTokens::to_token_stream);
        let default = default
            .as_ref()
            .map(|default| default.keyword.to_token_stream());
        let params = params.as_ref().map(ToTokens::to_token_stream);
        if let Some(option) = name.or(default).or(params) {
            errors.at(option, "items follow the request and stand in no `params`");
        }
        Self::Items
    }
}

fn name_of_pattern(pattern: &Pat) -> Option<Ident> {
    match pattern {
        Pat::Ident(pat) if pat.by_ref.is_none() && pat.subpat.is_none() => Some(pat.ident.clone()),
        _ => None,
    }
}

fn check_argument(ty: &Type, errors: &mut Errors) {
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            errors.at(
                ty,
                "an argument is read, not changed: take it by value or by `&`",
            );
        }
        ty if types::is_static(ty) => {
            errors.at(
                ty,
                "an argument lives no longer than its call: take `&` without `'static`",
            );
        }
        ty if types::optional_context(ty).is_some() => {
            errors.at(ty, "every call has a context: take `&Context`");
        }
        ty => {
            if let Some((reference, instead)) = types::unborrowable(ty) {
                errors.at(
                    reference,
                    format!("a request lends text and bytes only: take `{instead}`"),
                );
            } else {
                check_type(ty, errors);
            }
        }
    }
}

fn check_type(ty: &Type, errors: &mut Errors) {
    if let Some(len) = types::long_array(ty) {
        errors.at(len, LONG_ARRAY);
    } else if types::is_opaque(ty) {
        let mistake = match (ty, types::mentions_stream(ty)) {
            (Type::ImplTrait(_), true) => {
                "a stream says what its items are: `impl Stream<Item = T>`"
            }
            (_, true) => "a stream stands alone: `impl Stream<Item = T>`",
            (_, false) => "a method names its types: they go over the wire",
        };
        errors.at(ty, mistake);
    } else if types::mentions_self(ty) {
        errors.at(ty, "a caller does not know `Self`; name the type");
    }
}

/// serde implements its traits for arrays of up to 32 elements.
pub(crate) const LONG_ARRAY: &str = "serde has arrays of up to 32 elements: write `Vec<T>`, `Base64<[u8; N]>` for bytes, \
                                     or a struct whose field says how with `#[serde(with = \"…\")]`";

impl<'a> Output<'a> {
    fn read(output: &'a ReturnType, notification: Option<&Path>, errors: &mut Errors) -> Self {
        let ty = match output {
            ReturnType::Type(_, ty) if !types::is_unit(ty) => &**ty,
            _ => return Self::Unit,
        };
        let ty = match types::stream_item(ty) {
            Some(item) if notification.is_none() => item,
            _ => ty,
        };
        match notification {
            Some(_) => errors.at(ty, "a notification has no reply, so it returns nothing"),
            None => check_type(ty, errors),
        }
        match types::result(ty) {
            _ if types::is_opaque(ty) => Self::Unit,
            Some((ok, error)) => Self::Result { ok, error },
            None if types::is_result(ty) => Self::Alias(ty),
            None => Self::Value(ty),
        }
    }
}
